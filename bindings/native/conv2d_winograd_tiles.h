// Where the tiles of a Winograd convolution lie: which inputs they read, which taps these meet, which outputs they
// make.
//
// Along an axis a tile makes M = 4 or 3 outputs of a window of three taps from M + 2 inputs that follow one another.
// The sizes mix, so that few outputs are made in vain: 13 = 4 + 3 + 3 + 3. Tiles never reach into another image.
//
// Longer windows and strides are sums of such windows: five taps at stride 2 are taps 0, 2, 4 over the even inputs and
// taps 1, 3 over the odd ones. Each such sequence of inputs is a view. The gradient of x at stride 2 is one convolution
// of dy for each residue of the row, and of the column: they read the same or other views, and each makes the outputs
// of its residue.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "avedis_cpu.h"

namespace avedis {

// Values at which the polynomials of a tile meet, in this order: 0, 5/8, -5/8, 3/2, infinity, -3/2. A tile of three
// outputs does without the last.
constexpr int kPoints = 6, kInfinity = 4, kLastPoint = 5;

struct tile_axis {
    // Value i of a tile whose outputs begin at t: input (t + i) * step + offset.
    struct view {
        int step, offset;
        bool operator==(const view& other) const { return step == other.step && offset == other.offset; }
    };

    // Taps that meet values 0, 1, 2 of a view, or -1: what the values 1, 2, 3 meet then is the next output's.
    struct window {
        int view;
        std::array<int, 3> taps;
    };

    // Outputs t * step + offset, a sum over windows.
    struct residue {
        int step, offset;
        std::vector<window> windows;
    };

    struct tile {
        int begin, size;
    };

    static tile_axis forward(int inputs, int window, int stride, int pad) {
        tile_axis axis{inputs, (inputs + 2 * pad - window) / stride + 1, {}, {}, {}};
        residue all{1, 0, {}};
        for (int first = 0; first < std::min(stride, window); first++)
            for (int tap = first; tap < window; tap += 3 * stride)
                all.windows.push_back({axis.add({stride, tap - pad}), taps_from(tap, stride, window)});
        axis.residues.push_back(all);
        axis.cut(axis.outputs);
        return axis;
    }

    // Inputs are rows of dy, outputs rows of dx.
    static tile_axis backward(int outputs, int window, int stride, int pad) {
        tile_axis axis{(outputs + 2 * pad - window) / stride + 1, outputs, {}, {}, {}};
        for (int i = 0; i < stride; i++) {
            residue some{stride, i, {}};
            int first = (i + pad) % stride, last = first + (window - 1 - first) / stride * stride;
            for (int tap = last; tap >= first && first < window; tap -= 3 * stride)
                some.windows.push_back({axis.add({1, (i + pad - tap) / stride}), taps_from(tap, -stride, window)});
            axis.residues.push_back(some);
        }
        axis.cut((outputs + stride - 1) / stride);
        return axis;
    }

    int points() const {
        return std::any_of(tiles.begin(), tiles.end(), [](tile t) { return t.size == 4; }) ? kPoints : kPoints - 1;
    }

    // Which window of a residue reads a view; null if none does.
    const window* reading(const residue& some, int view) const {
        for (const window& w : some.windows)
            if (w.view == view) return &w;
        return nullptr;
    }

    int inputs, outputs;
    std::vector<tile> tiles;
    std::vector<view> views;
    std::vector<residue> residues;

private:
    static std::array<int, 3> taps_from(int first, int step, int window) {
        std::array<int, 3> taps;
        for (int i = 0; i < 3; i++) {
            int tap = first + i * step;
            taps[i] = tap >= 0 && tap < window ? tap : -1;
        }
        return taps;
    }

    int add(view v) {
        auto at = std::find(views.begin(), views.end(), v);
        if (at == views.end()) at = views.insert(at, v);
        return static_cast<int>(at - views.begin());
    }

    void cut(int extent) {
        int count = (extent + 3) / 4, threes = std::min(count, 4 * count - extent);
        for (int i = 0, begin = 0; i < count; i++) {
            tiles.push_back({begin, i < count - threes ? 4 : 3});
            begin += tiles.back().size;
        }
    }
};

// Both axes of a pass.
struct tiling {
    struct place {
        int row, column;  // of views, or of residues
    };

    struct range {
        int64_t begin, end;
        bool empty() const { return begin >= end; }
    };

    tiling(const avedis_conv2d_geometry& g, bool backward)
        : images(g.n),
          rows(backward ? tile_axis::backward(g.h, g.r, g.stride_h, g.pad_h)
                        : tile_axis::forward(g.h, g.r, g.stride_h, g.pad_h)),
          columns(backward ? tile_axis::backward(g.w, g.s, g.stride_w, g.pad_w)
                           : tile_axis::forward(g.w, g.s, g.stride_w, g.pad_w)),
          row_points(rows.points()),
          column_points(columns.points()),
          per_image(static_cast<int64_t>(rows.tiles.size() * columns.tiles.size())) {
        // In the order of a Gray code the views that a point needs lie together: those behind infinity lack a window of
        // two taps of their axis.
        int row_views = static_cast<int>(rows.views.size()), column_views = static_cast<int>(columns.views.size());
        if (row_views == 2 && column_views == 2)
            views = {{1, 0}, {0, 0}, {0, 1}, {1, 1}};
        else
            for (int i = 0; i < row_views; i++)
                for (int j = 0; j < column_views; j++) views.push_back({i, j});
        for (int i = 0; i < static_cast<int>(rows.residues.size()); i++)
            for (int j = 0; j < static_cast<int>(columns.residues.size()); j++) residues.push_back({i, j});
        for (auto& counts : before) counts.push_back(0);
        for (auto row : rows.tiles)
            for (auto column : columns.tiles)
                for (int kind = 0; kind < 4; kind++)
                    before[kind].push_back(before[kind].back() + has(kind, row.size, column.size));
    }

    int64_t tiles() const { return images * per_image; }
    int points() const { return row_points * column_points; }

    // Kinds of points: 0 all tiles have, 1 those of four columns, 2 those of four rows, 3 those of both.
    static int kind(int i, int j) { return (i == kLastPoint) * 2 + (j == kLastPoint); }

    // Tiles before this one that have points of a kind.
    int64_t count(int kind, int64_t tile) const {
        return tile / per_image * before[kind].back() + before[kind][static_cast<size_t>(tile % per_image)];
    }

    const tile_axis::window* row_window(place residue, int view) const {
        return rows.reading(rows.residues[residue.row], views[view].row);
    }
    const tile_axis::window* column_window(place residue, int view) const {
        return columns.reading(columns.residues[residue.column], views[view].column);
    }

    // Views that a point of a residue needs. At infinity only the third tap counts.
    bool needs(place residue, int view, int i, int j) const {
        auto *row = row_window(residue, view), *column = column_window(residue, view);
        return row && column && (i != kInfinity || row->taps[2] >= 0) && (j != kInfinity || column->taps[2] >= 0);
    }
    range needed(place residue, int i, int j) const {
        range all{0, 0};
        for (int view = 0; view < static_cast<int>(views.size()); view++)
            if (needs(residue, view, i, j)) all = {all.empty() ? view : all.begin, view + 1};
        return all;
    }

    // Whether the views that each point needs lie together, and every output has a tap.
    bool usable() const {
        for (auto& axis : {rows, columns})
            for (auto& residue : axis.residues)
                if (residue.windows.empty()) return false;
        for (place residue : residues)
            for (int i = 0; i < row_points; i++)
                for (int j = 0; j < column_points; j++) {
                    range all = needed(residue, i, j);
                    for (int64_t view = all.begin; view < all.end; view++)
                        if (!needs(residue, static_cast<int>(view), i, j)) return false;
                }
        return true;
    }

    // Products of an input and an output channel, of all tiles.
    int64_t products() const {
        int64_t sum = 0;
        for (place residue : residues)
            for (int i = 0; i < row_points; i++)
                for (int j = 0; j < column_points; j++) {
                    range all = needed(residue, i, j);
                    sum += (all.end - all.begin) * images * before[kind(i, j)].back();
                }
        return sum;
    }

    int64_t images;
    tile_axis rows, columns;
    int row_points, column_points;
    int64_t per_image;  // tiles of an image
    std::vector<place> views, residues;

private:
    static bool has(int kind, int row, int column) { return (!(kind & 2) || row == 4) && (!(kind & 1) || column == 4); }

    std::array<std::vector<int64_t>, 4> before;
};

}  // namespace avedis
