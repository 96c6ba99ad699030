// Fully connected layers: y [n, o] = x [n, i] * weight [o, i]^T + bias [o]. bfloat16 activations are widened first: the
// weights stay as precise as they are, and the products of a batch of clips are too small to gain from a narrower type.
#include "gemm.h"
#include "vector.h"
#include "status.h"

namespace avedis {

// The activations x as floats: themselves, or a widened copy in the scratch of this slot.
template <int Slot>
static const float* widened(const void* x, int32_t type, int64_t count) {
    if (type == AVEDIS_F32) return static_cast<const float*>(x);
    float* wide = scratch<float, Slot>(count);
    avedis_convert(wide, x, type, count);
    return wide;
}

AVEDIS_CLONES static void add_rows(float* sum, const float* x, int64_t rows, int64_t c) {
    for (int64_t i = 0; i < rows; i++)
        for (int64_t k = 0; k < c; k++) sum[k] += x[i * c + k];
}

}  // namespace avedis

using namespace avedis;

int32_t avedis_linear_forward(void* y, const void* x, const float* weight, const float* bias, int32_t type, int64_t n,
                              int64_t i, int64_t o) {
    return guarded([&] {
        float* wide = type == AVEDIS_F32 ? static_cast<float*>(y) : scratch<float, 1>(n * o);
        for (int64_t row = 0; row < n; row++) std::copy(bias, bias + o, wide + row * o);
        gemm(false, true, n, o, i, widened<0>(x, type, n * i), weight, wide, true);
        if (type != AVEDIS_F32) avedis_convert(y, wide, AVEDIS_F32, n * o);
    });
}

int32_t avedis_linear_backward_data(void* dx, const void* dy, const float* weight, int32_t type, int64_t n, int64_t i,
                                    int64_t o) {
    return guarded([&] {
        float* wide = type == AVEDIS_F32 ? static_cast<float*>(dx) : scratch<float, 1>(n * i);
        gemm(false, false, n, i, o, widened<0>(dy, type, n * o), weight, wide, false);
        if (type != AVEDIS_F32) avedis_convert(dx, wide, AVEDIS_F32, n * i);
    });
}

int32_t avedis_linear_backward_weight(float* dweight, float* dbias, const void* dy, const void* x, int32_t type,
                                      int64_t n, int64_t i, int64_t o) {
    return guarded([&] {
        const float* gradient = widened<0>(dy, type, n * o);
        gemm(true, false, o, i, n, gradient, widened<1>(x, type, n * i), dweight, true);
        add_rows(dbias, gradient, n, o);
    });
}
