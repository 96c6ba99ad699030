// Max pooling on its own.
#include "pool_window.h"
#include "status.h"

namespace avedis {

template <class T>
AVEDIS_CLONES static void forward_row(T* y, uint8_t* argmax, const T* x, avedis_pool2d_geometry g, int64_t row) {
    pool_row<false>(y, argmax, x, {}, g, row);
}

template <class T>
AVEDIS_CLONES static void backward_row(T* dx, const T* dy, const uint8_t* argmax, avedis_pool2d_geometry g,
                                       int64_t row) {
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

}  // namespace avedis

using namespace avedis;

int32_t avedis_max_pool_forward(void* y, uint8_t* argmax, const void* x, int32_t type,
                                const avedis_pool2d_geometry* geometry) {
    return guarded(type, [&](auto zero) {
        using T = decltype(zero);
        int64_t rows = static_cast<int64_t>(geometry->n) * pool_p(*geometry);
#pragma omp parallel for schedule(static)
        for (int64_t row = 0; row < rows; row++)
            forward_row(static_cast<T*>(y), argmax, static_cast<const T*>(x), *geometry, row);
    });
}

int32_t avedis_max_pool_backward(void* dx, const void* dy, const uint8_t* argmax, int32_t type,
                                 const avedis_pool2d_geometry* geometry) {
    return guarded(type, [&](auto zero) {
        using T = decltype(zero);
        int64_t rows = static_cast<int64_t>(geometry->n) * geometry->h;
#pragma omp parallel for schedule(static)
        for (int64_t row = 0; row < rows; row++)
            backward_row(static_cast<T*>(dx), static_cast<const T*>(dy), argmax, *geometry, row);
    });
}
