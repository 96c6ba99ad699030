// Fully connected layers: y [N,O] = x [N,I] * W [O,I]^T + b [O];  dX [N,I] = dY [N,O] * W;  dW [O,I] += dY^T * x;  db [O] += column sums of dY.
// x, y and their gradients are activations; weights, bias and their gradients FP32, multiplied in FP32 without the matrix units.
//
// A batch is 1 to 128 rows, so the weights are nearly all of the traffic and must stream through many multiprocessors at once, each read once. All three
// are one product C [m,n] = sum over d of A [m,d] * B [n,d], cut into tiles of C and, where those are few, the depth d into slices: each slice leaves its
// part in scratch, and linear_sum adds the parts in order. How many slices is a pure function of the shape, so equal input gives equal bits
// on every device.
//
// Why not the matrix units. A weight is 4 bytes and 2 m operations for m rows. On an H200, which moves 4.3 TB/s and computes 67 TFLOP/s in FP32, a million
// weights take 0.93 us to come, and to multiply 0.48 us at 16 rows and 3.8 us at 128: up to 31 rows memory is what limits, and there is nothing to gain.
// At 128 rows TF32 (495 TFLOP/s, of which mma.sync reaches two thirds) would need 0.8 us and leave it to memory: 4.1 times as fast. But the heads of the paper's
// network, five million weights in three passes, take some 55 us of a step of 128 clips, which is 78 ms: 0.05 % of it to gain, paid for with 13 of 24 bits in every
// layer behind the masked mean, all of which are FP32.
//
// Tiles: rows x columns of C and a depth. 16 x 128 x 32 for batches of at most 32 rows: a block has 16 KB of weights on their way while it multiplies
// the 16 KB before. 64 x 64 x 16 for more rows, and for dW, whose depth is the batch.
#include "kernel.cuh"

namespace linear {

using Four = Vector<float, 4>;

// Whether four numbers in a row, from every fourth column on, may be loaded and stored at once.
template <typename T>
__device__ inline bool allow_fours(const T* x, int64_t pitch) {
    return pitch % 4 == 0 && reinterpret_cast<uintptr_t>(x) % (4 * sizeof(T)) == 0;
}

// Four numbers in a row of which only the first `valid` exist; the others are 0.
template <typename T>
__device__ inline Four load_four(const T* x, int valid, bool fours) {
    Four result = {};
    if (fours && valid >= 4) {
        auto values = *reinterpret_cast<const Vector<T, 4>*>(x);
        for (int i = 0; i < 4; i++) result.at[i] = to_float(values.at[i]);
    } else {
        for (int i = 0; i < 4; i++)
            if (i < valid) result.at[i] = to_float(x[i]);
    }
    return result;
}

template <typename T>
__device__ inline void store_four(T* y, const Four& values, int valid, bool fours) {
    if (fours && valid >= 4) {
        Vector<T, 4> rounded;
        for (int i = 0; i < 4; i++) rounded.at[i] = from_float<T>(values.at[i]);
        *reinterpret_cast<Vector<T, 4>*>(y) = rounded;
    } else {
        for (int i = 0; i < 4; i++)
            if (i < valid) y[i] = from_float<T>(values.at[i]);
    }
}

// One factor of the product: element (line, d) of A or B, in memory either line by line, neighbours in d side by side (kDepthInner), or the other way.
template <typename T, bool kDepthInner>
struct Factor {
    const T* data;
    int lines, depth;

    __device__ int64_t pitch() const { return kDepthInner ? depth : lines; }

    // The part of it that a block needs at a time: kLines x kDepth, by kThreads threads, first into registers, then into shared memory as
    // tile[d][line]. A thread's loads are 16 bytes of FP32 each.
    template <int kLines, int kDepth, int kThreads>
    struct Stage {
        static constexpr int kLoads = kLines * kDepth / 4 / kThreads;
        static_assert(kLoads * kThreads * 4 == kLines * kDepth, "every thread loads alike");
        static constexpr int kPitch = kLines + 4;
        Four values[kLoads];

        // Where load number i of this thread begins. Depth inside: a warp takes two loads side by side of each of 16 lines, whole sectors of 32 bytes,
        // and its stores below, each to one column of the tile, meet 32 different banks.
        static __device__ void place(int i, int* line, int* d) {
            int load = threadIdx.x + i * kThreads;
            if (kDepthInner) {
                *line = load / 2 % kLines;
                *d = 4 * (load % 2 + 2 * (load / (2 * kLines)));
            } else {
                *line = 4 * (load % (kLines / 4));
                *d = load / (kLines / 4);
            }
        }

        // Lines from first_line on, depth from first_d up to end_d.
        __device__ void load(const Factor& factor, int first_line, int first_d, int end_d) {
            bool fours = allow_fours(factor.data, factor.pitch());
            for (int i = 0; i < kLoads; i++) {
                int line, d;
                place(i, &line, &d);
                line += first_line;
                d += first_d;
                bool inside = line < factor.lines && d < end_d;
                int valid = !inside ? 0 : kDepthInner ? end_d - d : factor.lines - line;
                values[i] = load_four(factor.data + (kDepthInner ? line * factor.pitch() + d : d * factor.pitch() + line), valid, fours);
            }
        }

        __device__ void store(float (*tile)[kPitch]) const {
            for (int i = 0; i < kLoads; i++) {
                int line, d;
                place(i, &line, &d);
                if (kDepthInner)
                    for (int j = 0; j < 4; j++) tile[d + j][line] = values[i].at[j];
                else
                    *reinterpret_cast<Four*>(&tile[d][line]) = values[i];
            }
        }
    };
};

// The sums of tile (blockIdx.y, blockIdx.x) of C over the depth of slice blockIdx.z, handed to store(m, n, sums of columns n to n + 3,
// how many of these exist). A thread does four rows of four columns; the next part of A and B is on its way while it multiplies.
template <int kRows, int kColumns, int kDepth, typename A, typename B, typename F>
__device__ inline void multiply(A a, B b, int slice_depth, F store) {
    constexpr int kThreads = kRows * kColumns / 16;
    using StageA = typename A::template Stage<kRows, kDepth, kThreads>;
    using StageB = typename B::template Stage<kColumns, kDepth, kThreads>;
    SHARED(Four, a_tile, [kDepth * StageA::kPitch / 4]);
    SHARED(Four, b_tile, [kDepth * StageB::kPitch / 4]);
    auto* a_rows = reinterpret_cast<float (*)[StageA::kPitch]>(a_tile);
    auto* b_rows = reinterpret_cast<float (*)[StageB::kPitch]>(b_tile);

    int first_m = blockIdx.y * kRows, first_n = blockIdx.x * kColumns;
    int m = threadIdx.x / (kColumns / 4) * 4, n = threadIdx.x % (kColumns / 4) * 4;
    int begin = blockIdx.z * slice_depth, end = min(begin + slice_depth, a.depth);
    Four sum[4] = {};
    StageA next_a;
    StageB next_b;
    next_a.load(a, first_m, begin, end);
    next_b.load(b, first_n, begin, end);
    for (int d = begin; d < end; d += kDepth) {
        next_a.store(a_rows);
        next_b.store(b_rows);
        __syncthreads();
        next_a.load(a, first_m, d + kDepth, end);
        next_b.load(b, first_n, d + kDepth, end);
        for (int k = 0; k < kDepth; k++) {
            Four x = *reinterpret_cast<const Four*>(&a_rows[k][m]), y = *reinterpret_cast<const Four*>(&b_rows[k][n]);
            for (int i = 0; i < 4; i++)
                for (int j = 0; j < 4; j++) sum[i].at[j] += x.at[i] * y.at[j];
        }
        __syncthreads();
    }
    for (int i = 0; i < 4; i++)
        if (first_m + m + i < a.lines && first_n + n < b.lines) store(first_m + m + i, first_n + n, sum[i], b.lines - first_n - n);
}

// y [rows, columns] = a * b^T + bias (or no bias), if the depth is one slice; else the parts [slices, rows, columns].
template <int kRows, int kColumns, int kDepth, typename T, bool kDepthInner>
__device__ inline void batch_product(T* y, float* parts, const T* a, const float* b, const float* bias, int rows, int columns, int depth, int slice_depth) {
    if (parts) parts += static_cast<int64_t>(blockIdx.z) * rows * columns;
    bool fours = allow_fours(y, columns) && allow_fours(bias, columns);
    multiply<kRows, kColumns, kDepth>(
        Factor<T, true>{a, rows, depth}, Factor<float, kDepthInner>{b, columns, depth}, slice_depth, [=](int m, int n, Four sum, int valid) {
            int64_t at = static_cast<int64_t>(m) * columns + n;
            if (parts) {
                store_four(parts + at, sum, valid, columns % 4 == 0);
                return;
            }
            if (bias) {
                Four start = load_four(bias + n, valid, fours);
                for (int j = 0; j < 4; j++) sum.at[j] += start.at[j];
            }
            store_four(y + at, sum, valid, fours);
        });
}

template <typename T>
__device__ inline void backward_weight(float* dweight, const T* dy, const T* x, int rows, int inputs, int outputs) {
    bool fours = allow_fours(dweight, inputs);
    multiply<64, 64, 16>(Factor<T, false>{dy, outputs, rows}, Factor<T, false>{x, inputs, rows}, rows, [=](int o, int i, Four sum, int valid) {
        float* at = dweight + static_cast<int64_t>(o) * inputs + i;
        Four before = load_four(at, valid, fours);
        for (int j = 0; j < 4; j++) sum.at[j] += before.at[j];
        store_four(at, sum, valid, fours);
    });
}

// Thread o of the grid sums column o.
template <typename T>
__device__ inline void backward_bias(float* dbias, const T* dy, int rows, int outputs) {
    int o = blockIdx.x * blockDim.x + threadIdx.x;
    if (o >= outputs) return;
    float sum = 0;
    for (int n = 0; n < rows; n++) sum += to_float(dy[static_cast<int64_t>(n) * outputs + o]);
    dbias[o] += sum;
}

// y [count] = sum of parts [slices, count] + bias [columns] (or no bias).
template <typename T>
__device__ inline void add_parts(T* y, const float* parts, const float* bias, int64_t count, int columns, int slices) {
    int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i >= count) return;
    float sum = 0;
    for (int slice = 0; slice < slices; slice++) sum += parts[slice * count + i];
    y[i] = from_float<T>(bias ? sum + bias[i % columns] : sum);
}

}  // namespace linear

// Launch of forward and backward_data: (tiles of columns, tiles of rows, slices) blocks. slice_depth is the depth of a slice, a multiple of the tile's;
// parts is null if there is one slice. The columns are outputs and the depth inputs forwards, and the reverse backwards. <few>: 16 x 128 x 32 and
// 128 threads, <many>: 64 x 64 x 16 and 256 threads.
#define LINEAR_BATCH(suffix, type, name, threads, rows_, columns_, depth_)                                                                      \
    KERNEL((threads), linear_forward_##name##_##suffix,                                                                                         \
           (type * y, float* parts, const type* x, const float* weight, const float* bias, int rows, int columns, int depth, int slice_depth)) { \
        linear::batch_product<rows_, columns_, depth_, type, true>(y, parts, x, weight, bias, rows, columns, depth, slice_depth);               \
    }                                                                                                                                           \
    KERNEL((threads), linear_backward_data_##name##_##suffix,                                                                                   \
           (type * dx, float* parts, const type* dy, const float* weight, int rows, int columns, int depth, int slice_depth)) {                 \
        linear::batch_product<rows_, columns_, depth_, type, false>(dx, parts, dy, weight, nullptr, rows, columns, depth, slice_depth);         \
    }
LINEAR_BATCH(f32, float, few, 128, 16, 128, 32)
LINEAR_BATCH(bf16, bf16, few, 128, 16, 128, 32)
LINEAR_BATCH(f32, float, many, 256, 64, 64, 16)
LINEAR_BATCH(bf16, bf16, many, 256, 64, 64, 16)
#undef LINEAR_BATCH

// Launch: one thread for each element, 256 a block.
KERNEL((256), linear_sum_f32, (float* y, const float* parts, const float* bias, int64_t count, int columns, int slices)) {
    linear::add_parts(y, parts, bias, count, columns, slices);
}
KERNEL((256), linear_sum_bf16, (bf16* y, const float* parts, const float* bias, int64_t count, int columns, int slices)) {
    linear::add_parts(y, parts, bias, count, columns, slices);
}

// Launch: (tiles of 64 inputs, tiles of 64 outputs) blocks of 256 threads.
KERNEL((256), linear_backward_weight_f32, (float* dweight, const float* dy, const float* x, int rows, int inputs, int outputs)) {
    linear::backward_weight(dweight, dy, x, rows, inputs, outputs);
}
KERNEL((256), linear_backward_weight_bf16, (float* dweight, const bf16* dy, const bf16* x, int rows, int inputs, int outputs)) {
    linear::backward_weight(dweight, dy, x, rows, inputs, outputs);
}

// Launch: one thread for each output, 128 a block.
KERNEL((128), linear_backward_bias_f32, (float* dbias, const float* dy, int rows, int outputs)) { linear::backward_bias(dbias, dy, rows, outputs); }
KERNEL((128), linear_backward_bias_bf16, (float* dbias, const bf16* dy, int rows, int outputs)) { linear::backward_bias(dbias, dy, rows, outputs); }
