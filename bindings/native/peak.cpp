// How fast this machine multiplies and adds at best: what a step's arithmetic is held against. Independent sums in
// registers, no memory; within the instruction set that oneDNN is allowed here, so that a cap on it (DNNL_MAX_CPU_ISA)
// holds for the peak too.
#include <immintrin.h>
#include <omp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <stdexcept>

#include "isa.h"
#include "status.h"

namespace avedis {
namespace {

// About a millisecond of work: long enough for the clock, short enough that the best of many is undisturbed.
constexpr int64_t kIterations = 1 << 18;
constexpr int kTurns = 40;

// Two multiply-add units with up to six cycles of latency need twelve sums under way; sixteen registers hold twelve
// sums and the operands.
constexpr int kSums16 = 12, kSums32 = 24;

// Keeps the compiler from leaving sums out.
template <class V>
AVEDIS_INLINE void hide(V& v) {
    asm volatile("" : "+v"(v));
}

// Every kernel returns the multiplications and additions that it made.
__attribute__((target("avx2,fma"))) int64_t f32_avx2() {
    __m256 sums[kSums16], factor = _mm256_set1_ps(0.5f), term = _mm256_set1_ps(1);
    for (auto& sum : sums) sum = term;
    for (int64_t i = 0; i < kIterations; i++)
#pragma GCC unroll 24
        for (auto& sum : sums) {
            sum = _mm256_fmadd_ps(sum, factor, term);
            hide(sum);
        }
    return kIterations * kSums16 * 2 * 8;
}

__attribute__((target("avx512f"))) int64_t f32_avx512() {
    __m512 sums[kSums32], factor = _mm512_set1_ps(0.5f), term = _mm512_set1_ps(1);
    for (auto& sum : sums) sum = term;
    for (int64_t i = 0; i < kIterations; i++)
#pragma GCC unroll 24
        for (auto& sum : sums) {
            sum = _mm512_fmadd_ps(sum, factor, term);
            hide(sum);
        }
    return kIterations * kSums32 * 2 * 16;
}

// Each of 16 sums takes two products.
__attribute__((target("avx512f,avx512bf16"))) int64_t bf16_avx512() {
    __m512 sums[kSums32];
    __m512bh factor = _mm512_cvtne2ps_pbh(_mm512_set1_ps(0.5f), _mm512_set1_ps(-0.5f));
    for (auto& sum : sums) sum = _mm512_set1_ps(1);
    for (int64_t i = 0; i < kIterations; i++)
#pragma GCC unroll 24
        for (auto& sum : sums) {
            sum = _mm512_dpbf16_ps(sum, factor, factor);
            hide(sum);
        }
    return kIterations * kSums32 * 2 * 32;
}

// Four tiles of 16 x 16 sums, each taking 32 products a sum from two tiles of operands.
__attribute__((target("avx512f,amx-tile,amx-bf16"))) int64_t bf16_amx() {
    constexpr int kTiles = 4;
    struct alignas(64) {
        uint8_t palette = 1, start_row = 0, reserved[14] = {};
        uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64};
        uint8_t rows[16] = {16, 16, 16, 16, 16, 16};
    } shape;
    _tile_loadconfig(&shape);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
    for (int64_t i = 0; i < kIterations / 8; i++) {
        _tile_dpbf16ps(0, 4, 5);
        _tile_dpbf16ps(1, 4, 5);
        _tile_dpbf16ps(2, 4, 5);
        _tile_dpbf16ps(3, 4, 5);
    }
    _tile_release();
    return kIterations / 8 * kTiles * 2 * 16 * 16 * 32;
}

// Linux gives a process tiles only when it asks.
bool may_use_tiles() {
    constexpr int kRequest = 0x1023, kTileData = 18;
    return syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
}

using kernel = int64_t (*)();

kernel fastest(int32_t type) {
    if (type == AVEDIS_BF16) {
        if (has_matrix_units() && may_use_tiles()) return bf16_amx;
        if (current_isa() == isa::avx512_bf16) return bf16_avx512;
    }
    if (current_isa() >= isa::avx512) return f32_avx512;
    if (current_isa() == isa::avx2) return f32_avx2;
    throw std::runtime_error("the peak rate is measured with AVX2 or newer instructions");
}

}  // namespace
}  // namespace avedis

using namespace avedis;

int32_t avedis_peak(double* flops, int32_t type) {
    return guarded([&] {
        kernel run = fastest(type);
        *flops = 0;
        for (int turn = 0; turn < kTurns; turn++) {
            int64_t operations = 0;
            double start = 0;
#pragma omp parallel reduction(+ : operations)
            {
#pragma omp barrier
#pragma omp master
                start = omp_get_wtime();
                operations = run();
            }
            *flops = std::max(*flops, static_cast<double>(operations) / (omp_get_wtime() - start));
        }
    });
}
