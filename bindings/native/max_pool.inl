// The rows of max_pool.cpp for one instruction set: see instruction_sets.h.
#include "pool_window.inl"

template <class T>
static void forward_row(T* y, uint8_t* argmax, const T* x, avedis_pool2d_geometry g, int64_t row) {
    pool_row<false>(y, argmax, x, {}, g, row);
}

template <class T>
static void backward_row(T* dx, const T* dy, const uint8_t* argmax, avedis_pool2d_geometry g, int64_t row) {
    int32_t p = pool_p(g), q = pool_q(g), h = static_cast<int32_t>(row % g.h);
    int64_t first = row / g.h * p * q * g.c;
    span rows = covering(h, g.stride_h, g.pad_h, g.r, p);
    for (int32_t w = 0; w < g.w; w++) {
        T* pixel = dx + (row * g.w + w) * g.c;
        unpool_pixel(dy + first, argmax + first, g, q, cover(g, rows, q, h, w),
                     [&](int32_t k, vfloat dz, auto lanes) AVEDIS_INLINE_LAMBDA { store(pixel + k, dz, lanes); });
    }
}

static const max_pool_kernels& kernels() {
    static constexpr max_pool_kernels table{{forward_row<float>, backward_row<float>},
                                            {forward_row<bf16>, backward_row<bf16>}};
    return table;
}
