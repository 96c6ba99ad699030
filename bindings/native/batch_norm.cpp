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

// Mean and sum of squared deviations of rows [begin, end), both [c] in double. Each run is in cache when its
// deviations from its own mean are taken; runs combine as in Chan, Golub and LeVeque 1983.
template <class T>
AVEDIS_CLONES static void moments_of_block(double* mean, double* deviation, const T* x, int64_t c, int64_t begin,
                                           int64_t end) {
    float* __restrict center = scratch<float, 0>(2 * c);
    float* __restrict square = center + c;
    std::fill(mean, mean + 2 * c, 0.0);
    for (int64_t run = begin; run < end; run += kRun) {
        int64_t stop = std::min(run + kRun, end);
        std::fill(center, center + 2 * c, 0.0f);
        for (int64_t i = run; i < stop; i++)
            for (int64_t k = 0; k < c; k++) center[k] += to_float(x[i * c + k]);
        float share = 1.0f / static_cast<float>(stop - run);
        for (int64_t k = 0; k < c; k++) center[k] *= share;
        for (int64_t i = run; i < stop; i++)
            for (int64_t k = 0; k < c; k++) {
                float d = to_float(x[i * c + k]) - center[k];
                square[k] += d * d;
            }
        double before = static_cast<double>(run - begin), added = static_cast<double>(stop - run);
        double weight = added / (before + added);
        for (int64_t k = 0; k < c; k++) {
            double delta = center[k] - mean[k];
            mean[k] += delta * weight;
            deviation[k] += square[k] + delta * delta * before * weight;
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

template <class T>
AVEDIS_CLONES static void apply_range(T* y, const T* x, affine f, int64_t c, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++)
        for (int64_t k = 0; k < c; k++) {
            float z = to_float(x[i * c + k]) * f.a[k] + f.b[k];
            store(y + i * c + k, z < f.floor ? f.floor : z);
        }
}

template <class T>
AVEDIS_CLONES static void apply_pool_row(T* y, uint8_t* argmax, const T* x, affine f, const avedis_pool2d_geometry& g,
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

// sum(dz) and sum(dz * (x - mean)) of rows [begin, end) without pooling, added to sums [2, c].
template <class T>
AVEDIS_CLONES static void sums_of_run(double* sums, const T* dy, const T* x, const channels& ch, int64_t c,
                                      int64_t begin, int64_t end) {
    float* __restrict first = scratch<float, 0>(2 * c);
    float* __restrict second = first + c;
    const float *a = ch.f.a, *b = ch.f.b, *mean = ch.mean, floor = ch.f.floor;
    std::fill(first, first + 2 * c, 0.0f);
    for (int64_t i = begin; i < end; i++)
        for (int64_t k = 0; k < c; k++) {
            float value = to_float(x[i * c + k]), gradient = to_float(dy[i * c + k]);
            float dz = value * a[k] + b[k] > floor ? gradient : 0;
            first[k] += dz;
            second[k] += dz * (value - mean[k]);
        }
    for (int64_t k = 0; k < 2 * c; k++) sums[k] += first[k];
}

// The same of one output row: x is read where it won.
template <class T>
AVEDIS_CLONES static void sums_of_pool_row(double* sums, const T* dy, const uint8_t* argmax, const T* x,
                                           const channels& ch, const avedis_pool2d_geometry& g, int64_t row) {
    int32_t p = pool_p(g), q = pool_q(g), c = g.c;
    float* first = scratch<float, 0>(2 * c);
    float* second = first + c;
    std::fill(first, first + 2 * c, 0.0f);
    int32_t i = static_cast<int32_t>(row % p);
    const T* image = x + row / p * g.h * g.w * c;
    span rows = inside(i, g.stride_h, g.pad_h, g.r, g.h);
    for (int32_t j = 0; j < q; j++) {
        span columns = inside(j, g.stride_w, g.pad_w, g.s, g.w);
        int64_t corner = static_cast<int64_t>(i * g.stride_h - g.pad_h) * g.w + j * g.stride_w - g.pad_w;
        for (int32_t k = 0; k < c; k += kLanes) {
            int lanes = std::min(kLanes, c - k);
            int64_t out = (row * q + j) * c + k;
            vint winner = load(argmax + out, lanes);
            vfloat value = {};
            for (int32_t r = rows.begin; r < rows.end; r++)
                for (int32_t s = columns.begin; s < columns.end; s++) {
                    vfloat here = load(image + (corner + static_cast<int64_t>(r) * g.w + s) * c + k, lanes);
                    value = winner == r * g.s + s ? here : value;
                }
            vfloat z = value * load(ch.f.a + k, lanes) + load(ch.f.b + k, lanes);
            vfloat dz = z > ch.f.floor ? load(dy + out, lanes) : vfloat{};
            store(first + k, load(first + k, lanes) + dz, lanes);
            store(second + k, load(second + k, lanes) + dz * (value - load(ch.mean + k, lanes)), lanes);
        }
    }
    for (int32_t k = 0; k < 2 * c; k++) sums[k] += first[k];
}

template <class T>
AVEDIS_CLONES static void gradient_range(T* dx, const T* dy, const T* x, const channels& ch, int64_t c, int64_t begin,
                                         int64_t end) {
    const float *a = ch.f.a, *b = ch.f.b, *mean = ch.mean, floor = ch.f.floor;
    const float *scale = ch.scale, *offset = ch.offset, *slope = ch.slope;
    for (int64_t i = begin; i < end; i++)
        for (int64_t k = 0; k < c; k++) {
            float value = to_float(x[i * c + k]), gradient = to_float(dy[i * c + k]);
            float dz = value * a[k] + b[k] > floor ? gradient : 0;
            store(dx + i * c + k, scale[k] * dz - offset[k] - slope[k] * (value - mean[k]));
        }
}

template <class T>
AVEDIS_CLONES static void gradient_pool_row(T* dx, const T* dy, const uint8_t* argmax, const T* x, const channels& ch,
                                            const avedis_pool2d_geometry& g, int64_t row) {
    int32_t h = static_cast<int32_t>(row % g.h);
    span rows = covering(h, g.stride_h, g.pad_h, g.r, pool_p(g));
    for (int32_t w = 0; w < g.w; w++) {
        span columns = covering(w, g.stride_w, g.pad_w, g.s, pool_q(g));
        for (int32_t k = 0; k < g.c; k += kLanes) {
            int lanes = std::min(kLanes, g.c - k);
            int64_t at = (row * g.w + w) * g.c + k;
            vfloat value = load(x + at, lanes);
            vfloat dz = unpool(dy, argmax, g, row / g.h, h, w, rows, columns, k, lanes);
            vfloat z = value * load(ch.f.a + k, lanes) + load(ch.f.b + k, lanes);
            dz = z > ch.f.floor ? dz : vfloat{};
            store(dx + at,
                  load(ch.scale + k, lanes) * dz - load(ch.offset + k, lanes) -
                      load(ch.slope + k, lanes) * (value - load(ch.mean + k, lanes)),
                  lanes);
        }
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
