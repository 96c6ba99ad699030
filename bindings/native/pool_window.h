// Max pooling of one row and its reverse, optionally with y = relu(a * x + b) in front, for max_pool.cpp and
// batch_norm.cpp. Winners are found in float, channels eight at a time. A NaN wins its window, so that it stays
// visible.
#pragma once

#include <cmath>

#include "avedis_cpu.h"
#include "vector.h"

namespace avedis {

inline int32_t pool_p(const avedis_pool2d_geometry& g) {
    return (g.h + 2 * g.pad_h - g.r) / g.stride_h + 1;
}
inline int32_t pool_q(const avedis_pool2d_geometry& g) {
    return (g.w + 2 * g.pad_w - g.s) / g.stride_w + 1;
}

// Per channel: z = a * x + b, then at least `floor`: 0 with ReLU, minus infinity without.
struct affine {
    const float *a, *b;
    float floor;
};

inline float relu_floor(bool relu) {
    return relu ? 0 : -INFINITY;
}

// Positions [begin, end) of a window that lie on the image.
struct span {
    int32_t begin, end;
};

AVEDIS_INLINE span inside(int32_t output, int32_t stride, int32_t pad, int32_t window, int32_t size) {
    int32_t first = output * stride - pad;
    return {std::max(0, -first), std::min(window, size - first)};
}

// Output positions [begin, end) whose windows hold an input position.
AVEDIS_INLINE span covering(int32_t input, int32_t stride, int32_t pad, int32_t window, int32_t outputs) {
    int32_t past = input + pad - window;
    return {past < 0 ? 0 : past / stride + 1, std::min(outputs, (input + pad) / stride + 1)};
}

// What a window of output pixel (i, j) reads: positions inside the image, and the index of its corner pixel.
struct window {
    AVEDIS_INLINE window(const avedis_pool2d_geometry& g, int32_t i, int32_t j)
        : rows(inside(i, g.stride_h, g.pad_h, g.r, g.h)),
          columns(inside(j, g.stride_w, g.pad_w, g.s, g.w)),
          corner(static_cast<int64_t>(i * g.stride_h - g.pad_h) * g.w + j * g.stride_w - g.pad_w) {}

    span rows, columns;
    int64_t corner;
};

// The windows that hold input pixel (h, w): outputs [rows) x [columns), and what a winner is called in the first of
// them.
struct cover {
    // `rows` are those that hold row h.
    AVEDIS_INLINE cover(const avedis_pool2d_geometry& g, span rows, int32_t q, int32_t h, int32_t w)
        : rows(rows),
          columns(covering(w, g.stride_w, g.pad_w, g.s, q)),
          name((h + g.pad_h - rows.begin * g.stride_h) * g.s + w + g.pad_w - columns.begin * g.stride_w) {}

    span rows, columns;
    int32_t name;
};

}  // namespace avedis
