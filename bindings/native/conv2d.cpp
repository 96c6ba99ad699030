// Convolution: y [n, p, q, k] = x [n, h, w, c] * weight [k, r, s, c], and its two gradients.
//
// The caller's memory is always channels-last. Each pass is one oneDNN primitive, built once per geometry; what it
// wants in another layout or type is brought into the workspace and back:
//   - weights (float, [k, r, s, c]) go into the primitive's blocked format, a small copy;
//   - activations go into a blocked format where that makes the primitive faster by more than the copies cost;
//   - where the processor has no fast bfloat16 primitive, bfloat16 activations are widened to float and the result is
//     rounded once, and weights are rounded to bfloat16 on the way in, so that the numbers are those of bfloat16.
// In float, most 3x3 and 5x5 convolutions of enough channels take fewer multiplications (conv2d_winograd.cpp). Of the
// others three have something better than oneDNN: a window that covers the whole image is a matrix product
// (conv2d_unfold.h, which also serves what nothing else does); the weight gradient has its own kernel
// (conv2d_weight.cpp); and the gradient of x is a convolution forwards, or a few (conv2d_gather.h), where oneDNN's
// forward pass works on channels-last and its backward pass does not.
#include <memory>
#include <string>

#include "conv2d_gather.h"
#include "conv2d_operand.h"
#include "conv2d_unfold.h"
#include "conv2d_weight.h"
#include "conv2d_winograd.h"
#include "isa.h"
#include "onednn.h"
#include "status.h"

namespace avedis {

enum class pass_kind { forward, backward_data, backward_weight };

// A pass through three operands; the arithmetic is oneDNN's convolution or matrix products.
class operand_pass : public pass {
public:
    operand_pass(operand src, operand weights, operand dst)
        : src(std::move(src)), weights(std::move(weights)), dst(std::move(dst)) {}

    int64_t workspace_bytes() override {
        arena measure{0};
        src.enter(nullptr, measure, true);
        weights.enter(nullptr, measure, true);
        dst.enter(nullptr, measure, true);
        measure.take(scratchpad_bytes());
        return static_cast<int64_t>(measure.next);
    }

    void run(void* src_data, void* weights_data, void* dst_data, void* workspace) override {
        arena pieces{reinterpret_cast<uintptr_t>(workspace)};
        memory s = src.enter(src_data, pieces), w = weights.enter(weights_data, pieces),
               d = dst.enter(dst_data, pieces);
        compute(s, w, d, pieces.take(scratchpad_bytes()));
        src.leave(src_data, s);
        weights.leave(weights_data, w);
        dst.leave(dst_data, d);
    }

protected:
    virtual size_t scratchpad_bytes() const { return 0; }
    virtual void compute(const memory& src, const memory& weights, const memory& dst, void* scratchpad) = 0;

    operand src, weights, dst;
};

class primitive_pass : public operand_pass {
public:
    primitive_pass(dnnl::primitive primitive, const memory::desc& scratchpad, pass_kind kind, operand src,
                   operand weights, operand dst)
        : operand_pass(std::move(src), std::move(weights), std::move(dst)),
          primitive(std::move(primitive)),
          scratchpad(scratchpad),
          src_arg(kind == pass_kind::backward_data ? DNNL_ARG_DIFF_SRC : DNNL_ARG_SRC),
          weights_arg(kind == pass_kind::backward_weight ? DNNL_ARG_DIFF_WEIGHTS : DNNL_ARG_WEIGHTS),
          dst_arg(kind == pass_kind::forward ? DNNL_ARG_DST : DNNL_ARG_DIFF_DST) {}

protected:
    size_t scratchpad_bytes() const override { return scratchpad.get_size(); }

    void compute(const memory& s, const memory& w, const memory& d, void* scratch) override {
        primitive.execute(cpu_stream(), {{src_arg, s},
                                         {weights_arg, w},
                                         {dst_arg, d},
                                         {DNNL_ARG_SCRATCHPAD, memory(scratchpad, cpu_engine(), scratch)}});
    }

private:
    dnnl::primitive primitive;
    memory::desc scratchpad;
    int src_arg, weights_arg, dst_arg;
};

class unfolded_pass : public operand_pass {
public:
    unfolded_pass(pass_kind kind, const avedis_conv2d_geometry& g, operand src, operand weights, operand dst)
        : operand_pass(std::move(src), std::move(weights), std::move(dst)), kind(kind), images(g) {
        implementation = "gemm";
    }

protected:
    size_t scratchpad_bytes() const override { return images.bytes(); }

    void compute(const memory& src, const memory& weights, const memory& dst, void* scratch) override {
        auto *s = static_cast<float*>(src.get_data_handle()), *w = static_cast<float*>(weights.get_data_handle()),
             *d = static_cast<float*>(dst.get_data_handle()), *windows = static_cast<float*>(scratch);
        switch (kind) {
            case pass_kind::forward:
                return images.forward(d, s, w, windows);
            case pass_kind::backward_data:
                return images.backward_data(s, d, w, windows);
            case pass_kind::backward_weight:
                return images.backward_weight(w, d, s, windows);
        }
    }

private:
    pass_kind kind;
    unfolding images;
};

// The shapes of a geometry as oneDNN counts them: channels second.
struct shapes {
    explicit shapes(const avedis_conv2d_geometry& g)
        : src{g.n, g.c, g.h, g.w},
          weights{g.k, g.c, g.r, g.s},
          dst{g.n, g.k, (g.h + 2 * g.pad_h - g.r) / g.stride_h + 1, (g.w + 2 * g.pad_w - g.s) / g.stride_w + 1},
          strides{g.stride_h, g.stride_w},
          padding{g.pad_h, g.pad_w} {}

    conv_descs descs(data_type act, data_type weight, tag layout) const {
        return {memory::desc(src, act, layout),
                memory::desc(weights, weight, tag::any),
                memory::desc(dst, act, layout),
                strides,
                padding,
                padding};
    }

    memory::dims src, weights, dst, strides, padding;
};

// How good an implementation is known to be; 0 if none is wanted. "brg" (batched matrix products, AVX-512 and AMX) is
// made for channels-last. Other generated code ("jit") runs 1.0 to 3 times as fast on blocked activations, copies
// included, unless there are so few channels that blocks are mostly padding. What is left multiplies unfolded images,
// in an order that follows the number of threads, or is a plain loop.
template <class Desc>
static int rank(const Desc& desc, tag layout, bool few_channels) {
    std::string implementation = desc ? desc.impl_info_str() : "";
    if (implementation.rfind("brg", 0) == 0) return 3;
    if (implementation.rfind("jit", 0) == 0) return (layout == tag::any) != few_channels ? 2 : 1;
    return 0;
}

// The better of the two layouts; empty where oneDNN generates code for neither.
template <class Make>
static auto choose(Make make, bool few_channels) {
    auto fixed = make(kChannelsLast), free = make(tag::any);
    int fixed_rank = rank(fixed, kChannelsLast, few_channels), free_rank = rank(free, tag::any, few_channels);
    if (std::max(fixed_rank, free_rank) == 0) return decltype(fixed)();
    return fixed_rank >= free_rank ? fixed : free;
}

}  // namespace avedis

using namespace avedis;

struct avedis_conv2d {
    avedis_conv2d(const avedis_conv2d_geometry& g, int32_t type, int32_t algorithm)
        : g(g), type(type), algorithm(algorithm), dims(g) {
        forward = build(pass_kind::forward);
        backward_data = build(pass_kind::backward_data);
        backward_weight = build(pass_kind::backward_weight);
        for (auto* each : {forward.get(), backward_data.get(), backward_weight.get()})
            if (each->multiplications == 0)
                each->multiplications = int64_t{g.n} * dims.dst[2] * dims.dst[3] * g.k * g.r * g.s * g.c;
        description = "forward " + forward->implementation + ", backward data " + backward_data->implementation +
                      ", backward weight " + backward_weight->implementation;
    }

    std::unique_ptr<pass> forward, backward_data, backward_weight;
    std::string description;

private:
    std::unique_ptr<pass> build(pass_kind kind) {
        bool whole_image = window_is_image(g);
        if (type == AVEDIS_F32 && algorithm == AVEDIS_CONV2D_AUTO)
            if (auto fewer = kind == pass_kind::backward_weight
                                 ? build_winograd_weight(g)
                                 : build_winograd_data(g, kind == pass_kind::backward_data))
                return fewer;
        if (kind == pass_kind::backward_weight && !whole_image)
            if (auto outer_product = build_weight(g, type)) return outer_product;
        if (kind == pass_kind::backward_data && !whole_image &&
            (type == AVEDIS_F32 || current_isa() == isa::avx512_bf16))
            if (auto gather = build_gather(g, type)) return gather;
        if (type == AVEDIS_BF16 && (kind != pass_kind::backward_weight || trusted_weight_gradient(whole_image)))
            if (auto native = build_primitive(kind, data_type::bf16)) return native;
        if (kind != pass_kind::backward_weight && !whole_image)
            if (auto single = build_primitive(kind, data_type::f32)) return single;
        return build_unfolded(kind);
    }

    // oneDNN sums the gradient of the weights in an order that depends on the number of threads. On matrix units it is
    // used nevertheless, because nothing of ours uses these; but never for a window that is wider than the image, where
    // oneDNN 2.6 gives chance results.
    bool trusted_weight_gradient(bool whole_image) const { return has_matrix_units() && g.s <= g.w && !whole_image; }

    std::unique_ptr<pass> build_unfolded(pass_kind kind) {
        auto plain = [](const memory::dims& extents) { return memory::desc(extents, data_type::f32, kChannelsLast); };
        operand w = weights_operand(kind, plain(dims.weights), data_type::f32);
        // the product itself accumulates
        if (kind == pass_kind::backward_weight)
            w = operand(direction::out, dims.weights, data_type::f32, plain(dims.weights), data_type::f32);
        return std::make_unique<unfolded_pass>(kind, g, src_operand(kind, plain(dims.src), data_type::f32), w,
                                               dst_operand(kind, plain(dims.dst), data_type::f32));
    }

    std::unique_ptr<pass> build_primitive(pass_kind kind, data_type computed) {
        bool few_channels = g.c < 4;
        auto forward_desc = [&](tag layout) { return conv_forward(dims.descs(computed, computed, layout)); };
        if (kind == pass_kind::forward) {
            auto desc = choose(forward_desc, few_channels);
            if (!desc) return nullptr;
            return finish(kind, computed, desc, dnnl::convolution_forward(desc), desc.src_desc(), desc.weights_desc(),
                          desc.dst_desc());
        }
        if (kind == pass_kind::backward_data) {
            auto make = [&](tag layout) {
                auto hint = forward_desc(layout);
                return hint ? conv_backward_data(dims.descs(computed, computed, layout), hint)
                            : dnnl::convolution_backward_data::primitive_desc();
            };
            auto desc = choose(make, few_channels);
            if (!desc) return nullptr;
            return finish(kind, computed, desc, dnnl::convolution_backward_data(desc), desc.diff_src_desc(),
                          desc.weights_desc(), desc.diff_dst_desc());
        }
        auto make = [&](tag layout) {
            auto hint = forward_desc(layout);
            return hint ? conv_backward_weight(dims.descs(computed, data_type::f32, layout), hint)
                        : dnnl::convolution_backward_weights::primitive_desc();
        };
        auto desc = choose(make, few_channels);
        if (!desc) return nullptr;
        return finish(kind, computed, desc, dnnl::convolution_backward_weights(desc), desc.src_desc(),
                      desc.diff_weights_desc(), desc.diff_dst_desc());
    }

    template <class Desc>
    std::unique_ptr<pass> finish(pass_kind kind, data_type computed, const Desc& desc, dnnl::primitive primitive,
                                 const memory::desc& src, const memory::desc& weights, const memory::desc& dst) {
        operand s = src_operand(kind, src, computed), w = weights_operand(kind, weights, computed),
                d = dst_operand(kind, dst, computed);
        bool blocked = s.blocked() || d.blocked();
        auto built = std::make_unique<primitive_pass>(std::move(primitive), desc.scratchpad_desc(), kind, std::move(s),
                                                      std::move(w), std::move(d));
        built->implementation = desc.impl_info_str();
        if (computed == data_type::bf16) built->implementation += " bf16";
        if (blocked) built->implementation += " blocked";
        return built;
    }

    operand src_operand(pass_kind kind, const memory::desc& wanted, data_type computed) const {
        return {kind == pass_kind::backward_data ? direction::out : direction::in, dims.src, act(), wanted, computed};
    }

    operand weights_operand(pass_kind kind, const memory::desc& wanted, data_type computed) const {
        bool gradient = kind == pass_kind::backward_weight, round = act() == data_type::bf16 && act() != computed;
        return {gradient ? direction::accumulate : direction::in,
                dims.weights,
                data_type::f32,
                wanted,
                computed,
                round && !gradient};
    }

    operand dst_operand(pass_kind kind, const memory::desc& wanted, data_type computed) const {
        return {kind == pass_kind::forward ? direction::out : direction::in, dims.dst, act(), wanted, computed};
    }

    data_type act() const { return type == AVEDIS_BF16 ? data_type::bf16 : data_type::f32; }

    avedis_conv2d_geometry g;
    int32_t type, algorithm;
    shapes dims;
};

int32_t avedis_conv2d_create(avedis_conv2d** conv, int64_t* workspace, const avedis_conv2d_geometry* geometry,
                             int32_t type, int32_t algorithm) {
    return guarded([&] {
        auto built = std::make_unique<avedis_conv2d>(*geometry, type, algorithm);
        *workspace = std::max({built->forward->workspace_bytes(), built->backward_data->workspace_bytes(),
                               built->backward_weight->workspace_bytes()});
        *conv = built.release();
    });
}

void avedis_conv2d_destroy(avedis_conv2d* conv) {
    delete conv;
}

void avedis_conv2d_multiplications(const avedis_conv2d* conv, int64_t* counts) {
    counts[0] = conv->forward->multiplications;
    counts[1] = conv->backward_data->multiplications;
    counts[2] = conv->backward_weight->multiplications;
}

const char* avedis_conv2d_describe(const avedis_conv2d* conv) {
    return conv->description.c_str();
}

int32_t avedis_conv2d_forward(avedis_conv2d* conv, void* y, const void* x, const float* weight, void* workspace) {
    return guarded([&] { conv->forward->run(const_cast<void*>(x), const_cast<float*>(weight), y, workspace); });
}

int32_t avedis_conv2d_backward_data(avedis_conv2d* conv, void* dx, const void* dy, const float* weight,
                                    void* workspace) {
    return guarded([&] { conv->backward_data->run(dx, const_cast<float*>(weight), const_cast<void*>(dy), workspace); });
}

int32_t avedis_conv2d_backward_weight(avedis_conv2d* conv, float* dweight, const void* dy, const void* x,
                                      void* workspace) {
    return guarded(
        [&] { conv->backward_weight->run(const_cast<void*>(x), dweight, const_cast<void*>(dy), workspace); });
}
