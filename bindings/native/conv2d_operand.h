// How an operand of a convolution gets from the caller's memory, channels-last and perhaps bfloat16, to the layout and
// type that a oneDNN primitive asks for, and back.
#pragma once

#include "conv2d_relayout.h"

namespace avedis {

using dnnl::memory;
using data_type = memory::data_type;
using tag = memory::format_tag;

// Channels-last, of activations (n, h, w, c) and weights (k, r, s, c) alike.
constexpr tag kChannelsLast = tag::acdb;

// Hands out pieces of the workspace on 64-byte boundaries; measures when it starts at 0.
struct arena {
    uintptr_t next;

    void* take(size_t bytes) {
        void* piece = reinterpret_cast<void*>(next);
        next += (bytes + 63) / 64 * 64;
        return piece;
    }
};

AVEDIS_CLONES static void round_range(float* y, const float* x, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
        bf16 narrow;
        store(&narrow, x[i]);
        y[i] = to_float(narrow);
    }
}

enum class direction { in, out, accumulate };

// One operand of a pass: the way from the caller's memory to what the primitive wants, or back, in at most two steps: a
// change of type and a change of layout.
class operand {
public:
    // round: floats that pass through bfloat16 on the way in.
    operand(direction way, const memory::dims& extents, data_type caller, const memory::desc& wanted,
            data_type computed, bool round = false)
        : way(way), round(round), wanted(wanted) {
        for (auto extent : extents) count *= extent;
        converts = round || (caller == data_type::bf16 && computed == data_type::f32);
        staged = memory::desc(extents, converts ? data_type::f32 : caller, kChannelsLast);
        relayouts = staged != wanted;
        if (!relayouts) return;
        const memory::desc &from = way == direction::in ? staged : wanted, &to = way == direction::in ? wanted : staged;
        change = relayout(from, to);
    }

    bool blocked() const { return relayouts; }

    // Memory for the primitive to work on; an input is in it on return.
    memory enter(void* data, arena& workspace, bool measure = false) {
        bool sums = way == direction::accumulate;
        stage = converts || (sums && relayouts) ? workspace.take(staged.get_size()) : data;
        void* block = sums || relayouts ? workspace.take(wanted.get_size()) : stage;
        if (measure) return {};
        memory inner(wanted, cpu_engine(), block);
        if (way != direction::in) return inner;
        if (round)
            parallel_ranges(count, kPiece, [&](int64_t begin, int64_t end) {
                round_range(static_cast<float*>(stage), static_cast<const float*>(data), begin, end);
            });
        else if (converts)
            avedis_convert(stage, data, AVEDIS_BF16, count);
        if (relayouts) {
            memory outer(staged, cpu_engine(), stage);
            change.execute(outer, inner);
        }
        return inner;
    }

    // Brings an output back to the caller.
    void leave(void* data, memory& inner) {
        if (way == direction::in) return;
        if (relayouts) {
            memory outer(staged, cpu_engine(), stage);
            change.execute(inner, outer);
        }
        if (way == direction::accumulate)
            avedis_add(static_cast<float*>(data), static_cast<float*>(relayouts ? stage : inner.get_data_handle()),
                       count);
        else if (converts)
            avedis_convert(data, stage, AVEDIS_F32, count);
    }

private:
    direction way;
    bool round, converts, relayouts;
    int64_t count = 1;
    memory::desc staged, wanted;  // after the change of type, after the change of layout
    relayout change;
    void* stage = nullptr;
};

}  // namespace avedis
