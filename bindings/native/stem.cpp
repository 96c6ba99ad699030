// The first block of a stream: convolution of a data image, batch norm, ReLU if asked, max pooling. The convolution's
// output z is by far the largest tensor of a network, so it is never stored: its statistics follow from the input
// alone, and so does the dense part of the weight gradient.
//
// With T = r * s * c taps, w_k the T weights of channel k, x_p the T pixels under the window at position p and
// n = N * P * Q positions, one pass over the input gives
//   S = sum_p x_p    Gc = sum_p (x_p - S / n) (x_p - S / n)^T.
//   z_pk = w_k . x_p, so  mean_k = w_k . S / n  and  variance_k = w_k^T Gc w_k / n.
// With dA the gradient behind the batch norm, not zero only where a pooled output took its value from and ReLU let
// pass,
//   D_k = sum_p dA_pk x_p    dbeta_k = sum_p dA_pk    dgamma_k = i_k (w_k . D_k - mean_k dbeta_k)    (i = inverse
//   deviation) dW_k = gamma_k i_k (D_k - dbeta_k / n S - dgamma_k i_k / n Gc w_k).
// None of it changes when the same number is taken from every tap of every x_p, those of the padding included. It is
// about the mean of the image: so a large mean costs no digits. A tap that lies on padding at every p is constant, so
// its row of Gc and its gradient are 0, which rounded sums would only come near to; which taps these are follows from
// the shape, and their share is left out.
//
//   forward    1. Gram matrix, from rows whose pixels are sorted by column modulo the stride, so that one tap of
//              neighbouring positions is a vector; a product of taps is that of two others, a stride further up or
//              left, but for the edges of the image, so few are summed over all positions (stem_gram). 2. kStemBlock
//              channels of a few rows of z at a time, which stay in the cache until they are pooled.
//   backward   the windows of the winners, kStemPiece pixels at a time; channel by channel, so that D_k stays in
//   registers.
//
// Channels of the image lie side by side in a row, so c channels are a window c times as wide that moves c times as
// far. At bfloat16 the weights are rounded on the way in; z stays float. Sums are float within a row or a few, double
// beyond, in blocks whose bounds depend on the shape alone: the same bits with any number of threads.
#include "stem.h"

#include <cmath>

#include "pool_window.h"
#include "status.h"
#define AVEDIS_KERNELS "stem_kernels.inl"
#include "instruction_sets.h"

namespace avedis {

// ---- shapes

struct stem_shape {
    stem_shape(const avedis_conv2d_geometry& conv, const avedis_pool2d_geometry& pool)
        : conv(conv),
          pool(pool),
          columns(static_cast<int64_t>(conv.s) * conv.c),
          taps(conv.r * columns),
          step(static_cast<int64_t>(conv.stride_w) * conv.c),
          left(static_cast<int64_t>(conv.pad_w) * conv.c),
          width(static_cast<int64_t>(conv.w) * conv.c),
          pieces(conv.r * ((columns + kStemPiece - 1) / kStemPiece)) {}

    // Positions, and the padding in front of them that a row of the image needs to have.
    int64_t positions() const { return static_cast<int64_t>(conv.n) * pool.h * pool.w; }
    // Room behind a padded row: a vector of signals or a piece may look this far beyond its last pixel.
    int64_t pitch() const { return left + width + left + 2 * kSlack; }

    // Whether a tap lies on the image at any position.
    bool meets_image(int64_t tap) const {
        return meets_image(tap / columns, conv.stride_h, conv.pad_h, pool.h, conv.h) &&
               meets_image(tap % columns / conv.c, conv.stride_w, conv.pad_w, pool.w, conv.w);
    }

    static constexpr int64_t kSlack = 16;

    avedis_conv2d_geometry conv;
    avedis_pool2d_geometry pool;
    int64_t columns, taps, step, left, width, pieces;

private:
    // The same along one axis: at the first position where the tap does not lie in front of the image.
    static bool meets_image(int64_t place, int64_t stride, int64_t pad, int64_t positions, int64_t size) {
        int64_t position = (std::max<int64_t>(0, pad - place) + stride - 1) / stride;
        return position < positions && position * stride + place - pad < size;
    }
};

// What the forward pass leaves for the backward pass: the number taken from every tap, S / n [taps] and
// Gc / n [taps, taps], in double.
struct stem_state {
    stem_state(void* memory, int64_t taps)
        : shift(static_cast<double*>(memory)), mean(shift + 1), covariance(mean + taps) {}

    static int64_t bytes(int64_t taps) { return (1 + taps + taps * taps) * static_cast<int64_t>(sizeof(double)); }

    double *shift, *mean, *covariance;
};

// ---- rows of the image

template <class T>
AVEDIS_CLONES static void copy_row(float* y, const T* x, int64_t count, float shift) {
    for (int64_t i = 0; i < count; i++) y[i] = to_float(x[i]) - shift;
}

static void copy_row(bf16* y, const bf16* x, int64_t count, float) {
    std::copy_n(x, count, y);
}

// y [last - first, pitch] = rows [first, last) of an image, padded with zeros, minus shift. bfloat16 stays as it is.
template <class Y, class T>
static void padded_rows(Y* y, const T* image, const stem_shape& s, int64_t first, int64_t last, float shift) {
    Y padding;
    store(&padding, -shift);
    for (int64_t row = first; row < last; row++, y += s.pitch()) {
        bool inside = row >= 0 && row < s.conv.h;
        std::fill(y, y + (inside ? s.left : s.pitch()), padding);
        if (!inside) continue;
        copy_row(y + s.left, image + row * s.width, s.width, shift);
        std::fill(y + s.left + s.width, y + s.pitch(), padding);
    }
}

// About the mean of the image: that of every sixteenth row.
template <class T>
static double typical_pixel(const T* x, const stem_shape& s) {
    int64_t rows = static_cast<int64_t>(s.conv.n) * s.conv.h, seen = (rows + 15) / 16;
    double sum = 0;
    for (int64_t row = 0; row < rows; row += 16) {
        double part = 0;
        for (int64_t i = 0; i < s.width; i++) part += to_float(x[row * s.width + i]);
        sum += part;
    }
    double mean = sum / static_cast<double>(seen * s.width);
    return static_cast<float>(mean);
}

// body(image, first row, end) over the pieces of rows [begin, end) of all images that lie in one image.
template <class Body>
static void by_image(int64_t begin, int64_t end, int64_t rows_of_image, Body body) {
    while (begin < end) {
        int64_t image = begin / rows_of_image, first = begin % rows_of_image;
        int64_t last = std::min(rows_of_image, first + end - begin);
        body(image, first, last);
        begin += last - first;
    }
}

// ---- statistics from the input

// With so few positions z may be almost constant in a channel, and its variance smaller than the rounding errors of a
// Gram matrix that is summed in float; so it is summed in double.
constexpr int64_t kFewPositions = 64;

// Rows of positions whose pixels are sorted at a time, for the second cache, and pixels of which sums are made in float
// at a time, for the first.
constexpr int64_t kSortedRows = 32, kCachedPixels = 8192;

// sums [count_a, count_b] = products of signals.
static void gram_in_double(double* sums, const float* const* a, int64_t count_a, const float* const* b, int64_t count_b,
                           int64_t rows, int64_t pitch, int64_t count) {
    for (int64_t i = 0; i < count_a; i++)
        for (int64_t j = 0; j < count_b; j++) {
            double sum = 0;
            for (int64_t row = 0; row < rows; row++)
                for (int64_t q = 0; q < count; q++)
                    sum += static_cast<double>(a[i][row * pitch + q]) * b[j][row * pitch + q];
            sums[i * count_b + j] = sum;
        }
}

// As gram_edges of the kernels.
static void edges_in_double(double* sums, const float* upper, const float* lower, int64_t columns, int64_t last,
                            int64_t rows, int64_t pitch) {
    for (int64_t a = 0; a < columns; a++)
        for (int64_t b = 0; b < columns; b++) {
            double sum = 0;
            for (int64_t row = 0; row < rows * pitch; row += pitch)
                sum += static_cast<double>(upper[row + last + a]) * lower[row + last + b] -
                       static_cast<double>(upper[row + a]) * lower[row + b];
            sums[a * columns + b] = sum;
        }
}

// y [count] = every nth element of x; for the networks' strides, 1 and 2, in vectors.
AVEDIS_CLONES static void every_nth(float* y, const float* x, int64_t count, int64_t n) {
    if (n == 1)
        std::copy_n(x, count, y);
    else if (n == 2)
        for (int64_t i = 0; i < count; i++) y[i] = x[2 * i];
    else
        for (int64_t i = 0; i < count; i++) y[i] = x[n * i];
}

// count is a multiple of eight.
AVEDIS_CLONES static double sum_of_row(const float* x, int64_t count) {
    double sums[8] = {};
    for (int64_t i = 0; i < count; i += 8)
        for (int64_t lane = 0; lane < 8; lane++) sums[lane] += x[i + lane];
    return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

// A row of the image, three times over.
struct stem_row {
    explicit stem_row(const stem_shape& s)
        : phase((s.pitch() + s.step - 1) / s.step + stem_shape::kSlack),
          cut((s.pool.w + stem_shape::kSlack - 1) / stem_shape::kSlack * stem_shape::kSlack),
          phases(s.pitch()),
          cuts(phases + s.step * phase),
          pitch(cuts + s.step * cut),
          column(scratch<int64_t, 0>(s.columns)) {
        for (int64_t b = 0; b < s.columns; b++) column[b] = phases + b % s.step * phase + b / s.step;
    }

    // From its start: the padded pixels; from `phases` on those of equal columns modulo the step side by side; from
    // `cuts` on of each phase the first pool.w, and zeros. Elements in all.
    int64_t phase, cut, phases, cuts, pitch;
    // Where the signal of a column of the window begins.
    int64_t* column;
};

// rows [count, row.pitch] = rows of an image from row `top` on; those beyond it are padding.
template <class T>
static void sort_rows(float* rows, const stem_row& row, const T* image, const stem_shape& s, int64_t top, int64_t count,
                      float shift) {
    for (int64_t i = 0; i < count; i++, rows += row.pitch) {
        padded_rows(rows, image, s, top + i, top + i + 1, shift);
        for (int64_t p = 0; p < s.step; p++) {
            float *phase = rows + row.phases + p * row.phase, *cut = rows + row.cuts + p * row.cut;
            int64_t pixels = (s.pitch() - p + s.step - 1) / s.step;
            every_nth(phase, rows + p, pixels, s.step);
            std::fill(phase + pixels, phase + row.phase, 0.0f);
            std::copy_n(phase, s.pool.w, cut);
            std::fill(cut + s.pool.w, cut + row.cut, 0.0f);
        }
    }
}

// Most pairs of taps have the products of a pair that lies a step further up, or a step further left, but for those at
// the edges of the image. With X a row of positions, A and B two rows of a window, and a, b columns of it,
//   sum_q X_A[q * step + a] X_B[q * step + b]
// is that of (a - step, b - step) without its first product and with one more at the end; and so it is with rows of
// positions. `differences` has such sums where a pair has no other, and what is to be added to the other where it has.
struct stem_gram {
    stem_gram(double* differences, const stem_shape& s, const stem_row& row)
        : differences(differences), s(s), row(row), kernels(kernels_of_this_machine()) {}

    // Adds to pairs of rows [from, to) of the window with rows from themselves on, to `last`, over `count` rows of
    // positions that start at rows of the image; they count for pairs that lie `below` rows further down.
    void add(const float* rows, int64_t from, int64_t to, int64_t last, int64_t below, int64_t count, double sign) {
        const int64_t columns = s.columns, step = std::min(s.step, columns), rest = columns - step;
        const int64_t pitch = s.conv.stride_h * row.pitch;
        bool few = s.positions() <= kFewPositions;
        auto multiply = few ? gram_in_double : kernels.gram;
        auto multiply_edges = few ? edges_in_double : kernels.gram_edges;
        const float **left = scratch<const float*, 0>(2 * s.taps), **right = left + s.taps;
        double* products = scratch<double, 2>(s.taps * s.taps);
        for (int64_t r = from; r < to; r++) {
            double* sums = differences + (r + below) * columns * (s.taps + 1);  // of the first column of r with itself
            const float* here = rows + r * row.pitch;
            // the first columns of this row with all columns from this row on
            int64_t others = 0;
            for (int64_t a = 0; a < step; a++) left[a] = here + row.cuts + a * row.cut;
            for (int64_t lower = r; lower < last; lower++)
                for (int64_t b = 0; b < columns; b++) right[others++] = rows + lower * row.pitch + row.column[b];
            multiply(products, left, step, right, others, count, pitch, s.pool.w);
            for (int64_t a = 0; a < step; a++)
                for (int64_t b = a; b < others; b++) sums[a * s.taps + b] += sign * products[a * others + b];
            // the first columns of the rows below with the other columns of this row
            int64_t lowers = 0;
            for (int64_t lower = r + 1; lower < last; lower++)
                for (int64_t b = 0; b < step; b++) left[lowers++] = rows + lower * row.pitch + row.cuts + b * row.cut;
            for (int64_t a = 0; a < rest; a++) right[a] = here + row.column[step + a];
            multiply(products, left, lowers, right, rest, count, pitch, s.pool.w);
            const double* product = products;
            for (int64_t lower = 1; lower < last - r; lower++)
                for (int64_t b = 0; b < step; b++)
                    for (int64_t a = 0; a < rest; a++)
                        sums[(step + a) * s.taps + lower * columns + b] += sign * *product++;
            // the others: the last product, less one in front of the first
            for (int64_t lower = r; lower < last && rest > 0; lower++) {
                multiply_edges(products, here, rows + lower * row.pitch, rest, s.pool.w * s.step, count, pitch);
                for (int64_t a = 0; a < rest; a++)
                    for (int64_t b = lower == r ? a : 0; b < rest; b++)
                        sums[(step + a) * s.taps + (lower - r) * columns + step + b] += sign * products[a * rest + b];
            }
        }
    }

    // Makes sums of the differences.
    void complete() {
        const int64_t columns = s.columns, rows_up = s.conv.stride_h;
        for (int64_t a = 0; a < s.taps; a++)
            for (int64_t b = a; b < s.taps; b++)
                if (a % columns >= s.step && b % columns >= s.step)
                    differences[a * s.taps + b] += differences[(a - s.step) * s.taps + b - s.step];
        for (int64_t a = rows_up * columns; a < s.taps; a++)
            for (int64_t b = a; b < s.taps; b++)
                differences[a * s.taps + b] += differences[(a - rows_up * columns) * s.taps + b - rows_up * columns];
    }

    double* differences;
    const stem_shape& s;
    const stem_row& row;
    const stem_kernels& kernels;
};

// sums [taps] += signals, summed over `count` rows of positions. Columns a step further right have the same sums, less
// the first pixel and with one more at the end.
static void add_signals(double* sums, const float* rows, const stem_row& row, const stem_shape& s, int64_t count) {
    double* columns = scratch<double, 2>(s.columns);
    for (int64_t i = 0; i < (count - 1) * s.conv.stride_h + s.conv.r; i++, rows += row.pitch) {
        for (int64_t column = 0; column < s.columns; column++)
            columns[column] = column < s.step ? sum_of_row(rows + row.cuts + column * row.cut, row.cut)
                                              : columns[column - s.step] +
                                                    static_cast<double>(rows[(s.pool.w - 1) * s.step + column]) -
                                                    rows[column - s.step];
        // row i belongs to row r of the windows of position row (i - r) / stride
        for (int64_t r = i % s.conv.stride_h; r < s.conv.r && r <= i; r += s.conv.stride_h)
            if ((i - r) / s.conv.stride_h < count)
                for (int64_t column = 0; column < s.columns; column++) sums[r * s.columns + column] += columns[column];
    }
}

// sums [taps + taps * taps] += signals, and differences of their products, of rows [first, last) of positions.
template <class T>
static void statistics_of_rows(double* sums, const T* image, const stem_shape& s, const stem_row& row, int64_t first,
                               int64_t last, float shift) {
    const int64_t up = std::min(s.conv.stride_h, s.conv.r), count = last - first;
    float* rows = scratch<float, 0>(((count - 1) * s.conv.stride_h + s.conv.r) * row.pitch + stem_shape::kSlack);
    sort_rows(rows, row, image, s, first * s.conv.stride_h - s.conv.pad_h, (count - 1) * s.conv.stride_h + s.conv.r,
              shift);
    add_signals(sums, rows, row, s, count);
    stem_gram gram(sums + s.taps, s, row);
    const int64_t some = std::max<int64_t>(4, kCachedPixels / (s.conv.stride_h * row.pitch));
    for (int64_t begin = 0; begin < count; begin += some)
        gram.add(rows + begin * s.conv.stride_h * row.pitch, 0, up, s.conv.r, 0, std::min(some, count - begin), 1);
    if (first == 0) gram.add(rows, 0, s.conv.r - up, s.conv.r - up, up, 1, -1);
    if (last == s.pool.h) gram.add(rows + (count - 1) * s.conv.stride_h * row.pitch, up, s.conv.r, s.conv.r, 0, 1, 1);
}

template <class T>
static void input_statistics(stem_state state, const T* x, const stem_shape& s) {
    int64_t rows = static_cast<int64_t>(s.conv.n) * s.pool.h, blocks = std::min<int64_t>(64, rows);
    int64_t size = s.taps + s.taps * s.taps, image_size = s.width * s.conv.h;
    float shift = static_cast<float>(*state.shift = typical_pixel(x, s));
    stem_row row(s);
    double* partial = scratch<double, 0>(blocks * size);
#pragma omp parallel for schedule(static)
    for (int64_t block = 0; block < blocks; block++) {
        std::fill_n(partial + block * size, size, 0.0);
        by_image(block * rows / blocks, (block + 1) * rows / blocks, s.pool.h,
                 [&](int64_t image, int64_t first, int64_t last) {
                     for (int64_t begin = first; begin < last; begin += kSortedRows)
                         statistics_of_rows(partial + block * size, x + image * image_size, s, row, begin,
                                            std::min(last, begin + kSortedRows), shift);
                 });
    }
    for (int64_t block = 1; block < blocks; block++)
        for (int64_t i = 0; i < size; i++) partial[i] += partial[block * size + i];
    double *sums = partial, *products = partial + s.taps, n = static_cast<double>(s.positions());
    stem_gram(products, s, row).complete();
    for (int64_t i = 0; i < s.taps; i++) state.mean[i] = sums[i] / n;
    for (int64_t i = 0; i < s.taps; i++)
        for (int64_t j = i; j < s.taps; j++)
            state.covariance[i * s.taps + j] = state.covariance[j * s.taps + i] =
                products[i * s.taps + j] / n - state.mean[i] * state.mean[j];
    for (int64_t i = 0; i < s.taps; i++) {
        if (s.meets_image(i)) continue;
        state.mean[i] = -*state.shift;
        for (int64_t j = 0; j < s.taps; j++) state.covariance[i * s.taps + j] = state.covariance[j * s.taps + i] = 0;
    }
}

// product [taps] = covariance * w; returns w . product.
static double covariance_product(double* product, const stem_state& state, const float* w, int64_t taps) {
    double square = 0;
    for (int64_t i = 0; i < taps; i++) {
        double sum = 0;
        for (int64_t j = 0; j < taps; j++) sum += state.covariance[i * taps + j] * w[j];
        product[i] = sum;
        square += sum * w[i];
    }
    return square;
}

static double dot(const double* a, const float* b, int64_t count) {
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += a[i] * b[i];
    return sum;
}

// The weights that are multiplied: themselves, or rounded to bfloat16 into the scratch of this slot.
template <class T>
static const float* multiplied_weights(const float* weight, const stem_shape& s) {
    if constexpr (std::is_same_v<T, float>) return weight;
    int64_t count = s.conv.k * s.taps;
    float* rounded = scratch<float, 2>(count);
    for (int64_t i = 0; i < count; i++) {
        bf16 narrow;
        store(&narrow, weight[i]);
        rounded[i] = to_float(narrow);
    }
    return rounded;
}

// ---- convolution and pooling

// Taps of a row of the window, rounded up to what a kernel takes at once: a pair of bfloat16.
template <class Z>
static int64_t packed_taps(const stem_shape& s) {
    int64_t together = 4 / sizeof(Z);
    return s.conv.r * ((s.columns + together - 1) / together * together);
}

// The largest a * z + b of a window is where |a| / a * z is largest, so the convolution carries the sign: packed
// [blocks of channels, taps, kStemBlock, taps together] of sign(a) * weight [k, taps]; what is beyond either is 0.
template <class Z>
static void pack_weights(Z* packed, const float* weight, const float* a, const stem_shape& s) {
    int64_t together = 4 / sizeof(Z), columns = packed_taps<Z>(s) / s.conv.r;
    int64_t blocks = (s.conv.k + kStemBlock - 1) / kStemBlock;
    for (int64_t k = 0; k < blocks * kStemBlock; k++)
        for (int64_t r = 0; r < s.conv.r; r++)
            for (int64_t column = 0; column < columns; column++) {
                bool empty = k >= s.conv.k || column >= s.columns || !(a[k] != 0);
                int64_t group = (k / kStemBlock * s.conv.r + r) * (columns / together) + column / together;
                store(packed + (group * kStemBlock + k % kStemBlock) * together + column % together,
                      empty ? 0.0f : std::copysign(1.0f, a[k]) * weight[k * s.taps + r * s.columns + column]);
            }
}

// Rows [begin, end) of the pooled output of one image, multiplied as Z.
template <class Z, class T>
static void forward_band(T* y, uint8_t* argmax, const T* image, const Z* packed, affine f, const stem_shape& s,
                         stem_convolution<Z> convolve, int64_t begin, int64_t end) {
    const auto& conv = s.conv;
    const auto& pool = s.pool;
    auto rows_of = [&](int64_t i) {
        int64_t corner = i * pool.stride_h - pool.pad_h;
        return std::pair(std::max<int64_t>(0, corner), std::min<int64_t>(pool.h, corner + pool.r));
    };
    int64_t first = rows_of(begin).first, last = rows_of(end - 1).second, row_size = pool.w * kStemBlock;
    int64_t top = first * conv.stride_h - conv.pad_h, bottom = (last - 1) * conv.stride_h - conv.pad_h + conv.r;
    Z* rows = scratch<Z, 0>((bottom - top) * s.pitch());
    float* z = scratch<float, 1>(pool.r * row_size + pool_q(pool) * kStemBlock);
    float* best = z + pool.r * row_size;
    int32_t* winner = scratch<int32_t, 0>(pool_q(pool) * kStemBlock);
    padded_rows(rows, image, s, top, bottom, 0);
    const auto& kernels = kernels_of_this_machine();
    for (int32_t k = 0; k < conv.k; k += kStemBlock, packed += packed_taps<Z>(s) * kStemBlock) {
        int32_t channels = std::min(kStemBlock, conv.k - k);
        affine here{f.a + k, f.b + k, f.floor};
        int64_t held = first, next = first;  // z holds rows [held, next)
        for (int64_t i = begin; i < end; i++) {
            auto [from, to] = rows_of(i);
            int64_t kept = std::max<int64_t>(0, next - from);
            std::memmove(z, z + (from - held) * row_size * (kept > 0), kept * row_size * sizeof(float));
            held = from;
            for (next = from + kept; next < to; next++)
                convolve(z + (next - held) * row_size, rows + (next * conv.stride_h - conv.pad_h - top) * s.pitch(),
                         packed, {conv.r, s.columns, s.pitch()}, pool.w, s.step, channels);
            int64_t out = i * pool_q(pool) * conv.k + k;
            kernels.pool(best, winner, z, pool, i, held, channels);
            kernels.rows.of(T{}).finish_row(y + out, argmax ? argmax + out : nullptr, best, winner, here, pool, i,
                                            channels);
        }
    }
}

template <class Z, class T>
static void forward_images(T* y, uint8_t* argmax, const T* x, const float* weight, const float* signs, affine f,
                           const stem_shape& s, stem_convolution<Z> convolve) {
    Z* packed = scratch<Z, 3>((s.conv.k + kStemBlock - 1) / kStemBlock * kStemBlock * packed_taps<Z>(s));
    pack_weights(packed, weight, signs, s);
    int64_t p = pool_p(s.pool), image_size = s.width * s.conv.h, out_size = p * pool_q(s.pool) * s.conv.k;
    int64_t bands = std::max<int64_t>(1, std::min<int64_t>(p, 64 / s.conv.n));
#pragma omp parallel for schedule(static)
    for (int64_t unit = 0; unit < s.conv.n * bands; unit++) {
        int64_t image = unit / bands, band = unit % bands;
        forward_band(y + image * out_size, argmax ? argmax + image * out_size : nullptr, x + image * image_size, packed,
                     f, s, convolve, band * p / bands, (band + 1) * p / bands);
    }
}

// y = pooling of relu of a * z + b. a is lost.
template <class T>
static void forward(T* y, uint8_t* argmax, const T* x, const float* weight, float* a, const float* b, bool relu,
                    const stem_shape& s) {
    const auto& kernels = kernels_of_this_machine();
    float* signs = scratch<float, 6>(s.conv.k);
    std::copy_n(a, s.conv.k, signs);
    for (int32_t k = 0; k < s.conv.k; k++) a[k] = std::abs(a[k]);
    affine f{a, b, relu_floor(relu)};
    if constexpr (std::is_same_v<T, bf16>)
        if (kernels.convolve_bf16)
            return forward_images<bf16>(y, argmax, x, weight, signs, f, s, kernels.convolve_bf16);
    forward_images<float>(y, argmax, x, weight, signs, f, s, kernels.convolve_f32);
}

// ---- gradient of the weights

// sums [k, 1 + pieces * kStemPiece] += sum of dA, and of dA times the window, over `count` pooled rows of one image,
// from row i on.
template <class T>
static void gradient_of_rows(double* sums, const T* image, const T* dy, const T* y, const uint8_t* argmax,
                             const stem_shape& s, int64_t i, int64_t count, float shift, bool relu) {
    const auto& conv = s.conv;
    const auto& pool = s.pool;
    int64_t q = pool_q(pool), pitch = s.pitch(), length = s.pieces * kStemPiece, pieces_of_row = s.pieces / conv.r;
    int64_t row_step = static_cast<int64_t>(pool.stride_h) * conv.stride_h;  // of the image
    int64_t top = i * row_step - pool.pad_h * conv.stride_h - conv.pad_h;
    int64_t input = (count - 1) * row_step + (pool.r - 1) * conv.stride_h + conv.r;
    float* rows = scratch<float, 0>(input * pitch + kStemPiece);
    padded_rows(rows, image, s, top, top + input, shift);
    float *sum = scratch<float, 1>(length + (1 + count * q) * kStemBlock), *window = sum + kStemBlock,
          *gradients = window + length;
    // where the windows of the elements of a pooling window start, and the pieces of a window
    int32_t* corners = scratch<int32_t, 0>(pool.r * pool.s + s.pieces);
    int32_t* offsets = corners + pool.r * pool.s;
    for (int32_t w = 0; w < pool.r * pool.s; w++)
        corners[w] = static_cast<int32_t>(w / pool.s * conv.stride_h * pitch + (w % pool.s - pool.pad_w) * s.step);
    for (int64_t p = 0; p < s.pieces; p++)
        offsets[p] = static_cast<int32_t>(p / pieces_of_row * pitch + p % pieces_of_row * kStemPiece);
    const auto& kernels = kernels_of_this_machine();
    const int32_t at_once = kernels.lanes;
    for (int32_t k = 0; k < conv.k; k += at_once) {
        int lanes = std::min(at_once, conv.k - k);
        kernels.rows.of(T{}).active_row(sum, gradients, dy + k, y + k, count * q, conv.k, relu, lanes);
        for (int lane = 0; lane < lanes; lane++, sums += 1 + length) {
            kernels.gather(window, gradients + lane, argmax + k + lane, conv.k, count, q, rows, row_step * pitch,
                           pool.stride_w * s.step, corners, offsets, s.pieces);
            sums[0] += sum[lane];
            for (int64_t t = 0; t < length; t++) sums[1 + t] += window[t];
        }
    }
}

}  // namespace avedis

using namespace avedis;

int64_t avedis_stem_state_bytes(const avedis_conv2d_geometry* conv) {
    return stem_state::bytes(static_cast<int64_t>(conv->r) * conv->s * conv->c);
}

int32_t avedis_stem_forward(void* y, uint8_t* argmax, float* mean, float* inverse_std, float* running_mean,
                            float* running_variance, void* state_memory, const void* x, const float* weight,
                            const float* gamma, const float* beta, int32_t type, const avedis_conv2d_geometry* conv,
                            const avedis_pool2d_geometry* pool, float epsilon, float momentum, int32_t relu) {
    return guarded(type, [&](auto zero) {
        using T = decltype(zero);
        stem_shape s(*conv, *pool);
        stem_state state(state_memory, s.taps);
        input_statistics(state, static_cast<const T*>(x), s);
        const float* w = multiplied_weights<T>(weight, s);
        double n = static_cast<double>(s.positions()), unbiased = n / std::max(n - 1, 1.0);
        float *a = scratch<float, 5>(2 * conv->k), *b = a + conv->k;
        double* product = scratch<double, 1>(s.taps);
        for (int32_t k = 0; k < conv->k; k++) {
            const float* row = w + k * s.taps;
            double variance = std::max(covariance_product(product, state, row, s.taps), 0.0), sum = 0;
            for (int64_t tap = 0; tap < s.taps; tap++) sum += row[tap];
            mean[k] = static_cast<float>(dot(state.mean, row, s.taps) + *state.shift * sum);
            inverse_std[k] = static_cast<float>(1 / std::sqrt(variance + epsilon));
            running_mean[k] = (1 - momentum) * running_mean[k] + momentum * mean[k];
            running_variance[k] =
                (1 - momentum) * running_variance[k] + momentum * static_cast<float>(variance * unbiased);
            a[k] = gamma[k] * inverse_std[k];
            b[k] = beta[k] - mean[k] * a[k];
        }
        forward(static_cast<T*>(y), argmax, static_cast<const T*>(x), w, a, b, relu, s);
    });
}

int32_t avedis_stem_inference(void* y, const void* x, const float* weight, const float* gamma, const float* beta,
                              const float* running_mean, const float* running_variance, int32_t type,
                              const avedis_conv2d_geometry* conv, const avedis_pool2d_geometry* pool, float epsilon,
                              int32_t relu) {
    return guarded(type, [&](auto zero) {
        using T = decltype(zero);
        stem_shape s(*conv, *pool);
        float *a = scratch<float, 5>(2 * conv->k), *b = a + conv->k;
        for (int32_t k = 0; k < conv->k; k++) {
            a[k] = gamma[k] / std::sqrt(running_variance[k] + epsilon);
            b[k] = beta[k] - running_mean[k] * a[k];
        }
        forward<T>(static_cast<T*>(y), nullptr, static_cast<const T*>(x), multiplied_weights<T>(weight, s), a, b, relu,
                   s);
    });
}

int32_t avedis_stem_backward(float* dweight, float* dgamma, float* dbeta, const void* dy_memory, const void* y_memory,
                             const uint8_t* argmax, const void* x_memory, const float* weight, const float* gamma,
                             const float* inverse_std, const void* state_memory, int32_t type,
                             const avedis_conv2d_geometry* conv, const avedis_pool2d_geometry* pool, int32_t relu) {
    return guarded(type, [&](auto zero) {
        using T = decltype(zero);
        const T *dy = static_cast<const T*>(dy_memory), *y = static_cast<const T*>(y_memory);
        const T* x = static_cast<const T*>(x_memory);
        stem_shape s(*conv, *pool);
        stem_state state(const_cast<void*>(state_memory), s.taps);
        const float* w = multiplied_weights<T>(weight, s);
        float shift = static_cast<float>(*state.shift);
        int64_t p = pool_p(*pool), q = pool_q(*pool), rows = conv->n * p, blocks = std::min<int64_t>(64, rows);
        int64_t stride = 1 + s.pieces * kStemPiece, size = conv->k * stride;
        // rows whose sums are added up in float: as many positions as a row of the larger networks has
        const int64_t at_once = std::max<int64_t>(1, 128 / q);
        double* partial = scratch<double, 0>(blocks * size);
        std::fill(partial, partial + blocks * size, 0.0);
#pragma omp parallel for schedule(static)
        for (int64_t block = 0; block < blocks; block++)
            by_image(block * rows / blocks, (block + 1) * rows / blocks, p,
                     [&](int64_t image, int64_t first, int64_t last) {
                         for (int64_t row = first; row < last; row += at_once) {
                             int64_t out = (image * p + row) * q * conv->k;
                             gradient_of_rows(partial + block * size, x + image * s.width * conv->h, dy + out, y + out,
                                              argmax + out, s, row, std::min(at_once, last - row), shift, relu);
                         }
                     });
        for (int64_t block = 1; block < blocks; block++)
            for (int64_t i = 0; i < size; i++) partial[i] += partial[block * size + i];

        uint8_t* meets = scratch<uint8_t, 0>(s.taps);
        for (int64_t tap = 0; tap < s.taps; tap++) meets[tap] = s.meets_image(tap);
        double *product = scratch<double, 1>(2 * s.taps), *centred = product + s.taps;
        int64_t row_length = s.pieces / conv->r * kStemPiece;
        for (int32_t k = 0; k < conv->k; k++) {
            const float* row = w + k * s.taps;
            const double* sums = partial + k * stride;
            covariance_product(product, state, row, s.taps);
            double d_beta = sums[0];
            for (int64_t tap = 0; tap < s.taps; tap++) {
                double window_sum = sums[1 + tap / s.columns * row_length + tap % s.columns];
                centred[tap] = meets[tap] ? window_sum - d_beta * state.mean[tap] : 0;
            }
            double d_gamma = inverse_std[k] * dot(centred, row, s.taps);
            dbeta[k] += static_cast<float>(d_beta);
            dgamma[k] += static_cast<float>(d_gamma);
            for (int64_t tap = 0; tap < s.taps; tap++)
                if (meets[tap])
                    dweight[k * s.taps + tap] += static_cast<float>(
                        gamma[k] * inverse_std[k] * (centred[tap] - d_gamma * inverse_std[k] * product[tap]));
        }
    });
}
