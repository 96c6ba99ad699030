// Weight gradient of a convolution: dweight [k, r, s, c] += sum over pixels of dy [n, p, q, k] * shifted x [n, h, w,
// c].
#pragma once

#include <memory>

#include "avedis_cpu.h"
#include "conv2d_pass.h"

namespace avedis {

// Null where output channels would leave vectors half empty, or oneDNN is faster.
std::unique_ptr<pass> build_weight(const avedis_conv2d_geometry& g, int32_t type);

}  // namespace avedis
