// What all kernels share, and nothing else: how a kernel is declared, the types of its data, sums over a warp and a block, and the few
// instructions that C++ cannot say (matrix units, asynchronous copies). The same sources are compiled twice: by nvcc for the GPU, and by g++ with
// emulation/cuda_emulation.h, which runs them on the processor for tests. Each inline-assembly function below has a twin of the same name there.
//
// Conventions. A kernel is named <operation>_<pass>_<type>; outputs come first, then inputs, then sizes. Parameter gradients accumulate, activation
// gradients overwrite. Sums are in FP32 and in a fixed order: no atomics on floats, so equal input gives equal bits.
#pragma once

#ifdef __CUDACC__
#include <cstdint>
#include <type_traits>

// KERNEL((threads[, blocks per multiprocessor]), name, (parameters)) { body }: launched by name with at most so many threads a block.
#define KERNEL(bounds, name, parameters) extern "C" __global__ void __launch_bounds__ bounds name parameters

// SHARED(float, tile, [32][33]): a block's own array, garbage at first.
#define SHARED(type, name, extents) __shared__ type name extents

// DYNAMIC_SHARED(float, tile): the bytes that the launch asked for, aligned to 16.
#define DYNAMIC_SHARED(type, name)                         \
    extern __shared__ __align__(16) uint8_t dynamic_shared[]; \
    type* const name = reinterpret_cast<type*>(dynamic_shared)

#else
#include "emulation/cuda_emulation.h"
#endif

// ---- types ----------------------------------------------------------------------------------------------------------------

// bfloat16: the upper half of an FP32 number.
struct bf16 {
    uint16_t bits;
};

__device__ inline float to_float(float x) { return x; }

__device__ inline float to_float(bf16 x) { return __uint_as_float(static_cast<uint32_t>(x.bits) << 16); }

// Rounds to nearest, ties to even; NaN stays NaN.
__device__ inline bf16 to_bf16(float x) {
#ifdef __CUDACC__
    bf16 result;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(result.bits) : "f"(x));
    return result;
#else
    return bf16{emulation::round_to_bf16(x)};
#endif
}

template <typename T>
__device__ inline T from_float(float x);
template <>
__device__ inline float from_float<float>(float x) {
    return x;
}
template <>
__device__ inline bf16 from_float<bf16>(float x) {
    return to_bf16(x);
}

// N numbers that one instruction loads or stores: Vector<float, 4> and Vector<bf16, 8> are 16 bytes.
template <typename T, int N>
struct alignas(sizeof(T) * N) Vector {
    T at[N];
};

// Divides integers from 0 to 2^31 - 1 by a fixed one through a multiplication: the host supplies multiplier = ceil(2^shift / divisor), shift =
// 31 + ceil(log2 divisor).
struct FastDivisor {
    int divisor;
    uint32_t multiplier;
    int shift;
};

__device__ inline int operator/(int x, FastDivisor by) {
    return static_cast<int>(static_cast<uint64_t>(static_cast<uint32_t>(x)) * by.multiplier >> by.shift);
}

// One access of 16 bytes or less; the pointer is aligned to the vector.
template <int N, typename T>
__device__ inline Vector<T, N> load_vector(const T* from) {
    return *reinterpret_cast<const Vector<T, N>*>(from);
}

template <int N, typename T>
__device__ inline void store_vector(T* to, const Vector<T, N>& x) {
    *reinterpret_cast<Vector<T, N>*>(to) = x;
}

// N floats beside each other as FP32 registers, four at a time where N allows it.
template <int N>
__device__ inline void load_floats(float (&x)[N], const float* from) {
    constexpr int kAtOnce = N % 4 == 0 ? 4 : 1;
#pragma unroll
    for (int i = 0; i < N; i += kAtOnce) {
        Vector<float, kAtOnce> part = load_vector<kAtOnce>(from + i);
#pragma unroll
        for (int k = 0; k < kAtOnce; k++) x[i + k] = part.at[k];
    }
}

// Rounds N results to the activation type and stores them as one vector.
template <int N, typename T>
__device__ inline void store_rounded(T* to, const float (&x)[N]) {
    Vector<T, N> rounded;
#pragma unroll
    for (int i = 0; i < N; i++) rounded.at[i] = from_float<T>(x[i]);
    store_vector<N>(to, rounded);
}

// Calls body(integral constant N) with the channels that a thread does at once: 16 bytes of them where c divides into such vectors, else one.
template <typename T, typename F>
__device__ inline void with_lanes(int32_t c, F body) {
    constexpr int kVector = 16 / sizeof(T);
    if (c % kVector == 0)
        body(std::integral_constant<int, kVector>{});
    else
        body(std::integral_constant<int, 1>{});
}

// ---- sums -----------------------------------------------------------------------------------------------------------------

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

// Sum over the 32 lanes of a warp, in every lane, always in the same tree. All lanes take part.
template <typename T>
__device__ inline T warp_sum(T x) {
    for (int distance = kWarp / 2; distance > 0; distance /= 2) x += __shfl_xor_sync(kAllLanes, x, distance);
    return x;
}

__device__ inline float warp_max(float x) {
    for (int distance = kWarp / 2; distance > 0; distance /= 2) x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, distance));
    return x;
}

// Sum over a block of kThreads threads (a multiple of 32, at most 1024), in every thread. Two barriers; may be called again at once.
template <int kThreads, typename T>
__device__ inline T block_sum(T x) {
    static_assert(kThreads % kWarp == 0 && kThreads <= 1024, "whole warps");
    SHARED(T, partial, [kThreads / kWarp]);
    x = warp_sum(x);
    if (threadIdx.x % kWarp == 0) partial[threadIdx.x / kWarp] = x;
    __syncthreads();
    T total = 0;
    for (int warp = 0; warp < kThreads / kWarp; warp++) total += partial[warp];
    __syncthreads();  // nobody may overwrite partial in a next call while others still read it
    return total;
}

template <int kThreads>
__device__ inline float block_max(float x) {
    static_assert(kThreads % kWarp == 0 && kThreads <= 1024, "whole warps");
    SHARED(float, partial, [kThreads / kWarp]);
    x = warp_max(x);
    if (threadIdx.x % kWarp == 0) partial[threadIdx.x / kWarp] = x;
    __syncthreads();
    float largest = partial[0];
    for (int warp = 1; warp < kThreads / kWarp; warp++) largest = fmaxf(largest, partial[warp]);
    __syncthreads();  // as in block_sum
    return largest;
}

// ---- instructions -----------------------------------------------------------------------------------------------------------
// Layouts are those of the PTX ISA, "Matrix fragments for mma.m16n8k8 / m16n8k16". g = lane / 4, t = lane % 4:
//   accumulators c0..c3 (both):  rows g, g, g + 8, g + 8; columns 2t, 2t + 1, 2t, 2t + 1
//   TF32  a0..a3: rows g, g + 8, g, g + 8; k = t, t, t + 4, t + 4          b0, b1: k = t, t + 4; column g
//   BF16  a0..a3, two numbers each: rows g, g + 8, g, g + 8; k = 2t, 2t + 1 (a0, a1), 2t + 8, 2t + 9 (a2, a3)
//         b0, b1, two numbers each: k = 2t, 2t + 1 (b0), 2t + 8, 2t + 9 (b1); column g
#ifdef __CUDACC__

__device__ inline unsigned shared_address(const void* pointer) { return static_cast<unsigned>(__cvta_generic_to_shared(pointer)); }

// c [16,8] += a [16,16] * b [16,8], BF16 with FP32 sums. All 32 lanes.
__device__ inline void mma_m16n8k16_bf16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// c [16,8] += a [16,8] * b [8,8], TF32 with FP32 sums. Operands must have gone through round_to_tf32: the unit cuts off the lower 13 bits.
__device__ inline void mma_m16n8k8_tf32(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Rounds an FP32 number, given and returned as bits, to the 10 mantissa bits of TF32; ties away from zero.
__device__ inline uint32_t round_to_tf32(uint32_t bits) {
    uint32_t result;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(result) : "f"(__uint_as_float(bits)));
    return result;
}

// Loads four 8x8 matrices of 16-bit numbers from shared memory. Lane 8i + j gives the 16-byte aligned address of row j of matrix i; afterwards
// r[i] of lane 4g + t holds elements 2t and 2t + 1 of row g of matrix i. An 8x4 matrix of 32-bit numbers loads the same way: element t of row g.
__device__ inline void ldmatrix_x4(uint32_t (&r)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}

// The same, transposed: r[i] of lane 4g + t holds rows 2t and 2t + 1 of column g of matrix i. 16-bit numbers only.
__device__ inline void ldmatrix_x4_transposed(uint32_t (&r)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}

// Starts to copy 16 bytes from global to shared memory, both aligned to 16; writes zeros, reading nothing, if not valid. Belongs to the
// thread's next cp_async_commit.
__device__ inline void cp_async_16(void* shared, const void* global, bool valid) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global), "r"(valid ? 16 : 0) : "memory");
}

// Closes the thread's group of copies, which may be empty.
__device__ inline void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most kPending of this thread's latest groups are under way. Other threads see the bytes after a barrier only.
template <int kPending>
__device__ inline void cp_async_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

#endif
