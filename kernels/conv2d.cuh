// What the two families of convolution kernels share (conv2d.cu, conv2d_hopper.cu): their arguments, how an index becomes a pixel or a tap, and how the depth
// is cut into slices.
#pragma once

#include "moments.cuh"

// One class of positions of a gather; images are N x height x width x channels.
struct Conv2dGather {
    int64_t weights;         // first element of its prepared weights
    FastDivisor image, row;  // positions in an image, in one row of it
    FastDivisor taps;        // taps in one row of the window
    FastDivisor channels;    // of the images
    int positions, depth, pitch;
    int height, width;
    int stride_h, stride_w, offset_h, offset_w;  // where a patch starts: position * stride + offset
    int out_height, out_width, out_stride_h, out_stride_w, out_offset_h, out_offset_w;
};

struct Conv2dWeightPass {
    FastDivisor image, row;      // pixels in an image of dY, in one row of it
    FastDivisor taps, channels;  // taps in one row of the window, channels of x
    int pixels, rows, columns;   // of dY; K; R * S * C
    int height, width;           // of x
    int stride_h, stride_w, pad_h, pad_w;
};

namespace conv2d {

constexpr int kNowhere = -(1 << 30);  // row or column of a pixel that does not exist

template <typename T>
constexpr int kVector = 16 / static_cast<int>(sizeof(T));

// Steps of a slice.
struct Steps {
    int begin, end;
};

__device__ inline Steps steps_of_slice(int depth, int step, int slices, int slice) {
    int steps = (depth + step - 1) / step, share = (steps + slices - 1) / slices;
    return {min(slice * share, steps), min((slice + 1) * share, steps)};
}

struct Position {
    int image, row, column;
};

__device__ inline Position position_of(int index, FastDivisor image, FastDivisor row) {
    int n = index / image, rest = index - n * image.divisor, p = rest / row;
    return {n, p, rest - p * row.divisor};
}

// A tap of the window and a channel.
struct Tap {
    int row, column, channel;
};

__device__ inline Tap tap_of(int index, FastDivisor taps, FastDivisor channels) {
    int tap = index / channels, r = tap / taps;
    return {r, tap - r * taps.divisor, index - tap * channels.divisor};
}

__device__ inline bool inside(int h, int w, int height, int width) {
    return (static_cast<unsigned>(h) < static_cast<unsigned>(height)) & (static_cast<unsigned>(w) < static_cast<unsigned>(width));
}

}  // namespace conv2d

// How conv2d_hopper.cu has a tile in shared memory, and conv2d_prepare.cu lays the weights down for it: a line of 128 bytes for each column and step.
namespace conv2d_hopper {

constexpr int kStep = 64;   // of the depth
constexpr int kChunks = 8;  // of 16 bytes, in a line

__device__ inline int place_of(int line, int chunk) { return line * kChunks + (chunk ^ (line & 7)); }

// The line of a tile's column: interleaved so that a lane ends up with neighbouring results (Gather::store).
__device__ inline int line_of(int column) { return column / 32 * 32 + column % 8 / 2 * 8 + column % 32 / 8 * 2 + column % 2; }

}  // namespace conv2d_hopper
