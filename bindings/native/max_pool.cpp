// Max pooling on its own.
#include "pool_window.h"
#include "status.h"

namespace avedis {

template <class T>
AVEDIS_CLONES static void forward_row(T* y, uint8_t* argmax, const T* x, const avedis_pool2d_geometry& g, int64_t row) {
    pool_row<false>(y, argmax, x, {}, g, row);
}

template <class T>
AVEDIS_CLONES static void backward_row(T* dx, const T* dy, const uint8_t* argmax, const avedis_pool2d_geometry& g,
                                       int64_t row) {
    int32_t h = static_cast<int32_t>(row % g.h);
    span rows = covering(h, g.stride_h, g.pad_h, g.r, pool_p(g));
    for (int32_t w = 0; w < g.w; w++) {
        span columns = covering(w, g.stride_w, g.pad_w, g.s, pool_q(g));
        for (int32_t k = 0; k < g.c; k += kLanes) {
            int lanes = std::min(kLanes, g.c - k);
            store(dx + (row * g.w + w) * g.c + k, unpool(dy, argmax, g, row / g.h, h, w, rows, columns, k, lanes),
                  lanes);
        }
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
