// The passes of a convolution once more, BF16 on Hopper's warpgroup instructions (wgmma), which read both operands from shared memory and so leave the
// registers to the sums: mma.sync, which conv2d.cu is made of, reaches some two thirds of what these units compute. What is computed, the classes of a
// gradient of x and the slices are those of conv2d.cu; the order of the sums is not, so the last bits differ between the two families.
//
// GATHER   result [positions, columns] = patches [positions, depth] * weights [columns, depth]^T       both with the depth contiguous
// WEIGHT   dWeight [k, (r,s,c)] += dY [pixels, k]^T * patches [pixels, (r,s,c)]                        both as they come, a pixel a line ("transposed")
//
// A block has three warpgroups: one fills stages of shared memory, two multiply what is there, 64 rows of the tile each and all its columns, or 128 rows where
// these are 128 or fewer: at most 128 sums a thread, so that the first hands on some of its registers. The larger the tile, the fewer bytes a multiplication
// has to fetch, and these limit it before the units do: 128 x 256 and 256 x 128 fetch 48 bytes a cycle at the units' peak, 256 x 96 59, 128 x 96 would 75.
// Stages lie in the 128-byte swizzle that wgmma reads (matrix_descriptor); a step is 64 of the depth, a line of 128 bytes, or 64 pixels.
//   full[stage]   ends its phase when the four warps that copy have seen their copies arrive, and the copy engine's bytes are there
//   empty[stage]  ends it when the eight warps that multiply have the products that read it behind them
// The copies run up to kStages steps ahead of the products, across the tiles of a block too: one block a multiprocessor takes every gridDim.x-th tile, and
// fetches the next while the last is stored.
//
// Who copies. The weights are prepared once per pass anyway, so they are laid down as a stage has them, swizzle included: each step is one contiguous piece,
// which the copy engine (TMA) fetches as a whole by one instruction of one thread, without a tensor map. The patches come by cp.async, 16 bytes each. A tensor
// map of mode im2col could fetch them, but only where a step is part of one tap: 96 channels are no multiple of 64, and the linear depth (r,s,c) of conv2
// would have to be padded by a third. And it is not needed: at 128 x 256 a step keeps the units busy for 1,024 cycles, in which a thread issues 8 copies
// (256 x 128: 16, WEIGHT: 24). By waiting, fence_async_proxy and arriving, the thread that copied makes the bytes visible to the units, which read by another
// path.
//
// Columns of a GATHER are interleaved among the lines of the prepared weights so that a lane ends up with eight neighbouring results, 16 bytes of BF16.
//
// A forward pass without slices leaves moments for the batch norm behind it (moments.cuh), while the copies for the next tile go on. The copying threads keep
// 152 registers, since they hold 16 pixels each: with fewer the compiler spills.
//
// Why no TF32. The units cut off the lower 13 bits of what they read from shared memory, and copies cannot round: x would be wrong by up to 2^-10 of itself,
// always towards zero, where round_to_tf32 leaves 2^-11 of either sign, and the results would leave the bound of the tests, which is that of a sum of products
// of rounded numbers. It would have to go through registers, which wgmma allows for its first operand; compiled so, 128 x 256 has just room for the fragments
// beside its sums, 256 x 128 spills. The gradient of the weights could not follow at all: wgmma transposes 16-bit numbers only.
//
// Channels, in and out, in multiples of 8; other convolutions, and other precisions, are conv2d.cu's.
//
// Launch: 384 threads; dynamic shared memory kStages * (rows + columns) * 128 bytes and 1,024 to align them; x = blocks, each of which takes every x-th tile,
//   y = slices. gather: a launch for each class.
#include "conv2d.cuh"

namespace conv2d_hopper {

using namespace conv2d;

constexpr int kGroup = 128;  // threads of a warpgroup
constexpr int kMultipliers = 2;
constexpr int kThreads = (1 + kMultipliers) * kGroup;
constexpr int kPanel = kStep * kChunks;      // uint4 of 64 lines
constexpr int kAtom = 8 * kChunks * 16;      // bytes
constexpr int kRegisters = (64 << 10) / kThreads / 8 * 8;  // of a thread at its launch
constexpr int kCopyRegisters = 152, kSumRegisters = 176;
static_assert(kCopyRegisters + kMultipliers * kSumRegisters <= (1 + kMultipliers) * kRegisters, "more taken than given: the block would wait for ever");
constexpr int kSharedForStages = 200 << 10;  // leaves what aligns them, and the barriers

template <int kRowsOfTile, int kColumnsOfTile>
struct Stages {
    static constexpr int kRows = kRowsOfTile, kColumns = kColumnsOfTile;
    static constexpr int kPanels = kRows / 64 / kMultipliers;  // of 64 rows, of each warpgroup that multiplies
    static constexpr int kStage = (kRows + kColumns) * kChunks;  // uint4: rows, then columns
    static constexpr int kStages = kSharedForStages / (kStage * 16) < 8 ? kSharedForStages / (kStage * 16) : 8;
    static constexpr int kAhead = kStages / 2;  // steps whose copies are under way while further ones are started
    // a stage is given back when the products of the next have started, which must have been announced by then
    static_assert(kAhead <= kStages - 2, "copies and products would wait for each other");
};

// A stage and the parity of its phase.
template <int kStages>
struct Turn {
    int stage = 0;
    unsigned parity = 0;

    __device__ void next() {
        if (++stage == kStages) stage = 0, parity ^= 1;
    }
};

// What the warpgroup that copies does. A work says which tiles and steps there are; its Loader starts the copies of one step.
template <class Work>
__device__ inline void fill(const Work& work, Steps steps, uint4* stages, uint64_t* full, uint64_t* empty) {
    give_registers<kCopyRegisters>();
    Turn<Work::kStages> next, arriving;
    int under_way = 0;
    auto arrived = [&] {
        fence_async_proxy();
        __syncwarp();
        if (threadIdx.x % kWarp == 0) mbarrier_arrive(&full[arriving.stage]);
        arriving.next();
    };
    for (int tile = static_cast<int>(blockIdx.x); tile < work.tiles; tile += static_cast<int>(gridDim.x)) {
        typename Work::Loader loader(work, tile);
        for (int step = steps.begin; step < steps.end; step++) {
            mbarrier_wait(&empty[next.stage], next.parity ^ 1, {work.kernel, "empty", next.stage});
            loader.load(step, stages + next.stage * Work::kStage, &full[next.stage]);
            cp_async_commit();
            next.next();
            if (++under_way <= Work::kAhead) continue;
            cp_async_wait<Work::kAhead>();
            arrived();
            under_way--;
        }
    }
    cp_async_wait<0>();
    for (; under_way > 0; under_way--) arrived();
}

// Where the warps that multiply meet, as often as they like.
struct Meeting {
    const char* kernel;
    uint64_t* barrier;
    unsigned parity;

    __device__ void operator()() {
        __syncwarp();
        if (threadIdx.x % kWarp == 0) mbarrier_arrive(barrier);
        mbarrier_wait(barrier, parity, {kernel, "meeting", 0});
        parity ^= 1;
    }
};

// What a warpgroup that multiplies does.
template <class Work>
__device__ inline void multiply(const Work& work, Steps steps, const uint4* stages, uint64_t* full, uint64_t* empty, Meeting meet, int group) {
    take_registers<kSumRegisters>();
    Turn<Work::kStages> next;
    for (int tile = static_cast<int>(blockIdx.x); tile < work.tiles; tile += static_cast<int>(gridDim.x)) {
        float d[Work::kPanels][Work::kColumns / 2] = {};
        int before = 0;
        for (int step = steps.begin; step < steps.end; step++) {
            mbarrier_wait(&full[next.stage], next.parity, {work.kernel, "full", next.stage});
            const uint4* stage = stages + next.stage * Work::kStage;
            uint64_t left = Work::left_of(stage + group * Work::kPanels * kPanel), right = Work::right_of(stage + Work::kRows * kChunks);
            wgmma_fence();
#pragma unroll
            for (int k = 0; k < kStep / 16; k++)
#pragma unroll
                for (int i = 0; i < Work::kPanels; i++)
                    wgmma_bf16<Work::kColumns, Work::kTransposed>(
                        d[i], left + i * kPanel + k * (Work::kAdvance / 16), right + k * (Work::kAdvance / 16));  // in units of 16 bytes
            wgmma_commit();
            wgmma_wait<1>();  // the step before is over
            if (step > steps.begin && threadIdx.x % kWarp == 0) mbarrier_arrive(&empty[before]);
            before = next.stage;
            next.next();
        }
        wgmma_wait<0>();
#pragma unroll
        for (int i = 0; i < Work::kPanels; i++) wgmma_arrived(d[i]);
        if (steps.begin < steps.end && threadIdx.x % kWarp == 0) mbarrier_arrive(&empty[before]);
        int warp = static_cast<int>(threadIdx.x) % kGroup / kWarp;
#pragma unroll
        for (int i = 0; i < Work::kPanels; i++) work.store(d[i], tile, (group * Work::kPanels + i) * 64 + warp * 16);
        if constexpr (Work::kMoments) {
            if (work.moments) work.leave_moments(d, tile, group, meet);
        }
    }
}

template <class Work>
__device__ inline void run(const Work& work, Steps steps) {
    DYNAMIC_SHARED(uint8_t, dynamic);
    SHARED(uint64_t, full, [Work::kStages]);
    SHARED(uint64_t, empty, [Work::kStages]);
    SHARED(uint64_t, meeting, [1]);
    auto stages = reinterpret_cast<uint4*>(dynamic + (kAtom - shared_address(dynamic) % kAtom) % kAtom);
    if (threadIdx.x == 0) {
        for (int i = 0; i < Work::kStages; i++) {
            mbarrier_init(&full[i], kGroup / kWarp + Work::kBulkCopies);
            mbarrier_init(&empty[i], kMultipliers * kGroup / kWarp);
        }
        mbarrier_init(meeting, kMultipliers * kGroup / kWarp);
        fence_async_proxy();
    }
    __syncthreads();
    int group = static_cast<int>(threadIdx.x) / kGroup;
    if (group == 0)
        fill(work, steps, stages, full, empty);
    else
        multiply(work, steps, stages, full, empty, Meeting{work.kernel, meeting, 0}, group - 1);
}

// ---- gather ---------------------------------------------------------------------------------------------------------------

template <int kRowsOfTile, int kColumnsOfTile>
struct Gather : Stages<kRowsOfTile, kColumnsOfTile> {
    using S = Stages<kRowsOfTile, kColumnsOfTile>;
    using S::kColumns, S::kRows;
    static constexpr bool kTransposed = false, kMoments = true;
    static constexpr int kAdvance = 32;  // bytes to the next 16 of the depth
    static constexpr int kBulkCopies = 1;

    const char* kernel;
    bf16* y;
    float* partial;
    float* moments;
    const bf16* x;
    const bf16* weights;
    const Conv2dGather& g;
    int columns, column_tiles, slices, tiles;
    int64_t results;

    __device__ Gather(const char* kernel, bf16* y, float* partial, float* moments, const bf16* x, const bf16* weights, const Conv2dGather& g, int columns,
                      int column_tiles, int slices, int64_t results)
        : kernel(kernel), y(y), partial(partial), moments(moments), x(x), weights(weights), g(g), columns(columns), column_tiles(column_tiles), slices(slices),
          tiles((g.positions + kRows - 1) / kRows * column_tiles), results(results) {}

    __device__ int first_position(int tile) const { return tile / column_tiles * kRows; }

    // A thread copies the same chunk of every 16th line.
    struct Loader {
        static constexpr int kStride = kGroup / kChunks, kPatches = kRows / kStride;
        static_assert(kStride % 8 == 0, "all lines of a thread have the same swizzle");

        const Conv2dGather& g;
        int line, chunk;
        const bf16* patch[kPatches];
        int h[kPatches], w[kPatches];
        const bf16* filters;

        __device__ Loader(const Gather& work, int tile) : g(work.g) {
            line = static_cast<int>(threadIdx.x) / kChunks;
            chunk = static_cast<int>(threadIdx.x) % kChunks;
#pragma unroll
            for (int i = 0; i < kPatches; i++) {
                int index = work.first_position(tile) + line + i * kStride;
                Position at = position_of(index, g.image, g.row);
                w[i] = at.column * g.stride_w + g.offset_w;
                h[i] = at.row * g.stride_h + g.offset_h;
                patch[i] = work.x + ((static_cast<int64_t>(at.image) * g.height + h[i]) * g.width + w[i]) * g.channels.divisor;
                if (index >= g.positions) h[i] = kNowhere;
            }
            int steps = (g.depth + kStep - 1) / kStep;
            filters = work.weights + g.weights + static_cast<int64_t>(tile % work.column_tiles) * steps * (kColumns * kStep);
        }

        __device__ void load(int step, uint4* stage, uint64_t* full) const {
            if (threadIdx.x == 0) {
                constexpr int kNumbers = kColumns * kStep;
                mbarrier_arrive_expecting(full, kNumbers * sizeof(bf16));
                bulk_copy(stage + kRows * kChunks, filters + static_cast<int64_t>(step) * kNumbers, kNumbers * sizeof(bf16), full);
            }
            int depth = step * kStep + chunk * kVector<bf16>;
            Tap tap = tap_of(depth, g.taps, g.channels);
            int64_t offset = static_cast<int64_t>(tap.row * g.width + tap.column) * g.channels.divisor + tap.channel;
            uint4* to = stage + place_of(line, chunk);
#pragma unroll
            for (int i = 0; i < kPatches; i++) {
                bool valid = (depth < g.depth) & inside(h[i] + tap.row, w[i] + tap.column, g.height, g.width);
                cp_async_16(&to[i * kStride * kChunks], patch[i] + offset, valid);
            }
        }
    };

    static __device__ uint64_t left_of(const uint4* rows) { return matrix_descriptor(rows, 16, kAtom); }
    static __device__ uint64_t right_of(const uint4* columns) { return matrix_descriptor(columns, 16, kAtom); }

    // Sums of a warp whose first row is given: lane 4g + t has rows g and g + 8 and, of each 32 columns, the eight from 8t on.
    __device__ void store(const float (&d)[kColumns / 2], int tile, int first_row) const {
        int lane = static_cast<int>(threadIdx.x) % kWarp, slice = static_cast<int>(blockIdx.y), first_column = tile % column_tiles * kColumns;
#pragma unroll
        for (int half = 0; half < 2; half++) {
            int position = first_position(tile) + first_row + half * 8 + lane / 4;
            if (position >= g.positions) continue;
            Position at = position_of(position, g.image, g.row);
            int64_t pixel = (static_cast<int64_t>(at.image) * g.out_height + at.row * g.out_stride_h + g.out_offset_h) * g.out_width +
                            at.column * g.out_stride_w + g.out_offset_w;
            int column = first_column + lane % 4 * 8;
            auto for_each_run = [&](auto put) {
#pragma unroll
                for (int j = 0; j < kColumns / 8; j += 4) {
                    float run[8];
#pragma unroll
                    for (int e = 0; e < 8; e++) run[e] = d[(j + e / 2) * 4 + half * 2 + e % 2];
                    if (column + j * 8 < columns) put(j * 8, run);
                }
            };
            if (slices == 1) {
                bf16* to = y + pixel * columns + column;
                for_each_run([&](int offset, const auto& run) { store_rounded(to + offset, run); });
            } else {
                float* to = partial + slice * results + pixel * columns + column;
                for_each_run([&](int offset, const auto& run) { store_floats(to + offset, run); });
            }
        }
    }

    // Of the tile whose sums have been stored.
    __device__ void leave_moments(const float (&d)[S::kPanels][kColumns / 2], int tile, int group, Meeting& meet) const {
        constexpr int kWarps = kMultipliers * kGroup / kWarp, kRowsOfThread = 2 * S::kPanels;
        using Parts = TileMoments<kWarps, kColumns>;
        SHARED(Parts, parts, [1]);
        int thread = static_cast<int>(threadIdx.x) - kGroup, warp = thread / kWarp, lane = thread % kWarp, existing = 0;
#pragma unroll
        for (int i = 0; i < kRowsOfThread; i++)
            existing += first_position(tile) + (group * S::kPanels + i / 2) * 64 + warp % 4 * 16 + i % 2 * 8 + lane / 4 < g.positions;
        WarpMoments<kRowsOfThread> of_warp(existing);
        parts->rows[warp] = of_warp.rows;
#pragma unroll
        for (int j = 0; j < kColumns / 8; j += 4) {
            auto value = [&](int row, int e) { return to_float(to_bf16(d[row / 2][(j + e / 2) * 4 + row % 2 * 2 + e % 2])); };
            parts->of[warp][j * 8 + lane % 4 * 8 + lane / 4] = of_warp(value);
        }
        meet();
        parts->leave(moments, tile / column_tiles, tile % column_tiles * kColumns, columns, thread, kMultipliers * kGroup);
        meet();  // before the next tile's are written
    }
};

template <int kRows, int kColumns>
__device__ inline void gather(const char* kernel, bf16* y, float* partial, float* moments, const bf16* x, const bf16* weights, const Conv2dGather& g,
                              int columns, int column_tiles, int slices, int64_t results) {
    run(Gather<kRows, kColumns>(kernel, y, partial, moments, x, weights, g, columns, column_tiles, slices, results),
        steps_of_slice(g.depth, kStep, slices, static_cast<int>(blockIdx.y)));
}

// ---- weight ---------------------------------------------------------------------------------------------------------------

template <int kColumnsOfTile>
struct Weight : Stages<128, kColumnsOfTile> {
    using S = Stages<128, kColumnsOfTile>;
    using S::kColumns, S::kRows;
    static constexpr bool kTransposed = true, kMoments = false;
    static constexpr int kAdvance = 2 * kAtom;  // bytes to the next 16 pixels
    static constexpr int kBulkCopies = 0;

    const char* kernel;
    float* dweight;
    float* partial;
    const bf16* dy;
    const bf16* x;
    const Conv2dWeightPass& g;
    int slices, column_tiles, tiles;

    __device__ Weight(const char* kernel, float* dweight, float* partial, const bf16* dy, const bf16* x, const Conv2dWeightPass& g, int slices)
        : kernel(kernel), dweight(dweight), partial(partial), dy(dy), x(x), g(g), slices(slices), column_tiles((g.columns + kColumns - 1) / kColumns),
          tiles((g.rows + kRows - 1) / kRows * column_tiles) {}

    __device__ int first_row(int tile) const { return tile / column_tiles * kRows; }
    __device__ int first_column(int tile) const { return tile % column_tiles * kColumns; }

    // A thread copies the same chunk of some pixels. Panels of 64 rows or columns follow one another, with a line for each pixel.
    struct Loader {
        static constexpr int kRowChunks = kRows / 8, kColumnChunks = kColumns / 8;
        static_assert(kGroup % kRowChunks == 0 && kGroup % kColumnChunks == 0, "a thread keeps its chunk");

        const Conv2dWeightPass& g;
        const bf16* dy;
        const bf16* x;
        int row, column;
        Tap tap;
        int64_t offset;

        __device__ Loader(const Weight& work, int tile) : g(work.g), dy(work.dy), x(work.x) {
            row = work.first_row(tile) + static_cast<int>(threadIdx.x) % kRowChunks * 8;
            column = work.first_column(tile) + static_cast<int>(threadIdx.x) % kColumnChunks * 8;
            tap = tap_of(column, g.taps, g.channels);
            offset = static_cast<int64_t>(tap.row * g.width + tap.column) * g.channels.divisor + tap.channel;
        }

        __device__ void load(int step, uint4* stage, uint64_t*) const {
            constexpr int kRowPixels = kGroup / kRowChunks, kColumnPixels = kGroup / kColumnChunks;
            int chunk = static_cast<int>(threadIdx.x) % kRowChunks, line = static_cast<int>(threadIdx.x) / kRowChunks;
#pragma unroll
            for (int i = 0; i < kStep / kRowPixels; i++, line += kRowPixels) {
                int pixel = step * kStep + line;
                cp_async_16(&stage[chunk / kChunks * kPanel + place_of(line, chunk % kChunks)], dy + static_cast<int64_t>(pixel) * g.rows + row,
                            (pixel < g.pixels) & (row < g.rows));
            }
            stage += kRows * kChunks;
            chunk = static_cast<int>(threadIdx.x) % kColumnChunks, line = static_cast<int>(threadIdx.x) / kColumnChunks;
#pragma unroll 4
            for (int i = 0; i < kStep / kColumnPixels; i++, line += kColumnPixels) {
                int pixel = step * kStep + line;
                Position at = position_of(pixel, g.image, g.row);
                int h = at.row * g.stride_h - g.pad_h, w = at.column * g.stride_w - g.pad_w;
                const bf16* from = x + ((static_cast<int64_t>(at.image) * g.height + h) * g.width + w) * g.channels.divisor;
                bool valid = (pixel < g.pixels) & (column < g.columns) & inside(h + tap.row, w + tap.column, g.height, g.width);
                cp_async_16(&stage[chunk / kChunks * kPanel + place_of(line, chunk % kChunks)], from + offset, valid);
            }
        }
    };

    static __device__ uint64_t left_of(const uint4* rows) { return matrix_descriptor(rows, kPanel * 16, kAtom); }
    static __device__ uint64_t right_of(const uint4* columns) { return matrix_descriptor(columns, kPanel * 16, kAtom); }

    __device__ void store(const float (&d)[kColumns / 2], int tile, int warp_row) const {
        int lane = static_cast<int>(threadIdx.x) % kWarp, slice = static_cast<int>(blockIdx.y);
#pragma unroll
        for (int half = 0; half < 2; half++) {
            int row = first_row(tile) + warp_row + half * 8 + lane / 4;
            if (row >= g.rows) continue;
#pragma unroll
            for (int j = 0; j < kColumns / 8; j++) {
                float2 run = {d[j * 4 + half * 2], d[j * 4 + half * 2 + 1]};
                int column = first_column(tile) + j * 8 + lane % 4 * 2;
                if (column >= g.columns) continue;
                int64_t at = static_cast<int64_t>(row) * g.columns + column;
                if (slices == 1) {
                    auto to = reinterpret_cast<float2*>(dweight + at);
                    float2 before = *to;
                    *to = {before.x + run.x, before.y + run.y};
                } else {
                    *reinterpret_cast<float2*>(partial + static_cast<int64_t>(slice) * g.rows * g.columns + at) = run;
                }
            }
        }
    }
};

template <int kColumns>
__device__ inline void weight(const char* kernel, float* dweight, float* partial, const bf16* dy, const bf16* x, const Conv2dWeightPass& g, int slices) {
    run(Weight<kColumns>(kernel, dweight, partial, dy, x, g, slices), steps_of_slice(g.pixels, kStep, slices, static_cast<int>(blockIdx.y)));
}

}  // namespace conv2d_hopper

// ---- kernels --------------------------------------------------------------------------------------------------------------

#define CONV2D_HOPPER_GATHER(rows, columns)                                                                                                       \
    KERNEL((conv2d_hopper::kThreads, 1), conv2d_hopper_gather_bf16_##rows##x##columns,                                                            \
           (bf16 * y, float* partial, float* moments, const bf16* x, const bf16* weights, Conv2dGather positions, int columns_, int column_tiles, \
            int slices, int64_t results)) {                                                                                                       \
        ON_HOPPER(conv2d_hopper::gather<rows, columns>(__func__, y, partial, moments, x, weights, positions, columns_, column_tiles, slices,      \
                                                       results));                                                                                 \
    }

CONV2D_HOPPER_GATHER(128, 256)
CONV2D_HOPPER_GATHER(128, 192)
CONV2D_HOPPER_GATHER(256, 128)
CONV2D_HOPPER_GATHER(256, 96)
CONV2D_HOPPER_GATHER(256, 64)

#define CONV2D_HOPPER_WEIGHT(columns)                                                                                                             \
    KERNEL((conv2d_hopper::kThreads, 1), conv2d_hopper_weight_bf16_128x##columns,                                                                 \
           (float* dweight, float* partial, const bf16* dy, const bf16* x, Conv2dWeightPass pass, int slices)) {                                  \
        ON_HOPPER(conv2d_hopper::weight<columns>(__func__, dweight, partial, dy, x, pass, slices));                                               \
    }

CONV2D_HOPPER_WEIGHT(256)
CONV2D_HOPPER_WEIGHT(128)
