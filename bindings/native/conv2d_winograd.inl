// The arithmetic of conv2d_winograd.cpp for one instruction set: see instruction_sets.h.
//
// A window of three taps g slides over the inputs d of a tile and makes M outputs y. With points p
// (conv2d_winograd_tiles.h)
//   y = A' [(G g) * (B' d)],   A[p][i] = p^i,   G[p][t] = s(p) p^t,
//   B'[p] = the coefficients of the product of (x - q) over all points q but p, by s(p) times its value at p;
// at infinity A has y's last output, G the last tap, and B' the product over all points. The scale s(p) makes B' simple
// for M = 4; M = 3 has the same G, so that both share the transformed weights. In two dimensions each is applied along
// columns, then along rows. Lavin and Gray, "Fast algorithms for convolutional neural networks", 2016, equations 5 to 9
// and 13.

#include "product.inl"

constexpr float kA = 0.625f, kB = 1.5f, kA2 = kA * kA, kB2 = kB * kB;
constexpr float kScale0 = 1 / (kA2 * kB2), kScaleA = 1 / (2 * kA2 * (kA2 - kB2)), kScaleB = 1 / (2 * kB2 * (kB2 - kA2));

// B': inputs d [M + 2] to points o [M + 2].
template <int M>
AVEDIS_INLINE void to_points(const vfloat* d, vfloat* o) {
    if constexpr (M == 4) {
        vfloat even = d[4] - kB2 * d[2], odd = d[3] - kB2 * d[1];
        o[0] = kA2 * kB2 * d[0] + (d[4] - (kA2 + kB2) * d[2]);
        o[1] = even + kA * odd;
        o[2] = even - kA * odd;
        even = d[4] - kA2 * d[2], odd = d[3] - kA2 * d[1];
        o[3] = even + kB * odd;
        o[4] = kA2 * kB2 * d[1] + (d[5] - (kA2 + kB2) * d[3]);
        o[5] = even - kB * odd;
    } else {
        vfloat low = d[2] - kA2 * d[0], high = d[3] - kA2 * d[1];
        o[0] = kB * high - kB2 * low;
        o[1] = (kA + kB) * (d[3] + (kA - kB) * d[2] - kA * kB * d[1]);
        o[2] = (kB - kA) * (d[3] - (kA + kB) * d[2] + kA * kB * d[1]);
        o[3] = 2 * kB * high;
        o[4] = (d[4] - kA2 * d[2]) - kB * high;
    }
}

// A': points m to outputs y [M].
template <int M>
AVEDIS_INLINE void from_points(const vfloat* m, vfloat* y) {
    vfloat even = m[1] + m[2], odd = m[1] - m[2];
    if constexpr (M == 4) {
        vfloat far_even = m[3] + m[5], far_odd = m[3] - m[5];
        y[0] = m[0] + even + far_even;
        y[1] = kA * odd + kB * far_odd;
        y[2] = kA2 * even + kB2 * far_even;
        y[3] = kA2 * kA * odd + (kB2 * kB * far_odd + m[4]);
    } else {
        y[0] = m[0] + even + m[3];
        y[1] = kA * odd + kB * m[3];
        y[2] = kA2 * even + (kB2 * m[3] + m[4]);
    }
}

// A: gradients dy [M] to points o [M + 2].
template <int M>
AVEDIS_INLINE void gradient_to_points(const vfloat* dy, vfloat* o) {
    if constexpr (M == 4) {
        vfloat even = dy[0] + kA2 * dy[2], odd = kA * dy[1] + kA2 * kA * dy[3];
        o[1] = even + odd;
        o[2] = even - odd;
        even = dy[0] + kB2 * dy[2], odd = kB * dy[1] + kB2 * kB * dy[3];
        o[3] = even + odd;
        o[5] = even - odd;
    } else {
        vfloat even = dy[0] + kA2 * dy[2], odd = kA * dy[1];
        o[1] = even + odd;
        o[2] = even - odd;
        o[3] = dy[0] + (kB * dy[1] + kB2 * dy[2]);
    }
    o[0] = dy[0];
    o[4] = dy[M - 1];
}

// G: taps g [3] to all six points o.
AVEDIS_INLINE void taps_to_points(const vfloat* g, vfloat* o) {
    vfloat even = kScaleA * (g[0] + kA2 * g[2]), odd = kScaleA * kA * g[1];
    o[0] = kScale0 * g[0];
    o[1] = even + odd;
    o[2] = even - odd;
    even = kScaleB * (g[0] + kB2 * g[2]), odd = kScaleB * kB * g[1];
    o[3] = even + odd;
    o[4] = g[2];
    o[5] = even - odd;
}

// G': sums m of all six points to the gradients of taps dg [3].
AVEDIS_INLINE void taps_from_points(const vfloat* m, vfloat* dg) {
    vfloat even = kScaleA * (m[1] + m[2]), odd = kScaleA * (m[1] - m[2]);
    vfloat far_even = kScaleB * (m[3] + m[5]), far_odd = kScaleB * (m[3] - m[5]);
    dg[0] = kScale0 * m[0] + even + far_even;
    dg[1] = kA * odd + kB * far_odd;
    dg[2] = kA2 * even + (kB2 * far_even + m[4]);
}

// ---- tiles

// Values of a tile, by rows and columns of kPoints, to its points: those of channel c of point p at
// points + at[p] + (first + c) / kPanel * panel_step + (first + c) % kPanel. Here of the vector at channel c.
template <bool Gradient, int MR, int MC, class Lanes>
AVEDIS_INLINE void transform_vector(float* to, const int64_t* at, const float* const* values, int64_t c, Lanes lanes) {
    constexpr int kRowPoints = MR + 2, kColumnPoints = MC + 2;
    constexpr int kRowValues = Gradient ? MR : kRowPoints, kColumnValues = Gradient ? MC : kColumnPoints;
    vfloat half[kRowPoints][kColumnValues];
#pragma GCC unroll 6
    for (int j = 0; j < kColumnValues; j++) {
        vfloat in[kRowValues], out[kRowPoints];
#pragma GCC unroll 6
        for (int i = 0; i < kRowValues; i++) in[i] = load(values[i * kPoints + j] + c, lanes);
        if constexpr (Gradient)
            gradient_to_points<MR>(in, out);
        else
            to_points<MR>(in, out);
#pragma GCC unroll 6
        for (int i = 0; i < kRowPoints; i++) half[i][j] = out[i];
    }
#pragma GCC unroll 6
    for (int i = 0; i < kRowPoints; i++) {
        vfloat out[kColumnPoints];
        if constexpr (Gradient)
            gradient_to_points<MC>(half[i], out);
        else
            to_points<MC>(half[i], out);
#pragma GCC unroll 6
        for (int j = 0; j < kColumnPoints; j++) store(to + at[i * kPoints + j], out[j], lanes);
    }
}

template <bool Gradient, int MR, int MC>
static void transform_tile(float* points, const int64_t* at, int64_t first, int64_t panel_step,
                           const float* const* values, int64_t channels) {
    int64_t c = 0;
    auto place = [&] { return points + (first + c) / kPanel * panel_step + (first + c) % kPanel; };
    for (; c + kLanes <= channels; c += kLanes) transform_vector<Gradient, MR, MC>(place(), at, values, c, all_lanes{});
    if (c < channels) transform_vector<Gradient, MR, MC>(place(), at, values, c, static_cast<int>(channels - c));
}

// Points of a tile, those of channel c of point p at points + at[p] + c, to its outputs; null outputs are left out.
template <int MR, int MC, class Lanes>
AVEDIS_INLINE void output_vector(float* const* outputs, const float* points, const int64_t* at, int64_t c,
                                 Lanes lanes) {
    vfloat half[MR][MC + 2];
#pragma GCC unroll 6
    for (int j = 0; j < MC + 2; j++) {
        vfloat in[MR + 2], out[MR];
#pragma GCC unroll 6
        for (int i = 0; i < MR + 2; i++) in[i] = load(points + at[i * kPoints + j] + c, all_lanes{});
        from_points<MR>(in, out);
#pragma GCC unroll 6
        for (int i = 0; i < MR; i++) half[i][j] = out[i];
    }
#pragma GCC unroll 6
    for (int i = 0; i < MR; i++) {
        vfloat out[MC];
        from_points<MC>(half[i], out);
#pragma GCC unroll 6
        for (int j = 0; j < MC; j++)
            if (float* to = outputs[i * kPoints + j]) store(to + c, out[j], lanes);
    }
}

template <int MR, int MC>
static void output_tile(float* const* outputs, const float* points, const int64_t* at, int64_t channels) {
    int64_t c = 0;
    for (; c + kLanes <= channels; c += kLanes) output_vector<MR, MC>(outputs, points, at, c, all_lanes{});
    if (c < channels) output_vector<MR, MC>(outputs, points, at, c, static_cast<int>(channels - c));
}

// ---- weights

// Weights of one panel of output channels for `count` input channels: taps[i * 3 + j], null where there is none, and
// points + p * point_step move by a panel from one input channel to the next.
static void transform_weights(float* points, int64_t point_step, const float* const* taps, int64_t count, int rows,
                              int columns) {
    for (int64_t lane = 0; lane < count * kPanel; lane += kLanes) {
        vfloat half[kPoints][3];
#pragma GCC unroll 3
        for (int j = 0; j < 3; j++) {
            vfloat in[3], out[kPoints];
#pragma GCC unroll 3
            for (int i = 0; i < 3; i++) in[i] = taps[i * 3 + j] ? load(taps[i * 3 + j] + lane, all_lanes{}) : vfloat{};
            taps_to_points(in, out);
#pragma GCC unroll 6
            for (int i = 0; i < kPoints; i++) half[i][j] = out[i];
        }
        for (int i = 0; i < rows; i++) {
            vfloat out[kPoints];
            taps_to_points(half[i], out);
            for (int j = 0; j < columns; j++)
                store(points + (i * columns + j) * point_step + lane, out[j], all_lanes{});
        }
    }
}

// taps += what the sums at points, one vector at sums + p * point_step, make of them. Points that no tile has count as
// 0.
static void transform_sums(float* const* taps, const float* sums, int64_t point_step, int rows, int columns,
                           int lanes) {
    vfloat half[3][kPoints];
    for (int j = 0; j < kPoints; j++) {
        vfloat in[kPoints], out[3];
        for (int i = 0; i < kPoints; i++)
            in[i] = i < rows && j < columns ? load(sums + (i * columns + j) * point_step, all_lanes{}) : vfloat{};
        taps_from_points(in, out);
        for (int i = 0; i < 3; i++) half[i][j] = out[i];
    }
    for (int i = 0; i < 3; i++) {
        vfloat out[3];
        taps_from_points(half[i], out);
        for (int j = 0; j < 3; j++)
            if (float* tap = taps[i * 3 + j]) store(tap, load(tap, lanes) + out[j], lanes);
    }
}

static const winograd_kernels& kernels() {
    static constexpr winograd_kernels table{
        kPanel,
        {transform_tile<false, 3, 3>, transform_tile<false, 3, 4>, transform_tile<false, 4, 3>,
         transform_tile<false, 4, 4>},
        {transform_tile<true, 3, 3>, transform_tile<true, 3, 4>, transform_tile<true, 4, 3>,
         transform_tile<true, 4, 4>},
        {output_tile<3, 3>, output_tile<3, 4>, output_tile<4, 3>, output_tile<4, 4>},
        transform_weights,
        transform_sums,
        product_panel<false>,
        product_panel<true>};
    return table;
}
