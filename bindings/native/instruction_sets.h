// Compiles the file AVEDIS_KERNELS once per instruction set, each time into a namespace of its own, where kWidth floats
// make a vector, and picks one at run time. For the kernels in which nearly all arithmetic is done, which want tiles that
// fit the registers of the machine; what streams through memory takes AVEDIS_CLONES and eight lanes (vector.h).
//
// Every such file has a function `kernels`, which returns its table of functions; AVEDIS_HAS_BF16 says whether the
// processor multiplies bfloat16.
#ifndef AVEDIS_KERNELS
#error "define AVEDIS_KERNELS before including this file"
#endif

#include <immintrin.h>

#include "isa.h"
#include "vector.h"

namespace avedis {
namespace plain {
constexpr int kWidth = 8;
#define AVEDIS_HAS_BF16 0
#include AVEDIS_KERNELS
#undef AVEDIS_HAS_BF16
}  // namespace plain

#pragma GCC push_options
#pragma GCC target("arch=x86-64-v3")
namespace avx2 {
constexpr int kWidth = 8;
#define AVEDIS_HAS_BF16 0
#include AVEDIS_KERNELS
#undef AVEDIS_HAS_BF16
}  // namespace avx2
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("arch=x86-64-v4")
namespace avx512 {
constexpr int kWidth = 16;
#define AVEDIS_HAS_BF16 0
#include AVEDIS_KERNELS
#undef AVEDIS_HAS_BF16
}  // namespace avx512
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("arch=x86-64-v4,avx512bf16")
namespace avx512_bf16 {
constexpr int kWidth = 16;
#define AVEDIS_HAS_BF16 1
#include AVEDIS_KERNELS
#undef AVEDIS_HAS_BF16
}  // namespace avx512_bf16
#pragma GCC pop_options

// The table for this machine, within what oneDNN may use (ONEDNN_MAX_CPU_ISA).
inline auto kernels_of_this_machine() -> decltype(plain::kernels()) {
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
