// A block of c, some rows by some panels of columns, belongs to one thread. It goes over the depth in pieces, so that
// the rows of a and the panel of b that meet stay in a cache; a panel is packed when it is needed.
#include "gemm.h"

#include <utility>

#include "isa.h"
#include "vector.h"

namespace avedis {

// See gemm.inl and product.inl.
struct gemm_kernels {
    using product = void (*)(float* c, int64_t c_step, const float* a, int64_t a_step, const float* b, int64_t depth,
                             int64_t rows, int64_t columns, bool add);

    int64_t panel, lanes;
    void (*pack)(float* panel, const float* b, int64_t step, bool transposed, int64_t depth, int64_t columns);
    product inner, outer;
};

}  // namespace avedis

#define AVEDIS_KERNELS "gemm.inl"
#include "instruction_sets.h"

namespace avedis {

// The slots of its scratch are others than those of its callers (linear.cpp).
// Rows, panels and depth of what a thread works on: up to 192 KiB of a in the level-2 cache, 16 or 32 KiB of b in the
// first.
constexpr int64_t kBlockRows = 192, kBlockPanels = 8, kDepth = 256;

void gemm(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, const float* a, const float* b, float* c,
          bool accumulate) {
    const gemm_kernels& kernels = kernels_of_this_machine();
    int64_t block_columns = kBlockPanels * kernels.panel;
    int64_t rows_of_blocks = ceiling(m, kBlockRows), columns_of_blocks = ceiling(n, block_columns);
    int64_t a_step = transpose_a ? m : k, b_step = transpose_b ? k : n;

    auto multiply = [&](int64_t row, int64_t rows, int64_t column, int64_t first, int64_t depth) {
        int64_t columns = std::min(kernels.panel, n - column);
        float* panel = scratch<float, 2>(kDepth * kernels.panel);
        kernels.pack(panel, b + (transpose_b ? column * k + first : first * n + column), b_step, transpose_b, depth,
                     columns);
        const float* left = a + (transpose_a ? first * m + row : row * k + first);
        auto product = transpose_a ? kernels.outer : kernels.inner;
        float* to = c + row * n + column;
        bool add = accumulate || first > 0;
        if (columns % kernels.lanes == 0) return product(to, n, left, a_step, panel, depth, rows, columns, add);
        // whole vectors would reach beyond the row
        float* wide = scratch<float, 3>(kBlockRows * kernels.panel);
        for (int64_t i = 0; i < rows && add; i++) std::copy_n(to + i * n, columns, wide + i * kernels.panel);
        product(wide, kernels.panel, left, a_step, panel, depth, rows, columns, add);
        for (int64_t i = 0; i < rows; i++) std::copy_n(wide + i * kernels.panel, columns, to + i * n);
    };

#pragma omp parallel for schedule(static) collapse(2) if (rows_of_blocks * columns_of_blocks > 1)
    for (int64_t i = 0; i < rows_of_blocks; i++)
        for (int64_t j = 0; j < columns_of_blocks; j++) {
            int64_t row = m * i / rows_of_blocks, rows = m * (i + 1) / rows_of_blocks - row;
            int64_t end = std::min(n, (j + 1) * block_columns);
            for (int64_t first = 0; first < k; first += kDepth)
                for (int64_t column = j * block_columns; column < end; column += kernels.panel)
                    multiply(row, rows, column, first, std::min(kDepth, k - first));
        }
}

}  // namespace avedis
