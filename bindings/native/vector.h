// What the element-wise files share: bfloat16 in registers, eight channels at a time, loops split over threads.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

// Compiles a function once per instruction set; the loader picks. The body of an OpenMP region is not cloned, so a
// parallel loop calls such a function for each range of its work.
#define AVEDIS_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#define AVEDIS_INLINE inline __attribute__((always_inline))

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

// Eight channels. A tail of C % 8 channels takes the same path with fewer lanes: the others read as zero.
constexpr int kLanes = 8;
typedef float vfloat __attribute__((vector_size(4 * kLanes)));
typedef int32_t vint __attribute__((vector_size(4 * kLanes)));
typedef uint32_t vuint __attribute__((vector_size(4 * kLanes)));
typedef uint16_t vshort __attribute__((vector_size(2 * kLanes)));
typedef uint64_t vlong __attribute__((vector_size(4 * kLanes)));
typedef uint8_t vbyte __attribute__((vector_size(2 * kLanes)));
using all_lanes = std::integral_constant<int, kLanes>;

template <class V, class T>
AVEDIS_INLINE V read(const T* p, int lanes) {
    V v = {};
    if (lanes == kLanes)
        std::memcpy(&v, p, sizeof(V));
    else
        std::memcpy(&v, p, lanes * sizeof(T));
    return v;
}

template <class V, class T>
AVEDIS_INLINE void write(T* p, V v, int lanes) {
    if (lanes == kLanes)
        std::memcpy(p, &v, sizeof(V));
    else
        std::memcpy(p, &v, lanes * sizeof(T));
}

AVEDIS_INLINE vfloat load(const float* p, int lanes) {
    return read<vfloat>(p, lanes);
}

// The conversions are spelled as shuffles where __builtin_convertvector becomes one scalar move per channel.
AVEDIS_INLINE vfloat load(const bf16* p, int lanes) {
    vshort upper = read<vshort>(p, lanes), zero = {};
    return (vfloat)__builtin_shufflevector(upper, zero, 8, 0, 8, 1, 8, 2, 8, 3, 8, 4, 8, 5, 8, 6, 8, 7);
}

AVEDIS_INLINE vint load(const uint8_t* p, int lanes) {
    uint64_t bytes = 0;
    std::memcpy(&bytes, p, lanes);
    vuint words = (vuint)(vlong{} + bytes);
    words = __builtin_shufflevector(words, words, 0, 0, 0, 0, 1, 1, 1, 1);
    return (vint)(words >> (vuint){0, 8, 16, 24, 0, 8, 16, 24} & 255);
}

AVEDIS_INLINE void store(float* p, vfloat v, int lanes) {
    write(p, v, lanes);
}

AVEDIS_INLINE void store(bf16* p, vfloat v, int lanes) {
    vuint bits = (vuint)v;
    vuint rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    vuint quiet = (bits >> 16) | 0x40;
    write(p, __builtin_convertvector(v != v ? quiet : rounded, vshort), lanes);
}

AVEDIS_INLINE void store(uint8_t* p, vint v, int lanes) {
    vbyte halves[2];
    std::memcpy(halves, &v, sizeof(v));
    vbyte bytes =
        __builtin_shufflevector(halves[0], halves[1], 0, 4, 8, 12, 16, 20, 24, 28, 0, 4, 8, 12, 16, 20, 24, 28);
    std::memcpy(p, &bytes, lanes);
}

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

// Elements of a piece of a flat loop: large against the cost of a barrier, small against a cache.
constexpr int64_t kPiece = 16384;

}  // namespace avedis
