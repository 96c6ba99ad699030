// Batch normalisation with ReLU and max pooling in the same pass. x is [rows, c], c contiguous.
//
//   forward   1. mean and variance of each channel; 2. y = pool(relu(a * x + b)), a = gamma / std, b = beta - mean * a.
//             The normalised image before pooling is never written.
//   backward  dz = dy, sent back to the winner of its window, where relu was active;
//             1. sum(dz) and sum(dz * (x - mean)); with pooling only the winners are visited;
//             2. dx = gamma / std * (dz - mean(dz) - xhat * mean(dz * xhat)), xhat = (x - mean) / std.
//
// Sums run over runs of kRun rows in float, and over runs in double, inside blocks whose bounds depend on the shape
// alone: the same bits with any number of threads.
#include <cmath>

#include "pool_window.h"
#include "status.h"

namespace avedis {

constexpr int64_t kRun = 64;

// Rows per block: at most 256 blocks.
static int64_t block_rows(int64_t rows, int64_t least) {
    return std::max(least, (rows + 255) / 256);
}

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
AVEDIS_CLONES static void moments_of_block(double* mean, double* deviation, const T* x, int64_t c, int64_t begin,
                                           int64_t end) {
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

template <class T>
static void moments(double* mean, double* deviation, const T* x, int64_t rows, int64_t c) {
    int64_t size = (block_rows(rows, 4 * kRun) + kRun - 1) / kRun * kRun, blocks = (rows + size - 1) / size;
    double* partial = scratch<double, 1>(blocks * 2 * c);
#pragma omp parallel for schedule(static) if (blocks > 1)
    for (int64_t i = 0; i < blocks; i++) {
        double* block = partial + i * 2 * c;
        moments_of_block(block, block + c, x, c, i * size, std::min(rows, (i + 1) * size));
    }
    std::copy(partial, partial + c, mean);
    std::copy(partial + c, partial + 2 * c, deviation);
    for (int64_t i = 1; i < blocks; i++) {
        const double* block = partial + i * 2 * c;
        double before = static_cast<double>(i * size);
        double added = static_cast<double>(std::min(rows, (i + 1) * size) - i * size);
        double weight = added / (before + added);
        for (int64_t k = 0; k < c; k++) {
            double delta = block[k] - mean[k];
            mean[k] += delta * weight;
            deviation[k] += block[c + k] + delta * delta * before * weight;
        }
    }
}

template <class T, class Lanes>
AVEDIS_INLINE void apply_pixel(T* y, const T* x, const affine& f, int64_t k, Lanes lanes) {
    vfloat z = load(x + k, lanes) * load(f.a + k, lanes) + load(f.b + k, lanes), floor = vfloat{} + f.floor;
    store(y + k, z < floor ? floor : z, lanes);
}

template <class T>
AVEDIS_CLONES static void apply_range(T* y, const T* x, affine f, int64_t c, int64_t begin, int64_t end) {
    for (int64_t i = begin * c, k; i < end * c; i += c) {
        for (k = 0; k + kLanes <= c; k += kLanes) apply_pixel(y + i, x + i, f, k, all_lanes());
        if (k < c) apply_pixel(y + i, x + i, f, k, static_cast<int>(c - k));
    }
}

template <class T>
AVEDIS_CLONES static void apply_pool_row(T* y, uint8_t* argmax, const T* x, affine f, avedis_pool2d_geometry g,
                                         int64_t row) {
    pool_row<true>(y, argmax, x, f, g, row);
}

template <class T>
static void apply(T* y, uint8_t* argmax, const T* x, affine f, int64_t rows, int64_t c,
                  const avedis_pool2d_geometry* pool) {
    if (!pool) {
        parallel_ranges(rows, kRun, [&](int64_t begin, int64_t end) { apply_range(y, x, f, c, begin, end); });
        return;
    }
    int64_t outputs = static_cast<int64_t>(pool->n) * pool_p(*pool);
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < outputs; row++) apply_pool_row(y, argmax, x, f, *pool, row);
}

// Everything that the backward passes know about a channel; each [c].
struct channels {
    affine f;
    const float* mean;
    const float *scale, *offset, *slope;  // dx = scale * dz - offset - slope * (x - mean)
};

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
AVEDIS_CLONES static void sums_of_run(double* sums, const T* dy, const T* x, channels ch, int64_t c, int64_t begin,
                                      int64_t end) {
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

// x of the winners of one output pixel.
template <class T, class Lanes>
AVEDIS_INLINE vfloat winners(const uint8_t* argmax, const T* image, const avedis_pool2d_geometry& g, const window& win,
                             int32_t k, Lanes lanes) {
    vint winner = load(argmax + k, lanes);
    vfloat value = {};
    for (int32_t r = win.rows.begin; r < win.rows.end; r++) {
        const T* x = image + (win.corner + static_cast<int64_t>(r) * g.w) * g.c + k;
        for (int32_t s = win.columns.begin; s < win.columns.end; s++) {
            vfloat here = load(x + static_cast<int64_t>(s) * g.c, lanes);
            value = winner == r * g.s + s ? here : value;
        }
    }
    return value;
}

// The same sums of one output row: x is read where it won.
template <class T>
AVEDIS_CLONES static void sums_of_pool_row(double* sums, const T* dy, const uint8_t* argmax, const T* x, channels ch,
                                           avedis_pool2d_geometry g, int64_t row) {
    int32_t p = pool_p(g), q = pool_q(g), c = g.c, k;
    float *first = scratch<float, 0>(2 * c), *second = first + c;
    std::fill(first, first + 2 * c, 0.0f);
    const T* image = x + row / p * g.h * g.w * c;
    for (int32_t j = 0; j < q; j++) {
        window win(g, static_cast<int32_t>(row % p), j);
        int64_t out = (row * q + j) * c;
        for (k = 0; k + kLanes <= c; k += kLanes)
            add_sums(first, second, load(dy + out + k, kLanes), winners(argmax + out, image, g, win, k, all_lanes()),
                     ch, k, all_lanes());
        if (k == c) continue;
        add_sums(first, second, load(dy + out + k, c - k), winners(argmax + out, image, g, win, k, c - k), ch, k,
                 c - k);
    }
    for (k = 0; k < 2 * c; k++) sums[k] += first[k];
}

template <class T>
AVEDIS_CLONES static void gradient_range(T* dx, const T* dy, const T* x, channels ch, int64_t c, int64_t begin,
                                         int64_t end) {
    for (int64_t i = begin * c, k; i < end * c; i += c) {
        for (k = 0; k + kLanes <= c; k += kLanes)
            write_gradient(dx + i, load(dy + i + k, kLanes), load(x + i + k, kLanes), ch, k, all_lanes());
        if (k == c) continue;
        int lanes = static_cast<int>(c - k);
        write_gradient(dx + i, load(dy + i + k, lanes), load(x + i + k, lanes), ch, k, lanes);
    }
}

template <class T>
AVEDIS_CLONES static void gradient_pool_row(T* dx, const T* dy, const uint8_t* argmax, const T* x, channels ch,
                                            avedis_pool2d_geometry g, int64_t row) {
    int32_t p = pool_p(g), q = pool_q(g), h = static_cast<int32_t>(row % g.h), k;
    int64_t first = row / g.h * p * q * g.c;
    for (int32_t w = 0; w < g.w; w++) {
        cover at(g, p, q, h, w);
        int64_t pixel = (row * g.w + w) * g.c;
        for (k = 0; k + kLanes <= g.c; k += kLanes)
            write_gradient(dx + pixel, unpool(dy + first, argmax + first, g, q, at, k, all_lanes()),
                           load(x + pixel + k, kLanes), ch, k, all_lanes());
        if (k == g.c) continue;
        write_gradient(dx + pixel, unpool(dy + first, argmax + first, g, q, at, k, g.c - k),
                       load(x + pixel + k, g.c - k), ch, k, g.c - k);
    }
}

// a = gamma / std, b = beta - mean * a, into ab [2, c].
static affine affine_of(float* ab, const float* gamma, const float* beta, const float* mean, const float* inverse_std,
                        int64_t c, bool relu) {
    for (int64_t k = 0; k < c; k++) {
        ab[k] = gamma[k] * inverse_std[k];
        ab[c + k] = beta[k] - mean[k] * ab[k];
    }
    return {ab, ab + c, relu_floor(relu)};
}

}  // namespace avedis

using namespace avedis;

int32_t avedis_batch_norm_forward(void* y, uint8_t* argmax, float* mean, float* inverse_std, float* running_mean,
                                  float* running_variance, const void* x, const float* gamma, const float* beta,
                                  int32_t type, int64_t rows, int32_t c, const avedis_pool2d_geometry* pool,
                                  float epsilon, float momentum, int32_t relu) {
    return guarded(type, [&](auto zero) {
        using T = decltype(zero);
        double* center = scratch<double, 0>(2 * c);
        double* deviation = center + c;
        moments(center, deviation, static_cast<const T*>(x), rows, c);
        double unbiased = static_cast<double>(rows) / static_cast<double>(std::max<int64_t>(rows - 1, 1));
        for (int32_t k = 0; k < c; k++) {
            double variance = deviation[k] / static_cast<double>(rows);
            mean[k] = static_cast<float>(center[k]);
            inverse_std[k] = static_cast<float>(1 / std::sqrt(variance + epsilon));
            running_mean[k] = (1 - momentum) * running_mean[k] + momentum * mean[k];
            running_variance[k] =
                (1 - momentum) * running_variance[k] + momentum * static_cast<float>(variance * unbiased);
        }
        affine f = affine_of(scratch<float, 1>(2 * c), gamma, beta, mean, inverse_std, c, relu);
        apply(static_cast<T*>(y), argmax, static_cast<const T*>(x), f, rows, c, pool);
    });
}

int32_t avedis_batch_norm_inference(void* y, const void* x, const float* gamma, const float* beta,
                                    const float* running_mean, const float* running_variance, int32_t type,
                                    int64_t rows, int32_t c, const avedis_pool2d_geometry* pool, float epsilon,
                                    int32_t relu) {
    return guarded(type, [&](auto zero) {
        using T = decltype(zero);
        float* inverse_std = scratch<float, 1>(3 * c);
        for (int32_t k = 0; k < c; k++) inverse_std[k] = 1 / std::sqrt(running_variance[k] + epsilon);
        affine f = affine_of(inverse_std + c, gamma, beta, running_mean, inverse_std, c, relu);
        apply<T>(static_cast<T*>(y), nullptr, static_cast<const T*>(x), f, rows, c, pool);
    });
}

int32_t avedis_batch_norm_backward(void* dx_memory, float* dgamma, float* dbeta, const void* dy_memory,
                                   const uint8_t* argmax, const void* x_memory, const float* gamma, const float* beta,
                                   const float* mean, const float* inverse_std, int32_t type, int64_t rows, int32_t c,
                                   const avedis_pool2d_geometry* pool, int32_t relu) {
    return guarded(type, [&](auto zero) {
        using T = decltype(zero);
        T* dx = static_cast<T*>(dx_memory);
        const T* dy = static_cast<const T*>(dy_memory);
        const T* x = static_cast<const T*>(x_memory);
        float* coefficients = scratch<float, 1>(5 * c);
        float *scale = coefficients + 2 * c, *offset = scale + c, *slope = offset + c;
        channels ch{affine_of(coefficients, gamma, beta, mean, inverse_std, c, relu), mean, scale, offset, slope};

        int64_t units = pool ? static_cast<int64_t>(pool->n) * pool_p(*pool) : rows;  // output rows, or pixels
        int64_t size = pool ? block_rows(units, 1) : (block_rows(units, 4 * kRun) + kRun - 1) / kRun * kRun;
        int64_t blocks = (units + size - 1) / size;
        double* partial = scratch<double, 1>(blocks * 2 * c);
        std::fill(partial, partial + blocks * 2 * c, 0.0);
#pragma omp parallel for schedule(static) if (blocks > 1)
        for (int64_t i = 0; i < blocks; i++) {
            double* sums = partial + i * 2 * c;
            int64_t end = std::min(units, (i + 1) * size);
            if (pool)
                for (int64_t row = i * size; row < end; row++) sums_of_pool_row(sums, dy, argmax, x, ch, *pool, row);
            else
                for (int64_t run = i * size; run < end; run += kRun)
                    sums_of_run(sums, dy, x, ch, c, run, std::min(end, run + kRun));
        }
        for (int64_t i = 1; i < blocks; i++)
            for (int64_t k = 0; k < 2 * c; k++) partial[k] += partial[i * 2 * c + k];

        for (int32_t k = 0; k < c; k++) {
            double sum = partial[k], sum_xhat = partial[c + k] * inverse_std[k];
            dbeta[k] += static_cast<float>(sum);
            dgamma[k] += static_cast<float>(sum_xhat);
            double count = static_cast<double>(rows);
            scale[k] = gamma[k] * inverse_std[k];
            offset[k] = static_cast<float>(scale[k] * sum / count);
            slope[k] = static_cast<float>(scale[k] * inverse_std[k] * sum_xhat / count);
        }

        if (!pool) {
            parallel_ranges(rows, kRun,
                            [&](int64_t begin, int64_t end) { gradient_range(dx, dy, x, ch, c, begin, end); });
            return;
        }
        int64_t inputs = static_cast<int64_t>(pool->n) * pool->h;
#pragma omp parallel for schedule(static)
        for (int64_t row = 0; row < inputs; row++) gradient_pool_row(dx, dy, argmax, x, ch, *pool, row);
    });
}
