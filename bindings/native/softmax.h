// Softmax of one row, shared by the losses.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace avedis {

// -log p[j] = log_sum - (x[j] - largest): huge logits of which little is left do not take the loss with them.
struct softmax_row {
    float largest;
    double log_sum;

    double loss(float x) const { return log_sum - (x - largest); }
};

// p [c] = softmax(x [c]). The largest element is taken out first, so nothing overflows.
inline softmax_row softmax(float* p, const float* x, int64_t c) {
    float largest = x[0];
    for (int64_t j = 1; j < c; j++) largest = std::max(largest, x[j]);
    double sum = 0;
    for (int64_t j = 0; j < c; j++) sum += p[j] = std::exp(x[j] - largest);
    float share = static_cast<float>(1 / sum);
    for (int64_t j = 0; j < c; j++) p[j] *= share;
    return {largest, std::log(sum)};
}

}  // namespace avedis
