// ReLU: y = max(x, 0), and dX = dY where y > 0, else 0. A NaN passes through forwards, so that a training that diverged shows. Bound by memory.
//
// Launch: any number of blocks of 256 threads; threads stride over the array until its end.
#include "elementwise.cuh"

template <typename T>
__device__ inline void relu_forward(T* y, const T* x, int64_t count) {
    constexpr int kRun = kIn16Bytes<T>;
    for_each_run<kRun>(count, allow_runs<kRun>(y, x), [=](auto run) {
        auto values = run.load(x);
        for (int i = 0; i < run.length; i++)
            if (to_float(values.at[i]) < 0) values.at[i] = T{};
        run.store(y, values);
    });
}

KERNEL((256), relu_forward_f32, (float* y, const float* x, int64_t count)) { relu_forward(y, x, count); }
KERNEL((256), relu_forward_bf16, (bf16* y, const bf16* x, int64_t count)) { relu_forward(y, x, count); }

template <typename T>
__device__ inline void relu_backward(T* dx, const T* dy, const T* y, int64_t count) {
    constexpr int kRun = kIn16Bytes<T>;
    for_each_run<kRun>(count, allow_runs<kRun>(dx, dy, y), [=](auto run) {
        auto gradient = run.load(dy), output = run.load(y);
        for (int i = 0; i < run.length; i++)
            if (!(to_float(output.at[i]) > 0)) gradient.at[i] = T{};
        run.store(dx, gradient);
    });
}

KERNEL((256), relu_backward_f32, (float* dx, const float* dy, const float* y, int64_t count)) { relu_backward(dx, dy, y, count); }
KERNEL((256), relu_backward_bf16, (bf16* dx, const bf16* dy, const bf16* y, int64_t count)) { relu_backward(dx, dy, y, count); }
