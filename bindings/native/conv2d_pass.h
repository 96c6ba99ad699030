// One pass of a convolution: three operands and what computes them.
#pragma once

#include <cstdint>
#include <string>

namespace avedis {

class pass {
public:
    virtual ~pass() = default;
    virtual int64_t workspace_bytes() = 0;
    virtual void run(void* src, void* weights, void* dst, void* workspace) = 0;

    std::string implementation;
    int64_t multiplications = 0;  // of an input by a weight or a gradient; 0 for those of direct sums
};

}  // namespace avedis
