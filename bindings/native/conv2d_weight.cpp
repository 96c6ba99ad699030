// Every output channel of a pixel meets every input channel of the pixel under each tap: an outer product, summed over
// pixels. A few input channels times a few vectors of output channels stay in registers over some rows, for one tap;
// then they are added to sums [tile of k, tap, c, k in the tile].
//
// The operands are copied, some images at a time, so that what is read together lies together and fits the cache:
//   dy as [tile of k, image, p, step, k in the tile, lane], the rows of x, padded, as [c, column modulo stride,
//   column].
// A step is a pixel in float, two in bfloat16, which is multiplied in pairs; the last pair of an odd row has a zero.
// Where the processor has no such multiplication, bfloat16 is widened in the copy.
//
// Units of work are a tile of output channels and some input channels each. What a sum consists of, and in which order,
// depends on the shape alone: the same bits with any number of threads.
#include "conv2d_weight.h"

#include "status.h"

namespace avedis {

// Strides to walk over the copies, in elements.
struct outer_shape {
    int64_t images, rows, steps;
    int64_t dy_image, dy_row;
    int64_t x_image, x_row, x_channel;
    int64_t sums_channel;
};

// outer: sums [channels, vectors] += dy [.., vectors] * x [.., channels]
struct weight_kernels {
    int64_t width, most_vectors;  // floats in a vector; vectors at once
    int64_t (*channels_at_once)(int64_t vectors);
    void (*outer_f32)(float* sums, const float* dy, const float* x, const outer_shape& s, int64_t channels,
                      int64_t vectors);
    void (*outer_bf16)(float* sums, const bf16* dy, const bf16* x, const outer_shape& s, int64_t channels,
                       int64_t vectors);
};

}  // namespace avedis

#define AVEDIS_KERNELS "conv2d_weight.inl"
#include "instruction_sets.h"

namespace avedis {

AVEDIS_INLINE void copy(float* y, float x) {
    *y = x;
}
AVEDIS_INLINE void copy(float* y, bf16 x) {
    *y = to_float(x);
}
AVEDIS_INLINE void copy(bf16* y, bf16 x) {
    *y = x;
}

// Bytes of a tile of dy that all taps and input channels of a unit meet before the next; images that are copied at a
// time; units, at least, if there are enough channels.
constexpr int64_t kTileBytes = 96 * 1024, kImagesAtOnce = 8, kUnits = 16;

// Fewer taps do not pay for the copies as well as oneDNN's blocks do (measured at 64 to 256 channels: 9 taps lose up to
// a fifth, 25 gain 5 to 25 %).
constexpr int64_t kLeastTaps = 16;

struct weight_plan {
    weight_plan(const avedis_conv2d_geometry& g, const weight_kernels& kernels, int64_t lanes, int64_t element)
        : g(g),
          lanes(lanes),
          p((g.h + 2 * g.pad_h - g.r) / g.stride_h + 1),
          q((g.w + 2 * g.pad_w - g.s) / g.stride_w + 1),
          steps((q + lanes - 1) / lanes),
          taps(static_cast<int64_t>(g.r) * g.s),
          phase((g.w + 2 * g.pad_w + g.stride_w - 1) / g.stride_w + 1),
          columns(phase * g.stride_w),
          rows(g.h + 2 * g.pad_h),
          copied(std::min<int64_t>(g.n, kImagesAtOnce)),
          vectors(kernels.most_vectors) {
        while (g.k / kernels.width % vectors != 0) vectors--;
        tile = vectors * kernels.width;
        tiles = g.k / tile;
        channels_at_once = kernels.channels_at_once(vectors);
        int64_t groups = (g.c + channels_at_once - 1) / channels_at_once;
        int64_t units = std::min(groups, (kUnits + tiles - 1) / tiles);
        piece = (groups + units - 1) / units * channels_at_once;
        units_of_tile = (g.c + piece - 1) / piece;
        int64_t bytes = p * steps * tile * lanes * element;
        images = std::max<int64_t>(1, kTileBytes / bytes);
        int64_t parts = (bytes + kTileBytes - 1) / kTileBytes;
        rows_at_once = (p + parts - 1) / parts;
    }

    int64_t x_row() const { return g.c * columns; }
    // dy behind it starts on a vector
    int64_t x_elements() const { return (copied * rows * x_row() + 31) / 32 * 32; }
    int64_t dy_row() const { return steps * tile * lanes; }
    int64_t dy_tile() const { return copied * p * dy_row(); }

    avedis_conv2d_geometry g;
    int64_t lanes, p, q, steps, taps;
    int64_t phase, columns, rows;  // columns of one remainder in a copied row of x; all; rows, with padding
    int64_t copied;                // images
    int64_t vectors, tile, tiles;  // of output channels
    int64_t channels_at_once, piece, units_of_tile;  // input channels: in registers; of a unit
    int64_t images, rows_at_once;                    // that one tile of dy in the cache consists of
};

// y [8, y_pitch] = transposed x [8, x_pitch], eight columns of each.
template <class T>
AVEDIS_INLINE void transpose_8x8(T* y, int64_t y_pitch, const T* x, int64_t x_pitch) {
    typedef std::conditional_t<sizeof(T) == 4, uint32_t, uint16_t> bits;
    typedef bits eight __attribute__((vector_size(8 * sizeof(T))));
    eight row[8], next[8];
    for (int i = 0; i < 8; i++) std::memcpy(&row[i], x + i * x_pitch, sizeof(eight));
#pragma GCC unroll 3
    for (int stage = 0; stage < 3; stage++) {
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            next[2 * i] = __builtin_shufflevector(row[i], row[i + 4], 0, 8, 1, 9, 2, 10, 3, 11);
            next[2 * i + 1] = __builtin_shufflevector(row[i], row[i + 4], 4, 12, 5, 13, 6, 14, 7, 15);
        }
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) row[i] = next[i];
    }
    for (int i = 0; i < 8; i++) std::memcpy(static_cast<void*>(y + i * y_pitch), &row[i], sizeof(row[i]));
}

// y [c, columns] = row of an image [w, c], sorted by column modulo the stride, zeros where there is no pixel; null: a
// row of padding.
template <class Y, class X>
AVEDIS_CLONES static void copy_x_row(Y* y, const X* x, const weight_plan& plan) {
    const auto& g = plan.g;
    if (!x) {
        std::memset(static_cast<void*>(y), 0, plan.x_row() * sizeof(Y));
        return;
    }
    for (int64_t phase = 0; phase < g.stride_w; phase++, y += plan.phase) {
        // columns [begin, end) of this phase lie on the image
        int64_t begin = std::max<int64_t>(0, (g.pad_w - phase + g.stride_w - 1) / g.stride_w);
        int64_t end = std::min(plan.phase, (g.w + g.pad_w - phase + g.stride_w - 1) / g.stride_w),
                step = g.stride_w * g.c;
        const X* pixels = x + (phase - g.pad_w) * g.c;
        int64_t c = 0;
        for (; c + 8 <= g.c; c += 8) {
            Y* rows = y + c * plan.columns;
            int64_t i = begin;
            if constexpr (std::is_same_v<X, Y>)
                for (; i + 8 <= end; i += 8) transpose_8x8(rows + i, plan.columns, pixels + i * step + c, step);
            for (; i < end; i++)
                for (int64_t k = 0; k < 8; k++) copy(rows + k * plan.columns + i, pixels[i * step + c + k]);
        }
        for (int64_t k = c; k < g.c; k++)
            for (int64_t i = begin; i < end; i++) copy(y + k * plan.columns + i, pixels[i * step + k]);
        for (int64_t k = 0; k < g.c; k++) {
            std::fill(y + k * plan.columns, y + k * plan.columns + begin, Y{});
            std::fill(y + k * plan.columns + end, y + k * plan.columns + plan.phase, Y{});
        }
    }
}

// y [steps, tile, lanes] = a tile of a row of dy [q, k].
template <class Y, class X>
AVEDIS_CLONES static void copy_dy_row(Y* y, const X* dy, const weight_plan& plan) {
    if (plan.lanes == 1) {
        for (int64_t pixel = 0; pixel < plan.q; pixel++, y += plan.tile, dy += plan.g.k)
            for (int64_t i = 0; i < plan.tile; i++) copy(y + i, dy[i]);
        return;
    }
    for (int64_t pixel = 0; pixel < plan.q; pixel += 2, y += 2 * plan.tile, dy += 2 * plan.g.k) {
        bool last = pixel + 1 == plan.q;
        for (int64_t i = 0; i < plan.tile; i++) {
            copy(y + 2 * i, dy[i]);
            copy(y + 2 * i + 1, last ? X{} : dy[plan.g.k + i]);
        }
    }
}

template <class Y, class X>
static void gradient(float* dweight, const X* dy, const X* x, const weight_plan& plan,
                     void (*outer)(float*, const Y*, const Y*, const outer_shape&, int64_t, int64_t), void* workspace) {
    const auto& g = plan.g;
    int64_t tile_sums = plan.taps * g.c * plan.tile, pixels = plan.p * plan.q;
    float* sums = static_cast<float*>(workspace);
    Y *x_copy = reinterpret_cast<Y*>(sums + plan.tiles * tile_sums), *dy_copy = x_copy + plan.x_elements();
    avedis_zero(sums, plan.tiles * tile_sums * 4);
    for (int64_t first = 0; first < g.n; first += plan.copied) {
        int64_t images = std::min(plan.copied, g.n - first);
#pragma omp parallel for schedule(static)
        for (int64_t i = 0; i < images * plan.rows; i++) {
            int64_t h = i % plan.rows - g.pad_h, image = first + i / plan.rows;
            copy_x_row(x_copy + i * plan.x_row(), h >= 0 && h < g.h ? x + (image * g.h + h) * g.w * g.c : nullptr,
                       plan);
        }
#pragma omp parallel for schedule(static)
        for (int64_t i = 0; i < images * plan.p; i++)
            for (int64_t tile = 0; tile < plan.tiles; tile++)
                copy_dy_row(dy_copy + tile * plan.dy_tile() + i * plan.dy_row(),
                            dy + (first * pixels + i * plan.q) * g.k + tile * plan.tile, plan);
#pragma omp parallel for schedule(static)
        for (int64_t unit = 0; unit < plan.tiles * plan.units_of_tile; unit++) {
            int64_t tile = unit / plan.units_of_tile, begin = unit % plan.units_of_tile * plan.piece;
            int64_t end = std::min<int64_t>(begin + plan.piece, g.c);
            for (int64_t i = 0; i < images; i += plan.images)
                for (int64_t row = 0; row < plan.p; row += plan.rows_at_once) {
                    outer_shape s{std::min(plan.images, images - i),
                                  std::min(plan.rows_at_once, plan.p - row),
                                  plan.steps,
                                  plan.p * plan.dy_row(),
                                  plan.dy_row(),
                                  plan.rows * plan.x_row(),
                                  g.stride_h * plan.x_row(),
                                  plan.columns,
                                  plan.tile};
                    const Y* gradients = dy_copy + tile * plan.dy_tile() + (i * plan.p + row) * plan.dy_row();
                    const Y* image = x_copy + (i * plan.rows + row * g.stride_h) * plan.x_row();
                    for (int64_t c = begin; c < end; c += plan.channels_at_once)
                        for (int64_t tap = 0; tap < plan.taps; tap++) {
                            int64_t r = tap / g.s, column = tap % g.s;
                            const Y* corner = image + r * plan.x_row() + c * plan.columns +
                                              column % g.stride_w * plan.phase + column / g.stride_w;
                            outer(sums + tile * tile_sums + (tap * g.c + c) * plan.tile, gradients, corner, s,
                                  std::min(plan.channels_at_once, end - c), plan.vectors);
                        }
                }
        }
    }
#pragma omp parallel for schedule(static)
    for (int64_t k = 0; k < g.k; k++) {
        const float* from = sums + k / plan.tile * tile_sums + k % plan.tile;
        for (int64_t i = 0; i < plan.taps * g.c; i++) dweight[k * plan.taps * g.c + i] += from[i * plan.tile];
    }
}

// body(plan, kernel, zero of the copies) with the way in which this machine multiplies activations of this type.
template <class Body>
static auto with_plan(const avedis_conv2d_geometry& g, int32_t type, Body body) {
    const auto& kernels = kernels_of_this_machine();
    if (type == AVEDIS_BF16 && kernels.outer_bf16)
        return body(weight_plan(g, kernels, 2, 2), kernels.outer_bf16, bf16{});
    return body(weight_plan(g, kernels, 1, 4), kernels.outer_f32, 0.0f);
}

bool weight_gradient_fits(const avedis_conv2d_geometry& g) {
    return g.k % kernels_of_this_machine().width == 0 && g.r * g.s >= kLeastTaps;
}

int64_t weight_gradient_workspace_bytes(const avedis_conv2d_geometry& g, int32_t type) {
    return with_plan(g, type, [&](const weight_plan& plan, auto, auto zero) {
        int64_t copies = plan.x_elements() + plan.tiles * plan.dy_tile();
        return plan.taps * g.c * g.k * 4 + copies * static_cast<int64_t>(sizeof(zero));
    });
}

void weight_gradient(float* dweight, const void* dy, const void* x, const avedis_conv2d_geometry& g, int32_t type,
                     void* workspace) {
    with_plan(g, type, [&](const weight_plan& plan, auto kernel, auto zero) {
        using Y = decltype(zero);
        if (type == AVEDIS_BF16)
            return gradient<Y>(dweight, static_cast<const bf16*>(dy), static_cast<const bf16*>(x), plan, kernel,
                               workspace);
        if constexpr (std::is_same_v<Y, float>)
            gradient<Y>(dweight, static_cast<const float*>(dy), static_cast<const float*>(x), plan, kernel, workspace);
    });
}

}  // namespace avedis
