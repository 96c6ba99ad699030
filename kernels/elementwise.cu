// Element by element: y = x and its conversions, y += x, bytes to activations, ReLU. All are bound by memory: a thread does a few elements, 16 bytes of the
// wider type at a time where all addresses allow it, and neighbours in a warp touch neighbours in memory.
//
// Launch: any number of blocks of 256 threads; threads stride over the array until its end.
#include "kernel.cuh"

// Calls element(i) for every i below count, by all threads of the grid.
template <typename F>
__device__ inline void for_each_element(int64_t count, F element) {
    int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
    for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += stride) element(i);
}

// y = x, FP32 to BF16 and back.
KERNEL((256), convert_f32_bf16, (bf16* y, const float* x, int64_t count)) {
    for_each_element(count, [=](int64_t i) { y[i] = to_bf16(x[i]); });
}

KERNEL((256), convert_bf16_f32, (float* y, const bf16* x, int64_t count)) {
    for_each_element(count, [=](int64_t i) { y[i] = to_float(x[i]); });
}

// y += x
KERNEL((256), add_f32, (float* y, const float* x, int64_t count)) {
    for_each_element(count, [=](int64_t i) { y[i] += x[i]; });
}

// y = scale * x + shift, bytes to activations
template <typename T>
__device__ inline void normalise(T* y, const uint8_t* x, int64_t count, float scale, float shift) {
    for_each_element(count, [=](int64_t i) { y[i] = from_float<T>(scale * x[i] + shift); });
}

KERNEL((256), normalise_f32, (float* y, const uint8_t* x, int64_t count, float scale, float shift)) { normalise(y, x, count, scale, shift); }
KERNEL((256), normalise_bf16, (bf16* y, const uint8_t* x, int64_t count, float scale, float shift)) { normalise(y, x, count, scale, shift); }
