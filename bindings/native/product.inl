// Products of matrices, a few rows by a panel of columns in registers, for one instruction set: see instruction_sets.h.
// Each element is a sum in the order of its terms, whatever other rows and columns there are: a row has the same bits
// wherever it lies.

constexpr int kPanel = 2 * kLanes;            // columns of a panel
constexpr int kRows = kLanes == 16 ? 14 : 6;  // rows at once

// c [Rows, Vectors], or what is added to it, = sum over d of a [Rows][d] * b [d][panel]; Outer: of a [d][Rows].
template <bool Outer, int Rows, int Vectors>
static void product(float* c, int64_t c_step, const float* a, int64_t a_step, const float* b, int64_t depth, bool add) {
    vfloat sum[Rows][Vectors] = {};
    for (int64_t d = 0; d < depth; d++, b += kPanel, a += Outer ? a_step : 1) {
        vfloat right[Vectors];
#pragma GCC unroll 2
        for (int v = 0; v < Vectors; v++) std::memcpy(&right[v], b + v * kLanes, sizeof(vfloat));
#pragma GCC unroll 16
        for (int r = 0; r < Rows; r++)
#pragma GCC unroll 2
            for (int v = 0; v < Vectors; v++) sum[r][v] += right[v] * (Outer ? a[r] : a[r * a_step]);
    }
#pragma GCC unroll 16
    for (int r = 0; r < Rows; r++)
#pragma GCC unroll 2
        for (int v = 0; v < Vectors; v++) {
            float* to = c + r * c_step + v * kLanes;
            if (add) sum[r][v] += load(to, all_lanes{});
            store(to, sum[r][v], all_lanes{});
        }
}

template <bool Outer, int Vectors, int... Rows>
static void product_rows(float* c, int64_t c_step, const float* a, int64_t a_step, const float* b, int64_t depth,
                         int64_t rows, bool add, std::integer_sequence<int, Rows...>) {
    static constexpr void (*of_rows[])(float*, int64_t, const float*, int64_t, const float*, int64_t,
                                       bool) = {product<Outer, Rows + 1, Vectors>...};
    int64_t blocks = (rows + kRows - 1) / kRows;
    for (int64_t i = 0; i < blocks; i++) {
        int64_t begin = rows * i / blocks, end = rows * (i + 1) / blocks;
        of_rows[end - begin - 1](c + begin * c_step, c_step, a + begin * (Outer ? 1 : a_step), a_step, b, depth, add);
    }
}

// The same for any number of rows. Of the panel the vectors that hold `columns` are computed and stored whole.
template <bool Outer>
static void product_panel(float* c, int64_t c_step, const float* a, int64_t a_step, const float* b, int64_t depth,
                          int64_t rows, int64_t columns, bool add) {
    auto any = std::make_integer_sequence<int, kRows>();
    if (columns > kLanes)
        product_rows<Outer, 2>(c, c_step, a, a_step, b, depth, rows, add, any);
    else
        product_rows<Outer, 1>(c, c_step, a, a_step, b, depth, rows, add, any);
}
