// Compiles the file AVEDIS_KERNELS once per instruction set, each time into a namespace of its own with the vectors of
// lanes.inl, kLanes floats each, and picks one at run time, within what oneDNN may use.
//
// Such a file has a function `kernels`, which returns its table of functions. AVEDIS_HAS_AVX2, AVEDIS_HAS_AVX512 and
// AVEDIS_HAS_BF16 say whether it may use these instructions, the last those that multiply bfloat16.
#ifndef AVEDIS_KERNELS
#error "define AVEDIS_KERNELS before including this file"
#endif

#include <immintrin.h>

#include "isa.h"
#include "vector.h"

namespace avedis {

#define AVEDIS_HAS_AVX2 0
#define AVEDIS_HAS_AVX512 0
#define AVEDIS_HAS_BF16 0
namespace plain {
constexpr int kLanes = 8;
#include "lanes.inl"
#include AVEDIS_KERNELS
}  // namespace plain

#undef AVEDIS_HAS_AVX2
#define AVEDIS_HAS_AVX2 1
#pragma GCC push_options
#pragma GCC target("arch=x86-64-v3")
namespace avx2 {
constexpr int kLanes = 8;
#include "lanes.inl"
#include AVEDIS_KERNELS
}  // namespace avx2
#pragma GCC pop_options

#undef AVEDIS_HAS_AVX512
#define AVEDIS_HAS_AVX512 1
#pragma GCC push_options
#pragma GCC target("arch=x86-64-v4")
namespace avx512 {
constexpr int kLanes = 16;
#include "lanes.inl"
#include AVEDIS_KERNELS
}  // namespace avx512
#pragma GCC pop_options

#undef AVEDIS_HAS_BF16
#define AVEDIS_HAS_BF16 1
#pragma GCC push_options
#pragma GCC target("arch=x86-64-v4,avx512bf16")
namespace avx512_bf16 {
constexpr int kLanes = 16;
#include "lanes.inl"
#include AVEDIS_KERNELS
}  // namespace avx512_bf16
#pragma GCC pop_options
#undef AVEDIS_HAS_AVX2
#undef AVEDIS_HAS_AVX512
#undef AVEDIS_HAS_BF16

static auto kernels_of_this_machine() -> decltype(plain::kernels()) {
    switch (current_isa()) {
        case isa::avx512_bf16:
            return avx512_bf16::kernels();
        case isa::avx512:
            return avx512::kernels();
        case isa::avx2:
            return avx2::kernels();
        default:
            return plain::kernels();
    }
}

}  // namespace avedis
