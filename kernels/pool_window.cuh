// What max_pool.cu and batch_norm.cu share: how pooling windows lie on an image, and how a grid walks over the pixels of a batch of images.
//
// Work is cut into tiles of a few rows and columns of pixels and at most 128 bytes of channels: a block reads the rows and columns that its windows
// share once from the L2 cache, whatever the number of channels and the width of the image. A thread does one vector of N neighbouring channels of one
// pixel of each of its block's tiles. The host cuts (CudaBackend.MaxPool.cs); the cut depends on the shape alone, as sums over pixels follow it.
#pragma once

#include "kernel.cuh"

// Max pooling of x [n,h,w,c] to y [n,p,q,c] with windows of r x s.
struct PoolGeometry {
    int32_t n, h, w, c, r, s, stride_h, stride_w, pad_h, pad_w, p, q;
};

// The cut of images [height, width] into tiles. Launch: grid (ceil(tiles / per_block), chunks), at least groups * columns * rows threads.
struct PixelTiles {
    int32_t height, width;
    int32_t groups;           // vectors of channels of a tile; blockIdx.y counts tiles along the channels
    int32_t columns, rows;    // pixels of a tile
    int32_t across, down;     // tiles of an image
    int32_t tiles;            // of all images, for each chunk of channels
    int32_t per_block;        // consecutive tiles of a block
};

// This thread's place within a tile; threads are numbered group first, then column, then row.
struct PixelThread {
    int32_t group, pixel, row, column;
    int32_t channel;  // of the image; the thread has work only if it is below c
    bool active;

    __device__ PixelThread(const PixelTiles& t, int32_t lanes, int32_t c)
        : group(static_cast<int32_t>(threadIdx.x) % t.groups),
          pixel(static_cast<int32_t>(threadIdx.x) / t.groups),
          row(pixel / t.columns),
          column(pixel % t.columns),
          channel((static_cast<int32_t>(blockIdx.y) * t.groups + group) * lanes),
          active(row < t.rows && channel < c) {}
};

// Calls pixel(image, row, column) for this thread's pixel of each of its block's tiles. No barriers.
template <typename F>
__device__ inline void for_each_pixel(const PixelTiles& t, const PixelThread& thread, F pixel) {
    if (!thread.active) return;
    int32_t first = static_cast<int32_t>(blockIdx.x) * t.per_block, end = min(first + t.per_block, t.tiles);
#pragma unroll 1
    for (int32_t tile = first; tile < end; tile++) {
        int32_t line = tile / t.across, image = line / t.down;
        int32_t row = (line - image * t.down) * t.rows + thread.row, column = (tile - line * t.across) * t.columns + thread.column;
        if (row < t.height && column < t.width) pixel(image, row, column);
    }
}

// Positions [begin, end).
struct Span {
    int32_t begin, end;
};

// Those of a window along one axis that lie on the image.
__device__ inline Span inside(int32_t output, int32_t stride, int32_t pad, int32_t window, int32_t size) {
    int32_t first = output * stride - pad;
    return {max(0, -first), min(window, size - first)};
}

// A division that strides of 1 and 2, nearly all there are, do without the twenty instructions of a general one.
__device__ inline int32_t strides_in(int32_t distance, int32_t stride) {
    if (stride == 1) return distance;
    uint32_t d = static_cast<uint32_t>(distance);
    return static_cast<int32_t>(stride == 2 ? d / 2 : d / static_cast<uint32_t>(stride));
}

// Outputs whose windows hold an input position.
__device__ inline Span covering(int32_t input, int32_t stride, int32_t pad, int32_t window, int32_t outputs) {
    int32_t past = input + pad - window;
    return {past < 0 ? 0 : strides_in(past, stride) + 1, min(outputs, strides_in(input + pad, stride) + 1)};
}

// Calls element(position, x) for the elements of output (i, j)'s window on the image, in row-major order; position = row * s + column, x a vector. image
// points at the vector's channel of the image's first pixel. Three loads are under way at a time; more
// would cost the registers of whole warps.
template <int N, typename T, typename F>
__device__ inline void for_each_in_window(const T* image, const PoolGeometry& g, int32_t i, int32_t j, F element) {
    constexpr int kAtOnce = 3;
    Span rows = inside(i, g.stride_h, g.pad_h, g.r, g.h), columns = inside(j, g.stride_w, g.pad_w, g.s, g.w);
    const T* corner = image + (static_cast<int64_t>(i * g.stride_h - g.pad_h) * g.w + j * g.stride_w - g.pad_w) * g.c;
#pragma unroll 1
    for (int32_t r = rows.begin; r < rows.end; r++) {
#pragma unroll 1
        for (int32_t s = columns.begin; s < columns.end; s += kAtOnce) {
            const T* x = corner + (static_cast<int64_t>(r) * g.w + s) * g.c;
            Vector<T, N> loaded[kAtOnce];
#pragma unroll
            for (int k = 0; k < kAtOnce; k++)
                if (s + k < columns.end) loaded[k] = load_vector<N>(x + k * g.c);
#pragma unroll
            for (int k = 0; k < kAtOnce; k++)
                if (s + k < columns.end) element(r * g.s + s + k, loaded[k]);
        }
    }
}

// best = the largest value(k, x[k]) of output (i, j)'s window for each of N channels, winner = its position. Of equals the first wins, also among
// minus infinities; the first NaN wins for good, so that it stays visible. Returns the window's first position.
template <int N, typename T, typename F>
__device__ inline int32_t window_maximum(float (&best)[N], int32_t (&winner)[N], const T* image, const PoolGeometry& g, int32_t i, int32_t j, F value) {
    int32_t first = inside(i, g.stride_h, g.pad_h, g.r, g.h).begin * g.s + inside(j, g.stride_w, g.pad_w, g.s, g.w).begin;
#pragma unroll
    for (int k = 0; k < N; k++) {
        best[k] = -INFINITY;
        winner[k] = first;
    }
    for_each_in_window<N>(image, g, i, j, [&](int32_t position, const Vector<T, N>& x) {
#pragma unroll
        for (int k = 0; k < N; k++) {
            float z = value(k, to_float(x.at[k]));
            bool wins = z > best[k] || z != z;
            best[k] = wins ? z : best[k];
            winner[k] = wins ? position : winner[k];
        }
    });
    return first;
}

// Stores what window_maximum found at an output's offset; argmax may be null.
template <int N, typename T>
__device__ inline void store_winners(T* y, uint8_t* argmax, const float (&best)[N], const int32_t (&winner)[N], int64_t output) {
    store_rounded<N>(y + output, best);
    if (!argmax) return;
    Vector<uint8_t, N> positions;
#pragma unroll
    for (int k = 0; k < N; k++) positions.at[k] = static_cast<uint8_t>(winner[k]);
    store_vector<N>(argmax + output, positions);
}

// dx = sum of dy over the windows that input (row, column) won, for each of N channels. dy and argmax point at the vector's channel of the image's first
// output pixel.
template <int N, typename T>
__device__ inline void gather_gradient(float (&dx)[N], const T* dy, const uint8_t* argmax, const PoolGeometry& g, int32_t row, int32_t column) {
    Span rows = covering(row, g.stride_h, g.pad_h, g.r, g.p), columns = covering(column, g.stride_w, g.pad_w, g.s, g.q);
#pragma unroll
    for (int k = 0; k < N; k++) dx[k] = 0;
#pragma unroll 1
    for (int32_t i = rows.begin; i < rows.end; i++) {
#pragma unroll 1
        for (int32_t j = columns.begin; j < columns.end; j++) {
            int64_t output = (static_cast<int64_t>(i) * g.q + j) * g.c;
            Vector<T, N> gradient = load_vector<N>(dy + output);
            Vector<uint8_t, N> winner = load_vector<N>(argmax + output);
            int32_t position = (row + g.pad_h - i * g.stride_h) * g.s + column + g.pad_w - j * g.stride_w;
#pragma unroll
            for (int k = 0; k < N; k++)
                if (winner.at[k] == position) dx[k] += to_float(gradient.at[k]);
        }
    }
}
