// The moments that a forward convolution leaves for the batch norm behind it, so that this need not read the result again: of each tile of positions and each
// channel the mean and the sum of squared deviations, [tiles][2][K] FP32. A block holds all of a tile when it stores it, unless the depth is cut into slices.
// They are the moments of the rounded results. Rows merge in a tree, first a thread's, then those of eight lanes, then those of the warps, without atomics.
// Nothing cancels in it, however large the mean is.
//
// It costs a warp some four instructions for each result, and 14 shuffles for each eight columns: of a tile of 128 x 256 some 2,000 cycles of a
// multiprocessor, whose share of the memory would take 3,500 to read the tile again (estimates).
#pragma once

#include "kernel.cuh"

// Of some rows of a column.
struct Moments {
    float mean, squares;
};

// Turns moments of some rows and moments of others into those of all (Chan, Golub and LeVeque 1983).
struct Merge {
    float share, weight;  // of the others; of the squared distance between the means

    __device__ Moments operator()(Moments some, Moments others) const {
        float distance = others.mean - some.mean;
        return {some.mean + distance * share, some.squares + others.squares + distance * distance * weight};
    }
};

__device__ inline Merge merge_of(int some, int others) {
    float share = others > 0 ? static_cast<float>(others) / static_cast<float>(some + others) : 0;
    return {share, static_cast<float>(some) * share};
}

// Takes moments over the rows of a warp, eight columns at a time. The eight lanes of equal lane % 4 have the same columns and kRows rows each.
template <int kRows>
struct WarpMoments {
    int existing;  // of the thread's rows, the first so many
    int rows;      // of the warp that exist
    Merge of_lanes[3];

    __device__ explicit WarpMoments(int existing) : existing(existing), rows(existing) {
#pragma unroll
        for (int i = 0; i < 3; i++) {
            int others = __shfl_xor_sync(kAllLanes, rows, 16 >> i);
            of_lanes[i] = merge_of(rows, others);
            rows += others;
        }
    }

    // value(row, column) is that of the thread, 0 where the row does not exist. Lane 4g + t gets the moments of column g: at each step a lane gives half of
    // the columns that it has away, and so seven exchanges do what would take 24 if every lane were to have all.
    template <typename Value>
    __device__ Moments operator()(Value value) const {
        Moments of[8];
#pragma unroll
        for (int column = 0; column < 8; column++) {
            of[column] = {value(0, column), 0};
#pragma unroll
            for (int row = 1; row < kRows; row++) {
                float share = row < existing ? 1.0f / static_cast<float>(row + 1) : 0;
                of[column] = Merge{share, static_cast<float>(row) * share}(of[column], {value(row, column), 0});
            }
        }
#pragma unroll
        for (int i = 0; i < 3; i++) {
            constexpr int kColumns = 8;
            int bit = 16 >> i, half = kColumns / 2 >> i;
            bool upper = threadIdx.x & bit;
#pragma unroll
            for (int k = 0; k < half; k++) {
                Moments kept = upper ? of[half + k] : of[k], given = upper ? of[k] : of[half + k];
                of[k] = of_lanes[i](kept, {__shfl_xor_sync(kAllLanes, given.mean, bit), __shfl_xor_sync(kAllLanes, given.squares, bit)});
            }
        }
        return of[0];
    }
};

// A tile's moments in shared memory, of each warp's rows.
template <int kWarps, int kColumns>
struct TileMoments {
    Moments of[kWarps][kColumns];
    int rows[kWarps];

    // Merges them in order, a thread a column; to [tiles][2][columns].
    __device__ void leave(float* to, int tile, int first_column, int columns, int thread, int threads) const {
        for (int column = thread; column < kColumns && first_column + column < columns; column += threads) {
            Moments all = of[0][column];
            int before = rows[0];
#pragma unroll
            for (int warp = 1; warp < kWarps; warp++) {
                all = merge_of(before, rows[warp])(all, of[warp][column]);
                before += rows[warp];
            }
            float* at = to + static_cast<int64_t>(tile) * 2 * columns + first_column + column;
            at[0] = all.mean;
            at[columns] = all.squares;
        }
    }
};
