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

// ON_HOPPER(statement): what runs where the kernel is compiled for sm_90a. Elsewhere such a kernel is there in name only, and ends the launch: nothing but a
// wrong choice of the host can come there.
#if defined(__CUDA_ARCH__) && !defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define ON_HOPPER(...) __trap()
#else
#define ON_HOPPER(...) __VA_ARGS__
#endif

// DYNAMIC_SHARED(float, tile): the bytes that the launch asked for, aligned to 16.
#define DYNAMIC_SHARED(type, name)                         \
    extern __shared__ __align__(16) uint8_t dynamic_shared[]; \
    type* const name = reinterpret_cast<type*>(dynamic_shared)

#include "wait_report.cuh"

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

template <int N>
__device__ inline void store_floats(float* to, const float (&x)[N]) {
    constexpr int kAtOnce = N % 4 == 0 ? 4 : 1;
#pragma unroll
    for (int i = 0; i < N; i += kAtOnce) {
        Vector<float, kAtOnce> part;
#pragma unroll
        for (int k = 0; k < kAtOnce; k++) part.at[k] = x[i + k];
        store_vector<kAtOnce>(to + i, part);
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

// ---- instructions of Hopper (sm_90a)

// Barriers in shared memory (mbarrier): a phase is over when so many have arrived and all the bytes that were announced have come. All use it behind a
// fence_async_proxy of the thread that initialised it and a __syncthreads.
__device__ inline void mbarrier_init(uint64_t* barrier, unsigned arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals) : "memory");
}

__device__ inline void mbarrier_arrive(uint64_t* barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
}

// Arrives, and announces so many bytes of copies that this phase has to wait for.
__device__ inline void mbarrier_arrive_expecting(uint64_t* barrier, unsigned bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes) : "memory");
}

// Whether the phase of this parity is over; looks for some time.
__device__ inline bool mbarrier_over(uint64_t* barrier, unsigned parity) {
    unsigned over;
    asm volatile("{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }"
                 : "=r"(over)
                 : "r"(shared_address(barrier)), "r"(parity)
                 : "memory");
    return over;
}

// The device's clock, which starts again from 0 every four seconds.
__device__ inline unsigned nanoseconds() {
    unsigned now;
    asm volatile("mov.u32 %0, %%globaltimer_lo;" : "=r"(now));
    return now;
}

__device__ WaitReport* wait_report;  // the host's; null: nobody will read it
__device__ int wait_given_up;

// Ends the kernel with an error. One thread says why, the others wait for its trap, or theirs might come before it has said anything.
__device__ inline void give_up(const Awaited& awaited) {
    if (atomicExch(&wait_given_up, 1) == 0) {
        if (wait_report) {
            write_report(wait_report, awaited, static_cast<int>(blockIdx.x), static_cast<int>(blockIdx.y), static_cast<int>(threadIdx.x));
            __threadfence_system();
            wait_report->written = 1;
            __threadfence_system();
        }
        __trap();
    }
    while (true) __nanosleep(1000000);
}

// Waits for the end of the phase of this parity: the first phase has parity 0, the one before it is over. What takes longer than two seconds would never come:
// the wait gives up. It counts periods of a tenth of a second, so that a device that stood still meanwhile is one period older and no more.
__device__ inline void mbarrier_wait(uint64_t* barrier, unsigned parity, const Awaited& awaited) {
    constexpr unsigned kPeriod = 100000000;
    constexpr int kPeriods = 20;
    if (mbarrier_over(barrier, parity)) return;
    unsigned since = nanoseconds();
    for (int periods = 0; !mbarrier_over(barrier, parity);) {
        unsigned now = nanoseconds();
        if (now - since < kPeriod) continue;
        since = now;
        if (++periods == kPeriods) give_up(awaited);
    }
}

// What this thread has written to shared memory so far, its cp_async that it has waited for included, is there for the matrix units and the copy engine.
__device__ inline void fence_async_proxy() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// One thread starts a copy of bytes from global to shared memory by the copy engine, all in multiples of 16; their coming counts in the barrier's phase.
__device__ inline void bulk_copy(void* shared, const void* global, unsigned bytes, uint64_t* barrier) {
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(shared_address(shared)), "l"(global),
                 "r"(bytes), "r"(shared_address(barrier))
                 : "memory");
}

// Products of a warpgroup: four warps from one whose number divides by four. In front of the first, and wherever registers of the sums were touched.
__device__ inline void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

// Closes the group of products.
__device__ inline void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

// Waits until at most kPending of the latest groups are under way.
template <int kPending>
__device__ inline void wgmma_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

// The compiler may not move uses of the sums across this: it does not know that they come with the wait.
template <int kSums>
__device__ inline void wgmma_arrived(float (&d)[kSums]) {
#pragma unroll
    for (int i = 0; i < kSums; i++) asm volatile("" : "+f"(d[i])::"memory");
}

// A warpgroup gives registers back, or takes what others have given: kRegisters a thread from here on, in multiples of 8. All threads of the warpgroup.
template <int kRegisters>
__device__ inline void give_registers() {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

template <int kRegisters>
__device__ inline void take_registers() {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

#define REGISTERS_8(a, b, c, d, e, f, g, h) "%" #a ",%" #b ",%" #c ",%" #d ",%" #e ",%" #f ",%" #g ",%" #h
#define REGISTERS_32                        \
    REGISTERS_8(0, 1, 2, 3, 4, 5, 6, 7)     \
    "," REGISTERS_8(8, 9, 10, 11, 12, 13, 14, 15) "," REGISTERS_8(16, 17, 18, 19, 20, 21, 22, 23) "," REGISTERS_8(24, 25, 26, 27, 28, 29, 30, 31)
#define REGISTERS_48 REGISTERS_32 "," REGISTERS_8(32, 33, 34, 35, 36, 37, 38, 39) "," REGISTERS_8(40, 41, 42, 43, 44, 45, 46, 47)
#define REGISTERS_64 REGISTERS_48 "," REGISTERS_8(48, 49, 50, 51, 52, 53, 54, 55) "," REGISTERS_8(56, 57, 58, 59, 60, 61, 62, 63)
#define REGISTERS_96                                                                                             \
    REGISTERS_64 "," REGISTERS_8(64, 65, 66, 67, 68, 69, 70, 71) "," REGISTERS_8(72, 73, 74, 75, 76, 77, 78, 79) \
    "," REGISTERS_8(80, 81, 82, 83, 84, 85, 86, 87) "," REGISTERS_8(88, 89, 90, 91, 92, 93, 94, 95)
#define REGISTERS_128                                                                                                      \
    REGISTERS_96 "," REGISTERS_8(96, 97, 98, 99, 100, 101, 102, 103) "," REGISTERS_8(104, 105, 106, 107, 108, 109, 110, 111) \
    "," REGISTERS_8(112, 113, 114, 115, 116, 117, 118, 119) "," REGISTERS_8(120, 121, 122, 123, 124, 125, 126, 127)

#define SUMS_8(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), "+f"(d[i + 7])
#define SUMS_32 SUMS_8(0), SUMS_8(8), SUMS_8(16), SUMS_8(24)
#define SUMS_48 SUMS_32, SUMS_8(32), SUMS_8(40)
#define SUMS_64 SUMS_48, SUMS_8(48), SUMS_8(56)
#define SUMS_96 SUMS_64, SUMS_8(64), SUMS_8(72), SUMS_8(80), SUMS_8(88)
#define SUMS_128 SUMS_96, SUMS_8(96), SUMS_8(104), SUMS_8(112), SUMS_8(120)

// sums: registers of a thread, half the columns; a, b, transposed: numbers of the operands behind them
#define WGMMA(columns, sums, a, b, transposed)                                                                                         \
    if constexpr (kColumns == columns)                                                                                                 \
        asm volatile("{ .reg .pred p; setp.ne.b32 p, 1, 0; wgmma.mma_async.sync.aligned.m64n" #columns                                 \
                     "k16.f32.bf16.bf16 {" REGISTERS_##sums "}, %" #a ", %" #b ", p, 1, 1, %" #transposed ", %" #transposed "; }"      \
                     : SUMS_##sums                                                                                                     \
                     : "l"(left), "l"(right), "n"(static_cast<int>(kTransposed)));

// Starts d [64,kColumns] += a [64,16] * b [16,kColumns], BF16 with FP32 sums, of operands in shared memory (matrix_descriptor). Stored with the depth
// contiguous; if kTransposed, with rows of a and columns of b contiguous. d [j * 4 + i] of lane 4g + t of warp w of the four is row 16w + g (i = 0, 1) or
// 16w + g + 8, column 8j + 2t + i % 2. Until they have been waited for, nobody touches operands and d, but for further products into the same d.
template <int kColumns, bool kTransposed>
__device__ inline void wgmma_bf16(float (&d)[kColumns / 2], uint64_t left, uint64_t right) {
    static_assert(kColumns == 64 || kColumns == 96 || kColumns == 128 || kColumns == 192 || kColumns == 256, "columns that are written out below");
    WGMMA(64, 32, 32, 33, 34)
    WGMMA(96, 48, 48, 49, 50)
    WGMMA(128, 64, 64, 65, 66)
    WGMMA(192, 96, 96, 97, 98)
    WGMMA(256, 128, 128, 129, 130)
}

#endif

// Where an operand of wgmma_bf16 lies, in the 128-byte swizzle (PTX ISA, "Matrix descriptor"): lines of 128 bytes, eight of them are an atom of 1024 bytes
// that starts at a multiple of 1024; 16-byte chunk c of line l of an atom lies in place c ^ l.
//   depth contiguous: a line is 64 numbers of the depth of one row; stride bytes from eight rows to the next eight, leading means nothing; the next 16 of
//     the depth start 32 bytes further.
//   else: a line is 64 rows at one place of the depth; leading bytes from 64 rows to the next 64, stride bytes from eight places to the next eight.
__device__ inline uint64_t matrix_descriptor(const void* shared, unsigned leading, unsigned stride) {
    constexpr uint64_t kSwizzle128 = 1;
    uint64_t start = (shared_address(shared) & 0x3ffff) >> 4;
    return start | static_cast<uint64_t>(leading >> 4) << 16 | static_cast<uint64_t>(stride >> 4) << 32 | kSwizzle128 << 62;
}
