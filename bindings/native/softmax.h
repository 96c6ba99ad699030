// Softmax of one row, shared by the losses.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace avedis {

// p [c] = softmax(x [c]); returns log sum exp(x). The largest element is taken out first, so nothing overflows.
inline float softmax(float* p, const float* x, int64_t c) {
    float largest = x[0];
    for (int64_t j = 1; j < c; j++) largest = std::max(largest, x[j]);
    double sum = 0;
    for (int64_t j = 0; j < c; j++) sum += p[j] = std::exp(x[j] - largest);
    float share = static_cast<float>(1 / sum);
    for (int64_t j = 0; j < c; j++) p[j] *= share;
    return largest + static_cast<float>(std::log(sum));
}

}  // namespace avedis
