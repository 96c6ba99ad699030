// What the sanitized build has to notice, or its other tests mean nothing: a pass of ours that is given a buffer one
// element short.
#include <cstdlib>

#include "avedis_cpu.h"

int main() {
    const int64_t count = 100;
    float* x = static_cast<float*>(std::calloc(count, sizeof(float)));
    float* y = static_cast<float*>(std::calloc(count - 1, sizeof(float)));
    return avedis_relu_forward(y, x, AVEDIS_F32, count);
}
