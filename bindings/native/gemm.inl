// The products of gemm.cpp for one instruction set: see instruction_sets.h.
#include "product.inl"

// panel [depth][kPanel] = columns [0, columns) of b [depth, ..], or of the transpose of b [.., depth]; zeros behind
// them.
static void pack_panel(float* panel, const float* b, int64_t step, bool transposed, int64_t depth, int64_t columns) {
    if (columns < kPanel) std::fill_n(panel, depth * kPanel, 0.0f);
    if (transposed)
        for (int64_t d = 0; d < depth; d++, panel += kPanel)
            for (int64_t j = 0; j < columns; j++) panel[j] = b[j * step + d];
    else
        for (int64_t d = 0; d < depth; d++) std::copy_n(b + d * step, columns, panel + d * kPanel);
}

static const gemm_kernels& kernels() {
    static constexpr gemm_kernels table{kPanel, kLanes, pack_panel, product_panel<false>, product_panel<true>};
    return table;
}
