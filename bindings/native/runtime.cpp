// Errors, threads, and what is running.
#include <omp.h>

#include <string>

#include "isa.h"
#include "onednn.h"
#include "status.h"

namespace avedis {

static thread_local std::string last_error;

int32_t failed(int32_t status, const char* text) {
    last_error = text;
    return status;
}

}  // namespace avedis

using namespace avedis;

const char* avedis_last_error() {
    return last_error.c_str();
}

int32_t avedis_set_threads(int32_t threads) {
    static thread_local int32_t current = 0;
    if (threads < 1) return failed(AVEDIS_FAILED, "at least one thread is needed");
    if (threads != current) omp_set_num_threads(current = threads);
    return AVEDIS_OK;
}

const char* avedis_onednn_version() {
    static const std::string text = [] {
        const dnnl_version_t* version = dnnl_version();
        return std::to_string(version->major) + "." + std::to_string(version->minor) + "." +
               std::to_string(version->patch);
    }();
    return text.c_str();
}

// The codes are sets of features and the same in 2.x and 3.x, as far as both know them.
static int32_t instruction_set() {
    return static_cast<int32_t>(dnnl_get_effective_cpu_isa());
}

static bool includes(int32_t features) {
    return (instruction_set() & features) == features;
}

avedis::isa avedis::current_isa() {
    static const isa best = includes(dnnl_cpu_isa_avx512_core_bf16) ? isa::avx512_bf16
                            : includes(dnnl_cpu_isa_avx512_core)    ? isa::avx512
                            : includes(dnnl_cpu_isa_avx2)           ? isa::avx2
                                                                    : isa::plain;
    return best;
}

const char* avedis_instruction_set() {
    if (includes(dnnl_cpu_isa_avx512_core_amx)) return "AVX-512, AMX";
    if (includes(dnnl_cpu_isa_avx512_core_bf16)) return "AVX-512, BF16";
    if (includes(dnnl_cpu_isa_avx512_core)) return "AVX-512";
    if (includes(dnnl_cpu_isa_avx2)) return "AVX2";
    if (includes(dnnl_cpu_isa_avx)) return "AVX";
    return "SSE4.1";
}

bool avedis::has_matrix_units() {
    return includes(dnnl_cpu_isa_avx512_core_amx);
}
