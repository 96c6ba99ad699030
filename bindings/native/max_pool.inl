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
    for (int32_t w = 0; w < g.w; w++) {
        cover at(g, p, q, h, w);
        T* pixel = dx + (row * g.w + w) * g.c;
        int32_t k = 0;
        for (; k + kLanes <= g.c; k += kLanes)
            store(pixel + k, unpool(dy + first, argmax + first, g, q, at, k, all_lanes()), all_lanes());
        if (k < g.c) store(pixel + k, unpool(dy + first, argmax + first, g, q, at, k, g.c - k), g.c - k);
    }
}

static const max_pool_kernels& kernels() {
    static constexpr max_pool_kernels table{{forward_row<float>, backward_row<float>},
                                            {forward_row<bf16>, backward_row<bf16>}};
    return table;
}
