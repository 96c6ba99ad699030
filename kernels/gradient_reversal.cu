// Gradient reversal: dX = -lambda[0] * dY, and dX += -lambda[0] * dY, which saves the pass that would sum both gradients of an activation afterwards.
// lambda is read on the device, so that a recorded step follows its schedule. Bound by memory.
//
// Launch: any number of blocks of 256 threads; threads stride over the array until its end.
#include "elementwise.cuh"

template <typename T>
__device__ inline void gradient_reversal_backward(T* dx, const T* dy, const float* lambda, int64_t count) {
    constexpr int kRun = kIn16Bytes<T>;
    float factor = -lambda[0];
    for_each_run<kRun>(count, allow_runs<kRun>(dx, dy), [=](auto run) {
        auto gradient = run.load(dy);
        for (int i = 0; i < run.length; i++) gradient.at[i] = from_float<T>(factor * to_float(gradient.at[i]));
        run.store(dx, gradient);
    });
}

KERNEL((256), gradient_reversal_backward_f32, (float* dx, const float* dy, const float* lambda, int64_t count)) {
    gradient_reversal_backward(dx, dy, lambda, count);
}
KERNEL((256), gradient_reversal_backward_bf16, (bf16* dx, const bf16* dy, const float* lambda, int64_t count)) {
    gradient_reversal_backward(dx, dy, lambda, count);
}

KERNEL((256), gradient_reversal_add_f32, (float* dx, const float* dy, const float* lambda, int64_t count)) {
    constexpr int kRun = kIn16Bytes<float>;
    float factor = -lambda[0];
    for_each_run<kRun>(count, allow_runs<kRun>(dx, dy), [=](auto run) {
        auto sum = run.load(dx), gradient = run.load(dy);
        for (int i = 0; i < run.length; i++) sum.at[i] += factor * gradient.at[i];
        run.store(dx, sum);
    });
}
