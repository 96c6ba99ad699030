// A copy of a tensor from one layout to another: oneDNN's, but for one kind that it cannot be trusted with.
#pragma once

#include <array>
#include <utility>
#include <vector>

#include "onednn.h"
#include "status.h"

namespace avedis {

// Where each index of an axis puts an element; the offsets of the four axes add up.
class placement {
public:
    explicit placement(const blocked_layout& layout) {
        for (size_t axis = 0; axis < 4; axis++)
            for (int64_t i = 0; i < layout.extents[axis]; i++) {
                int64_t offset = 0, stride = 1, rest = i;
                for (size_t b = layout.blocks.size(); b-- > 0;) {  // the last is the innermost
                    auto [blocked_axis, size] = layout.blocks[b];
                    if (blocked_axis == static_cast<int64_t>(axis)) {
                        offset += rest % size * stride;
                        rest /= size;
                    }
                    stride *= size;
                }
                offsets[axis].push_back(offset + rest * layout.strides[axis]);
            }
    }

    const std::vector<int64_t>& operator[](size_t axis) const { return offsets[axis]; }

private:
    std::array<std::vector<int64_t>, 4> offsets;
};

class relayout {
public:
    relayout() = default;

    relayout(const dnnl::memory::desc& from, const dnnl::memory::desc& to) {
        blocked_layout target(to);
        // oneDNN 3.7, as Debian 13 has it, loses elements on the way into blocks that the extents do not fill
        own = target.extents != target.padded;
        if (own)
            places = {placement(blocked_layout(from)), placement(target)};
        else
            reorder = dnnl::reorder({cpu_engine(), from, cpu_engine(), to});
    }

    void execute(dnnl::memory& from, dnnl::memory& to) {
        if (!own) return reorder.execute(cpu_stream(), from, to);
        bool narrow = is_bf16(from.get_desc());
        if (is_bf16(to.get_desc())) return narrow ? copy<bf16, bf16>(to, from) : copy<bf16, float>(to, from);
        return narrow ? copy<float, bf16>(to, from) : copy<float, float>(to, from);
    }

private:
    template <class Y, class X>
    void copy(const dnnl::memory& to, const dnnl::memory& from) const {
        auto* y = static_cast<Y*>(to.get_data_handle());
        auto* x = static_cast<const X*>(from.get_data_handle());
        const placement &there = places[1], &here = places[0];
        avedis_zero(y, static_cast<int64_t>(to.get_desc().get_size()));
#pragma omp parallel for schedule(static)
        for (size_t a = 0; a < here[0].size(); a++)
            for (size_t c = 0; c < here[2].size(); c++)
                for (size_t d = 0; d < here[3].size(); d++) {
                    Y* pixel = y + there[0][a] + there[2][c] + there[3][d];
                    const X* source = x + here[0][a] + here[2][c] + here[3][d];
                    for (size_t b = 0; b < here[1].size(); b++)
                        store(pixel + there[1][b], to_float(source[here[1][b]]));
                }
    }

    bool own = false;
    dnnl::reorder reorder;
    std::vector<placement> places;  // from, to
};

}  // namespace avedis
