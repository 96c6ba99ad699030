// The arithmetic of stem.cpp for one instruction set: see instruction_sets.h.

typedef float vec __attribute__((vector_size(4 * kWidth)));
typedef int32_t ivec __attribute__((vector_size(4 * kWidth)));

AVEDIS_INLINE vec load_vec(const float* p) {
    vec v;
    std::memcpy(&v, p, sizeof(v));
    return v;
}

AVEDIS_INLINE void store_vec(float* p, vec v) {
    std::memcpy(p, &v, sizeof(v));
}

// ---- Gram matrix: products of A signals with B others, summed over rows of `count` positions; lanes hold positions

template <int A, int B>
static void gram_tile(double* sums, int64_t pitch, const stem_signal* a, const stem_signal* b, int64_t rows,
                      int64_t count) {
    vec acc[A][B] = {};
    ivec lane;
    for (int i = 0; i < kWidth; i++) lane[i] = i;
    const ivec tail = lane < static_cast<int32_t>(count % kWidth);
    const int64_t whole = count - count % kWidth;
    for (int64_t row = 0; row < rows; row++) {
        const float *pa[A], *pb[B];
        for (int i = 0; i < A; i++) pa[i] = a[i].first + row * a[i].step;
        for (int j = 0; j < B; j++) pb[j] = b[j].first + row * b[j].step;
        for (int64_t q = 0; q < whole; q += kWidth) {
            vec x[A];
#pragma GCC unroll 8
            for (int i = 0; i < A; i++) x[i] = load_vec(pa[i] + q);
#pragma GCC unroll 8
            for (int j = 0; j < B; j++) {
                vec y = load_vec(pb[j] + q);
#pragma GCC unroll 8
                for (int i = 0; i < A; i++) acc[i][j] += x[i] * y;
            }
        }
        if (whole == count) continue;
#pragma GCC unroll 8
        for (int j = 0; j < B; j++) {
            vec y = (vec)((ivec)load_vec(pb[j] + whole) & tail);
#pragma GCC unroll 8
            for (int i = 0; i < A; i++) acc[i][j] += (vec)((ivec)load_vec(pa[i] + whole) & tail) * y;
        }
    }
    for (int i = 0; i < A; i++)
        for (int j = 0; j < B; j++) {
            double sum = 0;
            for (int l = 0; l < kWidth; l++) sum += acc[i][j][l];
            sums[i * pitch + j] += sum;
        }
}

// Tiles that leave the accumulators in registers.
constexpr int kGramA = kWidth == 16 ? 6 : 3, kGramB = 4;

template <int A>
static void gram_row(double* sums, int64_t pitch, const stem_signal* a, const stem_signal* b, int64_t others,
                     int64_t rows, int64_t count) {
    int64_t j = 0;
    for (; j + kGramB <= others; j += kGramB) gram_tile<A, kGramB>(sums + j, pitch, a, b + j, rows, count);
    for (; j < others; j++) gram_tile<A, 1>(sums + j, pitch, a, b + j, rows, count);
}

// sums [signals, signals] += products of signals i <= j; what lies below the diagonal is garbage.
static void gram(double* sums, const stem_signal* signals, int64_t count_of_signals, int64_t rows, int64_t count) {
    int64_t i = 0;
    for (; i + kGramA <= count_of_signals; i += kGramA)
        gram_row<kGramA>(sums + i * count_of_signals + i, count_of_signals, signals + i, signals + i,
                         count_of_signals - i, rows, count);
    for (; i < count_of_signals; i++)
        gram_row<1>(sums + i * count_of_signals + i, count_of_signals, signals + i, signals + i, count_of_signals - i,
                    rows, count);
}

// ---- convolution: lanes hold output channels, kStemBlock of them at a time

constexpr int kVectors = kStemBlock / kWidth, kPixels = kWidth == 16 ? 12 : 2;

template <int Pixels>
AVEDIS_INLINE void convolve_pixels(float* z, const float* x, const float* weight, const stem_window& window,
                                   int64_t step) {
    vec acc[Pixels][kVectors] = {};
    for (int64_t r = 0; r < window.rows; r++) {
        const float* row = x + r * window.pitch;
        for (int64_t s = 0; s < window.columns; s++, weight += kStemBlock) {
            vec w[kVectors];
#pragma GCC unroll 8
            for (int v = 0; v < kVectors; v++) w[v] = load_vec(weight + v * kWidth);
#pragma GCC unroll 16
            for (int i = 0; i < Pixels; i++) {
                float pixel = row[s + i * step];
#pragma GCC unroll 8
                for (int v = 0; v < kVectors; v++) acc[i][v] += w[v] * pixel;
            }
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < Pixels; i++)
#pragma GCC unroll 8
        for (int v = 0; v < kVectors; v++) store_vec(z + i * kStemBlock + v * kWidth, acc[i][v]);
}

// z [count, kStemBlock] of `count` positions whose windows lie `step` elements apart; weight [taps, kStemBlock].
static void convolve(float* z, const float* x, const float* weight, stem_window window, int64_t count, int64_t step) {
    int64_t q = 0;
    for (; q + kPixels <= count; q += kPixels)
        convolve_pixels<kPixels>(z + q * kStemBlock, x + q * step, weight, window, step);
    if (q < count && count >= kPixels) {
        // once more over a few that are there already
        q = count - kPixels;
        return convolve_pixels<kPixels>(z + q * kStemBlock, x + q * step, weight, window, step);
    }
    for (; q < count; q++) convolve_pixels<1>(z + q * kStemBlock, x + q * step, weight, window, step);
}

// ---- pooling: the largest z of the windows of one output row, and which it was, both [outputs, kStemBlock]; z starts with
// row `first` of its image

static void pool(float* best, int32_t* winner, const float* z, const avedis_pool2d_geometry& g, int64_t row,
                 int64_t first) {
    span rows = inside(static_cast<int32_t>(row), g.stride_h, g.pad_h, g.r, g.h);
    int64_t top = row * g.stride_h - g.pad_h - first;
    for (int32_t j = 0; j < pool_q(g); j++, best += kStemBlock, winner += kStemBlock) {
        span columns = inside(j, g.stride_w, g.pad_w, g.s, g.w);
        vec most[kVectors];
        ivec place[kVectors];
        for (int v = 0; v < kVectors; v++)
            most[v] = vec{} - INFINITY, place[v] = ivec{} + (rows.begin * g.s + columns.begin);
        for (int32_t r = rows.begin; r < rows.end; r++) {
            const float* here = z + ((top + r) * g.w + j * g.stride_w - g.pad_w) * kStemBlock;
            for (int32_t s = columns.begin; s < columns.end; s++)
#pragma GCC unroll 8
                for (int v = 0; v < kVectors; v++) {
                    vec candidate = load_vec(here + s * kStemBlock + v * kWidth);
                    ivec wins = candidate > most[v];
                    most[v] = wins ? candidate : most[v];
                    place[v] = wins ? ivec{} + (r * g.s + s) : place[v];
                }
        }
        for (int v = 0; v < kVectors; v++) {
            store_vec(best + v * kWidth, most[v]);
            std::memcpy(winner + v * kWidth, &place[v], sizeof(ivec));
        }
    }
}

// ---- sparse gradient of one channel: sums [pieces, kStemPiece] of gradients[e * kLanes] times the pieces of eight pixels
// at x + e * step + corners[winner of e] + offsets[piece]

typedef float piece __attribute__((vector_size(4 * kStemPiece)));

template <int Pieces>
static void gather_pieces(float* sums, const float* gradients, const uint8_t* winners, int64_t channels, int64_t count,
                          const float* x, int64_t step, const int32_t* corners, const int32_t* offsets) {
    piece even[Pieces] = {}, odd[Pieces] = {};
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
    for (int p = 0; p < Pieces; p++) {
        piece sum = even[p] + odd[p];
        std::memcpy(sums + p * kStemPiece, &sum, sizeof(sum));
    }
}

static void gather(float* sums, const float* gradients, const uint8_t* winners, int64_t channels, int64_t count,
                   const float* x, int64_t step, const int32_t* corners, const int32_t* offsets, int64_t pieces) {
    while (pieces > 0) {
        // the rows of the networks' windows at once
        int64_t some = pieces >= 7 ? 7 : pieces >= 5 ? 5 : 1;
        auto kernel = some == 7 ? gather_pieces<7> : some == 5 ? gather_pieces<5> : gather_pieces<1>;
        kernel(sums, gradients, winners, channels, count, x, step, corners, offsets);
        sums += some * kStemPiece, offsets += some, pieces -= some;
    }
}

static const stem_kernels& kernels() {
    static constexpr stem_kernels table{gram, convolve, pool, gather};
    return table;
}
