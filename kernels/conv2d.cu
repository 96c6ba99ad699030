// The three passes of a convolution, x [N,H,W,C], weight [K,R,S,C] FP32, y [N,P,Q,K], as two kinds of matrix product whose operands are gathered from the
// images on the way into shared memory (implicit GEMM).
//
// GATHER, for the forward pass and the gradient of x.   result [positions, columns] = patches [positions, depth] * weights [columns, depth]^T
//   forward   positions = (n,p,q), columns = k, depth = (r,s,c); a patch starts at h = p * strideH - padH and so on.
//   backward  split into the stride's classes, the residues (a,b) of (h + padH, w + padW): only the taps r = a, a + strideH, ... meet the pixels of
//             a class, and to them they are a window of stride 1 that slides over dY. positions = pixels of the class, columns = c, depth = (tap,k), taps
//             in reverse. A class without taps has depth 0: its pixels become 0.
//   Weights are prepared once per pass in the workspace: in the order of the product's depth, rounded to the precision, rows padded with zeros to 64 bytes.
//   So both operands lie in shared memory with the depth contiguous, the weights always load 16 bytes at a time whatever C and K are, and
//   TF32 need not round them in the inner loop. It costs one pass over the weights, a thousandth of the product.
// WEIGHT, for the gradient of the weights.   dWeight [k, (r,s,c)] += dY [pixels, k]^T * patches [pixels, (r,s,c)]
//   Both operands lie in shared memory as they come, one pixel a row.
//
// Where tiles are few the depth is cut into slices (blockIdx.y), whose FP32 sums go to the workspace; reduce.cu adds them in order.
//
// Precisions: f32 multiplies on the ordinary units; tf32 and bf16 on the matrix units, m16n8k8 and m16n8k16. Sums are FP32 and rounded once.
//
// Tile engine. A block makes a tile of kRows x kColumns sums, in steps of 64 bytes of each row (16 F32 or 32 BF16 numbers) or as many pixels. kStages
// stages of shared memory are filled by asynchronous copies: one barrier a step, three steps ahead. Matrix units: four warps, 64 x 64 sums each at
// the largest tile: 128 accumulators a thread, two blocks a multiprocessor; per byte read from shared memory that is all that registers allow.
//
// A gather's fragments come by ldmatrix, whose four registers are an operand as it stands: rows of 16 bytes are 8 BF16 or 4 TF32 numbers alike. Plain
// 16-byte reads would serve as well but for the moves that put their words in place.
// Which row of a fragment is which row of the tile is free:
//   GATHER: the columns of neighbouring 8-wide fragments are interleaved so that a lane ends up with 16 bytes of neighbouring results: no detour through
//   shared memory to write whole sectors.
//   WEIGHT, TF32, where ldmatrix cannot transpose: 16 bytes hold four neighbouring rows of two fragments, or columns of four. (BF16: ldmatrix transposed.)
// Chunks of 16 bytes are swizzled by XOR, so that neither copies nor reads meet in a bank; see the functions slot and pixel_slot.
//
// VECTOR variants want channels in multiples of 16 bytes: every copy is 16 bytes of one tap. GENERAL ones load element by element, for any C and K.
//
// Launch: 128 threads (f32: kRows * kColumns / 64); dynamic shared memory kStages * (kRows + kColumns) * 64 bytes.
//   gather: x = tiles of positions times tiles of columns, the latter first, y = slices; one launch for each class.  weight: x = tiles, y = slices.
#include "conv2d.cuh"

namespace conv2d {

constexpr int kStages = 4;
constexpr int kStepBytes = 64;
constexpr int kChunks = kStepBytes / 16;  // of a row of a gather's tile

struct F32 {
    using Act = float;
    static constexpr bool kMatrix = false;
};

struct Tf32 {
    using Act = float;
    static constexpr bool kMatrix = true;
    static __device__ void round(uint32_t (&x)[4]) {
#pragma unroll
        for (int i = 0; i < 4; i++) x[i] = round_to_tf32(x[i]);
    }

    static __device__ void multiply(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) { mma_m16n8k8_tf32(c, a, b); }
};

struct Bf16 {
    using Act = bf16;
    static constexpr bool kMatrix = true;
    static __device__ void round(uint32_t (&)[4]) {}
    static __device__ void multiply(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) { mma_m16n8k16_bf16(c, a, b); }
};

// A tile of kRows x kColumns sums; on the matrix units each warp makes kWarpRows x kWarpColumns of them, else each thread 8 x 8.
template <class P, int kRowsOfTile, int kColumnsOfTile, int kRowsOfWarp, int kColumnsOfWarp>
struct Tile {
    static constexpr int kRows = kRowsOfTile, kColumns = kColumnsOfTile;
    static constexpr int kWarpRows = kRowsOfWarp, kWarpColumns = kColumnsOfWarp;
    static constexpr int kThreads = P::kMatrix ? kRows / kWarpRows * (kColumns / kWarpColumns) * kWarp : kRows * kColumns / 64;
    // that a multiprocessor should hold: on the matrix units the largest tile leaves no room for a third; on ordinary units a thread
    // needs some 170 registers for its 8 x 8 sums, their operands and addresses, so eight warps it is
    static constexpr int kBlocks = P::kMatrix ? 2 : (256 + kThreads - 1) / kThreads;
    // 8-wide fragments of a gather whose columns are interleaved: 16 bytes of results a lane, where the warp's columns divide so
    static constexpr int kWidest = kVector<typename P::Act> / 2;
    static constexpr int kGroup = !P::kMatrix ? 1 : kWarpColumns / 8 % kWidest == 0 ? kWidest : 2;
    static constexpr int kStage = (kRows + kColumns) * kChunks;  // uint4 of one stage: rows, then columns
    static constexpr int kStep = kStepBytes / static_cast<int>(sizeof(typename P::Act));
};

// Runs load(step, stage) some steps ahead of multiply(stage).
template <typename Load, typename Multiply>
__device__ inline void pipeline(Steps steps, Load load, Multiply multiply) {
#pragma unroll
    for (int ahead = 0; ahead < kStages - 1; ahead++) {
        if (steps.begin + ahead < steps.end) load(steps.begin + ahead, ahead);
        cp_async_commit();
    }
    int stage = 0;
    for (int step = steps.begin; step < steps.end; step++) {
        cp_async_wait<kStages - 2>();
        __syncthreads();  // this step's bytes have come for all; nobody reads the stage of the step before any more
        int next = stage == 0 ? kStages - 1 : stage - 1;
        if (step + kStages - 1 < steps.end) load(step + kStages - 1, next);
        cp_async_commit();
        multiply(stage);
        stage = stage == kStages - 1 ? 0 : stage + 1;
    }
}

// Stores kCount neighbouring results of one row, of which only those before the row's end exist; to is the place of the first.
template <int kCount, typename T, typename Combine>
__device__ inline void store_results(T* to, const float (&results)[kCount], int column, int columns, Combine combine) {
    constexpr int kWidth = kCount < kVector<T> ? kCount : kVector<T>;
    if (column + kCount <= columns && columns % kWidth == 0) {
#pragma unroll
        for (int first = 0; first < kCount; first += kWidth) {
            auto place = reinterpret_cast<Vector<T, kWidth>*>(to + first);
            Vector<T, kWidth> values = combine.reads() ? *place : Vector<T, kWidth>{};
#pragma unroll
            for (int i = 0; i < kWidth; i++) values.at[i] = combine(values.at[i], results[first + i]);
            *place = values;
        }
    } else {
#pragma unroll
        for (int i = 0; i < kCount; i++)
            if (column + i < columns) to[i] = combine(combine.reads() ? to[i] : T{}, results[i]);
    }
}

template <typename T>
struct Overwrite {
    __device__ static constexpr bool reads() { return false; }
    __device__ T operator()(T, float result) const { return from_float<T>(result); }
};

struct Accumulate {
    __device__ static constexpr bool reads() { return true; }
    __device__ float operator()(float before, float result) const { return before + result; }
};

// ---- gather ---------------------------------------------------------------------------------------------------------------

// Place of a chunk in a tile whose rows are 64 bytes: two neighbouring rows fill a line of the banks. The same chunk of eight rows lies in eight
// different bank groups, if these are four pairs of neighbours and the pairs kGroup pairs apart.
template <int kGroup = 1>
__device__ inline int slot(int row, int chunk) {
    return row * kChunks + (chunk ^ (row / (2 * kGroup) & 3));
}

// What a thread loads of a gather's operands: the same chunk of every kThreads / 4-th row.
template <class P, class Tile, bool kGeneral>
struct GatherLoader {
    using T = typename P::Act;
    static constexpr int kStride = Tile::kThreads / kChunks;
    static constexpr int kPatches = (Tile::kRows + kStride - 1) / kStride, kFilters = Tile::kColumns / kStride;
    static_assert(Tile::kColumns % kStride == 0 && kStride % (8 * Tile::kGroup) == 0, "all rows of a thread have the same swizzle");

    const Conv2dGather& g;
    int columns;     // that exist from the first of the tile on
    int row, chunk;  // the thread's first row
    const T* patch[kPatches];
    int h[kPatches], w[kPatches];
    const T* filter;

    __device__ GatherLoader(const Conv2dGather& gather, const T* x, const T* weights, int first_position, int first_column, int all_columns) : g(gather) {
        row = static_cast<int>(threadIdx.x) / kChunks;
        chunk = static_cast<int>(threadIdx.x) % kChunks;
        columns = all_columns - first_column;
#pragma unroll
        for (int i = 0; i < kPatches; i++) {
            int index = first_position + row + i * kStride;
            Position at = position_of(index, g.image, g.row);
            w[i] = at.column * g.stride_w + g.offset_w;
            h[i] = at.row * g.stride_h + g.offset_h;
            patch[i] = x + ((static_cast<int64_t>(at.image) * g.height + h[i]) * g.width + w[i]) * g.channels.divisor;
            if (index >= g.positions) h[i] = kNowhere;
        }
        filter = weights + g.weights + static_cast<int64_t>(first_column + row) * g.pitch + chunk * kVector<T>;
    }

    __device__ void load(int step, uint4* stage) const {
        int depth = step * Tile::kStep + chunk * kVector<T>;
        uint4* patches = stage + slot(row, chunk);
        uint4* filters = stage + Tile::kRows * kChunks + slot<Tile::kGroup>(row, chunk);
        if constexpr (kGeneral) {
#pragma unroll
            for (int e = 0; e < kVector<T>; e++) {
                Tap tap = tap_of(depth + e, g.taps, g.channels);
                int64_t offset = offset_of(tap);
#pragma unroll
                for (int i = 0; i < kPatches; i++) {
                    if (!has_row(i)) continue;
                    bool valid = (depth + e < g.depth) & inside(h[i] + tap.row, w[i] + tap.column, g.height, g.width);
                    reinterpret_cast<T*>(&patches[i * kStride * kChunks])[e] = valid ? patch[i][offset] : from_float<T>(0);
                }
            }
        } else {
            Tap tap = tap_of(depth, g.taps, g.channels);
            int64_t offset = offset_of(tap);
#pragma unroll
            for (int i = 0; i < kPatches; i++) {
                if (!has_row(i)) continue;
                bool valid = (depth < g.depth) & inside(h[i] + tap.row, w[i] + tap.column, g.height, g.width);
                cp_async_16(&patches[i * kStride * kChunks], patch[i] + offset, valid);
            }
        }
        const T* from = filter + step * Tile::kStep;
#pragma unroll
        for (int i = 0; i < kFilters; i++)
            cp_async_16(&filters[i * kStride * kChunks], from + static_cast<int64_t>(i * kStride) * g.pitch, row + i * kStride < columns);
    }

   private:
    __device__ bool has_row(int i) const { return Tile::kRows % kStride == 0 || row + i * kStride < Tile::kRows; }

    __device__ int64_t offset_of(Tap tap) const {
        return static_cast<int64_t>(tap.row * g.width + tap.column) * g.channels.divisor + tap.channel;
    }
};

// The sums of one warp on the matrix units.
template <class P, class Tile>
struct MatrixSums {
    static constexpr int kTilesM = Tile::kWarpRows / 16, kTilesN = Tile::kWarpColumns / 8, kGroup = Tile::kGroup;
    static constexpr int kRowsOfThread = kTilesM * 2, kColumnsOfThread = kTilesN * 2, kRun = kGroup * 2;
    static constexpr int kWarpsDown = Tile::kRows / Tile::kWarpRows, kAcross = Tile::kColumns / Tile::kWarpColumns;

    float c[kTilesM][kTilesN][4] = {};

    // Of the tile.
    static __device__ int warp_row() { return static_cast<int>(threadIdx.x) / kWarp / kAcross; }
    static __device__ int first_row() { return warp_row() * Tile::kWarpRows; }
    static __device__ int first_column() { return static_cast<int>(threadIdx.x) / kWarp % kAcross * Tile::kWarpColumns; }
    static __device__ int row_of(int i) { return first_row() + i * 8 + static_cast<int>(threadIdx.x) % kWarp / 4; }
    static __device__ int column_of(int j) { return first_column() + j / kRun * kGroup * 8 + static_cast<int>(threadIdx.x) % 4 * kRun + j % kRun; }

    // Of the thread's rows and columns.
    __device__ float at(int i, int j) const { return c[i / 2][j / 2][i % 2 * 2 + j % 2]; }

    // One step, which is two of the matrix units.
    __device__ void multiply(const uint4* stage) {
        const uint4 *rows = stage + first_row() * kChunks, *columns = stage + (Tile::kRows + first_column()) * kChunks;
        int lane = static_cast<int>(threadIdx.x) % kWarp, high = lane / 16, middle = lane / 8 % 2, low = lane % 8;
        uint32_t a[2][kTilesM][4];
#pragma unroll
        for (int k = 0; k < 2; k++)
#pragma unroll
            for (int i = 0; i < kTilesM; i++) {
                ldmatrix_x4(a[k][i], &rows[slot(middle * 8 + low, 2 * k + high) + i * 16 * kChunks]);
                P::round(a[k][i]);
            }
        uint32_t b[2][4];
        load_column(b[0], columns, 0, lane);
#pragma unroll
        for (int j = 0; j < kTilesN; j++) {
            if (j + 1 < kTilesN) load_column(b[(j + 1) % 2], columns, j + 1, lane);
#pragma unroll
            for (int k = 0; k < 2; k++)
#pragma unroll
                for (int i = 0; i < kTilesM; i++) P::multiply(c[i][j], a[k][i], {b[j % 2][2 * k], b[j % 2][2 * k + 1]});
        }
    }

    // Calls store(row, runs) for each row; runs(put) calls put(column, results) for each run of neighbours.
    template <typename Store>
    __device__ void for_each_run(Store store) const {
#pragma unroll
        for (int i = 0; i < kRowsOfThread; i++)
            store(row_of(i), [&](auto put) {
#pragma unroll
                for (int j = 0; j < kColumnsOfThread; j += kRun) {
                    float run[kRun];
#pragma unroll
                    for (int e = 0; e < kRun; e++) run[e] = at(i, j + e);
                    put(column_of(j), run);
                }
            });
    }

   private:
    // Operands of both steps for fragment j: its column g is the first or second of lane t = g / 2's pair among the group's columns.
    static __device__ void load_column(uint32_t (&b)[4], const uint4* columns, int j, int lane) {
        int g = lane % 8, column = j / kGroup * kGroup * 8 + g / 2 * kGroup * 2 + j % kGroup * 2 + g % 2;
        ldmatrix_x4(b, &columns[slot<kGroup>(column, lane / 8)]);
    }
};

// The sums of one thread on the ordinary units, 8 x 8: rows kRowThreads apart; columns in pairs. A warp is 8 x 4 threads.
template <class Tile>
struct ThreadSums {
    static constexpr int kRowThreads = Tile::kRows / 8, kColumnThreads = Tile::kColumns / 8;
    static constexpr int kRowsOfThread = 8, kColumnsOfThread = 8, kWarpsDown = kRowThreads / 8;

    float c[8][8] = {};
    int row, column;  // of the thread among the threads

    __device__ ThreadSums() {
        int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
        row = warp_row() * 8 + lane / 4;
        column = warp % (kColumnThreads / 4) * 4 + lane % 4;
    }

    static __device__ int warp_row() { return static_cast<int>(threadIdx.x) / kWarp / (kColumnThreads / 4); }
    __device__ int row_of(int i) const { return row + i * kRowThreads; }
    __device__ int column_of(int j) const { return j / 2 * 2 * kColumnThreads + column * 2 + j % 2; }
    __device__ float at(int i, int j) const { return c[i][j]; }

    __device__ void multiply(const uint4* stage) {
        auto rows = reinterpret_cast<const float4*>(stage), columns = rows + Tile::kRows * kChunks;
#pragma unroll 1  // or all reads of a step move to its front, into more registers than there are
        for (int chunk = 0; chunk < kChunks; chunk++) {
            float4 a[8];
#pragma unroll
            for (int i = 0; i < 8; i++) a[i] = rows[slot(row_of(i), chunk)];
#pragma unroll
            for (int j = 0; j < 8; j++) {
                float4 b = columns[slot(column_of(j), chunk)];
#pragma unroll
                for (int i = 0; i < 8; i++) c[i][j] += a[i].x * b.x;
#pragma unroll
                for (int i = 0; i < 8; i++) c[i][j] += a[i].y * b.y;
#pragma unroll
                for (int i = 0; i < 8; i++) c[i][j] += a[i].z * b.z;
#pragma unroll
                for (int i = 0; i < 8; i++) c[i][j] += a[i].w * b.w;
            }
        }
    }

    template <typename Store>
    __device__ void for_each_run(Store store) const {
#pragma unroll
        for (int i = 0; i < 8; i++)
            store(row_of(i), [&](auto put) {
#pragma unroll
                for (int j = 0; j < 8; j += 2) {
                    float run[2] = {c[i][j], c[i][j + 1]};
                    put(column_of(j), run);
                }
            });
    }
};

// Leaves the moments of what the block has stored, in activations of type T. to: those of the block's tile and columns on; shared is free for it.
template <typename T, class Tile, class Sums>
__device__ inline void leave_moments(float* to, const Sums& sums, uint4* shared, int tile, int rows, int first_column, int columns) {
    auto& parts = *reinterpret_cast<TileMoments<Sums::kWarpsDown, Tile::kColumns>*>(shared);
    int existing = 0;
#pragma unroll
    for (int i = 0; i < Sums::kRowsOfThread; i++) existing += sums.row_of(i) < rows;
    WarpMoments<Sums::kRowsOfThread> moments(existing);
    int lane = static_cast<int>(threadIdx.x) % kWarp, warp = sums.warp_row();
    __syncthreads();  // nobody reads a stage any more
    parts.rows[warp] = moments.rows;
#pragma unroll
    for (int j = 0; j < Sums::kColumnsOfThread; j += 8) {
        auto value = [&](int row, int column) { return j + column < Sums::kColumnsOfThread ? to_float(from_float<T>(sums.at(row, j + column))) : 0; };
        Moments of_column = moments(value);
        if (j + lane / 4 < Sums::kColumnsOfThread) parts.of[warp][sums.column_of(j + lane / 4)] = of_column;
    }
    __syncthreads();
    parts.leave(to, tile, first_column, columns, static_cast<int>(threadIdx.x), Tile::kThreads);
}

template <class P, class Tile, bool kGeneral>
__device__ inline void gather(typename P::Act* y, float* partial, float* moments, const typename P::Act* x, const typename P::Act* weights,
                              const Conv2dGather& g, int columns, int column_tiles, int slices, int64_t results) {
    using T = typename P::Act;
    DYNAMIC_SHARED(uint4, shared);
    int tile = static_cast<int>(blockIdx.x) / column_tiles, slice = static_cast<int>(blockIdx.y);
    int first_position = tile * Tile::kRows, first_column = (static_cast<int>(blockIdx.x) - tile * column_tiles) * Tile::kColumns;
    GatherLoader<P, Tile, kGeneral> loader(g, x, weights, first_position, first_column, columns);
    std::conditional_t<P::kMatrix, MatrixSums<P, Tile>, ThreadSums<Tile>> sums;
    pipeline(
        steps_of_slice(g.depth, Tile::kStep, slices, slice), [&](int step, int stage) { loader.load(step, shared + stage * Tile::kStage); },
        [&](int stage) { sums.multiply(shared + stage * Tile::kStage); });
    sums.for_each_run([&](int row, auto for_each_run) {
        if (first_position + row >= g.positions) return;
        Position at = position_of(first_position + row, g.image, g.row);
        int64_t pixel = (static_cast<int64_t>(at.image) * g.out_height + at.row * g.out_stride_h + g.out_offset_h) * g.out_width +
                        at.column * g.out_stride_w + g.out_offset_w;
        for_each_run([&](int column, const auto& run) {
            int to = first_column + column;
            if (slices == 1)
                store_results(y + pixel * columns + to, run, to, columns, Overwrite<T>{});
            else
                store_results(partial + slice * results + pixel * columns + to, run, to, columns, Overwrite<float>{});
        });
    });
    if (moments) leave_moments<T, Tile>(moments, sums, shared, tile, g.positions - first_position, first_column, columns);
}

// ---- weight ---------------------------------------------------------------------------------------------------------------

// Place of a chunk in a tile that has a pixel in each row. BF16: ldmatrix reads the same chunk of eight rows. F32: lanes read two chunks of four rows.
template <typename T, int kWidth>
__device__ inline int pixel_slot(int pixel, int chunk) {
    return pixel * (kWidth / kVector<T>) + (chunk ^ (sizeof(T) == 2 ? pixel & 7 : (pixel & 3) << 1));
}

// What a thread loads of a weight pass's operands: the same chunk of some pixels.
template <class P, class Tile, bool kGeneral>
struct WeightLoader {
    using T = typename P::Act;
    static constexpr int kRowChunks = Tile::kRows / kVector<T>, kColumnChunks = Tile::kColumns / kVector<T>;
    static_assert(Tile::kThreads % kRowChunks == 0 && Tile::kThreads % kColumnChunks == 0, "a thread keeps its chunk");

    const Conv2dWeightPass& g;
    const T* dy;
    const T* x;
    int row, column;  // first of the thread's chunk of each operand
    Tap tap;          // of that column
    int64_t offset;   // of that tap in x

    __device__ WeightLoader(const Conv2dWeightPass& pass, const T* dy, const T* x, int first_row, int first_column) : g(pass), dy(dy), x(x) {
        row = first_row + static_cast<int>(threadIdx.x) % kRowChunks * kVector<T>;
        column = first_column + static_cast<int>(threadIdx.x) % kColumnChunks * kVector<T>;
        tap = tap_of(column, g.taps, g.channels);
        offset = offset_of(tap);
    }

    __device__ void load(int step, uint4* stage) const {
        constexpr int kRowPixels = Tile::kThreads / kRowChunks, kColumnPixels = Tile::kThreads / kColumnChunks;
        int chunk = static_cast<int>(threadIdx.x) % kRowChunks;
        [[maybe_unused]] constexpr int kUnroll = kGeneral ? 1 : 4;  // the general loads are long enough, and unrolled they would want more registers than there are
#pragma unroll kUnroll
        for (int pixel = static_cast<int>(threadIdx.x) / kRowChunks, i = 0; i < Tile::kStep / kRowPixels; i++, pixel += kRowPixels)
            load_row(step * Tile::kStep + pixel, &stage[pixel_slot<T, Tile::kRows>(pixel, chunk)]);
        chunk = static_cast<int>(threadIdx.x) % kColumnChunks;
        stage += Tile::kRows * kChunks;
#pragma unroll kUnroll
        for (int pixel = static_cast<int>(threadIdx.x) / kColumnChunks, i = 0; i < Tile::kStep / kColumnPixels; i++, pixel += kColumnPixels)
            load_patch(step * Tile::kStep + pixel, &stage[pixel_slot<T, Tile::kColumns>(pixel, chunk)]);
    }

   private:
    __device__ void load_row(int pixel, uint4* to) const {
        const T* from = dy + static_cast<int64_t>(pixel) * g.rows + row;
        if constexpr (kGeneral) {
#pragma unroll
            for (int e = 0; e < kVector<T>; e++)
                reinterpret_cast<T*>(to)[e] = (pixel < g.pixels) & (row + e < g.rows) ? from[e] : from_float<T>(0);
        } else {
            cp_async_16(to, from, (pixel < g.pixels) & (row < g.rows));
        }
    }

    __device__ void load_patch(int pixel, uint4* to) const {
        Position at = position_of(pixel, g.image, g.row);
        int h = at.row * g.stride_h - g.pad_h, w = at.column * g.stride_w - g.pad_w;
        const T* from = x + ((static_cast<int64_t>(at.image) * g.height + h) * g.width + w) * g.channels.divisor;
        if constexpr (kGeneral) {
#pragma unroll
            for (int e = 0; e < kVector<T>; e++) {
                Tap each = tap_of(column + e, g.taps, g.channels);
                bool valid = (pixel < g.pixels) & (column + e < g.columns) & inside(h + each.row, w + each.column, g.height, g.width);
                reinterpret_cast<T*>(to)[e] = valid ? from[offset_of(each)] : from_float<T>(0);
            }
        } else {
            bool valid = (pixel < g.pixels) & (column < g.columns) & inside(h + tap.row, w + tap.column, g.height, g.width);
            cp_async_16(to, from + offset, valid);
        }
    }

    __device__ int64_t offset_of(Tap at) const { return static_cast<int64_t>(at.row * g.width + at.column) * g.channels.divisor + at.channel; }
};

// Sums of one warp over a step of pixels. rows and columns are the tiles, from_row and from_column the warp's first.
template <class P, class Tile>
struct PixelSums;

template <class Tile>
struct PixelSums<Tf32, Tile> {
    static constexpr int kTilesM = Tile::kWarpRows / 16, kTilesN = Tile::kWarpColumns / 8;

    float c[kTilesM][kTilesN][4] = {};

    // Of 32 rows, 4g + 2e + h is row g + 8h of fragment e; of 32 columns, 4g + i is column g of fragment i.
    __device__ void multiply(const uint4* rows, const uint4* columns, int from_row, int from_column) {
        int lane = static_cast<int>(threadIdx.x) % kWarp, g = lane / 4, t = lane % 4;
#pragma unroll
        for (int k = 0; k < Tile::kStep; k += 8) {
            uint32_t a[kTilesM][4];
#pragma unroll
            for (int i = 0; i < kTilesM; i += 2) {
                uint32_t low[4], high[4];
                read<Tile::kRows>(low, rows, k + t, from_row / 4 + i * 4 + g);
                read<Tile::kRows>(high, rows, k + t + 4, from_row / 4 + i * 4 + g);
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    a[i + e / 2][e % 2] = low[e];
                    a[i + e / 2][e % 2 + 2] = high[e];
                }
            }
#pragma unroll
            for (int j = 0; j < kTilesN; j += 4) {
                uint32_t low[4], high[4];
                read<Tile::kColumns>(low, columns, k + t, from_column / 4 + j * 2 + g);
                read<Tile::kColumns>(high, columns, k + t + 4, from_column / 4 + j * 2 + g);
#pragma unroll
                for (int e = 0; e < 4; e++)
#pragma unroll
                    for (int i = 0; i < kTilesM; i++) mma_m16n8k8_tf32(c[i][j + e], a[i], {low[e], high[e]});
            }
        }
    }

    template <typename Store>
    __device__ void for_each_run(int from_row, int from_column, Store store) const {
        int lane = static_cast<int>(threadIdx.x) % kWarp, g = lane / 4, t = lane % 4;
#pragma unroll
        for (int i = 0; i < kTilesM; i++)
#pragma unroll
            for (int half = 0; half < 2; half++)
#pragma unroll
                for (int j = 0; j < kTilesN; j += 4)
#pragma unroll
                    for (int odd = 0; odd < 2; odd++) {
                        float run[4];
#pragma unroll
                        for (int e = 0; e < 4; e++) run[e] = c[i][j + e][half * 2 + odd];
                        store(from_row + i / 2 * 32 + 4 * g + i % 2 * 2 + half, from_column + j * 8 + 8 * t + 4 * odd, run);
                    }
    }

   private:
    template <int kWidth>
    static __device__ void read(uint32_t (&words)[4], const uint4* tile, int pixel, int chunk) {
        uint4 x = tile[pixel_slot<float, kWidth>(pixel, chunk)];
        words[0] = x.x, words[1] = x.y, words[2] = x.z, words[3] = x.w;
        Tf32::round(words);
    }
};

template <class Tile>
struct PixelSums<Bf16, Tile> {
    static constexpr int kTilesM = Tile::kWarpRows / 16, kTilesN = Tile::kWarpColumns / 8;

    float c[kTilesM][kTilesN][4] = {};

    __device__ void multiply(const uint4* rows, const uint4* columns, int from_row, int from_column) {
        int lane = static_cast<int>(threadIdx.x) % kWarp, high = lane / 16, middle = lane / 8 % 2, low = lane % 8;
#pragma unroll
        for (int k = 0; k < Tile::kStep; k += 16) {
            uint32_t a[kTilesM][4];
#pragma unroll
            for (int i = 0; i < kTilesM; i++)
                ldmatrix_x4_transposed(a[i], &rows[pixel_slot<bf16, Tile::kRows>(k + high * 8 + low, from_row / 8 + i * 2 + middle)]);
#pragma unroll
            for (int j = 0; j < kTilesN; j += 2) {
                uint32_t b[4];
                ldmatrix_x4_transposed(b, &columns[pixel_slot<bf16, Tile::kColumns>(k + middle * 8 + low, from_column / 8 + j + high)]);
#pragma unroll
                for (int i = 0; i < kTilesM; i++) {
                    mma_m16n8k16_bf16(c[i][j], a[i], {b[0], b[1]});
                    mma_m16n8k16_bf16(c[i][j + 1], a[i], {b[2], b[3]});
                }
            }
        }
    }

    template <typename Store>
    __device__ void for_each_run(int from_row, int from_column, Store store) const {
        int lane = static_cast<int>(threadIdx.x) % kWarp, g = lane / 4, t = lane % 4;
#pragma unroll
        for (int i = 0; i < kTilesM; i++)
#pragma unroll
            for (int half = 0; half < 2; half++)
#pragma unroll
                for (int j = 0; j < kTilesN; j++) {
                    float run[2] = {c[i][j][half * 2], c[i][j][half * 2 + 1]};
                    store(from_row + i * 16 + half * 8 + g, from_column + j * 8 + 2 * t, run);
                }
    }
};

// On the ordinary units a thread has rows and columns in fours.
template <class Tile>
struct PixelSums<F32, Tile> {
    static constexpr int kRowThreads = Tile::kRows / 8, kColumnThreads = Tile::kColumns / 8;

    float c[8][8] = {};

    static __device__ int thread_row() { return static_cast<int>(threadIdx.x) / kWarp / (kColumnThreads / 4) * 8 + static_cast<int>(threadIdx.x) % kWarp / 4; }
    static __device__ int thread_column() { return static_cast<int>(threadIdx.x) / kWarp % (kColumnThreads / 4) * 4 + static_cast<int>(threadIdx.x) % 4; }

    __device__ void multiply(const uint4* row_words, const uint4* column_words, int, int) {
        auto rows = reinterpret_cast<const Vector<float, 4>*>(row_words), columns = reinterpret_cast<const Vector<float, 4>*>(column_words);
#pragma unroll
        for (int k = 0; k < Tile::kStep; k++) {
            Vector<float, 4> a[2], b[2];
#pragma unroll
            for (int half = 0; half < 2; half++) {
                a[half] = rows[pixel_slot<float, Tile::kRows>(k, thread_row() + half * kRowThreads)];
                b[half] = columns[pixel_slot<float, Tile::kColumns>(k, thread_column() + half * kColumnThreads)];
            }
#pragma unroll
            for (int i = 0; i < 8; i++)
#pragma unroll
                for (int j = 0; j < 8; j++) c[i][j] += a[i / 4].at[i % 4] * b[j / 4].at[j % 4];
        }
    }

    template <typename Store>
    __device__ void for_each_run(int, int, Store store) const {
#pragma unroll
        for (int i = 0; i < 8; i++)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                float run[4];
#pragma unroll
                for (int e = 0; e < 4; e++) run[e] = c[i][half * 4 + e];
                store((thread_row() + i / 4 * kRowThreads) * 4 + i % 4, (thread_column() + half * kColumnThreads) * 4, run);
            }
    }
};

template <class P, class Tile, bool kGeneral>
__device__ inline void weight(float* dweight, float* partial, const typename P::Act* dy, const typename P::Act* x, const Conv2dWeightPass& g, int slices) {
    DYNAMIC_SHARED(uint4, shared);
    int column_tiles = (g.columns + Tile::kColumns - 1) / Tile::kColumns, tile = static_cast<int>(blockIdx.x) / column_tiles;
    int first_row = tile * Tile::kRows, first_column = (static_cast<int>(blockIdx.x) - tile * column_tiles) * Tile::kColumns;
    int slice = static_cast<int>(blockIdx.y), warp = static_cast<int>(threadIdx.x) / kWarp;
    constexpr int kAcross = Tile::kColumns / Tile::kWarpColumns;
    int from_row = warp / kAcross * Tile::kWarpRows, from_column = warp % kAcross * Tile::kWarpColumns;
    WeightLoader<P, Tile, kGeneral> loader(g, dy, x, first_row, first_column);
    PixelSums<P, Tile> sums;
    pipeline(
        steps_of_slice(g.pixels, Tile::kStep, slices, slice), [&](int step, int stage) { loader.load(step, shared + stage * Tile::kStage); },
        [&](int stage) {
            const uint4* rows = shared + stage * Tile::kStage;
            sums.multiply(rows, rows + Tile::kRows * kChunks, from_row, from_column);
        });
    sums.for_each_run(from_row, from_column, [&](int row, int column, const auto& run) {
        if (first_row + row >= g.rows) return;
        column += first_column;
        int64_t at = static_cast<int64_t>(first_row + row) * g.columns + column;
        if (slices == 1)
            store_results(dweight + at, run, column, g.columns, Accumulate{});
        else
            store_results(partial + static_cast<int64_t>(slice) * g.rows * g.columns + at, run, column, g.columns, Overwrite<float>{});
    });
}

}  // namespace conv2d

// ---- kernels --------------------------------------------------------------------------------------------------------------

// name, precision, rows and columns of the tile, of a warp; whether general
#define CONV2D_GATHER(suffix, P, rows, columns, warp_rows, warp_columns, general)                                                              \
    KERNEL((conv2d::Tile<conv2d::P, rows, columns, warp_rows, warp_columns>::kThreads,                                                         \
            conv2d::Tile<conv2d::P, rows, columns, warp_rows, warp_columns>::kBlocks),                                                         \
           conv2d_gather_##suffix,                                                                                                             \
           (conv2d::P::Act * y, float* partial, float* moments, const conv2d::P::Act* x, const conv2d::P::Act* weights, Conv2dGather positions, \
            int columns_, int column_tiles, int slices, int64_t results)) {                                                                                  \
        conv2d::gather<conv2d::P, conv2d::Tile<conv2d::P, rows, columns, warp_rows, warp_columns>, general>(y, partial, moments, x, weights, positions, \
                                                                                                            columns_, column_tiles, slices,    \
                                                                                                            results);                          \
    }

#define CONV2D_WEIGHT(suffix, P, rows, columns, warp_rows, warp_columns, general)                                                              \
    KERNEL((conv2d::Tile<conv2d::P, rows, columns, warp_rows, warp_columns>::kThreads,                                                         \
            conv2d::Tile<conv2d::P, rows, columns, warp_rows, warp_columns>::kBlocks),                                                         \
           conv2d_weight_##suffix,                                                                                                             \
           (float* dweight, float* partial, const conv2d::P::Act* dy, const conv2d::P::Act* x, Conv2dWeightPass pass, int slices)) {           \
        conv2d::weight<conv2d::P, conv2d::Tile<conv2d::P, rows, columns, warp_rows, warp_columns>, general>(dweight, partial, dy, x, pass,     \
                                                                                                            slices);                           \
    }

#define CONV2D_TILES(type, P)                                                \
    CONV2D_GATHER(type##_128x128, P, 128, 128, 64, 64, false)                \
    CONV2D_GATHER(type##_128x96, P, 128, 96, 64, 48, false)                  \
    CONV2D_GATHER(type##_128x64, P, 128, 64, 64, 32, false)                  \
    CONV2D_GATHER(type##_128x32, P, 128, 32, 32, 32, false)                  \
    CONV2D_GATHER(type##_128x128_general, P, 128, 128, 64, 64, true)         \
    CONV2D_GATHER(type##_128x96_general, P, 128, 96, 64, 48, true)           \
    CONV2D_GATHER(type##_128x64_general, P, 128, 64, 64, 32, true)           \
    CONV2D_GATHER(type##_128x32_general, P, 128, 32, 32, 32, true)           \
    CONV2D_WEIGHT(type##_128x128, P, 128, 128, 64, 64, false)                \
    CONV2D_WEIGHT(type##_64x64, P, 64, 64, 32, 32, false)                    \
    CONV2D_WEIGHT(type##_128x128_general, P, 128, 128, 64, 64, true)         \
    CONV2D_WEIGHT(type##_64x64_general, P, 64, 64, 32, 32, true)

CONV2D_TILES(f32, F32)
CONV2D_TILES(tf32, Tf32)
CONV2D_TILES(bf16, Bf16)
