// The arithmetic of stem.cpp for one instruction set: see instruction_sets.h.

// ---- Gram matrix: lanes hold positions, summed over rows of `count` of them, `pitch` apart; behind those, a has zeros

AVEDIS_INLINE double sum_of_lanes(vfloat v) {
    double lane[kLanes];
    for (int i = 0; i < kLanes; i++) lane[i] = v[i];
    for (int half = kLanes / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) lane[i] += lane[i + half];
    return lane[0];
}

template <int A, int B>
static void gram_tile(double* sums, int64_t sums_pitch, const float* const* a, const float* const* b, int64_t rows,
                      int64_t pitch, int64_t count) {
    vfloat acc[A][B] = {};
    const float *pa[A], *pb[B];
    for (int i = 0; i < A; i++) pa[i] = a[i];
    for (int j = 0; j < B; j++) pb[j] = b[j];
    for (int64_t row = 0; row < rows * pitch; row += pitch)
        for (int64_t q = row; q < row + count; q += kLanes) {
            vfloat x[A];
#pragma GCC unroll 2
            for (int i = 0; i < A; i++) x[i] = load(pa[i] + q, kLanes);
#pragma GCC unroll 12
            for (int j = 0; j < B; j++) {
                vfloat y = load(pb[j] + q, kLanes);
#pragma GCC unroll 2
                for (int i = 0; i < A; i++) acc[i][j] += x[i] * y;
            }
        }
#pragma GCC unroll 2
    for (int i = 0; i < A; i++)
#pragma GCC unroll 12
        for (int j = 0; j < B; j++) sums[i * sums_pitch + j] = sum_of_lanes(acc[i][j]);
}

// Columns of the sums that leave the accumulators in registers.
constexpr int kGramTwo = kLanes == 16 ? 12 : 6, kGramOne = 12;

// The last few columns.
template <int A, int B>
static void gram_rest(double* sums, int64_t sums_pitch, const float* const* a, const float* const* b, int64_t left,
                      int64_t rows, int64_t pitch, int64_t count) {
    if (left == B) return gram_tile<A, B>(sums, sums_pitch, a, b, rows, pitch, count);
    if constexpr (B > 1) gram_rest<A, B - 1>(sums, sums_pitch, a, b, left, rows, pitch, count);
}

template <int A, int B>
static void gram_row(double* sums, int64_t sums_pitch, const float* const* a, const float* const* b, int64_t rows,
                     int64_t pitch, int64_t count) {
    int64_t j = 0;
    for (; j + B <= sums_pitch; j += B) gram_tile<A, B>(sums + j, sums_pitch, a, b + j, rows, pitch, count);
    gram_rest<A, B - 1>(sums + j, sums_pitch, a, b + j, sums_pitch - j, rows, pitch, count);
}

// sums [count_a, count_b] = products of the signals of a with those of b.
static void gram(double* sums, const float* const* a, int64_t count_a, const float* const* b, int64_t count_b,
                 int64_t rows, int64_t pitch, int64_t count) {
    int64_t i = 0;
    for (; i + 2 <= count_a; i += 2) gram_row<2, kGramTwo>(sums + i * count_b, count_b, a + i, b, rows, pitch, count);
    if (i < count_a) gram_row<1, kGramOne>(sums + i * count_b, count_b, a + i, b, rows, pitch, count);
}

// `Some` columns of the upper row at a time.
template <int Some>
static void gram_edge(double* sums, const float* upper, const float* lower, int64_t columns, int64_t left, int64_t last,
                      int64_t rows, int64_t pitch) {
    if constexpr (Some > 1)
        if (left < Some) return gram_edge<Some - 1>(sums, upper, lower, columns, left, last, rows, pitch);
    for (int64_t b = 0; b < columns; b += kLanes) {
        vfloat sum[Some] = {};
        for (int64_t row = 0; row < rows * pitch; row += pitch) {
            vfloat behind = load(lower + row + last + b, kLanes), first = load(lower + row + b, kLanes);
#pragma GCC unroll 6
            for (int a = 0; a < Some; a++) sum[a] += behind * upper[row + last + a] - first * upper[row + a];
        }
        for (int a = 0; a < Some; a++)
            for (int64_t lane = 0; lane < std::min<int64_t>(kLanes, columns - b); lane++)
                sums[a * columns + b + lane] = sum[a][lane];
    }
}

// sums [columns, columns] = products of the pixels at `last` of rows with each other, less those of the first.
static void gram_edges(double* sums, const float* upper, const float* lower, int64_t columns, int64_t last,
                       int64_t rows, int64_t pitch) {
    for (int64_t a = 0; a < columns; a += 6)
        gram_edge<6>(sums + a * columns, upper + a, lower, columns, columns - a, last, rows, pitch);
}

// ---- convolution: lanes hold output channels, kStemBlock of them at a time

constexpr int kVectors = kStemBlock / kLanes;

// Pixels whose sums, in so many vectors each, stay in registers.
constexpr int pixels_of(int vectors) {
    return (kLanes == 16 ? 24 : 12) / vectors;
}

template <int Pixels, int Vectors, class T>
AVEDIS_INLINE void convolve_pixels(float* z, const T* x, const T* weight, const stem_window& window, int64_t step) {
    constexpr int64_t kTogether = 4 / sizeof(T);
    vfloat acc[Pixels][Vectors] = {};
    for (int64_t r = 0; r < window.rows; r++) {
        const T* row = x + r * window.pitch;
        for (int64_t s = 0; s < window.columns; s += kTogether, weight += kTogether * kStemBlock) {
            vfloat w[Vectors];
#pragma GCC unroll 8
            for (int v = 0; v < Vectors; v++) std::memcpy(&w[v], weight + v * kTogether * kLanes, sizeof(vfloat));
#pragma GCC unroll 24
            for (int i = 0; i < Pixels; i++)
#pragma GCC unroll 8
                for (int v = 0; v < Vectors; v++) acc[i][v] = multiply_add(acc[i][v], w[v], row + s + i * step);
        }
    }
#pragma GCC unroll 24
    for (int i = 0; i < Pixels; i++)
#pragma GCC unroll 8
        for (int v = 0; v < Vectors; v++) store(z + i * kStemBlock + v * kLanes, acc[i][v], kLanes);
}

template <int Vectors, class T>
static void convolve_row(float* z, const T* x, const T* weight, const stem_window& window, int64_t count,
                         int64_t step) {
    constexpr int kPixels = pixels_of(Vectors);
    int64_t q = 0;
    for (; q + kPixels <= count; q += kPixels)
        convolve_pixels<kPixels, Vectors>(z + q * kStemBlock, x + q * step, weight, window, step);
    if (q < count && count >= kPixels) {
        // once more over a few that are there already
        q = count - kPixels;
        return convolve_pixels<kPixels, Vectors>(z + q * kStemBlock, x + q * step, weight, window, step);
    }
    for (; q < count; q++) convolve_pixels<1, Vectors>(z + q * kStemBlock, x + q * step, weight, window, step);
}

// z [count, kStemBlock] of `count` positions whose windows lie `step` elements apart; weight [taps, kStemBlock], or of
// bfloat16 [pairs of taps, kStemBlock, 2]. What lies beyond the vectors of `channels` is left as it is.
template <class T, int Vectors = kVectors>
static void convolve(float* z, const T* x, const T* weight, stem_window window, int64_t count, int64_t step,
                     int32_t channels) {
    if constexpr (Vectors > 1)
        if (channels <= (Vectors - 1) * kLanes)
            return convolve<T, Vectors - 1>(z, x, weight, window, count, step, channels);
    convolve_row<Vectors>(z, x, weight, window, count, step);
}

// ---- pooling: the largest z of the windows of one output row, and which it was, both [outputs, kStemBlock]; z starts
// with row `first` of its image

template <int Vectors = kVectors>
static void pool(float* best, int32_t* winner, const float* z, const avedis_pool2d_geometry& g, int64_t row,
                 int64_t first, int32_t channels) {
    if constexpr (Vectors > 1)
        if (channels <= (Vectors - 1) * kLanes) return pool<Vectors - 1>(best, winner, z, g, row, first, channels);
    span rows = inside(static_cast<int32_t>(row), g.stride_h, g.pad_h, g.r, g.h);
    int64_t top = row * g.stride_h - g.pad_h - first;
    for (int32_t j = 0; j < pool_q(g); j++, best += kStemBlock, winner += kStemBlock) {
        span columns = inside(j, g.stride_w, g.pad_w, g.s, g.w);
        vfloat most[Vectors];
        vint place[Vectors];
        for (int v = 0; v < Vectors; v++)
            most[v] = vfloat{} - INFINITY, place[v] = vint{} + (rows.begin * g.s + columns.begin);
        for (int32_t r = rows.begin; r < rows.end; r++) {
            const float* here = z + ((top + r) * g.w + j * g.stride_w - g.pad_w) * kStemBlock;
            for (int32_t s = columns.begin; s < columns.end; s++)
#pragma GCC unroll 8
                for (int v = 0; v < Vectors; v++) {
                    vfloat candidate = load(here + s * kStemBlock + v * kLanes, kLanes);
                    vint wins = candidate > most[v];
                    most[v] = wins ? candidate : most[v];
                    place[v] = wins ? vint{} + (r * g.s + s) : place[v];
                }
        }
        for (int v = 0; v < Vectors; v++) {
            store(best + v * kLanes, most[v], kLanes);
            write(winner + v * kLanes, place[v], kLanes);
        }
    }
}

// y, argmax of a row of pooled pixels, `channels` channels, from the largest z of each window and its place, both
// [count, kStemBlock]. Where nothing is above the floor all elements are equal, and the first of the window wins.
template <class T>
static void finish_row(T* y, uint8_t* argmax, const float* best, const int32_t* winner, affine f,
                       avedis_pool2d_geometry g, int64_t row, int32_t channels) {
    span rows = inside(static_cast<int32_t>(row), g.stride_h, g.pad_h, g.r, g.h);
    vfloat floor = vfloat{} + f.floor;
    for (int32_t j = 0; j < pool_q(g); j++, y += g.c, best += kStemBlock, winner += kStemBlock) {
        int32_t first = rows.begin * g.s + inside(j, g.stride_w, g.pad_w, g.s, g.w).begin;
        for (int32_t k = 0; k < channels; k += kLanes) {
            int lanes = std::min(kLanes, channels - k);
            vfloat a = load(f.a + k, lanes), z = a * load(best + k, kLanes) + load(f.b + k, lanes);
            // statistics make a whole channel NaN, if anything
            store(y + k, z < floor ? floor : z, lanes);
            if (argmax) store(argmax + k, z > floor ? read<vint>(winner + k, kLanes) : vint{} + first, lanes);
        }
        if (argmax) argmax += g.c;
    }
}

// ---- gradient

// dA of kLanes channels of rows of pooled pixels, [q, kLanes]; sums [kLanes] of it.
template <class T>
static void active_row(float* sums, float* gradients, const T* dy, const T* y, int64_t q, int64_t k, bool relu,
                       int lanes) {
    vfloat sum = {}, floor = vfloat{} + relu_floor(relu);
    for (int64_t j = 0; j < q; j++, dy += k, y += k) {
        vfloat gradient = (vfloat)((vint)load(dy, lanes) & (vint)(load(y, lanes) > floor));
        sum += gradient;
        store(gradients + j * kLanes, gradient, kLanes);
    }
    store(sums, sum, kLanes);
}

// Sparse gradient of one channel: sums [pieces, kStemPiece] of gradients[e * kLanes] times the pieces of eight pixels
// at x + e * step + corners[winner of e] + offsets[piece], over `rows` rows of `count` elements each, whose pixels lie
// `row_step` apart.

typedef float piece __attribute__((vector_size(4 * kStemPiece)));

template <int Pieces>
static void gather_pieces(float* sums, const float* gradients, const uint8_t* winners, int64_t channels, int64_t rows,
                          int64_t count, const float* x, int64_t row_step, int64_t step, const int32_t* corners,
                          const int32_t* offsets) {
    piece even[Pieces] = {}, odd[Pieces] = {};
    for (int64_t row = 0; row < rows; row++, x += row_step, gradients += count * kLanes, winners += count * channels) {
        auto add = [&](piece(&acc)[Pieces], int64_t e) {
            const float* corner = x + e * step + corners[winners[e * channels]];
#pragma GCC unroll 8
            for (int p = 0; p < Pieces; p++) {
                piece pixels;
                std::memcpy(&pixels, corner + offsets[p], sizeof(pixels));
                acc[p] += pixels * gradients[e * kLanes];
            }
        };
        int64_t e = 0;
        for (; e + 2 <= count; e += 2) {
            add(even, e);
            add(odd, e + 1);
        }
        if (e < count) add(even, e);
    }
    for (int p = 0; p < Pieces; p++) {
        piece sum = even[p] + odd[p];
        std::memcpy(sums + p * kStemPiece, &sum, sizeof(sum));
    }
}

static void gather(float* sums, const float* gradients, const uint8_t* winners, int64_t channels, int64_t rows,
                   int64_t count, const float* x, int64_t row_step, int64_t step, const int32_t* corners,
                   const int32_t* offsets, int64_t pieces) {
    while (pieces > 0) {
        // the rows of the networks' windows at once
        int64_t some = pieces >= 7 ? 7 : pieces >= 5 ? 5 : 1;
        auto kernel = some == 7 ? gather_pieces<7> : some == 5 ? gather_pieces<5> : gather_pieces<1>;
        kernel(sums, gradients, winners, channels, rows, count, x, row_step, step, corners, offsets);
        sums += some * kStemPiece, offsets += some, pieces -= some;
    }
}

static const stem_kernels& kernels() {
#if AVEDIS_HAS_BF16
    constexpr auto multiply = convolve<bf16>;
#else
    constexpr std::nullptr_t multiply = nullptr;
#endif
    static constexpr stem_kernels table{
        kLanes,   gram,   gram_edges, convolve<float>,
        multiply, pool<>, gather,     {{finish_row<float>, active_row<float>}, {finish_row<bf16>, active_row<bf16>}}};
    return table;
}
