// Passes that touch each element once: y = f(x).
#include "status.h"

namespace avedis {

template <class Y, class X>
AVEDIS_CLONES static void convert_range(Y* y, const X* x, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) store(y + i, to_float(x[i]));
}

AVEDIS_CLONES static void add_range(float* y, const float* x, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) y[i] += x[i];
}

template <class T>
AVEDIS_CLONES static void normalise_range(T* y, const uint8_t* x, float scale, float shift, int64_t begin,
                                          int64_t end) {
    for (int64_t i = begin; i < end; i++) store(y + i, scale * static_cast<float>(x[i]) + shift);
}

// Written so that a NaN passes through.
template <class T>
AVEDIS_CLONES static void relu_forward_range(T* y, const T* x, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
        float value = to_float(x[i]);
        store(y + i, value < 0 ? 0 : value);
    }
}

template <class T>
AVEDIS_CLONES static void relu_backward_range(T* dx, const T* dy, const T* y, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
        float gradient = to_float(dy[i]);
        store(dx + i, to_float(y[i]) > 0 ? gradient : 0);
    }
}

template <class T>
AVEDIS_CLONES static void scale_range(T* y, const T* x, float factor, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) store(y + i, factor * to_float(x[i]));
}

AVEDIS_CLONES static void add_scaled_range(float* y, const float* x, float factor, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) y[i] += factor * x[i];
}

// An exponent of ones is an infinity or a NaN.
template <class T>
AVEDIS_CLONES static int32_t count_non_finite_range(const T* x, int64_t begin, int64_t end) {
    int32_t count = 0;
    for (int64_t i = begin; i < end; i++) {
        float value = to_float(x[i]);
        uint32_t bits;
        std::memcpy(&bits, &value, 4);
        count += (bits & 0x7f800000) == 0x7f800000;
    }
    return count;
}

template <class Y, class X>
static void convert(void* y, const void* x, int64_t count) {
    parallel_ranges(count, kPiece, [&](int64_t begin, int64_t end) {
        convert_range(static_cast<Y*>(y), static_cast<const X*>(x), begin, end);
    });
}

}  // namespace avedis

using namespace avedis;

int32_t avedis_convert(void* y, const void* x, int32_t x_type, int64_t count) {
    return guarded(
        [&] { x_type == AVEDIS_BF16 ? convert<float, bf16>(y, x, count) : convert<bf16, float>(y, x, count); });
}

int32_t avedis_add(float* y, const float* x, int64_t count) {
    return guarded(
        [&] { parallel_ranges(count, kPiece, [&](int64_t begin, int64_t end) { add_range(y, x, begin, end); }); });
}

int32_t avedis_normalise(void* y, int32_t type, const uint8_t* x, int64_t count, float scale, float shift) {
    return guarded(type, [&](auto zero) {
        using T = decltype(zero);
        parallel_ranges(count, kPiece, [&](int64_t begin, int64_t end) {
            normalise_range(static_cast<T*>(y), x, scale, shift, begin, end);
        });
    });
}

int32_t avedis_relu_forward(void* y, const void* x, int32_t type, int64_t count) {
    return guarded(type, [&](auto zero) {
        using T = decltype(zero);
        parallel_ranges(count, kPiece, [&](int64_t begin, int64_t end) {
            relu_forward_range(static_cast<T*>(y), static_cast<const T*>(x), begin, end);
        });
    });
}

int32_t avedis_relu_backward(void* dx, const void* dy, const void* y, int32_t type, int64_t count) {
    return guarded(type, [&](auto zero) {
        using T = decltype(zero);
        parallel_ranges(count, kPiece, [&](int64_t begin, int64_t end) {
            relu_backward_range(static_cast<T*>(dx), static_cast<const T*>(dy), static_cast<const T*>(y), begin, end);
        });
    });
}

int32_t avedis_gradient_reversal_backward(void* dx, const void* dy, const float* lambda, int32_t type, int64_t count) {
    return guarded(type, [&](auto zero) {
        using T = decltype(zero);
        float factor = -lambda[0];
        parallel_ranges(count, kPiece, [&](int64_t begin, int64_t end) {
            scale_range(static_cast<T*>(dx), static_cast<const T*>(dy), factor, begin, end);
        });
    });
}

int32_t avedis_gradient_reversal_add(float* dx, const float* dy, const float* lambda, int64_t count) {
    return guarded([&] {
        float factor = -lambda[0];
        parallel_ranges(count, kPiece,
                        [&](int64_t begin, int64_t end) { add_scaled_range(dx, dy, factor, begin, end); });
    });
}

int32_t avedis_count_non_finite(int32_t* result, const void* x, int32_t type, int64_t count) {
    return guarded(type, [&](auto zero) {
        using T = decltype(zero);
        int32_t total = 0;
        parallel_ranges(count, kPiece, [&](int64_t begin, int64_t end) {
            int32_t found = count_non_finite_range(static_cast<const T*>(x), begin, end);
#pragma omp atomic
            total += found;
        });
        *result = total;
    });
}

int32_t avedis_concat_forward(float* y, const float* a, const float* b, int64_t n, int64_t a_width, int64_t b_width) {
    return guarded([&] {
        for (int64_t i = 0; i < n; i++, y += a_width + b_width) {
            std::memcpy(y, a + i * a_width, a_width * sizeof(float));
            std::memcpy(y + a_width, b + i * b_width, b_width * sizeof(float));
        }
    });
}

int32_t avedis_concat_backward(float* da, float* db, const float* dy, int64_t n, int64_t a_width, int64_t b_width) {
    return guarded([&] {
        for (int64_t i = 0; i < n; i++, dy += a_width + b_width) {
            std::memcpy(da + i * a_width, dy, a_width * sizeof(float));
            std::memcpy(db + i * b_width, dy + a_width, b_width * sizeof(float));
        }
    });
}
