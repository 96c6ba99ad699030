// What stem.cpp and its kernels, compiled once per instruction set, have in common.
#pragma once

#include <cstdint>

#include "avedis_cpu.h"
#include "pool_window.h"

namespace avedis {

constexpr int kStemBlock = 32;  // output channels of a convolution tile
constexpr int kStemPiece = 8;   // pixels of a window's row that the sparse gradient takes at once

// A window over an image of one-channel rows, `pitch` elements apart.
struct stem_window {
    int64_t rows, columns, pitch;
};

template <class T>
using stem_convolution = void (*)(float* z, const T* x, const T* weight, stem_window window, int64_t count,
                                  int64_t step, int32_t channels);

// y, argmax from the largest z of each window and its place; dA where ReLU was active, and its sums.
template <class T>
struct stem_rows {
    void (*finish_row)(T* y, uint8_t* argmax, const float* best, const int32_t* winner, affine f,
                       avedis_pool2d_geometry g, int64_t row, int32_t channels);
    void (*active_row)(float* sums, float* gradients, const T* dy, const T* y, int64_t q, int64_t k, bool relu,
                       int lanes);
};

struct stem_kernels {
    int32_t lanes;  // channels of a row of gradients
    void (*gram)(double* sums, const float* const* a, int64_t count_a, const float* const* b, int64_t count_b,
                 int64_t rows, int64_t pitch, int64_t count);
    void (*gram_edges)(double* sums, const float* upper, const float* lower, int64_t columns, int64_t last,
                       int64_t rows, int64_t pitch);
    stem_convolution<float> convolve_f32;
    stem_convolution<bf16> convolve_bf16;
    void (*pool)(float* best, int32_t* winner, const float* z, const avedis_pool2d_geometry& g, int64_t row,
                 int64_t first, int32_t channels);
    void (*gather)(float* sums, const float* gradients, const uint8_t* winners, int64_t channels, int64_t rows,
                   int64_t count, const float* x, int64_t row_step, int64_t step, const int32_t* corners,
                   const int32_t* offsets, int64_t pieces);
    by_type<stem_rows> rows;
};

}  // namespace avedis
