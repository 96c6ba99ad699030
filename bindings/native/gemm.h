// Products of matrices of floats.
#pragma once

#include <cstdint>

namespace avedis {

// c [m, n] = a [m, k] * b [k, n], or += ; row-major. A transposed operand lies in memory with its extents swapped. A
// row of c has the same bits whatever other rows there are, and with any number of threads: oneDNN's product may split
// k over its threads, and on AVX2 adds the terms of the last rows in another order.
void gemm(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, const float* a, const float* b, float* c,
          bool accumulate);

}  // namespace avedis
