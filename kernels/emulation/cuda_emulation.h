// The part of CUDA C++ that the kernels use, for g++: built-in variables and functions, shared memory, and a twin of each inline-assembly function of
// kernel.cuh. A block's threads run as fibers on one thread of the processor (scheduler.cpp); what threads do together (barriers, shuffles, matrix
// instructions) is a rendezvous, which checks that all who must come do come, and to the same line.
//
// It is stricter than a GPU wherever it can be: shared memory starts as NaN, an asynchronous copy leaves NaN until it has been waited for, TF32
// operands lose the bits that the matrix unit ignores, and the order in which threads run can be turned round or drawn at random (driver.cpp).
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __align__(bytes) alignas(bytes)

#include "../wait_report.cuh"

struct uint3 {
    unsigned x, y, z;
};

struct alignas(8) uint2 {
    unsigned x, y;
};

struct alignas(16) uint4 {
    unsigned x, y, z, w;
};

struct alignas(8) float2 {
    float x, y;
};

struct alignas(16) float4 {
    float x, y, z, w;
};

inline float2 make_float2(float x, float y) { return {x, y}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

namespace emulation {

// Where a kernel met others: for messages, and because all must meet at the same place.
struct Site {
    const char* file;
    int line;

    static Site here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) { return {file, line}; }
};

// The thread that runs now, as the kernel sees it.
struct Thread {
    uint3 index;
    unsigned lane;
};

struct Block {
    uint3 index, extent, grid;
};

extern thread_local Thread* thread;
extern thread_local const Block* block;

// Ends the launch with a message; does not return.
[[noreturn]] void fault(Site site, const char* format, ...) __attribute__((format(printf, 2, 3)));

// Waits until every thread of the block has come to this barrier.
void barrier(Site site);

// The block's array that this call site stands for: poisoned when the block starts, surrounded by guard bytes that are checked when it ends.
void* static_shared(Site site, const void* key, size_t bytes);

// What the launch asked for.
void* dynamic_shared();

// Whether these bytes lie in the block's shared memory.
bool is_shared(const void* pointer, size_t bytes);

// Meets the other lanes named in mask; the last one to come runs work on what all have brought, then all go on. in and out are indexed by lane.
using Work = void (*)(unsigned mask, const void* const* in, void* const* out);
void meet(Site site, unsigned mask, Work work, const void* in, void* out);

// One thread's asynchronous copies.
void copy_async(Site site, void* shared, const void* global, size_t bytes, bool valid);
void commit_copies();
void await_copies(int pending);

template <typename In, typename Out, void (*kWork)(unsigned mask, const In* const* in, Out* const* out)>
Out meet_as(Site site, unsigned mask, const In& in) {
    Out out;
    meet(site, mask,
         [](unsigned m, const void* const* i, void* const* o) {
             kWork(m, reinterpret_cast<const In* const*>(i), reinterpret_cast<Out* const*>(o));
         },
         &in, &out);
    return out;
}

// ---- shuffles

template <typename T>
struct Shuffle {
    T value;
    int source;
};

template <typename T>
void shuffle(unsigned mask, const Shuffle<T>* const* in, T* const* out) {
    for (int lane = 0; lane < 32; lane++)
        if (mask >> lane & 1) {
            int source = in[lane]->source;
            // from a lane that takes no part the value is undefined: poison
            if (mask >> source & 1)
                *out[lane] = in[source]->value;
            else
                std::memset(out[lane], 0xff, sizeof(T));
        }
}

template <typename T>
T shuffle_from(Site site, unsigned mask, T value, int source) {
    if (source < 0 || source > 31) fault(site, "a shuffle from lane %d", source);
    return meet_as<Shuffle<T>, T, shuffle<T>>(site, mask, Shuffle<T>{value, source});
}

inline void vote(unsigned mask, const int* const* in, unsigned* const* out) {
    unsigned ballot = 0;
    for (int lane = 0; lane < 32; lane++)
        if ((mask >> lane & 1) && *in[lane]) ballot |= 1u << lane;
    for (int lane = 0; lane < 32; lane++)
        if (mask >> lane & 1) *out[lane] = ballot;
}

// ---- numbers

inline uint16_t round_to_bf16(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fff;  // the one NaN that cvt gives
    return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

inline float bf16_at(uint32_t pair, int half) {
    uint32_t bits = half ? pair & 0xffff0000u : pair << 16;
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
}

inline float tf32_of(uint32_t bits) {
    bits &= ~0x1fffu;
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
}

// ---- matrix units: fragments by the tables of the PTX ISA, see kernel.cuh

struct Fragments {
    float c[4];
    uint32_t a[4], b[2];
};

struct Accumulators {
    float c[4];
};

template <int kK>
void multiply(unsigned, const Fragments* const* in, Accumulators* const* out) {
    float a[16][kK], b[kK][8];
    for (int lane = 0; lane < 32; lane++) {
        int g = lane / 4, t = lane % 4;
        const Fragments& f = *in[lane];
        if constexpr (kK == 8) {
            for (int i = 0; i < 4; i++) a[g + i % 2 * 8][t + i / 2 * 4] = tf32_of(f.a[i]);
            for (int i = 0; i < 2; i++) b[t + i * 4][g] = tf32_of(f.b[i]);
        } else {
            for (int i = 0; i < 4; i++)
                for (int half = 0; half < 2; half++) a[g + i % 2 * 8][2 * t + half + i / 2 * 8] = bf16_at(f.a[i], half);
            for (int i = 0; i < 2; i++)
                for (int half = 0; half < 2; half++) b[2 * t + half + i * 8][g] = bf16_at(f.b[i], half);
        }
    }
    float c[16][8] = {};
    for (int row = 0; row < 16; row++)
        for (int k = 0; k < kK; k++)
            for (int column = 0; column < 8; column++) c[row][column] += a[row][k] * b[k][column];
    for (int lane = 0; lane < 32; lane++)
        for (int i = 0; i < 4; i++) out[lane]->c[i] = in[lane]->c[i] + c[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2];
}

template <int kK>
void multiply_add(Site site, float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    Fragments f;
    std::memcpy(f.c, c, sizeof c);
    std::memcpy(f.a, a, sizeof a);
    std::memcpy(f.b, b, sizeof b);
    Accumulators sum = meet_as<Fragments, Accumulators, multiply<kK>>(site, 0xffffffffu, f);
    std::memcpy(c, sum.c, sizeof c);
}

struct Registers {
    uint32_t r[4];
};

template <bool kTransposed>
void load_matrices(unsigned, const uint16_t* const* const* in, Registers* const* out) {
    for (int lane = 0; lane < 32; lane++)
        for (int matrix = 0; matrix < 4; matrix++) {
            int g = lane / 4, t = lane % 4;
            uint16_t half[2];
            for (int i = 0; i < 2; i++) {
                int row = kTransposed ? 2 * t + i : g, column = kTransposed ? g : 2 * t + i;
                half[i] = (*in[matrix * 8 + row])[column];
            }
            out[lane]->r[matrix] = half[0] | static_cast<uint32_t>(half[1]) << 16;
        }
}

template <bool kTransposed>
void load_four(Site site, uint32_t (&r)[4], const void* row) {
    if (reinterpret_cast<uintptr_t>(row) % 16 || !is_shared(row, 16)) fault(site, "ldmatrix: %p is no 16-byte aligned row in shared memory", row);
    const uint16_t* address = static_cast<const uint16_t*>(row);
    Registers loaded = meet_as<const uint16_t*, Registers, load_matrices<kTransposed>>(site, 0xffffffffu, address);
    std::memcpy(r, loaded.r, sizeof r);
}

// ---- instructions of Hopper: hopper.cpp

void mbarrier_init(Site site, void* barrier, unsigned arrivals);
void mbarrier_arrive(Site site, void* barrier, unsigned bytes);
void mbarrier_wait(Site site, void* barrier, unsigned parity, const Awaited& awaited);
void fence_async_proxy(Site site);
void copy_bulk(Site site, void* shared, const void* global, size_t bytes, void* barrier);

// In the window of shared memory, as descriptors have it. Dynamic memory only, which is all that operands lie in.
unsigned window_address(Site site, const void* shared);

// One product of a warpgroup.
struct Product {
    uint64_t a, b;
    int columns, transposed;
};

void change_registers(Site site, int registers, bool more);
void wgmma_fence(Site site);
void wgmma_start(Site site, float* d, const Product& product);
void wgmma_commit(Site site);
void wgmma_wait(Site site, int pending);

// ---- the list of kernels

// What KERNEL says in front of the name.
struct Bounds {
    int threads;

    explicit Bounds(int threads, int = 1) : threads(threads) {}
};

// One parameter for the tests: 'p' pointer, 'i' integer, 'f' float, 's' struct; and its bytes.
struct Parameter {
    char kind;
    size_t bytes;
};

struct Kernel {
    const char* name;
    int threads;
    std::vector<Parameter> parameters;
    void* function;
    void (*call)(void* function, void* const* arguments);
    int allowed = -1;  // dynamic shared memory, if cuFuncSetAttribute has set it
    mutable long launches = 0;
};

void add_kernel(Kernel kernel);

struct Registration {
    template <typename... A>
    Registration(const char* name, Bounds bounds, void (*function)(A...)) {
        add_kernel({name, bounds.threads, {describe<A>()...}, reinterpret_cast<void*>(function), &call<A...>});
    }

   private:
    template <typename A>
    static Parameter describe() {
        return {std::is_pointer_v<A> ? 'p' : std::is_integral_v<A> ? 'i' : std::is_floating_point_v<A> ? 'f' : 's', sizeof(A)};
    }

    template <typename... A>
    static void call(void* function, void* const* arguments) {
        call_with<A...>(reinterpret_cast<void (*)(A...)>(function), arguments, std::index_sequence_for<A...>{});
    }

    template <typename... A, size_t... kIndex>
    static void call_with(void (*function)(A...), void* const* arguments, std::index_sequence<kIndex...>) {
        function(*static_cast<std::remove_reference_t<A>*>(arguments[kIndex])...);
    }
};

}  // namespace emulation

#define threadIdx (emulation::thread->index)
#define blockIdx (emulation::block->index)
#define blockDim (emulation::block->extent)
#define gridDim (emulation::block->grid)

#define KERNEL(bounds, name, parameters)                                                                \
    extern "C" void name parameters;                                                                    \
    static const emulation::Registration name##_registration(#name, emulation::Bounds bounds, &name);   \
    extern "C" void name parameters

// The key is a static object of the place in the source, one for each template instance.
#define SHARED(type, name, extents)                                                                     \
    typedef type name##_array extents;                                                                  \
    static const char name##_key = 0;                                                                   \
    name##_array& name = *static_cast<name##_array*>(emulation::static_shared(emulation::Site{__FILE__, __LINE__}, &name##_key, sizeof(name##_array)))

#define DYNAMIC_SHARED(type, name) type* const name = static_cast<type*>(emulation::dynamic_shared())

#define ON_HOPPER(...) __VA_ARGS__

#define __syncthreads() emulation::barrier(emulation::Site{__FILE__, __LINE__})

inline void __syncwarp(unsigned mask = 0xffffffffu, emulation::Site site = emulation::Site::here()) {
    emulation::shuffle_from(site, mask, 0, static_cast<int>(emulation::thread->lane));
}

// Without the width that CUDA lets one give behind the lane: nobody needs it.
template <typename T>
T __shfl_sync(unsigned mask, T value, int source, emulation::Site site = emulation::Site::here()) {
    return emulation::shuffle_from(site, mask, value, source & 31);
}

template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int distance, emulation::Site site = emulation::Site::here()) {
    return emulation::shuffle_from(site, mask, value, static_cast<int>(emulation::thread->lane) ^ distance);
}

template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned distance, emulation::Site site = emulation::Site::here()) {
    int lane = static_cast<int>(emulation::thread->lane), source = lane + static_cast<int>(distance);
    return emulation::shuffle_from(site, mask, value, source < 32 ? source : lane);
}

template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned distance, emulation::Site site = emulation::Site::here()) {
    int lane = static_cast<int>(emulation::thread->lane), source = lane - static_cast<int>(distance);
    return emulation::shuffle_from(site, mask, value, source >= 0 ? source : lane);
}

inline unsigned __ballot_sync(unsigned mask, int predicate, emulation::Site site = emulation::Site::here()) {
    return emulation::meet_as<int, unsigned, emulation::vote>(site, mask, predicate);
}

inline int __any_sync(unsigned mask, int predicate, emulation::Site site = emulation::Site::here()) {
    return __ballot_sync(mask, predicate, site) != 0;
}

inline int __all_sync(unsigned mask, int predicate, emulation::Site site = emulation::Site::here()) {
    return __ballot_sync(mask, predicate, site) == mask;
}

inline int atomicAdd(int* address, int value) { return __atomic_fetch_add(address, value, __ATOMIC_RELAXED); }

inline uint32_t __float_as_uint(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    return bits;
}

inline float __uint_as_float(uint32_t bits) {
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
}

template <typename T>
T min(T a, T b) {
    return b < a ? b : a;
}
template <typename T>
T max(T a, T b) {
    return a < b ? b : a;
}

// ---- twins of the inline-assembly functions of kernel.cuh

inline void mma_m16n8k16_bf16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], emulation::Site site = emulation::Site::here()) {
    emulation::multiply_add<16>(site, c, a, b);
}

inline void mma_m16n8k8_tf32(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], emulation::Site site = emulation::Site::here()) {
    emulation::multiply_add<8>(site, c, a, b);
}

inline uint32_t round_to_tf32(uint32_t bits) {
    if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fffffff;  // the one NaN that cvt gives; a payload in the lower bits alone would become infinity
    return (bits + 0x1000) & ~0x1fffu;
}

inline void ldmatrix_x4(uint32_t (&r)[4], const void* row, emulation::Site site = emulation::Site::here()) {
    emulation::load_four<false>(site, r, row);
}

inline void ldmatrix_x4_transposed(uint32_t (&r)[4], const void* row, emulation::Site site = emulation::Site::here()) {
    emulation::load_four<true>(site, r, row);
}

inline void cp_async_16(void* shared, const void* global, bool valid, emulation::Site site = emulation::Site::here()) {
    emulation::copy_async(site, shared, global, 16, valid);
}

inline void cp_async_commit() { emulation::commit_copies(); }

template <int kPending>
void cp_async_wait() {
    emulation::await_copies(kPending);
}

inline unsigned shared_address(const void* pointer, emulation::Site site = emulation::Site::here()) { return emulation::window_address(site, pointer); }

inline void mbarrier_init(uint64_t* barrier, unsigned arrivals, emulation::Site site = emulation::Site::here()) {
    emulation::mbarrier_init(site, barrier, arrivals);
}

inline void mbarrier_arrive(uint64_t* barrier, emulation::Site site = emulation::Site::here()) { emulation::mbarrier_arrive(site, barrier, 0); }

inline void mbarrier_arrive_expecting(uint64_t* barrier, unsigned bytes, emulation::Site site = emulation::Site::here()) {
    emulation::mbarrier_arrive(site, barrier, bytes);
}

inline void mbarrier_wait(uint64_t* barrier, unsigned parity, const Awaited& awaited, emulation::Site site = emulation::Site::here()) {
    emulation::mbarrier_wait(site, barrier, parity, awaited);
}

inline void fence_async_proxy(emulation::Site site = emulation::Site::here()) { emulation::fence_async_proxy(site); }

inline void bulk_copy(void* shared, const void* global, unsigned bytes, uint64_t* barrier, emulation::Site site = emulation::Site::here()) {
    emulation::copy_bulk(site, shared, global, bytes, barrier);
}

inline void wgmma_fence(emulation::Site site = emulation::Site::here()) { emulation::wgmma_fence(site); }

inline void wgmma_commit(emulation::Site site = emulation::Site::here()) { emulation::wgmma_commit(site); }

template <int kPending>
void wgmma_wait(emulation::Site site = emulation::Site::here()) {
    emulation::wgmma_wait(site, kPending);
}

template <int kRegisters>
void give_registers(emulation::Site site = emulation::Site::here()) {
    emulation::change_registers(site, kRegisters, false);
}

template <int kRegisters>
void take_registers(emulation::Site site = emulation::Site::here()) {
    emulation::change_registers(site, kRegisters, true);
}

template <int kSums>
void wgmma_arrived(float (&)[kSums]) {}

template <int kColumns, bool kTransposed>
void wgmma_bf16(float (&d)[kColumns / 2], uint64_t left, uint64_t right, emulation::Site site = emulation::Site::here()) {
    static_assert(kColumns % 8 == 0 && kColumns <= 256, "m64nNk16 has these");
    emulation::wgmma_start(site, d, {left, right, kColumns, kTransposed});
}
