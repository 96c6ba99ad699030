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

// Output row `row` of n * p. argmax may be null.
template <bool Affine, class T>
AVEDIS_INLINE void pool_row(T* y, uint8_t* argmax, const T* x, affine f, const avedis_pool2d_geometry& g, int64_t row) {
    int32_t p = pool_p(g), q = pool_q(g), c = g.c;
    int32_t i = static_cast<int32_t>(row % p);
    const T* image = x + row / p * g.h * g.w * c;
    span rows = inside(i, g.stride_h, g.pad_h, g.r, g.h);
    for (int32_t j = 0; j < q; j++) {
        span columns = inside(j, g.stride_w, g.pad_w, g.s, g.w);
        int64_t corner = static_cast<int64_t>(i * g.stride_h - g.pad_h) * g.w + j * g.stride_w - g.pad_w;
        int64_t out = (row * q + j) * c;
        for (int32_t k = 0; k < c; k += kLanes) {
            int lanes = std::min(kLanes, c - k);
            vfloat a = {}, b = {}, floor = vfloat{} + f.floor;
            if (Affine) a = load(f.a + k, lanes), b = load(f.b + k, lanes);
            vfloat best = vfloat{} - INFINITY;
            vint winner = vint{} + (rows.begin * g.s + columns.begin);
            for (int32_t r = rows.begin; r < rows.end; r++)
                for (int32_t s = columns.begin; s < columns.end; s++) {
                    vfloat z = load(image + (corner + static_cast<int64_t>(r) * g.w + s) * c + k, lanes);
                    if (Affine) {
                        z = z * a + b;
                        z = z < floor ? floor : z;
                    }
                    vint wins = (z > best) | (z != z);
                    best = wins ? z : best;
                    winner = wins ? vint{} + (r * g.s + s) : winner;
                }
            store(y + out + k, best, lanes);
            if (argmax) store(argmax + out + k, winner, lanes);
        }
    }
}

// dz of the eight channels from k at input pixel (h, w) of image n: the sum of dy over the windows that the pixel won.
template <class T>
AVEDIS_INLINE vfloat unpool(const T* dy, const uint8_t* argmax, const avedis_pool2d_geometry& g, int64_t n, int32_t h,
                            int32_t w, span rows, span columns, int32_t k, int lanes) {
    int64_t p = pool_p(g), q = pool_q(g);
    vfloat sum = {};
    for (int32_t i = rows.begin; i < rows.end; i++)
        for (int32_t j = columns.begin; j < columns.end; j++) {
            int64_t out = ((n * p + i) * q + j) * g.c + k;
            int32_t here = (h + g.pad_h - i * g.stride_h) * g.s + w + g.pad_w - j * g.stride_w;
            vfloat gradient = load(dy + out, lanes);
            sum += load(argmax + out, lanes) == here ? gradient : vfloat{};
        }
    return sum;
}

}  // namespace avedis
