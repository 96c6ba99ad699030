// Forward and gradient of x: the tiles of a chunk are transformed, each point is a matrix product of its tiles by
// channels with its transformed weights, and the products are transformed to outputs. A chunk belongs to one thread:
//   weights  [residue, point, panel of output channels, view, input channel, channel of the panel], once for all chunks
//   values   [point, tile, view, input channel]
//   products [point, tile, output channel]
// The weights of a point pass through the cache once for each chunk, its values and products stay there.
//
// Gradient of the weights: values of x and gradients of the tiles of a chunk are transformed, each point adds the
// matrix product of both to its sums, and the sums are transformed to taps:
//   values    [point, panel of view and input channel, tile, channel of the panel]
//   gradients [point, tile, output channel]
//   sums      [point, panel of view and input channel, output channel, channel of the panel]
// Chunks follow from the shape alone, so the order of every sum does too: the same bits with any number of threads.
#include "conv2d_winograd.h"

#include <utility>

#include "conv2d_winograd_tiles.h"
#include "isa.h"
#include "status.h"
#include "vector.h"

namespace avedis {

// See conv2d_winograd.inl.
struct winograd_kernels {
    using transform = void (*)(float* points, const int64_t* at, int64_t first, int64_t panel_step,
                               const float* const* values, int64_t channels);
    using product = void (*)(float* c, int64_t c_step, const float* a, int64_t a_step, const float* b, int64_t depth,
                             int64_t rows, int64_t columns, bool add);

    int64_t panel;
    transform values[4], gradients[4];  // by size of the tile: 3x3, 3x4, 4x3, 4x4
    void (*outputs[4])(float* const* outputs, const float* points, const int64_t* at, int64_t channels);
    void (*weights)(float* points, int64_t point_step, const float* const* taps, int64_t count, int rows, int columns);
    void (*sums)(float* const* taps, const float* sums, int64_t point_step, int rows, int columns, int lanes);
    product multiply, add_outer;
};

}  // namespace avedis

#define AVEDIS_KERNELS "conv2d_winograd.inl"
#include "instruction_sets.h"

namespace avedis {

// Tiles of a chunk: enough that the weights of a point are used well, few enough that its values stay in a cache.
constexpr int64_t kChunk = 48;
constexpr int kGrid = kPoints * kPoints;

// Floats between points: whole lines, an odd number of them, so that the points of a tile fall into different sets of a
// cache.
static int64_t apart(int64_t floats) {
    return (ceiling(floats, 16) | 1) * 16;
}

// What both passes know of their tiles.
class winograd_pass : public pass {
protected:
    struct tile_at {
        int64_t image;
        tile_axis::tile row, column;

        int size() const { return (row.size == 4) * 2 + (column.size == 4); }
    };

    winograd_pass(const avedis_conv2d_geometry& g, bool backward)
        : kernels(kernels_of_this_machine()), g(g), tiles(g, backward) {
        implementation = "winograd";
        multiplications = tiles.products() * g.c * g.k;
    }

    tile_at at(int64_t tile) const {
        int64_t within = tile % tiles.per_image, columns = static_cast<int64_t>(tiles.columns.tiles.size());
        return {tile / tiles.per_image, tiles.rows.tiles[static_cast<size_t>(within / columns)],
                tiles.columns.tiles[static_cast<size_t>(within % columns)]};
    }

    // Offsets of a tile's points, `step` floats apart and `tile_step` for each tile of a chunk that has the point.
    void offsets(int64_t* of, int64_t first, int64_t tile, int64_t step, int64_t tile_step) const {
        int64_t places[4];
        for (int kind = 0; kind < 4; kind++) places[kind] = tiles.count(kind, tile) - tiles.count(kind, first);
        for (int i = 0; i < tiles.row_points; i++)
            for (int j = 0; j < tiles.column_points; j++)
                of[i * kPoints + j] = (i * tiles.column_points + j) * step + places[tiling::kind(i, j)] * tile_step;
    }

    // Addresses of height x width pixels of an image [rows, columns, channels], by the steps and offsets of two views;
    // `outside` where there is none.
    template <class T>
    static void pixels(T** of, T* image, int rows, int columns, int64_t channels, tile_axis::view row,
                       tile_axis::view column, int height, int width, T* outside) {
        for (int i = 0; i < height; i++) {
            int y = row.offset + i * row.step;
            for (int j = 0; j < width; j++) {
                int x = column.offset + j * column.step;
                bool inside = y >= 0 && y < rows && x >= 0 && x < columns;
                of[i * kPoints + j] = inside ? image + (static_cast<int64_t>(y) * columns + x) * channels : outside;
            }
        }
    }

    static tile_axis::view from(tile_axis::view view, int begin) {
        return {view.step, view.offset + begin * view.step};
    }

    // Transforms the inputs of a tile, for all views, each `view_channels` channels apart.
    void transform_values(float* values, const int64_t* of, int64_t panel_step, const tile_at& tile,
                          const float* inputs, int64_t channels, int64_t view_channels, const float* zeros) const {
        const tile_axis &rows = tiles.rows, &columns = tiles.columns;
        const float* image = inputs + tile.image * rows.inputs * columns.inputs * channels;
        for (size_t v = 0; v < tiles.views.size(); v++) {
            const float* from_pixels[kGrid];
            pixels(from_pixels, image, rows.inputs, columns.inputs, channels,
                   from(rows.views[static_cast<size_t>(tiles.views[v].row)], tile.row.begin),
                   from(columns.views[static_cast<size_t>(tiles.views[v].column)], tile.column.begin),
                   tile.row.size + 2, tile.column.size + 2, zeros);
            kernels.values[tile.size()](values, of, static_cast<int64_t>(v) * view_channels, panel_step, from_pixels,
                                        channels);
        }
    }

    // Where the 3 x 3 taps of a window lie in a filter whose taps are `step` apart; null where there is none.
    template <class T>
    void taps_of(T** of, const tile_axis::window& row, const tile_axis::window& column, T* filter, int64_t step) const {
        for (int i = 0; i < 9; i++) {
            int a = row.taps[static_cast<size_t>(i / 3)], b = column.taps[static_cast<size_t>(i % 3)];
            of[i] = a < 0 || b < 0 ? nullptr : filter + (a * g.s + b) * step;
        }
    }

    int64_t views() const { return static_cast<int64_t>(tiles.views.size()); }

    const winograd_kernels& kernels;
    avedis_conv2d_geometry g;
    tiling tiles;
};

class winograd_data : public winograd_pass {
public:
    winograd_data(const avedis_conv2d_geometry& g, bool backward)
        : winograd_pass(g, backward), backward(backward), inputs(backward ? g.k : g.c), outputs(backward ? g.c : g.k) {
        panels = ceiling(outputs, kernels.panel);
        depth = views() * inputs;
        int64_t threads = omp_get_max_threads();
        chunks = ceiling(ceiling(tiles.tiles(), kChunk), threads) * threads;
        chunk = ceiling(tiles.tiles(), chunks);
        values_tile = apart(depth);
        products_tile = panels * kernels.panel + 16;
        weights_step = apart(panels * depth * kernels.panel);
        values_step = apart(chunk * values_tile), products_step = apart(chunk * products_tile);
    }

    int64_t workspace_bytes() override {
        return 4 * (weights_floats() + apart(inputs) + omp_get_max_threads() * thread_floats());
    }

    void run(void* src, void* weight, void* dst, void* workspace) override {
        auto *x = static_cast<const float*>(backward ? dst : src), *w = static_cast<const float*>(weight);
        auto *y = static_cast<float*>(backward ? src : dst), *weights = static_cast<float*>(workspace);
        float *zeros = weights + weights_floats(), *rest = zeros + apart(inputs);
        std::fill_n(zeros, inputs, 0.0f);
        int64_t parts = ceiling(inputs, kInputs);
#pragma omp parallel for schedule(static)
        for (int64_t i = 0; i < panels * parts; i++) transform_weights(weights, w, i / parts, i % parts * kInputs);
#pragma omp parallel for schedule(dynamic)
        for (int64_t i = 0; i < chunks; i++)
            run_chunk(y, x, weights, tiles.tiles() * i / chunks, tiles.tiles() * (i + 1) / chunks, zeros,
                      rest + omp_get_thread_num() * thread_floats());
    }

private:
    static constexpr int64_t kInputs = 16;  // input channels whose weights are transformed together

    int64_t weights_floats() const {
        return static_cast<int64_t>(tiles.residues.size()) * tiles.points() * weights_step;
    }
    int64_t thread_floats() const {
        return tiles.points() * (values_step + products_step);
    }

    float* panel_of(float* weights, size_t residue, int64_t point, int64_t panel) const {
        return weights + (static_cast<int64_t>(residue) * tiles.points() + point) * weights_step +
               panel * depth * kernels.panel;
    }

    void transform_weights(float* weights, const float* w, int64_t panel, int64_t first) const {
        int64_t taps = static_cast<int64_t>(g.r) * g.s, count = std::min(kInputs, inputs - first);
        int64_t channel = panel * kernels.panel, channels = std::min(kernels.panel, outputs - channel);
        int64_t tap_floats = kInputs * kernels.panel;
        float* turned = scratch<float, 0>(taps * tap_floats);  // [tap, input channel, output channel]
        for (int64_t tap = 0; tap < taps; tap++)
            for (int64_t in = 0; in < count; in++) {
                float* to = turned + tap * tap_floats + in * kernels.panel;
                if (backward)
                    std::copy_n(w + ((first + in) * taps + tap) * g.c + channel, channels, to);
                else
                    for (int64_t out = 0; out < channels; out++)
                        to[out] = w[((channel + out) * taps + tap) * g.c + first + in];
                std::fill(to + channels, to + kernels.panel, 0.0f);
            }
        for (size_t r = 0; r < tiles.residues.size(); r++)
            for (int64_t v = 0; v < views(); v++) {
                auto *row = tiles.row_window(tiles.residues[r], static_cast<int>(v)),
                     *column = tiles.column_window(tiles.residues[r], static_cast<int>(v));
                if (!row || !column) continue;
                const float* window[9];
                taps_of<const float>(window, *row, *column, turned, tap_floats);
                kernels.weights(panel_of(weights, r, 0, panel) + (v * inputs + first) * kernels.panel, weights_step,
                                window, count, tiles.row_points, tiles.column_points);
            }
    }

    void run_chunk(float* y, const float* x, float* weights, int64_t first, int64_t end, const float* zeros,
                   float* values) const {
        float* products = values + tiles.points() * values_step;
        for (int64_t t = first; t < end; t++) {
            int64_t of[kGrid];
            offsets(of, first, t, values_step, values_tile);
            transform_values(values, of, kernels.panel, at(t), x, inputs, inputs, zeros);
        }
        for (size_t r = 0; r < tiles.residues.size(); r++) {
            multiply(products, values, weights, r, first, end);
            for (int64_t t = first; t < end; t++) write_outputs(y, products, r, first, t);
        }
    }

    void multiply(float* products, const float* values, float* weights, size_t r, int64_t first, int64_t end) const {
        for (int i = 0; i < tiles.row_points; i++)
            for (int j = 0; j < tiles.column_points; j++) {
                int64_t point = i * tiles.column_points + j;
                int kind = tiling::kind(i, j);
                int64_t rows = tiles.count(kind, end) - tiles.count(kind, first);
                auto views = tiles.needed(tiles.residues[r], i, j);
                const float* from = values + point * values_step + views.begin * inputs;
                float* to = products + point * products_step;
                for (int64_t panel = 0; panel < panels; panel++)
                    kernels.multiply(to + panel * kernels.panel, products_tile, from, values_tile,
                                     panel_of(weights, r, point, panel) + views.begin * inputs * kernels.panel,
                                     std::max<int64_t>(views.end - views.begin, 0) * inputs, rows,
                                     outputs - panel * kernels.panel, false);
            }
    }

    void write_outputs(float* y, const float* products, size_t r, int64_t first, int64_t t) const {
        const tile_axis &rows = tiles.rows, &columns = tiles.columns;
        auto &row = rows.residues[static_cast<size_t>(tiles.residues[r].row)],
             &column = columns.residues[static_cast<size_t>(tiles.residues[r].column)];
        tile_at tile = at(t);
        int64_t of[kGrid];
        offsets(of, first, t, products_step, products_tile);
        float* to[kGrid];
        pixels<float>(to, y + tile.image * rows.outputs * columns.outputs * outputs, rows.outputs, columns.outputs,
                      outputs, from({row.step, row.offset}, tile.row.begin),
                      from({column.step, column.offset}, tile.column.begin), tile.row.size, tile.column.size, nullptr);
        kernels.outputs[tile.size()](to, products, of, outputs);
    }

    bool backward;
    int64_t inputs, outputs;                           // channels
    int64_t panels, depth;                             // of outputs; values of a tile at a point
    int64_t chunks, chunk;                             // chunks, and tiles of one at most
    int64_t values_tile, products_tile;                // floats between tiles
    int64_t weights_step, values_step, products_step;  // floats between points
};

class winograd_weight : public winograd_pass {
public:
    explicit winograd_weight(const avedis_conv2d_geometry& g) : winograd_pass(g, false) {
        int64_t lanes = kernels.panel / 2;
        view_channels = ceiling(g.c, lanes) * lanes;
        panels = ceiling(views() * view_channels, kernels.panel);
        int64_t most = kChunkFloats / (tiles.points() * (panels * kernels.panel + g.k));
        chunks = ceiling(tiles.tiles(), std::max(kChunk, most));
        chunk = ceiling(tiles.tiles(), chunks);
        values_panel = chunk * kernels.panel;
        gradients_tile = apart(g.k);
        values_step = apart(panels * values_panel), gradients_step = apart(chunk * gradients_tile);
        sums_step = apart(panels * g.k * kernels.panel);
    }

    int64_t workspace_bytes() override {
        return 4 * (zeros_floats() + tiles.points() * (values_step + gradients_step + sums_step));
    }

    void run(void* src, void* dweight, void* dst, void* workspace) override {
        auto *x = static_cast<const float*>(src), *dy = static_cast<const float*>(dst);
        auto *zeros = static_cast<float*>(workspace), *values = zeros + zeros_floats();
        float *gradients = values + tiles.points() * values_step, *sums = gradients + tiles.points() * gradients_step;
        std::fill_n(zeros, std::max(g.c, g.k), 0.0f);
#pragma omp parallel
        {
#pragma omp for schedule(static)
            for (int64_t i = 0; i < tiles.points(); i++) std::fill_n(sums + i * sums_step, sums_step, 0.0f);
            for (int64_t i = 0; i < chunks; i++) {
                int64_t first = tiles.tiles() * i / chunks, end = tiles.tiles() * (i + 1) / chunks;
#pragma omp for schedule(dynamic, 4)
                for (int64_t t = first; t < end; t++) transform(values, gradients, x, dy, first, t, zeros);
#pragma omp for schedule(dynamic, kPanelsAtOnce)
                for (int64_t i = 0; i < tiles.points() * panels; i++)
                    add_products(sums, values, gradients, i / panels, i % panels, first, end);
            }
#pragma omp for schedule(static)
            for (int64_t k = 0; k < g.k; k++) add_taps(static_cast<float*>(dweight), sums, k);
        }
    }

private:
    // Of the values and gradients of a chunk, which all threads share. Threads wait for each other twice in each chunk.
    static constexpr int64_t kChunkFloats = 1 << 20;
    static constexpr int64_t kPanelsAtOnce = 4;  // that a thread takes

    int64_t zeros_floats() const {
        return apart(std::max(g.c, g.k));
    }

    void transform(float* values, float* gradients, const float* x, const float* dy, int64_t first, int64_t t,
                   const float* zeros) const {
        const tile_axis &rows = tiles.rows, &columns = tiles.columns;
        tile_at tile = at(t);
        int64_t of[kGrid];
        offsets(of, first, t, values_step, kernels.panel);
        transform_values(values, of, values_panel, tile, x, g.c, view_channels, zeros);
        offsets(of, first, t, gradients_step, gradients_tile);
        const float* pixels_of[kGrid];
        pixels(pixels_of, dy + tile.image * rows.outputs * columns.outputs * g.k, rows.outputs, columns.outputs, g.k,
               {1, tile.row.begin}, {1, tile.column.begin}, tile.row.size, tile.column.size, zeros);
        kernels.gradients[tile.size()](gradients, of, 0, kernels.panel, pixels_of, g.k);
    }

    void add_products(float* sums, const float* values, const float* gradients, int64_t point, int64_t panel,
                      int64_t first, int64_t end) const {
        int i = static_cast<int>(point / tiles.column_points), j = static_cast<int>(point % tiles.column_points);
        int kind = tiling::kind(i, j);
        auto needed = tiles.needed(tiles.residues[0], i, j);
        int64_t channel = panel * kernels.panel;
        if (channel >= needed.end * view_channels || channel + kernels.panel <= needed.begin * view_channels) return;
        kernels.add_outer(
            sums + point * sums_step + panel * g.k * kernels.panel, kernels.panel, gradients + point * gradients_step,
            gradients_tile, values + point * values_step + panel * values_panel,
            tiles.count(kind, end) - tiles.count(kind, first), g.k, views() * view_channels - channel, true);
    }

    void add_taps(float* dweight, const float* sums, int64_t k) const {
        int64_t lanes = kernels.panel / 2, taps = static_cast<int64_t>(g.r) * g.s;
        for (int64_t v = 0; v < views(); v++) {
            auto *row = tiles.row_window(tiles.residues[0], static_cast<int>(v)),
                 *column = tiles.column_window(tiles.residues[0], static_cast<int>(v));
            for (int64_t c = 0; c < g.c; c += lanes) {
                float* window[9];
                taps_of(window, *row, *column, dweight + k * taps * g.c + c, g.c);
                int64_t channel = v * view_channels + c;
                kernels.sums(
                    window, sums + (channel / kernels.panel * g.k + k) * kernels.panel + channel % kernels.panel,
                    sums_step, tiles.row_points, tiles.column_points, static_cast<int>(std::min(lanes, g.c - c)));
            }
        }
    }

    int64_t view_channels, panels;                   // channels of a view, whole vectors; panels of all views
    int64_t chunks, chunk;                           // chunks, and tiles of one at most
    int64_t values_panel, gradients_tile;            // floats between panels; between tiles
    int64_t values_step, gradients_step, sums_step;  // floats between points
};

// Along an axis: windows of two to five taps, three outputs, and nothing that must be zero to the bit, which a sum of
// rounded terms is not: outputs whose window is all padding, taps that only ever meet padding, and pixels that no
// window reaches.
static bool suits(int size, int window, int stride, int pad, bool backward) {
    int outputs = (size + 2 * pad - window) / stride + 1, last = (outputs - 1) * stride;
    bool terms = pad < window && last >= pad && window - 1 - pad < size && (!backward || last + window - pad >= size);
    return terms && window >= 2 && window <= 5 && outputs >= 3;
}

// Whether it is faster than direct sums: enough tiles for the weights to be worth transforming, enough channels for the
// rest, and clearly fewer products. The error of few channels would stand out, too: the sums are shorter, the
// transforms as long.
static bool worth(const avedis_conv2d_geometry& g, bool backward) {
    constexpr int kLeastChannels = 16, kLeastTiles = 16;
    constexpr double kLeastSaving = 1.8;
    if (current_isa() == isa::plain || g.c < kLeastChannels || g.k < kLeastChannels) return false;
    if (!suits(g.h, g.r, g.stride_h, g.pad_h, backward) || !suits(g.w, g.s, g.stride_w, g.pad_w, backward))
        return false;
    tiling tiles(g, backward);
    if (tiles.tiles() < kLeastTiles || !tiles.usable()) return false;
    int64_t p = (g.h + 2 * g.pad_h - g.r) / g.stride_h + 1, q = (g.w + 2 * g.pad_w - g.s) / g.stride_w + 1;
    return static_cast<double>(g.n * p * q * g.r * g.s) >= kLeastSaving * static_cast<double>(tiles.products());
}

std::unique_ptr<pass> build_winograd_data(const avedis_conv2d_geometry& g, bool backward) {
    if (!worth(g, backward)) return nullptr;
    return std::make_unique<winograd_data>(g, backward);
}

std::unique_ptr<pass> build_winograd_weight(const avedis_conv2d_geometry& g) {
    if (!worth(g, false)) return nullptr;
    return std::make_unique<winograd_weight>(g);
}

}  // namespace avedis
