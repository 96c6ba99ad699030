// Mean over time of clips of different lengths: y [n, c] = mean of x [n, t, c] over t < lengths[n].
#include "status.h"

namespace avedis {

template <class T>
AVEDIS_CLONES static void mean_clip(float* y, const T* x, int64_t length, int64_t c) {
    std::memset(y, 0, c * sizeof(float));
    for (int64_t t = 0; t < length; t++)
        for (int64_t i = 0; i < c; i++) y[i] += to_float(x[t * c + i]);
    float share = 1.0f / static_cast<float>(length);
    for (int64_t i = 0; i < c; i++) y[i] *= share;
}

template <class T>
AVEDIS_CLONES static void spread_clip(T* dx, const float* dy, int64_t length, int64_t t, int64_t c) {
    float share = 1.0f / static_cast<float>(length);
    for (int64_t step = 0; step < length; step++)
        for (int64_t i = 0; i < c; i++) store(dx + step * c + i, dy[i] * share);
    std::memset(static_cast<void*>(dx + length * c), 0, (t - length) * c * sizeof(T));
}

}  // namespace avedis

using namespace avedis;

int32_t avedis_masked_mean_forward(float* y, const void* x, const int32_t* lengths, int32_t type, int64_t n, int64_t t,
                                   int64_t c) {
    return guarded(type, [&](auto zero) {
        using T = decltype(zero);
#pragma omp parallel for schedule(static)
        for (int64_t i = 0; i < n; i++) mean_clip(y + i * c, static_cast<const T*>(x) + i * t * c, lengths[i], c);
    });
}

int32_t avedis_masked_mean_backward(void* dx, const float* dy, const int32_t* lengths, int32_t type, int64_t n,
                                    int64_t t, int64_t c) {
    return guarded(type, [&](auto zero) {
        using T = decltype(zero);
#pragma omp parallel for schedule(static)
        for (int64_t i = 0; i < n; i++) spread_clip(static_cast<T*>(dx) + i * t * c, dy + i * c, lengths[i], t, c);
    });
}
