// Instruction sets that kernels are compiled for.
#pragma once

namespace avedis {

enum class isa { plain, avx2, avx512, avx512_bf16 };

// The best that the processor has and that oneDNN may use.
isa current_isa();

// AMX, likewise.
bool has_matrix_units();

}  // namespace avedis
