// The weights of convolutions as the gathers of conv2d.cu and conv2d_hopper.cu multiply them: a row for each column of the result with the depth contiguous,
// rounded to the precision of the product, zeros behind the end. Forward the rows are those of the weights as they are; for the gradient of x they are
// transposed, the taps of one class of the stride in reverse. One launch does the passes of all layers, which a step needs once.
//
// Launch: (blocks, preparations) blocks of 256 threads; the blocks of a row stride over one preparation.
#include "conv2d.cuh"

// The weights of one class of a gather: that of column n, tap (u,v) and channel i is weight [base + n * column + u * tap_row + v * tap_column + i * channel].
struct Conv2dPreparation {
    void* prepared;
    const float* weight;
    FastDivisor taps, channels;  // taps in one row of the window
    FastDivisor lines;           // columns that are written; on Hopper those of whole tiles, whether they exist or not
    FastDivisor tile;            // on Hopper: columns of a tile
    int base, column, tap_row, tap_column, channel;
    int columns, depth, pitch;  // pitch: of a row, in whole steps of the gather
    int hopper;                 // whether conv2d_hopper.cu reads them: laid down as a stage of its shared memory has them
};

constexpr int kMostPreparations = 32;  // a launch has room for 4,096 bytes of arguments

struct Conv2dPreparations {
    Conv2dPreparation at[kMostPreparations];
};

namespace conv2d_prepare {

struct F32 {
    using Act = float;
    static __device__ float round(float weight) { return weight; }
};

struct Tf32 {
    using Act = float;
    static __device__ float round(float weight) { return __uint_as_float(round_to_tf32(__float_as_uint(weight))); }
};

struct Bf16 {
    using Act = bf16;
    static __device__ bf16 round(float weight) { return to_bf16(weight); }
};

// A thread writes 16 bytes of one row; neighbours have neighbouring columns, which the gradient of x reads side by side.
template <class P>
__device__ inline void prepare(const Conv2dPreparation& w) {
    using namespace conv2d;
    using Act = typename P::Act;
    constexpr int kRun = kVector<Act>;
    int runs = w.pitch / kRun * w.lines.divisor;
    for (int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x); i < runs; i += static_cast<int>(gridDim.x * blockDim.x)) {
        int run = i / w.lines, column = i - run * w.lines.divisor;
        Vector<Act, kRun> values;
#pragma unroll
        for (int e = 0; e < kRun; e++) {
            int depth = run * kRun + e;
            Tap tap = tap_of(depth, w.taps, w.channels);
            bool exists = (column < w.columns) & (depth < w.depth);
            int from = w.base + column * w.column + tap.row * w.tap_row + tap.column * w.tap_column + tap.channel * w.channel;
            values.at[e] = P::round(exists ? w.weight[from] : 0);
        }
        int64_t place = static_cast<int64_t>(column) * (w.pitch / kRun) + run;
        if (w.hopper) {
            int tile = column / w.tile, step = run / conv2d_hopper::kChunks, steps = w.pitch / conv2d_hopper::kStep;
            int line = conv2d_hopper::line_of(column - tile * w.tile.divisor);
            place = (static_cast<int64_t>(tile) * steps + step) * w.tile.divisor * conv2d_hopper::kChunks + conv2d_hopper::place_of(line, run % conv2d_hopper::kChunks);
        }
        static_cast<Vector<Act, kRun>*>(w.prepared)[place] = values;
    }
}

}  // namespace conv2d_prepare

#define CONV2D_PREPARE(suffix, P) \
    KERNEL((256), conv2d_prepare_##suffix, (Conv2dPreparations preparations)) { conv2d_prepare::prepare<conv2d_prepare::P>(preparations.at[blockIdx.y]); }

CONV2D_PREPARE(f32, F32)
CONV2D_PREPARE(tf32, Tf32)
CONV2D_PREPARE(bf16, Bf16)
