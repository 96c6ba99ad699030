// Every output channel of a pixel meets every input channel of the pixel under each tap: an outer product, summed over
// pixels. A few input channels times a few vectors of output channels stay in registers over a block of pixels, for one
// tap; then they are added to sums [tile of k, tap, c, k in the tile].
//
// A step is a pixel in float, two in bfloat16, which is multiplied in pairs; the last pair of an odd row has a zero.
// Where the processor has no such multiplication, bfloat16 is widened.
//
// A unit of work is half of the images by some input channels by some tiles of output channels by some taps; there are
// about as many as threads. For a panel of its channels at a time, whose sums fit the cache, it goes over blocks of
// pixels, and copies what it needs of one so that what is read together lies together:
//   x  [image, row, column with padding, channel of the panel]; in bfloat16 each with the pixel a stride to its right
//   dy [image, row, step, k in the tile], one tile at a time
// Halves of the images and blocks follow from the shape alone, so the order of every sum does too: the same bits with
// any number of threads.
#include "conv2d_weight.h"

#include <utility>

#include "isa.h"
#include "status.h"

namespace avedis {

// Strides to walk over the copies, in elements.
struct outer_shape {
    int64_t images, rows, steps;
    int64_t dy_image, dy_row;
    int64_t x_image, x_row, x_step;
    int64_t sums_channel;
};

// From activations in X, copied as Y.
template <class Y, class X>
struct weight_kernels_of {
    // sums [channels, vectors] += dy [.., vectors] * x [.., channels]
    void (*outer)(float* sums, const Y* dy, const Y* x, const outer_shape& s, int64_t channels, int64_t vectors);
    // y [count] = first, or pairs of first and second
    void (*pack)(Y* y, const X* first, const X* second, int64_t count);
};

struct weight_kernels {
    int64_t width, most_vectors;  // floats in a vector; vectors at once
    int64_t (*channels_at_once)(int64_t vectors);
    weight_kernels_of<float, float> f32;
    weight_kernels_of<float, bf16> widened;
    weight_kernels_of<bf16, bf16> pairs;  // null where the processor cannot multiply them
};

}  // namespace avedis

#define AVEDIS_KERNELS "conv2d_weight.inl"
#include "instruction_sets.h"

namespace avedis {

// Of a block: columns at most, bytes of x and of dy, for a cache of a megabyte a core. Channels of a panel at most.
constexpr int64_t kColumns = 160, kBytesOfX = 512 * 1024, kBytesOfDy = 192 * 1024, kPanel = 128;

template <class Y, class X>
class weight_pass : public pass {
public:
    weight_pass(const avedis_conv2d_geometry& g, const weight_kernels& all, const weight_kernels_of<Y, X>& kernels)
        : g(g),
          kernels(kernels),
          p((g.h + 2 * g.pad_h - g.r) / g.stride_h + 1),
          q((g.w + 2 * g.pad_w - g.s) / g.stride_w + 1),
          taps(static_cast<int64_t>(g.r) * g.s),
          vectors(all.most_vectors) {
        implementation = "outer product";
        while (g.k / all.width % vectors != 0) vectors--;
        tile = vectors * all.width;
        tiles = g.k / tile;
        most_channels = all.channels_at_once(vectors);

        halves = std::min<int64_t>(g.n, 2);
        int64_t threads = ceiling(omp_get_max_threads(), halves);
        pieces = std::min(threads, ceiling(g.c, most_channels));
        tile_parts = std::min(tiles, ceiling(threads, pieces));
        tap_parts = std::min(taps, ceiling(threads, pieces * tile_parts));

        columns = ceiling(ceiling(q, ceiling(q, kColumns)), kLanesOfStep) * kLanesOfStep;
        places = (columns - kLanesOfStep) * g.stride_w + g.s;
        int64_t x_row = places * std::min<int64_t>(g.c, kPanel) * 4, dy_row = columns * tile * sizeof(Y);
        rows = std::clamp<int64_t>(std::min((kBytesOfX / x_row - g.r) / g.stride_h + 1, kBytesOfDy / dy_row), 1, p);
        rows = ceiling(p, ceiling(p, rows));
        bool whole = rows == p && columns >= q;
        images = whole ? std::clamp<int64_t>(std::min(kBytesOfX / (x_row * x_rows()), kBytesOfDy / (dy_row * p)), 1,
                                             ceiling(g.n, halves))
                       : 1;
    }

    int64_t workspace_bytes() override { return halves * sums_bytes() + units() * unit_bytes(); }

    void run(void* x, void* dweight, void* dy, void* workspace) override {
        auto* sums = static_cast<float*>(workspace);
        char* copies = static_cast<char*>(workspace) + halves * sums_bytes();
        avedis_zero(sums, halves * sums_bytes());
#pragma omp parallel for schedule(static)
        for (int64_t i = 0; i < units(); i++) {
            int64_t rest = i / tap_parts, half = rest / tile_parts / pieces;
            unit work{part(g.n, halves, half), part(g.c, pieces, rest / tile_parts % pieces),
                      part(tiles, tile_parts, rest % tile_parts), part(taps, tap_parts, i % tap_parts)};
            add_unit(sums + half * sums_bytes() / 4, static_cast<const X*>(dy), static_cast<const X*>(x), work,
                     reinterpret_cast<Y*>(copies + i * unit_bytes()));
        }
        add_sums(static_cast<float*>(dweight), sums);
    }

private:
    static constexpr int64_t kLanesOfStep = 4 / sizeof(Y);

    struct range {
        int64_t begin, end;
        int64_t size() const { return end - begin; }
    };

    struct unit {
        range images, channels, tiles, taps;
    };

    // Some images, rows of dy, and columns from one on.
    struct block {
        range images, rows;
        int64_t column;
    };

    static range part(int64_t count, int64_t parts, int64_t i) {
        return {count * i / parts, count * (i + 1) / parts};
    }

    // The same of a range that does not begin at 0.
    static range part(range all, int64_t parts, int64_t i) {
        range within = part(all.size(), parts, i);
        return {all.begin + within.begin, all.begin + within.end};
    }

    int64_t units() const {
        return halves * pieces * tile_parts * tap_parts;
    }

    // Rows of x under a block, padding among them.
    int64_t x_rows() const {
        return (rows - 1) * g.stride_h + g.r;
    }

    int64_t sums_bytes() const {
        return ceiling(taps * g.c * g.k * 4, 64) * 64;
    }
    int64_t x_bytes() const {
        return ceiling(images * x_rows() * places * std::min<int64_t>(g.c, kPanel) * 4, 64) * 64;
    }
    int64_t dy_row() const {
        return columns * tile;
    }
    int64_t unit_bytes() const {
        return x_bytes() + images * rows * dy_row() * static_cast<int64_t>(sizeof(Y));
    }

    void add_unit(float* sums, const X* dy, const X* x, const unit& work, Y* copies) const {
        Y *x_copy = copies, *dy_copy = copies + x_bytes() / sizeof(Y);
        int64_t panels = ceiling(work.channels.size(), kPanel);
        for (int64_t i = 0; i < panels; i++) {
            range panel = part(work.channels, panels, i);
            for (int64_t n = work.images.begin; n < work.images.end; n += images)
                for (int64_t row = 0; row < p; row += rows)
                    for (int64_t column = 0; column < q; column += columns) {
                        block at{{n, std::min(n + images, work.images.end)}, {row, std::min(row + rows, p)}, column};
                        copy_x(x_copy, x, at, panel);
                        for (int64_t t = work.tiles.begin; t < work.tiles.end; t++) {
                            copy_dy(dy_copy, dy + t * tile, at);
                            for (int64_t tap = work.taps.begin; tap < work.taps.end; tap++)
                                add_tap(sums + ((t * taps + tap) * g.c + panel.begin) * tile, dy_copy, x_copy, at,
                                        panel.size(), tap);
                        }
                    }
        }
    }

    void add_tap(float* sums, const Y* dy_copy, const Y* x_copy, const block& at, int64_t channels, int64_t tap) const {
        int64_t r = tap / g.s, s = tap % g.s;
        // rows of dy that this tap moves to rows of the image
        int64_t first = std::max(at.rows.begin, ceiling(std::max<int64_t>(0, g.pad_h - r), g.stride_h));
        int64_t end = std::min(at.rows.end, ceiling(std::max<int64_t>(0, g.h + g.pad_h - r), g.stride_h));
        if (first >= end) return;
        int64_t pixel = channels * kLanesOfStep, x_row = places * pixel;
        outer_shape shape{at.images.size(),
                          end - first,
                          columns / kLanesOfStep,
                          rows * dy_row(),
                          dy_row(),
                          x_rows() * x_row,
                          g.stride_h * x_row,
                          g.stride_w * kLanesOfStep * pixel,
                          tile};
        const Y* gradients = dy_copy + (first - at.rows.begin) * dy_row();
        const Y* corner = x_copy + ((first - at.rows.begin) * g.stride_h + r) * x_row + s * pixel;
        int64_t groups = ceiling(channels, most_channels);
        for (int64_t i = 0; i < groups; i++) {
            range group = part(channels, groups, i);
            kernels.outer(sums + group.begin * tile, gradients, corner + group.begin * kLanesOfStep, shape,
                          group.size(), vectors);
        }
    }

    // Rows outside the image are left as they are: add_tap does not read them.
    void copy_x(Y* y, const X* x, const block& at, range panel) const {
        int64_t pixel = panel.size() * kLanesOfStep, left = at.column * g.stride_w - g.pad_w;
        for (int64_t n = at.images.begin; n < at.images.end; n++)
            for (int64_t i = 0; i < x_rows(); i++, y += places * pixel) {
                int64_t h = at.rows.begin * g.stride_h - g.pad_h + i;
                if (h < 0 || h >= g.h) continue;
                const X* row = x + (n * g.h + h) * g.w * g.c + panel.begin;
                for (int64_t place = 0; place < places; place++)
                    copy_pixels(y + place * pixel, row, left + place, left + place + g.stride_w, g.w, g.c,
                                panel.size());
            }
    }

    void copy_dy(Y* y, const X* dy, const block& at) const {
        for (int64_t n = at.images.begin; n < at.images.end; n++)
            for (int64_t i = 0; i < rows; i++, y += dy_row()) {
                if (at.rows.begin + i >= at.rows.end) continue;
                const X* row = dy + (n * p + at.rows.begin + i) * q * g.k;
                for (int64_t j = 0; j < columns; j += kLanesOfStep)
                    copy_pixels(y + j * tile, row, at.column + j, at.column + j + 1, q, g.k, tile);
            }
    }

    // A pixel of a row [width, pitch], or a pair of them; zeros where there is none.
    void copy_pixels(Y* y, const X* row, int64_t first, int64_t second, int64_t width, int64_t pitch,
                     int64_t count) const {
        bool has_first = first >= 0 && first < width, has_second = second >= 0 && second < width;
        const X *a = row + first * pitch, *b = row + second * pitch;
        if (has_first && (has_second || kLanesOfStep == 1)) return kernels.pack(y, a, b, count);
        constexpr int64_t kZeros = 64;
        static const X zeros[kZeros] = {};
        for (int64_t i = 0; i < count; i += kZeros)
            kernels.pack(y + i * kLanesOfStep, has_first ? a + i : zeros, has_second ? b + i : zeros,
                         std::min(kZeros, count - i));
    }

    void add_sums(float* dweight, const float* sums) const {
        int64_t products = taps * g.c;
#pragma omp parallel for schedule(static)
        for (int64_t k = 0; k < g.k; k++) {
            const float* from = sums + k / tile * products * tile + k % tile;
            for (int64_t i = 0; i < products; i++) {
                float sum = from[i * tile];
                for (int64_t half = 1; half < halves; half++) sum += from[half * sums_bytes() / 4 + i * tile];
                dweight[k * products + i] += sum;
            }
        }
    }

    avedis_conv2d_geometry g;
    weight_kernels_of<Y, X> kernels;
    int64_t p, q, taps;
    int64_t vectors, tile, tiles, most_channels;    // of output channels; input channels in registers
    int64_t halves, pieces, tile_parts, tap_parts;  // units along each axis
    int64_t images, rows, columns, places;          // of a block; columns of x under a row of it
};

std::unique_ptr<pass> build_weight(const avedis_conv2d_geometry& g, int32_t type) {
    const auto& all = kernels_of_this_machine();
    if (g.k % all.width != 0) return nullptr;
    if (type == AVEDIS_F32) return std::make_unique<weight_pass<float, float>>(g, all, all.f32);
    // tiles of matrix units (AMX) are faster than vectors
    if (has_matrix_units()) return nullptr;
    if (all.pairs.outer) return std::make_unique<weight_pass<bf16, bf16>>(g, all, all.pairs);
    return std::make_unique<weight_pass<float, bf16>>(g, all, all.widened);
}

}  // namespace avedis
