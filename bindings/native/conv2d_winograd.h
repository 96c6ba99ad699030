// Convolutions with fewer multiplications: Winograd's minimal filtering F(4x4, 3x3) and F(3x3, 3x3), in float.
#pragma once

#include <memory>

#include "avedis_cpu.h"
#include "conv2d_pass.h"

namespace avedis {

// Null where they would not be faster than direct sums on this instruction set, or too inexact for few channels. A
// matter of the shape alone, never of a clock.
std::unique_ptr<pass> build_winograd_data(const avedis_conv2d_geometry& g, bool backward);
std::unique_ptr<pass> build_winograd_weight(const avedis_conv2d_geometry& g);

}  // namespace avedis
