// oneDNN as the other files see it. The only place that knows that 2.x and 3.x build and describe differently.
#pragma once

#include <cstdint>
#include <oneapi/dnnl/dnnl.hpp>
#include <utility>
#include <vector>

namespace avedis {

inline dnnl::engine& cpu_engine() {
    static dnnl::engine engine(dnnl::engine::kind::cpu, 0);
    return engine;
}

// Calls complete before they return; the stream holds no state that threads could fight over.
inline dnnl::stream& cpu_stream() {
    static thread_local dnnl::stream stream(cpu_engine());
    return stream;
}

// Scratch comes from the caller.
inline dnnl::primitive_attr user_scratchpad() {
    dnnl::primitive_attr attr;
    attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    return attr;
}

struct conv_descs {
    dnnl::memory::desc src, weights, dst;
    dnnl::memory::dims strides, padding, padding_end;
};

// An empty description, which converts to false, means that oneDNN has no implementation.
#if DNNL_VERSION_MAJOR >= 3
#define AVEDIS_CONV_ARGS(d) d.strides, d.padding, d.padding_end

inline dnnl::convolution_forward::primitive_desc conv_forward(const conv_descs& d) {
    return {cpu_engine(),
            dnnl::prop_kind::forward_training,
            dnnl::algorithm::convolution_direct,
            d.src,
            d.weights,
            d.dst,
            AVEDIS_CONV_ARGS(d),
            user_scratchpad(),
            true};
}

inline dnnl::convolution_backward_data::primitive_desc conv_backward_data(
    const conv_descs& d, const dnnl::convolution_forward::primitive_desc& forward) {
    return {cpu_engine(), dnnl::algorithm::convolution_direct,
            d.src,        d.weights,
            d.dst,        AVEDIS_CONV_ARGS(d),
            forward,      user_scratchpad(),
            true};
}

inline dnnl::convolution_backward_weights::primitive_desc conv_backward_weight(
    const conv_descs& d, const dnnl::convolution_forward::primitive_desc& forward) {
    return {cpu_engine(), dnnl::algorithm::convolution_direct,
            d.src,        d.weights,
            d.dst,        AVEDIS_CONV_ARGS(d),
            forward,      user_scratchpad(),
            true};
}
#else
#define AVEDIS_CONV_ARGS(d) d.src, d.weights, d.dst, d.strides, d.padding, d.padding_end

inline dnnl::convolution_forward::primitive_desc conv_forward(const conv_descs& d) {
    return {{dnnl::prop_kind::forward_training, dnnl::algorithm::convolution_direct, AVEDIS_CONV_ARGS(d)},
            user_scratchpad(),
            cpu_engine(),
            true};
}

inline dnnl::convolution_backward_data::primitive_desc conv_backward_data(
    const conv_descs& d, const dnnl::convolution_forward::primitive_desc& forward) {
    return {{dnnl::algorithm::convolution_direct, AVEDIS_CONV_ARGS(d)}, user_scratchpad(), cpu_engine(), forward, true};
}

inline dnnl::convolution_backward_weights::primitive_desc conv_backward_weight(
    const conv_descs& d, const dnnl::convolution_forward::primitive_desc& forward) {
    return {{dnnl::algorithm::convolution_direct, AVEDIS_CONV_ARGS(d)}, user_scratchpad(), cpu_engine(), forward, true};
}
#endif
#undef AVEDIS_CONV_ARGS

inline bool is_bf16(const dnnl::memory::desc& desc) {
#if DNNL_VERSION_MAJOR >= 3
    return desc.get_data_type() == dnnl::memory::data_type::bf16;
#else
    return desc.data_type() == dnnl::memory::data_type::bf16;
#endif
}

// How a tensor lies in memory: axes in blocks within blocks, the innermost last, padded to whole blocks.
struct blocked_layout {
#if DNNL_VERSION_MAJOR >= 3
    explicit blocked_layout(const dnnl::memory::desc& desc)
        : extents(desc.get_dims()), padded(desc.get_padded_dims()), strides(desc.get_strides()) {
        auto axes = desc.get_inner_idxs(), sizes = desc.get_inner_blks();
        for (size_t b = 0; b < axes.size(); b++) blocks.emplace_back(axes[b], sizes[b]);
    }
#else
    explicit blocked_layout(const dnnl::memory::desc& desc)
        : extents(desc.dims()),
          padded(desc.data.padded_dims, desc.data.padded_dims + desc.data.ndims),
          strides(desc.data.format_desc.blocking.strides, desc.data.format_desc.blocking.strides + desc.data.ndims) {
        const auto& blocking = desc.data.format_desc.blocking;
        for (int b = 0; b < blocking.inner_nblks; b++)
            blocks.emplace_back(blocking.inner_idxs[b], blocking.inner_blks[b]);
    }
#endif

    dnnl::memory::dims extents, padded, strides;      // strides of whole blocks, in elements
    std::vector<std::pair<int64_t, int64_t>> blocks;  // axis and size
};

}  // namespace avedis
