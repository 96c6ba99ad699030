// Max pooling on its own.
#include "pool_window.h"
#include "status.h"

namespace avedis {

template <class T>
struct max_pool_rows {
    void (*forward)(T* y, uint8_t* argmax, const T* x, avedis_pool2d_geometry g, int64_t row);
    void (*backward)(T* dx, const T* dy, const uint8_t* argmax, avedis_pool2d_geometry g, int64_t row);
};

using max_pool_kernels = by_type<max_pool_rows>;

}  // namespace avedis

#define AVEDIS_KERNELS "max_pool.inl"
#include "instruction_sets.h"

using namespace avedis;

int32_t avedis_max_pool_forward(void* y, uint8_t* argmax, const void* x, int32_t type,
                                const avedis_pool2d_geometry* geometry) {
    return guarded(type, [&](auto zero) {
        using T = decltype(zero);
        const auto& rows_of = kernels_of_this_machine().of(zero);
        int64_t rows = static_cast<int64_t>(geometry->n) * pool_p(*geometry);
#pragma omp parallel for schedule(static)
        for (int64_t row = 0; row < rows; row++)
            rows_of.forward(static_cast<T*>(y), argmax, static_cast<const T*>(x), *geometry, row);
    });
}

int32_t avedis_max_pool_backward(void* dx, const void* dy, const uint8_t* argmax, int32_t type,
                                 const avedis_pool2d_geometry* geometry) {
    return guarded(type, [&](auto zero) {
        using T = decltype(zero);
        const auto& rows_of = kernels_of_this_machine().of(zero);
        int64_t rows = static_cast<int64_t>(geometry->n) * geometry->h;
#pragma omp parallel for schedule(static)
        for (int64_t row = 0; row < rows; row++)
            rows_of.backward(static_cast<T*>(dx), static_cast<const T*>(dy), argmax, *geometry, row);
    });
}
