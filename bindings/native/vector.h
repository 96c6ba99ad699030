// What all files share: bfloat16, loops split over threads, code for several instruction sets.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

// Compiles a function once per instruction set; the loader picks. The body of an OpenMP region is not cloned, so a
// parallel loop calls such a function for each range of its work. For plain loops; what is written in vectors goes
// through instruction_sets.h.
#define AVEDIS_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#define AVEDIS_INLINE inline __attribute__((always_inline))
#define AVEDIS_INLINE_LAMBDA __attribute__((always_inline))

namespace avedis {

// Upper half of a float.
struct bf16 {
    uint16_t bits;
};

AVEDIS_INLINE float to_float(float x) {
    return x;
}

AVEDIS_INLINE float to_float(bf16 x) {
    uint32_t bits = static_cast<uint32_t>(x.bits) << 16;
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}

AVEDIS_INLINE void store(float* y, float x) {
    *y = x;
}

// Rounds to nearest, ties to even; a NaN stays one.
AVEDIS_INLINE void store(bf16* y, float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    y->bits = static_cast<uint16_t>(x != x ? (bits >> 16) | 0x40 : rounded);
}

// The same table of functions for either type of activations.
template <template <class> class Table>
struct by_type {
    Table<float> f32;
    Table<bf16> narrow;

    const Table<float>& of(float) const { return f32; }
    const Table<bf16>& of(bf16) const { return narrow; }
};

// Scratch of the calling thread that outlives the call: after the first step nothing is allocated. The slot keeps
// buffers that are alive at the same time apart.
template <class T, int Slot>
T* scratch(int64_t count) {
    static thread_local std::vector<T> buffer;
    if (static_cast<int64_t>(buffer.size()) < count) buffer.resize(static_cast<size_t>(count));
    return buffer.data();
}

// body(begin, end) over [0, count) in pieces of at most `piece`, whose bounds do not depend on the number of threads.
template <class Body>
void parallel_ranges(int64_t count, int64_t piece, Body body) {
    int64_t pieces = (count + piece - 1) / piece;
#pragma omp parallel for schedule(static) if (pieces > 1)
    for (int64_t i = 0; i < pieces; i++) body(i * piece, std::min(count, (i + 1) * piece));
}

// body(i) over [0, count): each thread has a part of its own, the same as in a loop with a static schedule, and goes
// through it from the end.
template <class Body>
void parallel_backwards(int64_t count, Body body) {
#pragma omp parallel if (count > 1)
    {
        int64_t threads = omp_get_num_threads(), each = count / threads, more = count % threads;
        int64_t thread = omp_get_thread_num(), begin = thread * each + std::min(thread, more);
        for (int64_t i = begin + each + (thread < more); i-- > begin;) body(i);
    }
}

// Parts that hold `count`, the last perhaps not full.
inline int64_t ceiling(int64_t count, int64_t part) {
    return (count + part - 1) / part;
}

// Elements of a piece of a flat loop: large against the cost of a barrier, small against a cache.
constexpr int64_t kPiece = 16384;

}  // namespace avedis
