// Max pooling of x [n,h,w,c] to y [n,p,q,c], and argmax [n,p,q,c], the winner's row * s + column in its window, one byte.
//
//   forward    y = largest of each window; padding never wins, of equals the first does, a NaN does
//   backward   dx = sum of the dy whose window the element won: an input element looks at the windows that hold it, so that each dx is written once, in
//              full, and its terms have a fixed order
//
// Both are bound by memory: x and y, or dy, argmax and dx, travel once; what windows share comes from the caches. Launch: pool_window.cuh, tiles over
// y forwards and over x backwards.
#include "pool_window.cuh"

template <typename T>
__device__ inline void max_pool_forward(T* y, uint8_t* argmax, const T* x, const PoolGeometry& g, const PixelTiles& tiles) {
    with_lanes<T>(g.c, [&](auto lanes) {
        constexpr int N = decltype(lanes)::value;
        PixelThread thread(tiles, N, g.c);
        for_each_pixel(tiles, thread, [&](int32_t image, int32_t i, int32_t j) {
            float best[N];
            int32_t winner[N];
            window_maximum<N>(best, winner, x + static_cast<int64_t>(image) * g.h * g.w * g.c + thread.channel, g, i, j,
                              [](int, float z) { return z; });
            store_winners<N>(y, argmax, best, winner, ((static_cast<int64_t>(image) * g.p + i) * g.q + j) * g.c + thread.channel);
        });
    });
}

template <typename T>
__device__ inline void max_pool_backward(T* dx, const T* dy, const uint8_t* argmax, const PoolGeometry& g, const PixelTiles& tiles) {
    with_lanes<T>(g.c, [&](auto lanes) {
        constexpr int N = decltype(lanes)::value;
        PixelThread thread(tiles, N, g.c);
        for_each_pixel(tiles, thread, [&](int32_t image, int32_t row, int32_t column) {
            int64_t outputs = static_cast<int64_t>(image) * g.p * g.q * g.c + thread.channel;
            float sum[N];
            gather_gradient<N>(sum, dy + outputs, argmax + outputs, g, row, column);
            store_rounded<N>(dx + ((static_cast<int64_t>(image) * g.h + row) * g.w + column) * g.c + thread.channel, sum);
        });
    });
}

KERNEL((256, 4), max_pool_forward_f32, (float* y, uint8_t* argmax, const float* x, PoolGeometry geometry, PixelTiles tiles)) {
    max_pool_forward(y, argmax, x, geometry, tiles);
}

KERNEL((256, 4), max_pool_backward_f32, (float* dx, const float* dy, const uint8_t* argmax, PoolGeometry geometry, PixelTiles tiles)) {
    max_pool_backward(dx, dy, argmax, geometry, tiles);
}

KERNEL((256, 4), max_pool_forward_bf16, (bf16* y, uint8_t* argmax, const bf16* x, PoolGeometry geometry, PixelTiles tiles)) {
    max_pool_forward(y, argmax, x, geometry, tiles);
}

KERNEL((256, 4), max_pool_backward_bf16, (bf16* dx, const bf16* dy, const uint8_t* argmax, PoolGeometry geometry, PixelTiles tiles)) {
    max_pool_backward(dx, dy, argmax, geometry, tiles);
}
