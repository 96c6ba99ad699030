// What stem.cpp and its kernels, compiled once per instruction set, have in common.
#pragma once

#include <cstdint>

#include "avedis_cpu.h"
#include "pool_window.h"

namespace avedis {

constexpr int kStemBlock = 32;  // output channels of a convolution tile
constexpr int kStemPiece = 8;   // pixels of a window's row that the sparse gradient takes at once

// One pixel of a window seen from every position of an output row: `first` is that of row 0, `step` leads to the next
// row.
struct stem_signal {
    const float* first;
    int64_t step;
};

// A window over an image of one-channel rows, `pitch` elements apart.
struct stem_window {
    int64_t rows, columns, pitch;
};

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
    void (*gram)(double* sums, const stem_signal* signals, int64_t count_of_signals, int64_t rows, int64_t count);
    void (*convolve_f32)(float* z, const float* x, const float* weight, stem_window window, int64_t count,
                         int64_t step);
    void (*convolve_bf16)(float* z, const bf16* x, const bf16* weight, stem_window window, int64_t count, int64_t step);
    void (*pool)(float* best, int32_t* winner, const float* z, const avedis_pool2d_geometry& g, int64_t row,
                 int64_t first);
    void (*gather)(float* sums, const float* gradients, const uint8_t* winners, int64_t channels, int64_t count,
                   const float* x, int64_t step, const int32_t* corners, const int32_t* offsets, int64_t pieces);
    by_type<stem_rows> rows;
};

}  // namespace avedis
