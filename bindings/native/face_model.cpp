// Writes dlib's face model, unpacked, as the numbers of a C array: what unpacks it lies in dlib's compiled part, which
// the library then does without.
#include <dlib/image_processing/frontal_face_detector.h>

#include <cstdio>

int main() {
    int column = 0;
    for (unsigned char byte : dlib::get_serialized_frontal_faces())
        std::printf("%d,%s", byte, ++column % 32 == 0 ? "\n" : "");
    return std::fflush(stdout) == 0 ? 0 : 1;
}
