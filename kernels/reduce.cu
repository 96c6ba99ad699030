// Sums of slices: a reduction that was split among blocks left one FP32 partial result for each slice, partial [slices][count]; these kernels add them up.
//   reduce_slices_add_f32       y[i] += sum over s of partial[s][i]
//   reduce_slices_<f32|bf16>    y[i] = the same sum, rounded once
//
// Launch: ceil(count / 32) blocks of 256 threads. A warp reads 32 neighbours of a slice, 128 bytes; the eight warps of a block take one eighth of the slices
// each, in order, and their eight sums are added in order. So the order of the sum depends on the number of slices alone, and few elements in
// many slices (a first layer's weight gradient) still keep the memory busy.
#include "kernel.cuh"

constexpr int kReduceThreads = 256;

// The sum for element blockIdx.x * 32 + lane, in the threads of the first warp.
__device__ inline float sum_of_slices(const float* partial, int64_t count, int slices, int64_t element) {
    constexpr int kWarps = kReduceThreads / kWarp;
    SHARED(float, parts, [kWarps][kWarp]);
    int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
    int share = (slices + kWarps - 1) / kWarps, end = min((warp + 1) * share, slices);
    float sum = 0;
    if (element < count) {
#pragma unroll 8
        for (int slice = warp * share; slice < end; slice++) sum += partial[slice * count + element];
    }
    parts[warp][lane] = sum;
    __syncthreads();
    float total = parts[0][lane];
    for (int w = 1; w < kWarps; w++) total += parts[w][lane];
    return total;
}

template <typename F>
__device__ inline void reduce_slices(const float* partial, int64_t count, int slices, F store) {
    int64_t element = static_cast<int64_t>(blockIdx.x) * kWarp + threadIdx.x % kWarp;
    float total = sum_of_slices(partial, count, slices, element);
    if (threadIdx.x < kWarp && element < count) store(element, total);
}

KERNEL((kReduceThreads), reduce_slices_add_f32, (float* y, const float* partial, int64_t count, int slices)) {
    reduce_slices(partial, count, slices, [=](int64_t i, float sum) { y[i] += sum; });
}

KERNEL((kReduceThreads), reduce_slices_f32, (float* y, const float* partial, int64_t count, int slices)) {
    reduce_slices(partial, count, slices, [=](int64_t i, float sum) { y[i] = sum; });
}

KERNEL((kReduceThreads), reduce_slices_bf16, (bf16* y, const float* partial, int64_t count, int slices)) {
    reduce_slices(partial, count, slices, [=](int64_t i, float sum) { y[i] = to_bf16(sum); });
}
