// The arithmetic of stem.cpp for one instruction set: see instruction_sets.h.

// ---- Gram matrix: products of A signals with B others, summed over rows of `count` positions; lanes hold positions

template <int A, int B>
static void gram_tile(double* sums, int64_t pitch, const stem_signal* a, const stem_signal* b, int64_t rows,
                      int64_t count) {
    vfloat acc[A][B] = {};
    vint lane;
    for (int i = 0; i < kLanes; i++) lane[i] = i;
    const vint tail = lane < static_cast<int32_t>(count % kLanes);
    const int64_t whole = count - count % kLanes;
    for (int64_t row = 0; row < rows; row++) {
        const float *pa[A], *pb[B];
        for (int i = 0; i < A; i++) pa[i] = a[i].first + row * a[i].step;
        for (int j = 0; j < B; j++) pb[j] = b[j].first + row * b[j].step;
        for (int64_t q = 0; q < whole; q += kLanes) {
            vfloat x[A];
#pragma GCC unroll 8
            for (int i = 0; i < A; i++) x[i] = load(pa[i] + q, kLanes);
#pragma GCC unroll 8
            for (int j = 0; j < B; j++) {
                vfloat y = load(pb[j] + q, kLanes);
#pragma GCC unroll 8
                for (int i = 0; i < A; i++) acc[i][j] += x[i] * y;
            }
        }
        if (whole == count) continue;
#pragma GCC unroll 8
        for (int j = 0; j < B; j++) {
            vfloat y = (vfloat)((vint)load(pb[j] + whole, kLanes) & tail);
#pragma GCC unroll 8
            for (int i = 0; i < A; i++) acc[i][j] += (vfloat)((vint)load(pa[i] + whole, kLanes) & tail) * y;
        }
    }
    for (int i = 0; i < A; i++)
        for (int j = 0; j < B; j++) {
            double sum = 0;
            for (int l = 0; l < kLanes; l++) sum += acc[i][j][l];
            sums[i * pitch + j] += sum;
        }
}

// Tiles that leave the accumulators in registers.
constexpr int kGramA = kLanes == 16 ? 6 : 3, kGramB = 4;

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

constexpr int kVectors = kStemBlock / kLanes, kPixels = kLanes == 16 ? 12 : 3;

template <int Pixels, class T>
AVEDIS_INLINE void convolve_pixels(float* z, const T* x, const T* weight, const stem_window& window, int64_t step) {
    constexpr int64_t kTogether = 4 / sizeof(T);
    vfloat acc[Pixels][kVectors] = {};
    for (int64_t r = 0; r < window.rows; r++) {
        const T* row = x + r * window.pitch;
        for (int64_t s = 0; s < window.columns; s += kTogether, weight += kTogether * kStemBlock) {
            vfloat w[kVectors];
#pragma GCC unroll 8
            for (int v = 0; v < kVectors; v++) std::memcpy(&w[v], weight + v * kTogether * kLanes, sizeof(vfloat));
#pragma GCC unroll 16
            for (int i = 0; i < Pixels; i++)
#pragma GCC unroll 8
                for (int v = 0; v < kVectors; v++) acc[i][v] = multiply_add(acc[i][v], w[v], row + s + i * step);
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < Pixels; i++)
#pragma GCC unroll 8
        for (int v = 0; v < kVectors; v++) store(z + i * kStemBlock + v * kLanes, acc[i][v], kLanes);
}

// z [count, kStemBlock] of `count` positions whose windows lie `step` elements apart; weight [taps, kStemBlock], or of
// bfloat16 [pairs of taps, kStemBlock, 2].
template <class T>
static void convolve(float* z, const T* x, const T* weight, stem_window window, int64_t count, int64_t step) {
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

// ---- pooling: the largest z of the windows of one output row, and which it was, both [outputs, kStemBlock]; z starts
// with row `first` of its image

static void pool(float* best, int32_t* winner, const float* z, const avedis_pool2d_geometry& g, int64_t row,
                 int64_t first) {
    span rows = inside(static_cast<int32_t>(row), g.stride_h, g.pad_h, g.r, g.h);
    int64_t top = row * g.stride_h - g.pad_h - first;
    for (int32_t j = 0; j < pool_q(g); j++, best += kStemBlock, winner += kStemBlock) {
        span columns = inside(j, g.stride_w, g.pad_w, g.s, g.w);
        vfloat most[kVectors];
        vint place[kVectors];
        for (int v = 0; v < kVectors; v++)
            most[v] = vfloat{} - INFINITY, place[v] = vint{} + (rows.begin * g.s + columns.begin);
        for (int32_t r = rows.begin; r < rows.end; r++) {
            const float* here = z + ((top + r) * g.w + j * g.stride_w - g.pad_w) * kStemBlock;
            for (int32_t s = columns.begin; s < columns.end; s++)
#pragma GCC unroll 8
                for (int v = 0; v < kVectors; v++) {
                    vfloat candidate = load(here + s * kStemBlock + v * kLanes, kLanes);
                    vint wins = candidate > most[v];
                    most[v] = wins ? candidate : most[v];
                    place[v] = wins ? vint{} + (r * g.s + s) : place[v];
                }
        }
        for (int v = 0; v < kVectors; v++) {
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

// dA of kLanes channels of a row of pooled pixels, [q, kLanes]; sums [kLanes] of it.
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
#if AVEDIS_HAS_BF16
    constexpr auto multiply = convolve<bf16>;
#else
    constexpr std::nullptr_t multiply = nullptr;
#endif
    static constexpr stem_kernels table{kLanes,
                                        gram,
                                        convolve<float>,
                                        multiply,
                                        pool,
                                        gather,
                                        {{finish_row<float>, active_row<float>}, {finish_row<bf16>, active_row<bf16>}}};
    return table;
}
