// The rows of batch_norm.cpp for one instruction set: see instruction_sets.h.
#include "pool_window.inl"

// first, second [c] += sum(x - shift), sum((x - shift)^2) over Rows rows.
template <int Rows, class T, class Lanes>
AVEDIS_INLINE void add_moments(float* first, float* second, const T* x, const float* shift, int64_t c, int64_t k,
                               Lanes lanes) {
    vfloat center = load(shift + k, lanes), sum = load(first + k, lanes), square = load(second + k, lanes);
    for (int row = 0; row < Rows; row++) {
        vfloat d = load(x + row * c + k, lanes) - center;
        sum += d;
        square += d * d;
    }
    store(first + k, sum, lanes);
    store(second + k, square, lanes);
}

// The same over rows [begin, end), from 0.
template <class T>
AVEDIS_INLINE void moments_of_run(float* first, float* second, const T* x, const float* shift, int64_t c, int64_t begin,
                                  int64_t end) {
    std::fill(first, first + c, 0.0f);
    std::fill(second, second + c, 0.0f);
    int64_t i = begin, k;
    for (; i + 4 <= end; i += 4) {
        for (k = 0; k + kLanes <= c; k += kLanes) add_moments<4>(first, second, x + i * c, shift, c, k, all_lanes());
        if (k < c) add_moments<4>(first, second, x + i * c, shift, c, k, static_cast<int>(c - k));
    }
    for (; i < end; i++)
        for (k = 0; k < c; k += kLanes)
            add_moments<1>(first, second, x + i * c, shift, c, k, static_cast<int>(std::min<int64_t>(kLanes, c - k)));
}

// Mean and sum of squared deviations of rows [begin, end), both [c] in double. Each run is shifted by about its mean,
// so that no digits cancel; runs combine as in Chan, Golub and LeVeque 1983.
template <class T>
static void moments_of_block(double* mean, double* deviation, const T* x, int64_t c, int64_t begin, int64_t end) {
    float *shift = scratch<float, 0>(3 * c), *first = shift + c, *second = first + c;
    std::fill(mean, mean + c, 0.0);
    std::fill(deviation, deviation + c, 0.0);
    std::fill(shift, shift + c, 0.0f);
    for (int64_t run = begin; run < end; run += kRun) {
        int64_t stop = std::min(run + kRun, end);
        double before = static_cast<double>(run - begin), added = static_cast<double>(stop - run);
        double share = 1 / added, weight = added / (before + added);
        if (run == begin) {
            moments_of_run(first, second, x, shift, c, run, stop);
            for (int64_t k = 0; k < c; k++) shift[k] = static_cast<float>(first[k] * share);
        }
        moments_of_run(first, second, x, shift, c, run, stop);
        for (int64_t k = 0; k < c; k++) {
            double rest = first[k] * share, delta = shift[k] + rest - mean[k];
            mean[k] += delta * weight;
            deviation[k] += second[k] - first[k] * rest + delta * delta * before * weight;
            shift[k] = static_cast<float>(mean[k]);
        }
    }
}

template <class T, class Lanes>
AVEDIS_INLINE void apply_pixel(T* y, const T* x, const affine& f, int64_t k, Lanes lanes) {
    vfloat z = load(x + k, lanes) * load(f.a + k, lanes) + load(f.b + k, lanes), floor = vfloat{} + f.floor;
    store(y + k, z < floor ? floor : z, lanes);
}

template <class T>
static void apply_range(T* y, const T* x, affine f, int64_t c, int64_t begin, int64_t end) {
    for (int64_t i = begin * c, k; i < end * c; i += c) {
        for (k = 0; k + kLanes <= c; k += kLanes) apply_pixel(y + i, x + i, f, k, all_lanes());
        if (k < c) apply_pixel(y + i, x + i, f, k, static_cast<int>(c - k));
    }
}

template <class T>
static void apply_pool_row(T* y, uint8_t* argmax, const T* x, affine f, avedis_pool2d_geometry g, int64_t row) {
    pool_row<true>(y, argmax, x, f, g, row);
}

// dz where ReLU was active.
template <class Lanes>
AVEDIS_INLINE vfloat active(vfloat dz, vfloat x, const channels& ch, int64_t k, Lanes lanes) {
    vfloat z = x * load(ch.f.a + k, lanes) + load(ch.f.b + k, lanes);
    return (vfloat)((vint)dz & (vint)(z > ch.f.floor));
}

// first, second [c] += dz, dz * (x - mean) of one pixel.
template <class Lanes>
AVEDIS_INLINE void add_sums(float* first, float* second, vfloat dz, vfloat x, const channels& ch, int64_t k,
                            Lanes lanes) {
    dz = active(dz, x, ch, k, lanes);
    store(first + k, load(first + k, lanes) + dz, lanes);
    store(second + k, load(second + k, lanes) + dz * (x - load(ch.mean + k, lanes)), lanes);
}

template <class T, class Lanes>
AVEDIS_INLINE void write_gradient(T* dx, vfloat dz, vfloat x, const channels& ch, int64_t k, Lanes lanes) {
    dz = active(dz, x, ch, k, lanes);
    store(dx + k,
          load(ch.scale + k, lanes) * dz - load(ch.offset + k, lanes) -
              load(ch.slope + k, lanes) * (x - load(ch.mean + k, lanes)),
          lanes);
}

// sums [2, c] += sum(dz) and sum(dz * (x - mean)) of rows [begin, end), without pooling.
template <class T>
static void sums_of_run(double* sums, const T* dy, const T* x, channels ch, int64_t c, int64_t begin, int64_t end) {
    float *first = scratch<float, 0>(2 * c), *second = first + c;
    std::fill(first, first + 2 * c, 0.0f);
    for (int64_t i = begin * c, k; i < end * c; i += c) {
        for (k = 0; k + kLanes <= c; k += kLanes)
            add_sums(first, second, load(dy + i + k, kLanes), load(x + i + k, kLanes), ch, k, all_lanes());
        if (k == c) continue;
        int lanes = static_cast<int>(c - k);
        add_sums(first, second, load(dy + i + k, lanes), load(x + i + k, lanes), ch, k, lanes);
    }
    for (int64_t k = 0; k < 2 * c; k++) sums[k] += first[k];
}

// x [Vectors] of the winners of one output pixel, channels from k on in vectors of `lanes`.
template <int Vectors, class T, class Lanes>
AVEDIS_INLINE void winners(vfloat* value, const uint8_t* argmax, const T* image, const avedis_pool2d_geometry& g,
                           const window& win, int32_t k, Lanes lanes) {
    vint winner[Vectors];
    for (int v = 0; v < Vectors; v++) winner[v] = load(argmax + k + v * kLanes, lanes), value[v] = vfloat{};
    for (int32_t r = win.rows.begin; r < win.rows.end; r++) {
        const T* x = image + (win.corner + static_cast<int64_t>(r) * g.w + win.columns.begin) * g.c + k;
        for (int32_t s = win.columns.begin; s < win.columns.end; s++, x += g.c)
#pragma GCC unroll 4
            for (int v = 0; v < Vectors; v++) {
                vfloat here = load(x + v * kLanes, lanes);
                value[v] = winner[v] == r * g.s + s ? here : value[v];
            }
    }
}

// The same sums of one output row: x is read where it won.
template <class T>
static void sums_of_pool_row(double* sums, const T* dy, const uint8_t* argmax, const T* x, channels ch,
                             avedis_pool2d_geometry g, int64_t row) {
    constexpr int kSome = 4;
    int32_t p = pool_p(g), q = pool_q(g), c = g.c, k;
    float *first = scratch<float, 0>(2 * c), *second = first + c;
    std::fill(first, first + 2 * c, 0.0f);
    const T* image = x + row / p * g.h * g.w * c;
    vfloat value[kSome];
    for (int32_t j = 0; j < q; j++) {
        window win(g, static_cast<int32_t>(row % p), j);
        int64_t out = (row * q + j) * c;
        for (k = 0; k + kSome * kLanes <= c; k += kSome * kLanes) {
            winners<kSome>(value, argmax + out, image, g, win, k, all_lanes());
#pragma GCC unroll 4
            for (int v = 0; v < kSome; v++)
                add_sums(first, second, load(dy + out + k + v * kLanes, kLanes), value[v], ch, k + v * kLanes,
                         all_lanes());
        }
        for (; k + kLanes <= c; k += kLanes) {
            winners<1>(value, argmax + out, image, g, win, k, all_lanes());
            add_sums(first, second, load(dy + out + k, kLanes), value[0], ch, k, all_lanes());
        }
        if (k == c) continue;
        winners<1>(value, argmax + out, image, g, win, k, c - k);
        add_sums(first, second, load(dy + out + k, c - k), value[0], ch, k, c - k);
    }
    for (k = 0; k < 2 * c; k++) sums[k] += first[k];
}

template <class T>
static void gradient_range(T* dx, const T* dy, const T* x, channels ch, int64_t c, int64_t begin, int64_t end) {
    for (int64_t i = begin * c, k; i < end * c; i += c) {
        for (k = 0; k + kLanes <= c; k += kLanes)
            write_gradient(dx + i, load(dy + i + k, kLanes), load(x + i + k, kLanes), ch, k, all_lanes());
        if (k == c) continue;
        int lanes = static_cast<int>(c - k);
        write_gradient(dx + i, load(dy + i + k, lanes), load(x + i + k, lanes), ch, k, lanes);
    }
}

template <class T>
static void gradient_pool_row(T* dx, const T* dy, const uint8_t* argmax, const T* x, channels ch,
                              avedis_pool2d_geometry g, int64_t row) {
    int32_t p = pool_p(g), q = pool_q(g), h = static_cast<int32_t>(row % g.h);
    int64_t first = row / g.h * p * q * g.c;
    span rows = covering(h, g.stride_h, g.pad_h, g.r, p);
    for (int32_t w = 0; w < g.w; w++) {
        int64_t pixel = (row * g.w + w) * g.c;
        unpool_pixel(dy + first, argmax + first, g, q, cover(g, rows, q, h, w),
                     [&](int32_t k, vfloat dz, auto lanes) AVEDIS_INLINE_LAMBDA {
                         write_gradient(dx + pixel, dz, load(x + pixel + k, lanes), ch, k, lanes);
                     });
    }
}

template <class T>
constexpr batch_norm_rows<T> rows_of{moments_of_block<T>, apply_range<T>,    apply_pool_row<T>,   sums_of_run<T>,
                                     sums_of_pool_row<T>, gradient_range<T>, gradient_pool_row<T>};

static const batch_norm_kernels& kernels() {
    static constexpr batch_norm_kernels table{rows_of<float>, rows_of<bf16>};
    return table;
}
