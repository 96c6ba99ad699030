// Weight gradient of a convolution with one input channel: dweight [k, r, s] += sum over pixels of dy * shifted x.
// oneDNN's blocks of eight or sixteen input channels would be empty but for one; here the lanes hold output channels.
//
// Output rows are dealt to blocks whose bounds depend on the shape alone; each block sums into its own [taps, k], and
// the blocks are added in order. Inside, 4 taps x 24 output channels stay in registers over up to kTile pixels of a
// row.
#pragma once

#include "avedis_cpu.h"
#include "vector.h"

namespace avedis {

constexpr int kTapsAtOnce = 4, kVectors = 3, kChannels = kVectors * kLanes, kTile = 64;

inline bool narrow_fits(const avedis_conv2d_geometry& g) {
    return g.c == 1 && g.k % kChannels == 0;
}

inline int64_t narrow_taps(const avedis_conv2d_geometry& g) {
    return (static_cast<int64_t>(g.r) * g.s + kTapsAtOnce - 1) / kTapsAtOnce * kTapsAtOnce;
}

inline int64_t narrow_blocks(const avedis_conv2d_geometry& g) {
    int64_t p = (g.h + 2 * g.pad_h - g.r) / g.stride_h + 1;
    return std::min<int64_t>(64, g.n * p);
}

inline int64_t narrow_workspace_bytes(const avedis_conv2d_geometry& g) {
    return narrow_blocks(g) * narrow_taps(g) * g.k * static_cast<int64_t>(sizeof(float));
}

// sums [taps, k] of 24 output channels += dy [pixels, 24] times x, which starts at patch + offsets[tap] and advances by
// stride per pixel.
AVEDIS_CLONES static void narrow_tile(float* sums, const float* dy, const float* patch, const int32_t* offsets,
                                      int64_t taps, int64_t k, int64_t pixels, int64_t stride) {
    for (int64_t tap = 0; tap < taps; tap += kTapsAtOnce) {
        vfloat acc[kTapsAtOnce][kVectors];
        const float* x[kTapsAtOnce];
        for (int t = 0; t < kTapsAtOnce; t++) {
            x[t] = patch + offsets[tap + t];
            for (int v = 0; v < kVectors; v++) acc[t][v] = load(sums + (tap + t) * k + v * kLanes, kLanes);
        }
        for (int64_t i = 0; i < pixels; i++) {
            vfloat gradient[kVectors];
            for (int v = 0; v < kVectors; v++) gradient[v] = load(dy + i * kChannels + v * kLanes, kLanes);
            for (int t = 0; t < kTapsAtOnce; t++)
                for (int v = 0; v < kVectors; v++) acc[t][v] += gradient[v] * x[t][i * stride];
        }
        for (int t = 0; t < kTapsAtOnce; t++)
            for (int v = 0; v < kVectors; v++) store(sums + (tap + t) * k + v * kLanes, acc[t][v], kLanes);
    }
}

// tile [k / 24, kTile, 24] = dy [pixels, k], read in the order of memory.
template <class T>
AVEDIS_CLONES static void narrow_pack(float* tile, const T* dy, int64_t k, int64_t pixels) {
    for (int64_t i = 0; i < pixels; i++)
        for (int64_t j = 0; j < k; j += kChannels)
            for (int64_t v = 0; v < kChannels; v += kLanes)
                store(tile + j * kTile + i * kChannels + v, load(dy + i * k + j + v, kLanes), kLanes);
}

// Rows of x [r, w + 2 pad] that output row i of an image reads, zeros outside.
template <class T>
static void narrow_patch(float* patch, const T* image, const avedis_conv2d_geometry& g, int64_t i) {
    int64_t pitch = g.w + 2 * g.pad_w;
    std::fill(patch, patch + g.r * pitch, 0.0f);
    for (int64_t r = 0; r < g.r; r++) {
        int64_t row = i * g.stride_h - g.pad_h + r;
        if (row < 0 || row >= g.h) continue;
        for (int64_t w = 0; w < g.w; w++) patch[r * pitch + g.pad_w + w] = to_float(image[row * g.w + w]);
    }
}

template <class T>
static void narrow_backward_weight(float* dweight, const T* dy, const T* x, const avedis_conv2d_geometry& g,
                                   float* workspace) {
    int64_t p = (g.h + 2 * g.pad_h - g.r) / g.stride_h + 1, q = (g.w + 2 * g.pad_w - g.s) / g.stride_w + 1;
    int64_t rows = g.n * p, blocks = narrow_blocks(g), taps = narrow_taps(g), window = static_cast<int64_t>(g.r) * g.s;
    int64_t pitch = g.w + 2 * g.pad_w;
#pragma omp parallel for schedule(static)
    for (int64_t block = 0; block < blocks; block++) {
        float* sums = workspace + block * taps * g.k;
        std::fill(sums, sums + taps * g.k, 0.0f);
        float* patch = scratch<float, 0>(g.r * pitch);
        float* tile = scratch<float, 1>(kTile * g.k);
        int32_t* offsets = scratch<int32_t, 0>(taps);
        // taps beyond the window repeat its first and are dropped
        for (int64_t tap = 0; tap < taps; tap++)
            offsets[tap] = tap < window ? static_cast<int32_t>(tap / g.s * pitch + tap % g.s) : 0;
        for (int64_t row = block * rows / blocks; row < (block + 1) * rows / blocks; row++) {
            narrow_patch(patch, x + row / p * g.h * g.w, g, row % p);
            for (int64_t first = 0; first < q; first += kTile) {
                int64_t pixels = std::min<int64_t>(kTile, q - first);
                narrow_pack(tile, dy + (row * q + first) * g.k, g.k, pixels);
                for (int64_t k = 0; k < g.k; k += kChannels)
                    narrow_tile(sums + k, tile + k * kTile, patch + first * g.stride_w, offsets, taps, g.k, pixels,
                                g.stride_w);
            }
        }
    }
#pragma omp parallel for schedule(static)
    for (int64_t k = 0; k < g.k; k++)
        for (int64_t tap = 0; tap < window; tap++) {
            double sum = 0;
            for (int64_t block = 0; block < blocks; block++) sum += workspace[(block * taps + tap) * g.k + k];
            dweight[k * window + tap] += static_cast<float>(sum);
        }
}

}  // namespace avedis
