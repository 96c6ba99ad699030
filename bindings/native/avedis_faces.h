// Every function that libavedis_faces.so exports; it stands beside the processor library so that a machine without dlib
// misses faces and nothing else.
//
// Status as in avedis_cpu.h: 0 is success; anything else is a failure whose text avedis_faces_last_error() returns on
// the same thread until the next call. Argument order: outputs, inputs, sizes, settings.
#pragma once

#include <cstdint>

#define AVEDIS_API extern "C" __attribute__((visibility("default")))

enum avedis_faces_status : int32_t { AVEDIS_FACES_OK = 0, AVEDIS_FACES_FAILED = 1, AVEDIS_FACES_OUT_OF_MEMORY = 2 };

// Brows to chin, in pixels of the picture as it was handed in; may reach beyond it. score: distance from the
// detector's threshold, above 0.
struct avedis_face_box {
    float x, y, width, height, score;
};

struct avedis_face_detector;

// Text of the last failure on this thread.
AVEDIS_API const char* avedis_faces_last_error();

// The dlib that this was built with, such as 19.24.0.
AVEDIS_API const char* avedis_faces_dlib_version();

// One detector serves one thread at a time.
AVEDIS_API int32_t avedis_face_detector_create(avedis_face_detector** detector);
AVEDIS_API void avedis_face_detector_destroy(avedis_face_detector* detector);

// boxes [capacity] = the faces in grey [height, width], best first, count [1] of them; rows lie stride bytes apart. The
// smallest face found has 80 / upsample pixels; upsample >= 1 enlarges the picture before it is searched.
AVEDIS_API int32_t avedis_face_detector_detect(avedis_face_detector* detector, avedis_face_box* boxes, int32_t* count,
                                               const uint8_t* grey, int32_t height, int32_t width, int64_t stride,
                                               float upsample, int32_t capacity);
