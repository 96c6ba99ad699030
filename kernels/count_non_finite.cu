// count [1] += how many elements of x are NaN or infinite: those whose exponent is all ones. Bound by memory. The sum is one of integers, so the order
// of the atomic additions does not matter.
//
// Launch: any number of blocks of 256 threads, count 0 before; threads stride over the array until its end.
#include "elementwise.cuh"

template <typename T>
__device__ inline void count_non_finite(int* count, const T* x, int64_t elements) {
    constexpr int kRun = kIn16Bytes<T>;
    SHARED(int, total, [1]);
    if (threadIdx.x == 0) total[0] = 0;
    __syncthreads();
    int found = 0;
    for_each_run<kRun>(elements, allow_runs<kRun>(x), [=, &found](auto run) {
        auto values = run.load(x);
        for (int i = 0; i < run.length; i++) found += (__float_as_uint(to_float(values.at[i])) & 0x7f800000) == 0x7f800000;
    });
    if (found) atomicAdd(total, found);
    __syncthreads();
    if (threadIdx.x == 0 && total[0]) atomicAdd(count, total[0]);
}

KERNEL((256), count_non_finite_f32, (int* count, const float* x, int64_t elements)) { count_non_finite(count, x, elements); }
KERNEL((256), count_non_finite_bf16, (int* count, const bf16* x, int64_t elements)) { count_non_finite(count, x, elements); }
