// Gradient of x as convolutions of dy: only the taps r = a, a + stride, ... of the window meet the rows of x with
// (row + padding) % stride = a, and to these rows they are a window of stride 1 that slides over dy, the last tap
// first; likewise columns. At stride 1 that is one convolution, whose result is dx; at stride 2 there are four, whose
// results are interleaved.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "conv2d_operand.h"
#include "conv2d_pass.h"

namespace avedis {

// Rows, or columns, of one class.
struct gather_axis {
    gather_axis(int32_t residue, int32_t size, int32_t window, int32_t stride, int32_t pad, int64_t gradients)
        : residue(residue),
          stride(stride),
          taps((window - residue + stride - 1) / stride),
          first(residue >= pad ? 0 : (pad - residue + stride - 1) / stride),
          offset(stride * first + residue - pad),
          count((size - offset + stride - 1) / stride),
          pad_begin(taps - 1 - first),
          pad_end(count - gradients - pad_begin + taps - 1) {}

    // oneDNN pads by zeros or more.
    bool usable() const { return taps > 0 && count > 0 && pad_begin >= 0 && pad_end >= 0; }

    int64_t residue, stride, taps;
    int64_t first, offset, count;  // first position in units of the stride; its row of x; how many
    int64_t pad_begin, pad_end;
};

class gather_class {
public:
    gather_class(const gather_axis& rows, const gather_axis& columns, const avedis_conv2d_geometry& g,
                 const memory::dims& dy, data_type type)
        : rows(rows), columns(columns), g(g) {
        memory::dims filter{g.c, g.k, rows.taps, columns.taps};
        dst = memory::desc({g.n, g.c, rows.count, columns.count}, type, kChannelsLast);
        auto desc = conv_forward({memory::desc(dy, type, kChannelsLast),
                                  memory::desc(filter, type, tag::any),
                                  dst,
                                  {1, 1},
                                  {rows.pad_begin, columns.pad_begin},
                                  {rows.pad_end, columns.pad_end}});
        if (!desc) return;
        implementation = desc.impl_info_str();
        // [k, rows, columns, c] in memory, as the weights are
        flipped = memory::desc(filter, data_type::f32,
                               {1, rows.taps * columns.taps * g.c, columns.taps * g.c, static_cast<int64_t>(g.c)});
        src = desc.src_desc(), weights = desc.weights_desc(), scratchpad = desc.scratchpad_desc();
        packing = relayout(flipped, weights);
        primitive = dnnl::convolution_forward(desc);
    }

    // Whether the generated matrix products on channels-last serve it.
    bool fast() const { return implementation.rfind("brg", 0) == 0; }

    // dx is the result itself where there is only one class.
    void run(void* dx, bool only, const void* dy, const float* weight, arena pieces) {
        auto* taps = static_cast<float*>(pieces.take(flipped.get_size()));
        void* packed = pieces.take(weights.get_size());
        void* result = only ? dx : pieces.take(dst.get_size());
        memory scratch(scratchpad, cpu_engine(), pieces.take(scratchpad.get_size()));
        flip(taps, weight);
        memory from(flipped, cpu_engine(), taps), w(weights, cpu_engine(), packed);
        packing.execute(from, w);
        primitive.execute(cpu_stream(), {{DNNL_ARG_SRC, memory(src, cpu_engine(), const_cast<void*>(dy))},
                                         {DNNL_ARG_WEIGHTS, w},
                                         {DNNL_ARG_DST, memory(dst, cpu_engine(), result)},
                                         {DNNL_ARG_SCRATCHPAD, scratch}});
        if (!only) scatter(static_cast<char*>(dx), static_cast<const char*>(result));
    }

    int64_t workspace_bytes(bool only) const {
        arena measure{0};
        for (size_t size : {flipped.get_size(), weights.get_size(), only ? 0 : dst.get_size(), scratchpad.get_size()})
            measure.take(size);
        return static_cast<int64_t>(measure.next);
    }

    std::string implementation;

private:
    void flip(float* taps, const float* weight) const {
        int64_t c = g.c;
#pragma omp parallel for schedule(static)
        for (int64_t k = 0; k < g.k; k++)
            for (int64_t t = 0; t < rows.taps; t++)
                for (int64_t u = 0; u < columns.taps; u++) {
                    int64_t r = rows.residue + rows.stride * (rows.taps - 1 - t);
                    int64_t s = columns.residue + columns.stride * (columns.taps - 1 - u);
                    std::copy_n(weight + ((k * g.r + r) * g.s + s) * c, c,
                                taps + ((k * rows.taps + t) * columns.taps + u) * c);
                }
    }

    void scatter(char* dx, const char* result) const {
        int64_t pixel = static_cast<int64_t>(dst.get_size()) / (g.n * rows.count * columns.count);
#pragma omp parallel for schedule(static)
        for (int64_t i = 0; i < g.n * rows.count; i++) {
            int64_t row = i / rows.count * g.h + rows.offset + i % rows.count * rows.stride;
            char* to = dx + (row * g.w + columns.offset) * pixel;
            for (int64_t j = 0; j < columns.count; j++)
                std::memcpy(to + j * columns.stride * pixel, result + (i * columns.count + j) * pixel, pixel);
        }
    }

    gather_axis rows, columns;
    avedis_conv2d_geometry g;
    memory::desc src, flipped, weights, dst, scratchpad;
    relayout packing;
    dnnl::convolution_forward primitive;
};

class gather_pass : public pass {
public:
    explicit gather_pass(std::vector<gather_class> classes) : classes(std::move(classes)) {
        implementation = "gather " + this->classes[0].implementation;
    }

    int64_t workspace_bytes() override {
        int64_t most = 0;
        for (const auto& each : classes) most = std::max(most, each.workspace_bytes(classes.size() == 1));
        return most;
    }

    void run(void* dx, void* weight, void* dy, void* workspace) override {
        for (auto& each : classes)
            each.run(dx, classes.size() == 1, dy, static_cast<float*>(weight),
                     {reinterpret_cast<uintptr_t>(workspace)});
    }

private:
    std::vector<gather_class> classes;
};

// Null where oneDNN has no fast forward pass for it, or where its output channels would leave vectors half empty.
inline std::unique_ptr<pass> build_gather(const avedis_conv2d_geometry& g, int32_t type) {
    if (g.c % 16 != 0) return nullptr;
    auto act = type == AVEDIS_BF16 ? data_type::bf16 : data_type::f32;
    memory::dims dy{g.n, g.k, (g.h + 2 * g.pad_h - g.r) / g.stride_h + 1, (g.w + 2 * g.pad_w - g.s) / g.stride_w + 1};
    std::vector<gather_class> classes;
    for (int32_t a = 0; a < g.stride_h; a++)
        for (int32_t b = 0; b < g.stride_w; b++) {
            gather_axis rows(a, g.h, g.r, g.stride_h, g.pad_h, dy[2]), columns(b, g.w, g.s, g.stride_w, g.pad_w, dy[3]);
            if (!rows.usable() || !columns.usable()) return nullptr;
            classes.emplace_back(rows, columns, g, dy, act);
            if (!classes.back().fast()) return nullptr;
        }
    return std::make_unique<gather_pass>(std::move(classes));
}

}  // namespace avedis
