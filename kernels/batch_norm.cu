// Batch normalisation of x [rows, c] with ReLU and max pooling in the same pass; c channels beside each other, sums over all rows.
//
//   forward    moments      per block: mean and sum of squared deviations of each channel over a run of rows; not where the convolution in front has left
//                           them, of each of its tiles (moments.cuh)
//              merge        of these, which may be many: groups of them become one, since the next pass has few blocks
//              statistics   merges the blocks' (Chan, Golub and LeVeque 1983): mean, inverse_std, running statistics
//              apply        y = pool(relu(a * x + b)), a = gamma * inverse_std, b = beta - mean * a; the image before pooling is never written
//   backward   dz = dy, sent back to the winner of its window, where relu was active
//              sums         per block: sum(dz), sum(dz * (x - mean)); with pooling only the winners count, found by reading each window again
//              gradients    merges them: dbeta += sum(dz), dgamma += sum(dz * xhat), and both divided by rows, kept in means [2,c]
//              input        dx = a * (dz - mean(dz) - xhat * mean(dz * xhat)), xhat = (x - mean) * inverse_std
//
// All big passes are bound by memory. Bytes: forward reads x twice, once behind a convolution, and writes y (and argmax); backward reads x, dy (and argmax) twice and writes dx.
// That is the least possible where x does not fit into a cache, as a channel's statistics need all of it before the first result.
//
// Threads: a vector of channels (16 bytes where c allows it, else one) is a group. Without pooling a block takes up to 256 groups and as many whole rows
// as fill it, so that its accesses are one run of memory for few channels (c = 24: 85 rows at a time) as for many (c = 512: 4). With pooling it takes
// tiles of pixels (pool_window.cuh). Either way a thread keeps its channels, and so their coefficients, in registers.
//
// Partial results are [blocks][2][c] FP32. Blocks, rows of a block and every tree of sums follow the shape alone: the same bits on any GPU.
//
// Cancellation: a thread squares distances from the mean of its first rows, up to four. Of so many rows that is their mean, and nothing cancels; of n it
// is a mean of four of the numbers summed over, so the variance loses at most a factor n / 4 of its 2^24, if these four lie apart from all others, and
// however large the mean is. Merging subtracts means from means, within a block as distances from its first row.
#include "moments.cuh"
#include "pool_window.cuh"

namespace batch_norm {

constexpr int kThreads = 256;
// Rows that a thread loads before it uses the first, of one tensor and of two: four loads under way either way.
constexpr int kRowsOfOne = 4, kRowsOfTwo = 2;

// The rows and channels of a thread without pooling. Launch: grid (ceil(rows / rows_per_block), groups / groups of a block), 256 threads.
struct RowThread {
    int32_t groups;     // of a block
    int32_t partners;   // threads that share a group: rows that a block does at a time
    int32_t partner, group;
    int32_t channel;
    int64_t begin, end;  // rows of the block
    bool active;

    __device__ RowThread(int32_t lanes, int64_t rows, int64_t rows_per_block, int32_t c) {
        int32_t all = c / lanes, tiles = static_cast<int32_t>(gridDim.y), thread = static_cast<int32_t>(threadIdx.x);
        groups = (all + tiles - 1) / tiles;
        partners = kThreads / groups;
        partner = thread / groups;
        group = thread - partner * groups;
        channel = (static_cast<int32_t>(blockIdx.y) * groups + group) * lanes;
        begin = blockIdx.x * rows_per_block;
        end = min(rows, begin + rows_per_block);
        active = partner < partners && channel < c;
    }

    // Of the thread: each partners-th of the block's.
    __device__ int32_t rows() const {
        int64_t left = end - begin - partner;
        return active && left > 0 ? static_cast<int32_t>((left - 1) / partners + 1) : 0;
    }
};

// Calls load(k, offset) for up to kRows of the thread's rows, then use(k, offset) for the same; offset is that of the thread's channels.
template <int kRows, typename Load, typename Use>
__device__ inline void for_each_row(const RowThread& thread, int32_t c, Load load, Use use) {
    if (!thread.active) return;
    int64_t step = static_cast<int64_t>(thread.partners) * c;
    for (int64_t row = thread.begin + thread.partner; row < thread.end; row += kRows * thread.partners) {
        int64_t offset = row * c + thread.channel;
        if (row + (kRows - 1) * thread.partners < thread.end) {
#pragma unroll
            for (int k = 0; k < kRows; k++) load(k, offset + k * step);
#pragma unroll
            for (int k = 0; k < kRows; k++) use(k, offset + k * step);
        } else {
#pragma unroll
            for (int k = 0; k < kRows; k++)
                if (row + k * thread.partners < thread.end) {
                    load(k, offset + k * step);
                    use(k, offset + k * step);
                }
        }
    }
}

// Joins first and second of the threads of a block that share a group, in a tree; thread = partner * groups + group. join(other thread) says how, as a
// function of what one has and what the other has. The results are valid in partner 0. Every thread of the block takes part, those without work with zeros.
template <int N, typename Join>
__device__ inline void join_partners(float (&first)[N], float (&second)[N], int32_t groups, int32_t partners, Join join) {
    SHARED(float, parts, [2][N][kThreads]);  // neighbours in a warp beside each other: no bank conflicts
    int32_t thread = static_cast<int32_t>(threadIdx.x), partner = thread / groups;
#pragma unroll
    for (int k = 0; k < N; k++) {
        parts[0][k][thread] = first[k];
        parts[1][k][thread] = second[k];
    }
    int32_t half = 1;
    while (2 * half < partners) half *= 2;
    for (; partners > 1 && half > 0; half /= 2) {
        __syncthreads();
        if (partner >= half || partner + half >= partners) continue;
        int32_t other = thread + half * groups;
        auto joined = join(other);
#pragma unroll
        for (int k = 0; k < N; k++) {
            joined(first[k], second[k], parts[0][k][other], parts[1][k][other]);
            parts[0][k][thread] = first[k];
            parts[1][k][thread] = second[k];
        }
    }
}

template <int N>
__device__ inline void sum_over_partners(float (&first)[N], float (&second)[N], int32_t groups, int32_t partners) {
    join_partners(first, second, groups, partners, [](int32_t) {
        return [](float& a, float& b, float more_a, float more_b) {
            a += more_a;
            b += more_b;
        };
    });
}

// The same of moments: mean and squares of so many rows of each thread.
template <int N>
__device__ inline void merge_over_partners(float (&mean)[N], float (&squares)[N], int32_t rows, int32_t groups, int32_t partners) {
    SHARED(int32_t, rows_of, [kThreads]);
    rows_of[threadIdx.x] = rows;
    join_partners(mean, squares, groups, partners, [&](int32_t other) {
        Merge merge = merge_of(rows, rows_of[other]);
        rows_of[threadIdx.x] = rows += rows_of[other];
        return [=](float& a, float& b, float other_a, float other_b) {
            Moments all = merge({a, b}, {other_a, other_b});
            a = all.mean;
            b = all.squares;
        };
    });
}

template <int N>
__device__ inline void store_partial(float* partial, const float (&first)[N], const float (&second)[N], int32_t channel, int32_t c) {
    float* to = partial + static_cast<int64_t>(blockIdx.x) * 2 * c + channel;
#pragma unroll
    for (int k = 0; k < N; k++) {
        to[k] = first[k];
        to[c + k] = second[k];
    }
}

// z = a * x + b of N channels.
template <int N>
struct Affine {
    float a[N], b[N];

    // spread is inverse_std; with an epsilon above 0, the variance
    __device__ Affine(const float* gamma, const float* beta, const float* mean, const float* spread, float epsilon, int32_t channel) {
        float center[N], inverse[N];
        load_floats(a, gamma + channel);
        load_floats(b, beta + channel);
        load_floats(center, mean + channel);
        load_floats(inverse, spread + channel);
#pragma unroll
        for (int k = 0; k < N; k++) {
            if (epsilon > 0) inverse[k] = 1 / sqrtf(inverse[k] + epsilon);
            a[k] *= inverse[k];
            b[k] -= center[k] * a[k];
        }
    }

    __device__ float operator()(int k, float x) const { return a[k] * x + b[k]; }
};

// Below this ReLU lets nothing through.
__device__ inline float relu_floor(int32_t relu) { return relu ? 0 : -INFINITY; }

// ---- forward ----------------------------------------------------------------------------------------------------------------

template <typename T>
__device__ inline void moments(float* partial, const T* x, int64_t rows, int64_t rows_per_block, int32_t c) {
    with_lanes<T>(c, [&](auto lanes) {
        constexpr int N = decltype(lanes)::value;
        RowThread thread(N, rows, rows_per_block, c), start = thread;
        start.end = min(thread.end, thread.begin + kRowsOfOne * thread.partners);
        Vector<T, N> origin = {}, values[kRowsOfOne];
        if (thread.active) origin = load_vector<N>(x + thread.begin * c + thread.channel);
        int32_t started = start.rows(), count = thread.rows();
        float shift[N] = {}, first[N] = {}, second[N] = {};
        auto load = [&](int i, int64_t offset) { values[i] = load_vector<N>(x + offset); };
        for_each_row<kRowsOfOne>(start, c, load, [&](int i, int64_t) {
#pragma unroll
            for (int k = 0; k < N; k++) shift[k] += to_float(values[i].at[k]) - to_float(origin.at[k]);
        });
        float share = started > 0 ? 1.0f / static_cast<float>(started) : 0;
#pragma unroll
        for (int k = 0; k < N; k++) shift[k] = to_float(origin.at[k]) + shift[k] * share;
        for_each_row<kRowsOfOne>(thread, c, load, [&](int i, int64_t) {
#pragma unroll
            for (int k = 0; k < N; k++) {
                float d = to_float(values[i].at[k]) - shift[k];
                first[k] += d;
                second[k] += d * d;
            }
        });
        share = count > 0 ? 1.0f / static_cast<float>(count) : 0;
#pragma unroll
        for (int k = 0; k < N; k++) {
            float rest = first[k] * share, squares = second[k] - first[k] * rest;
            first[k] = shift[k] - to_float(origin.at[k]) + rest;
            second[k] = squares < 0 ? 0 : squares;  // keeps NaN
        }
        merge_over_partners(first, second, count, thread.groups, thread.partners);
        if (!thread.active || thread.partner > 0) return;
#pragma unroll
        for (int k = 0; k < N; k++) first[k] += to_float(origin.at[k]);
        store_partial(partial, first, second, thread.channel, c);
    });
}

// The merging kernels: a block does 8 channels, in 32 slices of the partial results each. Launch: ceil(c / 8) blocks of 256 threads.
constexpr int kMergeChannels = 8;
constexpr int kSlices = kThreads / kMergeChannels;

// Sum over the slices of a channel, in every thread; thread = slice * 8 + channel. May be called again at once.
__device__ inline float sum_over_slices(float x) {
    SHARED(float, parts, [kThreads / kWarp][kMergeChannels]);
    for (int distance = kMergeChannels; distance < kWarp; distance *= 2) x += __shfl_xor_sync(kAllLanes, x, distance);
    int lane = threadIdx.x % kWarp, channel = threadIdx.x % kMergeChannels;
    if (lane < kMergeChannels) parts[threadIdx.x / kWarp][channel] = x;
    __syncthreads();
    float total = 0;
    for (int warp = 0; warp < kThreads / kWarp; warp++) total += parts[warp][channel];
    __syncthreads();
    return total;
}

// Calls part(first, second, i) for the partial results of this thread's slice, i being the block they come from.
template <typename F>
__device__ inline void for_each_partial(const float* partial, int32_t blocks, int32_t channel, int32_t c, F part) {
    if (channel >= c) return;
#pragma unroll 4
    for (int32_t i = threadIdx.x / kMergeChannels; i < blocks; i += kSlices) {
        const float* from = partial + static_cast<int64_t>(i) * 2 * c + channel;
        part(from[0], from[c], i);
    }
}

// merged [groups][2][c]: each the moments of so many parts, the last of perhaps fewer, each of so many rows, the very last of perhaps fewer.
__device__ inline void merge(float* merged, const float* partial, int64_t rows, int64_t rows_per_part, int32_t parts_per_group, int32_t c) {
    int32_t parts = static_cast<int32_t>((rows + rows_per_part - 1) / rows_per_part), groups = (parts + parts_per_group - 1) / parts_per_group;
    for (int32_t i = static_cast<int32_t>(blockIdx.x * blockDim.x + threadIdx.x); i < groups * c; i += static_cast<int32_t>(gridDim.x * blockDim.x)) {
        int32_t group = i / c, channel = i - group * c, begin = group * parts_per_group, end = min(parts, begin + parts_per_group);
        const float* from = partial + static_cast<int64_t>(begin) * 2 * c + channel;
        auto rows_of = [&](int32_t part) { return static_cast<int32_t>(min(rows - part * rows_per_part, rows_per_part)); };
        Moments all{from[0], from[c]};
        int32_t before = rows_of(begin);
#pragma unroll 4
        for (int32_t part = begin + 1; part < end; part++) {
            from += 2 * c;
            all = merge_of(before, rows_of(part))(all, {from[0], from[c]});
            before += rows_of(part);
        }
        float* to = merged + static_cast<int64_t>(group) * 2 * c + channel;
        to[0] = all.mean;
        to[c] = all.squares;
    }
}

}  // namespace batch_norm

KERNEL((256), batch_norm_merge, (float* merged, const float* partial, int64_t rows, int64_t rows_per_part, int32_t parts_per_group, int32_t c)) {
    batch_norm::merge(merged, partial, rows, rows_per_part, parts_per_group, c);
}

KERNEL((256), batch_norm_statistics,
       (float* mean, float* inverse_std, float* running_mean, float* running_variance, const float* partial, int64_t rows,
        int64_t rows_per_block, int32_t c, float epsilon, float momentum)) {
    int32_t channel = static_cast<int32_t>(blockIdx.x) * batch_norm::kMergeChannels + threadIdx.x % batch_norm::kMergeChannels;
    int32_t blocks = static_cast<int32_t>((rows + rows_per_block - 1) / rows_per_block);
    float full = static_cast<float>(rows_per_block), last = static_cast<float>(rows - (blocks - 1) * rows_per_block);
    float count = static_cast<float>(rows), origin = channel < c ? partial[channel] : 0;

    float sum = 0;
    batch_norm::for_each_partial(partial, blocks, channel, c,
                                 [&](float center, float, int32_t i) { sum += (i < blocks - 1 ? full : last) * (center - origin); });
    float total_mean = origin + batch_norm::sum_over_slices(sum) / count;
    float deviation = 0;
    batch_norm::for_each_partial(partial, blocks, channel, c, [&](float center, float squares, int32_t i) {
        float distance = center - total_mean;
        deviation += squares + (i < blocks - 1 ? full : last) * distance * distance;
    });
    deviation = batch_norm::sum_over_slices(deviation);

    if (channel >= c || threadIdx.x >= batch_norm::kMergeChannels) return;
    mean[channel] = total_mean;
    inverse_std[channel] = 1 / sqrtf(deviation / count + epsilon);
    running_mean[channel] = (1 - momentum) * running_mean[channel] + momentum * total_mean;
    float unbiased = rows > 1 ? deviation / static_cast<float>(rows - 1) : 0;
    running_variance[channel] = (1 - momentum) * running_variance[channel] + momentum * unbiased;
}

namespace batch_norm {

template <typename T>
__device__ inline void apply(T* y, const T* x, const float* gamma, const float* beta, const float* mean, const float* spread, float epsilon,
                             int64_t rows, int64_t rows_per_block, int32_t c, int32_t relu) {
    with_lanes<T>(c, [&](auto lanes) {
        constexpr int N = decltype(lanes)::value;
        RowThread thread(N, rows, rows_per_block, c);
        if (!thread.active) return;
        Affine<N> z(gamma, beta, mean, spread, epsilon, thread.channel);
        float floor = relu_floor(relu);
        Vector<T, N> values[kRowsOfOne];
        for_each_row<kRowsOfOne>(
            thread, c, [&](int i, int64_t offset) { values[i] = load_vector<N>(x + offset); },
            [&](int i, int64_t offset) {
                float result[N];
#pragma unroll
                for (int k = 0; k < N; k++) {
                    float value = z(k, to_float(values[i].at[k]));
                    result[k] = value < floor ? floor : value;
                }
                store_rounded(y + offset, result);
            });
    });
}

// argmax is null in evaluation.
template <typename T>
__device__ inline void apply_pool(T* y, uint8_t* argmax, const T* x, const float* gamma, const float* beta, const float* mean,
                                  const float* spread, float epsilon, const PoolGeometry& g, const PixelTiles& tiles, int32_t relu) {
    with_lanes<T>(g.c, [&](auto lanes) {
        constexpr int N = decltype(lanes)::value;
        PixelThread thread(tiles, N, g.c);
        if (!thread.active) return;
        Affine<N> z(gamma, beta, mean, spread, epsilon, thread.channel);
        float floor = relu_floor(relu);
        for_each_pixel(tiles, thread, [&](int32_t image, int32_t i, int32_t j) {
            float best[N];
            int32_t winner[N];
            // the largest is found first and ReLU comes last: where nothing is above its floor all elements are equal, and the first wins
            int32_t first = window_maximum<N>(best, winner, x + static_cast<int64_t>(image) * g.h * g.w * g.c + thread.channel, g, i, j, z);
#pragma unroll
            for (int k = 0; k < N; k++)
                if (best[k] <= floor) {
                    best[k] = floor;
                    winner[k] = first;
                }
            store_winners<N>(y, argmax, best, winner, ((static_cast<int64_t>(image) * g.p + i) * g.q + j) * g.c + thread.channel);
        });
    });
}

// ---- backward ---------------------------------------------------------------------------------------------------------------

// sum(dz) and sum(dz * (x - mean)) of N channels.
template <int N>
struct Sums {
    float first[N] = {}, second[N] = {};

    __device__ void add(int k, float dz, float x, const Affine<N>& z, const float (&mean)[N], float floor) {
        if (z(k, x) > floor) {
            first[k] += dz;
            second[k] += dz * (x - mean[k]);
        }
    }
};

template <typename T>
__device__ inline void sums(float* partial, const T* dy, const T* x, const float* gamma, const float* beta, const float* mean,
                            const float* inverse_std, int64_t rows, int64_t rows_per_block, int32_t c, int32_t relu) {
    with_lanes<T>(c, [&](auto lanes) {
        constexpr int N = decltype(lanes)::value;
        RowThread thread(N, rows, rows_per_block, c);
        Sums<N> total;
        if (thread.active) {
            Affine<N> z(gamma, beta, mean, inverse_std, 0, thread.channel);
            float center[N], floor = relu_floor(relu);
            load_floats(center, mean + thread.channel);
            Vector<T, N> values[kRowsOfTwo], gradients[kRowsOfTwo];
            for_each_row<kRowsOfTwo>(
                thread, c,
                [&](int i, int64_t offset) {
                    values[i] = load_vector<N>(x + offset);
                    gradients[i] = load_vector<N>(dy + offset);
                },
                [&](int i, int64_t) {
#pragma unroll
                    for (int k = 0; k < N; k++)
                        total.add(k, to_float(gradients[i].at[k]), to_float(values[i].at[k]), z, center, floor);
                });
        }
        sum_over_partners(total.first, total.second, thread.groups, thread.partners);
        if (thread.active && thread.partner == 0) store_partial(partial, total.first, total.second, thread.channel, c);
    });
}

// Walks over the outputs: each looks its winner's x up among its window's, which neighbouring threads read as well.
template <typename T>
__device__ inline void sums_pool(float* partial, const T* dy, const uint8_t* argmax, const T* x, const float* gamma, const float* beta,
                                 const float* mean, const float* inverse_std, const PoolGeometry& g, const PixelTiles& tiles, int32_t relu) {
    with_lanes<T>(g.c, [&](auto lanes) {
        constexpr int N = decltype(lanes)::value;
        PixelThread thread(tiles, N, g.c);
        Sums<N> total;
        if (thread.active) {
            Affine<N> z(gamma, beta, mean, inverse_std, 0, thread.channel);
            float center[N], floor = relu_floor(relu);
            load_floats(center, mean + thread.channel);
            for_each_pixel(tiles, thread, [&](int32_t image, int32_t i, int32_t j) {
                int64_t output = ((static_cast<int64_t>(image) * g.p + i) * g.q + j) * g.c + thread.channel;
                Vector<T, N> gradient = load_vector<N>(dy + output), won = {};
                Vector<uint8_t, N> winner = load_vector<N>(argmax + output);
                for_each_in_window<N>(x + static_cast<int64_t>(image) * g.h * g.w * g.c + thread.channel, g, i, j,
                                      [&](int32_t position, const Vector<T, N>& element) {
#pragma unroll
                                          for (int k = 0; k < N; k++)
                                              if (winner.at[k] == position) won.at[k] = element.at[k];
                                      });
#pragma unroll
                for (int k = 0; k < N; k++) total.add(k, to_float(gradient.at[k]), to_float(won.at[k]), z, center, floor);
            });
        }
        sum_over_partners(total.first, total.second, tiles.groups, tiles.rows * tiles.columns);
        if (thread.active && thread.pixel == 0) store_partial(partial, total.first, total.second, thread.channel, g.c);
    });
}

// dx of N channels from their dz: a * dz - slope * x + offset, slope = a * inverse_std * mean(dz * xhat), offset = slope * mean - a * mean(dz).
template <int N>
struct InputGradient {
    Affine<N> z;
    float slope[N], offset[N], floor;

    // means [2,c]: of dz, of dz * xhat
    __device__ InputGradient(const float* gamma, const float* beta, const float* mean, const float* inverse_std, const float* means,
                             int32_t channel, int32_t c, int32_t relu)
        : z(gamma, beta, mean, inverse_std, 0, channel), floor(relu_floor(relu)) {
        float center[N], inverse[N];
        load_floats(center, mean + channel);
        load_floats(inverse, inverse_std + channel);
        load_floats(offset, means + channel);
        load_floats(slope, means + c + channel);
#pragma unroll
        for (int k = 0; k < N; k++) {
            slope[k] *= z.a[k] * inverse[k];
            offset[k] = slope[k] * center[k] - offset[k] * z.a[k];
        }
    }

    __device__ float operator()(int k, float dz, float x) const {
        float active = z(k, x) > floor ? dz : 0;
        return z.a[k] * active - slope[k] * x + offset[k];
    }
};

template <typename T>
__device__ inline void input(T* dx, const T* dy, const T* x, const float* gamma, const float* beta, const float* mean,
                             const float* inverse_std, const float* means, int64_t rows, int64_t rows_per_block, int32_t c, int32_t relu) {
    with_lanes<T>(c, [&](auto lanes) {
        constexpr int N = decltype(lanes)::value;
        RowThread thread(N, rows, rows_per_block, c);
        if (!thread.active) return;
        InputGradient<N> gradient(gamma, beta, mean, inverse_std, means, thread.channel, c, relu);
        Vector<T, N> values[kRowsOfTwo], gradients[kRowsOfTwo];
        for_each_row<kRowsOfTwo>(
            thread, c,
            [&](int i, int64_t offset) {
                values[i] = load_vector<N>(x + offset);
                gradients[i] = load_vector<N>(dy + offset);
            },
            [&](int i, int64_t offset) {
                float result[N];
#pragma unroll
                for (int k = 0; k < N; k++) result[k] = gradient(k, to_float(gradients[i].at[k]), to_float(values[i].at[k]));
                store_rounded(dx + offset, result);
            });
    });
}

template <typename T>
__device__ inline void input_pool(T* dx, const T* dy, const uint8_t* argmax, const T* x, const float* gamma, const float* beta,
                                  const float* mean, const float* inverse_std, const float* means, const PoolGeometry& g,
                                  const PixelTiles& tiles, int32_t relu) {
    with_lanes<T>(g.c, [&](auto lanes) {
        constexpr int N = decltype(lanes)::value;
        PixelThread thread(tiles, N, g.c);
        if (!thread.active) return;
        InputGradient<N> gradient(gamma, beta, mean, inverse_std, means, thread.channel, g.c, relu);
        for_each_pixel(tiles, thread, [&](int32_t image, int32_t row, int32_t column) {
            int64_t outputs = static_cast<int64_t>(image) * g.p * g.q * g.c + thread.channel;
            int64_t pixel = ((static_cast<int64_t>(image) * g.h + row) * g.w + column) * g.c + thread.channel;
            Vector<T, N> values = load_vector<N>(x + pixel);
            float result[N];
            gather_gradient<N>(result, dy + outputs, argmax + outputs, g, row, column);
#pragma unroll
            for (int k = 0; k < N; k++) result[k] = gradient(k, result[k], to_float(values.at[k]));
            store_rounded(dx + pixel, result);
        });
    });
}

}  // namespace batch_norm

// blocks: partial results of each channel. means [2,c] = sums / rows.
KERNEL((256), batch_norm_gradients,
       (float* dgamma, float* dbeta, float* means, const float* partial, const float* inverse_std, int64_t rows, int32_t blocks, int32_t c)) {
    int32_t channel = static_cast<int32_t>(blockIdx.x) * batch_norm::kMergeChannels + threadIdx.x % batch_norm::kMergeChannels;
    float sum = 0, product = 0;
    batch_norm::for_each_partial(partial, blocks, channel, c, [&](float first, float second, int32_t) {
        sum += first;
        product += second;
    });
    sum = batch_norm::sum_over_slices(sum);
    product = batch_norm::sum_over_slices(product);
    if (channel >= c || threadIdx.x >= batch_norm::kMergeChannels) return;
    product *= inverse_std[channel];
    float count = static_cast<float>(rows);
    dbeta[channel] += sum;
    dgamma[channel] += product;
    means[channel] = sum / count;
    means[c + channel] = product / count;
}

#define BATCH_NORM_KERNELS(suffix, T)                                                                                                        \
    KERNEL((256, 4), batch_norm_moments_##suffix, (float* partial, const T* x, int64_t rows, int64_t rows_per_block, int32_t c)) {           \
        batch_norm::moments(partial, x, rows, rows_per_block, c);                                                                            \
    }                                                                                                                                        \
    KERNEL((256, 4), batch_norm_apply_##suffix,                                                                                              \
           (T* y, const T* x, const float* gamma, const float* beta, const float* mean, const float* spread, float epsilon, int64_t rows,    \
            int64_t rows_per_block, int32_t c, int32_t relu)) {                                                                              \
        batch_norm::apply(y, x, gamma, beta, mean, spread, epsilon, rows, rows_per_block, c, relu);                                          \
    }                                                                                                                                        \
    KERNEL((256, 3), batch_norm_apply_pool_##suffix,                                                                                         \
           (T* y, uint8_t* argmax, const T* x, const float* gamma, const float* beta, const float* mean, const float* spread, float epsilon, \
            PoolGeometry geometry, PixelTiles tiles, int32_t relu)) {                                                                        \
        batch_norm::apply_pool(y, argmax, x, gamma, beta, mean, spread, epsilon, geometry, tiles, relu);                                     \
    }                                                                                                                                        \
    KERNEL((256, 3), batch_norm_sums_##suffix,                                                                                               \
           (float* partial, const T* dy, const T* x, const float* gamma, const float* beta, const float* mean, const float* inverse_std,     \
            int64_t rows, int64_t rows_per_block, int32_t c, int32_t relu)) {                                                                \
        batch_norm::sums(partial, dy, x, gamma, beta, mean, inverse_std, rows, rows_per_block, c, relu);                                     \
    }                                                                                                                                        \
    KERNEL((256, 2), batch_norm_sums_pool_##suffix,                                                                                          \
           (float* partial, const T* dy, const uint8_t* argmax, const T* x, const float* gamma, const float* beta, const float* mean,        \
            const float* inverse_std, PoolGeometry geometry, PixelTiles tiles, int32_t relu)) {                                              \
        batch_norm::sums_pool(partial, dy, argmax, x, gamma, beta, mean, inverse_std, geometry, tiles, relu);                                \
    }                                                                                                                                        \
    KERNEL((256, 3), batch_norm_input_##suffix,                                                                                              \
           (T* dx, const T* dy, const T* x, const float* gamma, const float* beta, const float* mean, const float* inverse_std,              \
            const float* means, int64_t rows, int64_t rows_per_block, int32_t c, int32_t relu)) {                                            \
        batch_norm::input(dx, dy, x, gamma, beta, mean, inverse_std, means, rows, rows_per_block, c, relu);                                  \
    }                                                                                                                                        \
    KERNEL((256, 3), batch_norm_input_pool_##suffix,                                                                                         \
           (T* dx, const T* dy, const uint8_t* argmax, const T* x, const float* gamma, const float* beta, const float* mean,                 \
            const float* inverse_std, const float* means, PoolGeometry geometry, PixelTiles tiles, int32_t relu)) {                          \
        batch_norm::input_pool(dx, dy, argmax, x, gamma, beta, mean, inverse_std, means, geometry, tiles, relu);                             \
    }

BATCH_NORM_KERNELS(f32, float)
BATCH_NORM_KERNELS(bf16, bf16)
