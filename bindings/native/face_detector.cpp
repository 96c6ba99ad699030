// dlib's frontal face detector: histograms of oriented gradients, five views of a face, an image pyramid. Only dlib's
// headers are used, nothing of its compiled part.

// Debian's dlib names BLAS and LAPACK in its settings. Here they would decompose the model's filters once, and bring
// two libraries and Fortran's; dlib's own code does the same.
#define DLIB_TEST_FOR_ODR_VIOLATIONS_H_
#include <dlib/assert.h>
#undef DLIB_USE_BLAS
#undef DLIB_USE_LAPACK
#include <dlib/image_processing/frontal_face_detector.h>
#include <dlib/image_transforms.h>
#include <dlib/revision.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <exception>
#include <new>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "avedis_faces.h"

#define AVEDIS_TEXT(x) #x
#define AVEDIS_DLIB(major, minor, patch) AVEDIS_TEXT(major) "." AVEDIS_TEXT(minor) "." AVEDIS_TEXT(patch)

// face_model.cpp writes it.
static const unsigned char model[] = {
#include "face_model.inc"
};

static dlib::frontal_face_detector load_model() {
    std::istringstream bytes(std::string(reinterpret_cast<const char*>(model), sizeof(model)));
    dlib::frontal_face_detector search;
    deserialize(search, bytes);
    return search;
}

struct avedis_face_detector {
    dlib::frontal_face_detector search = load_model();
    dlib::array2d<unsigned char> picture, enlarged;
    std::vector<dlib::rect_detection> found;
};

static thread_local std::string last_error;

static int32_t failed(int32_t status, const char* text) {
    last_error = text;
    return status;
}

template <class Body>
static int32_t guarded(Body body) noexcept {
    try {
        body();
        return AVEDIS_FACES_OK;
    } catch (const std::bad_alloc&) {
        return failed(AVEDIS_FACES_OUT_OF_MEMORY, "out of memory");
    } catch (const std::exception& error) {
        return failed(AVEDIS_FACES_FAILED, error.what());
    }
}

const char* avedis_faces_last_error() {
    return last_error.c_str();
}

const char* avedis_faces_dlib_version() {
    return AVEDIS_DLIB(DLIB_MAJOR_VERSION, DLIB_MINOR_VERSION, DLIB_PATCH_VERSION);
}

int32_t avedis_face_detector_create(avedis_face_detector** detector) {
    return guarded([&] { *detector = new avedis_face_detector; });
}

void avedis_face_detector_destroy(avedis_face_detector* detector) {
    delete detector;
}

int32_t avedis_face_detector_detect(avedis_face_detector* detector, avedis_face_box* boxes, int32_t* count,
                                    const uint8_t* grey, int32_t height, int32_t width, int64_t stride, float upsample,
                                    int32_t capacity) {
    return guarded([&] {
        if (height < 1 || width < 1 || stride < width) throw std::invalid_argument("a picture needs rows and columns");
        if (!(upsample >= 1 && upsample <= 8)) throw std::invalid_argument("upsample has to be between 1 and 8");
        auto& [search, picture, enlarged, found] = *detector;
        picture.set_size(height, width);
        for (int32_t y = 0; y < height; y++) std::memcpy(&picture[y][0], grey + y * stride, width);
        bool enlarge = upsample > 1;
        if (enlarge) {
            enlarged.set_size(std::lround(height * upsample), std::lround(width * upsample));
            dlib::resize_image(picture, enlarged, dlib::interpolate_bilinear());
        }
        search(enlarge ? enlarged : picture, found, 0);
        float step_x = enlarge ? static_cast<float>(width) / enlarged.nc() : 1;
        float step_y = enlarge ? static_cast<float>(height) / enlarged.nr() : 1;
        *count = static_cast<int32_t>(std::min<size_t>(found.size(), std::max(capacity, 0)));
        for (int32_t i = 0; i < *count; i++) {
            const dlib::rectangle& r = found[i].rect;
            boxes[i] = {r.left() * step_x, r.top() * step_y, r.width() * step_x, r.height() * step_y,
                        static_cast<float>(found[i].detection_confidence)};
        }
    });
}
