// Weight gradient of a convolution: dweight [k, r, s, c] += sum over pixels of dy [n, p, q, k] * shifted x [n, h, w, c].
#pragma once

#include "avedis_cpu.h"

namespace avedis {

// Whether weight_gradient takes this shape: output channels fill vectors, and the window is large enough.
bool weight_gradient_fits(const avedis_conv2d_geometry& g);

int64_t weight_gradient_workspace_bytes(const avedis_conv2d_geometry& g, int32_t type);

void weight_gradient(float* dweight, const void* dy, const void* x, const avedis_conv2d_geometry& g, int32_t type,
                     void* workspace);

}  // namespace avedis
