// Batch normalisation with ReLU and max pooling in the same pass. x is [rows, c], c contiguous.
//
//   forward   1. mean and variance of each channel; 2. y = pool(relu(a * x + b)), a = gamma / std, b = beta - mean * a.
//             The normalised image before pooling is never written.
//   backward  dz = dy, sent back to the winner of its window, where relu was active;
//             1. sum(dz) and sum(dz * (x - mean)); with pooling only the winners are visited;
//             2. dx = gamma / std * (dz - mean(dz) - xhat * mean(dz * xhat)), xhat = (x - mean) / std.
//
// Where several ranks normalise over all of their rows, each gives the moments of its own and takes those of all, and
// step 1 of the backward pass is a call of its own, whose means the ranks add up before step 2.
//
// In the first step of either pass each thread goes through its rows from the last to the first: it finds in the cache
// what was written last, and leaves there what the second step, from the first to the last, begins with.
//
// Sums run over runs of kRun rows in float, and over runs in double, inside blocks whose bounds depend on the shape
// alone: the same bits with any number of threads.
#include <cmath>

#include "pool_window.h"
#include "status.h"

namespace avedis {

constexpr int64_t kRun = 64;

// Everything that the backward passes know about a channel; each [c].
struct channels {
    affine f;
    const float* mean;
    const float *scale, *offset, *slope;  // dx = scale * dz - offset - slope * (x - mean)
};

// What one thread does at a time; pool_row: of outputs, but for gradient_pool_row, of inputs.
template <class T>
struct batch_norm_rows {
    void (*moments)(double* mean, double* deviation, const T* x, int64_t c, int64_t begin, int64_t end);
    void (*apply)(T* y, const T* x, affine f, int64_t c, int64_t begin, int64_t end);
    void (*apply_pool_row)(T* y, uint8_t* argmax, const T* x, affine f, avedis_pool2d_geometry g, int64_t row);
    void (*sums)(double* sums, const T* dy, const T* x, channels ch, int64_t c, int64_t begin, int64_t end);
    void (*sums_of_pool_row)(double* sums, const T* dy, const uint8_t* argmax, const T* x, channels ch,
                             avedis_pool2d_geometry g, int64_t row);
    void (*gradient)(T* dx, const T* dy, const T* x, channels ch, int64_t c, int64_t begin, int64_t end);
    void (*gradient_pool_row)(T* dx, const T* dy, const uint8_t* argmax, const T* x, channels ch,
                              avedis_pool2d_geometry g, int64_t row);
};

using batch_norm_kernels = by_type<batch_norm_rows>;

}  // namespace avedis

#define AVEDIS_KERNELS "batch_norm.inl"
#include "instruction_sets.h"

namespace avedis {

template <class T>
static const batch_norm_rows<T>& rows_of_this_machine() {
    return kernels_of_this_machine().of(T{});
}

// Rows per block: at most 256 blocks.
static int64_t block_rows(int64_t rows, int64_t least) {
    return std::max(least, (rows + 255) / 256);
}

// Adds moments of other rows to those of some (Chan, Golub and LeVeque 1983); others [2, c].
template <class F>
static void merge(double* mean, double* deviation, const F* others, int64_t before, int64_t added, int64_t c) {
    double rows = static_cast<double>(before),
           weight = static_cast<double>(added) / static_cast<double>(before + added);
    for (int64_t k = 0; k < c; k++) {
        double delta = others[k] - mean[k];
        mean[k] += delta * weight;
        deviation[k] += others[c + k] + delta * delta * rows * weight;
    }
}

template <class T>
static void moments(double* mean, double* deviation, const T* x, int64_t rows, int64_t c) {
    int64_t size = (block_rows(rows, 4 * kRun) + kRun - 1) / kRun * kRun, blocks = (rows + size - 1) / size;
    double* partial = scratch<double, 1>(blocks * 2 * c);
    parallel_backwards(blocks, [&](int64_t i) {
        double* block = partial + i * 2 * c;
        rows_of_this_machine<T>().moments(block, block + c, x, c, i * size, std::min(rows, (i + 1) * size));
    });
    std::copy(partial, partial + c, mean);
    std::copy(partial + c, partial + 2 * c, deviation);
    for (int64_t i = 1; i < blocks; i++)
        merge(mean, deviation, partial + i * 2 * c, i * size, std::min(rows, (i + 1) * size) - i * size, c);
}

// The same from the moments of runs of rows: parts [ceil(rows / rows_of_part), 2, c], the last of perhaps fewer rows.
static void merged_moments(double* mean, double* deviation, const float* parts, int64_t rows, int64_t rows_of_part,
                           int64_t c) {
    std::copy(parts, parts + c, mean);
    std::copy(parts + c, parts + 2 * c, deviation);
    for (int64_t before = rows_of_part; before < rows; before += rows_of_part) {
        parts += 2 * c;
        merge(mean, deviation, parts, before, std::min(rows_of_part, rows - before), c);
    }
}

template <class T>
static void apply(T* y, uint8_t* argmax, const T* x, affine f, int64_t rows, int64_t c,
                  const avedis_pool2d_geometry* pool) {
    const auto& kernels = rows_of_this_machine<T>();
    if (!pool) {
        parallel_ranges(rows, kRun, [&](int64_t begin, int64_t end) { kernels.apply(y, x, f, c, begin, end); });
        return;
    }
    int64_t outputs = static_cast<int64_t>(pool->n) * pool_p(*pool);
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < outputs; row++) kernels.apply_pool_row(y, argmax, x, f, *pool, row);
}

// sums [2, c] of a backward pass: of dz, and of dz * (x - mean).
template <class T>
static double* gradient_sums(const T* dy, const uint8_t* argmax, const T* x, const channels& ch, int64_t rows,
                             int64_t c, const avedis_pool2d_geometry* pool) {
    const auto& kernels = rows_of_this_machine<T>();
    int64_t units = pool ? static_cast<int64_t>(pool->n) * pool_p(*pool) : rows;  // output rows, or pixels
    int64_t size = pool ? block_rows(units, 1) : (block_rows(units, 4 * kRun) + kRun - 1) / kRun * kRun;
    int64_t blocks = (units + size - 1) / size;
    double* partial = scratch<double, 1>(blocks * 2 * c);
    std::fill(partial, partial + blocks * 2 * c, 0.0);
    parallel_backwards(blocks, [&](int64_t i) {
        double* sums = partial + i * 2 * c;
        int64_t end = std::min(units, (i + 1) * size);
        if (pool)
            for (int64_t row = i * size; row < end; row++)
                kernels.sums_of_pool_row(sums, dy, argmax, x, ch, *pool, row);
        else
            for (int64_t run = i * size; run < end; run += kRun)
                kernels.sums(sums, dy, x, ch, c, run, std::min(end, run + kRun));
    });
    for (int64_t i = 1; i < blocks; i++)
        for (int64_t k = 0; k < 2 * c; k++) partial[k] += partial[i * 2 * c + k];
    return partial;
}

template <class T>
static void input_gradient(T* dx, const T* dy, const uint8_t* argmax, const T* x, const channels& ch, int64_t rows,
                           int64_t c, const avedis_pool2d_geometry* pool) {
    const auto& kernels = rows_of_this_machine<T>();
    if (!pool) {
        parallel_ranges(rows, kRun,
                        [&](int64_t begin, int64_t end) { kernels.gradient(dx, dy, x, ch, c, begin, end); });
        return;
    }
    int64_t inputs = static_cast<int64_t>(pool->n) * pool->h;
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < inputs; row++) kernels.gradient_pool_row(dx, dy, argmax, x, ch, *pool, row);
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
                                  float* running_variance, const void* x, const float* parts, int64_t rows_of_part,
                                  int64_t all_rows, const float* gamma, const float* beta, int32_t type, int64_t rows,
                                  int32_t c, const avedis_pool2d_geometry* pool, float epsilon, float momentum,
                                  int32_t relu) {
    return guarded(type, [&](auto zero) {
        using T = decltype(zero);
        double* center = scratch<double, 0>(2 * c);
        double* deviation = center + c;
        if (parts)
            merged_moments(center, deviation, parts, all_rows, rows_of_part, c);
        else
            moments(center, deviation, static_cast<const T*>(x), rows, c);
        double count = static_cast<double>(all_rows);
        double unbiased = count / static_cast<double>(std::max<int64_t>(all_rows - 1, 1));
        for (int32_t k = 0; k < c; k++) {
            double variance = deviation[k] / count;
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

int32_t avedis_batch_norm_moments(float* result, const void* x, int32_t type, int64_t rows, int32_t c) {
    return guarded(type, [&](auto zero) {
        using T = decltype(zero);
        double* center = scratch<double, 0>(2 * c);
        moments(center, center + c, static_cast<const T*>(x), rows, c);
        std::copy(center, center + 2 * c, result);
    });
}

int32_t avedis_batch_norm_apply(void* y, const void* x, const float* gamma, const float* beta, const float* mean,
                                const float* inverse_std, int32_t type, int64_t rows, int32_t c, int32_t relu) {
    return guarded(type, [&](auto zero) {
        using T = decltype(zero);
        affine f = affine_of(scratch<float, 1>(2 * c), gamma, beta, mean, inverse_std, c, relu);
        apply<T>(static_cast<T*>(y), nullptr, static_cast<const T*>(x), f, rows, c, nullptr);
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

        const double* sums = gradient_sums(dy, argmax, x, ch, rows, c, pool);
        for (int32_t k = 0; k < c; k++) {
            double sum = sums[k], sum_xhat = sums[c + k] * inverse_std[k];
            dbeta[k] += static_cast<float>(sum);
            dgamma[k] += static_cast<float>(sum_xhat);
            double count = static_cast<double>(rows);
            scale[k] = gamma[k] * inverse_std[k];
            offset[k] = static_cast<float>(scale[k] * sum / count);
            slope[k] = static_cast<float>(scale[k] * inverse_std[k] * sum_xhat / count);
        }
        input_gradient(dx, dy, argmax, x, ch, rows, c, pool);
    });
}

int32_t avedis_batch_norm_backward_means(float* means, float* dgamma, float* dbeta, const void* dy,
                                         const uint8_t* argmax, const void* x, const float* gamma, const float* beta,
                                         const float* mean, const float* inverse_std, int32_t type, int64_t rows,
                                         int64_t all_rows, int32_t c, const avedis_pool2d_geometry* pool,
                                         int32_t relu) {
    return guarded(type, [&](auto zero) {
        using T = decltype(zero);
        channels ch{affine_of(scratch<float, 1>(2 * c), gamma, beta, mean, inverse_std, c, relu), mean, nullptr,
                    nullptr, nullptr};
        const double* sums =
            gradient_sums(static_cast<const T*>(dy), argmax, static_cast<const T*>(x), ch, rows, c, pool);
        double count = static_cast<double>(all_rows);
        for (int32_t k = 0; k < c; k++) {
            double sum = sums[k], sum_xhat = sums[c + k] * inverse_std[k];
            dbeta[k] += static_cast<float>(sum);
            dgamma[k] += static_cast<float>(sum_xhat);
            means[k] = static_cast<float>(sum / count);
            means[c + k] = static_cast<float>(sum_xhat / count);
        }
    });
}

int32_t avedis_batch_norm_backward_data(void* dx, const void* dy, const uint8_t* argmax, const void* x,
                                        const float* gamma, const float* beta, const float* mean,
                                        const float* inverse_std, const float* means, int32_t type, int64_t rows,
                                        int32_t c, const avedis_pool2d_geometry* pool, int32_t relu) {
    return guarded(type, [&](auto zero) {
        using T = decltype(zero);
        float* coefficients = scratch<float, 1>(5 * c);
        float *scale = coefficients + 2 * c, *offset = scale + c, *slope = offset + c;
        channels ch{affine_of(coefficients, gamma, beta, mean, inverse_std, c, relu), mean, scale, offset, slope};
        for (int32_t k = 0; k < c; k++) {
            scale[k] = gamma[k] * inverse_std[k];
            offset[k] = scale[k] * means[k];
            slope[k] = scale[k] * inverse_std[k] * means[c + k];
        }
        input_gradient(static_cast<T*>(dx), static_cast<const T*>(dy), argmax, static_cast<const T*>(x), ch, rows, c,
                       pool);
    });
}
