// Takes from a gradient what lies along another, segment by segment. Sums are in double, where the product of two floats
// is exact, over pieces whose bounds depend on the lengths of the segments alone: the same bits with any number of
// threads.
#include "status.h"

namespace avedis {

struct projection_sums {
    double product;  // <primary, adversary>
    double square;   // <adversary, adversary>
};

// Eight sums at a time, or the compiler could not use vectors without changing their order.
AVEDIS_CLONES static projection_sums sums_of_range(const float* __restrict p, const float* __restrict a, int64_t begin,
                                                   int64_t end) {
    double products[8] = {}, squares[8] = {};
    int64_t i = begin;
    for (; i + 8 <= end; i += 8)
        for (int lane = 0; lane < 8; lane++) {
            double direction = a[i + lane];
            products[lane] += direction * static_cast<double>(p[i + lane]);
            squares[lane] += direction * direction;
        }
    projection_sums sums = {};
    for (int lane = 0; lane < 8; lane++) {
        sums.product += products[lane];
        sums.square += squares[lane];
    }
    for (; i < end; i++) {
        double direction = a[i];
        sums.product += direction * static_cast<double>(p[i]);
        sums.square += direction * direction;
    }
    return sums;
}

AVEDIS_CLONES static void project_range(float* __restrict p, const float* __restrict a, double factor, int64_t begin,
                                        int64_t end) {
    for (int64_t i = begin; i < end; i++)
        p[i] = static_cast<float>(static_cast<double>(p[i]) - factor * static_cast<double>(a[i]));
}

static void project_segment(float* p, const float* a, float alpha, int64_t count) {
    projection_sums* pieces = scratch<projection_sums, 0>((count + kPiece - 1) / kPiece);
    parallel_ranges(count, kPiece, [&](int64_t begin, int64_t end) {
        pieces[begin / kPiece] = sums_of_range(p, a, begin, end);
    });
    projection_sums total = {};
    for (int64_t piece = 0; piece * kPiece < count; piece++) {
        total.product += pieces[piece].product;
        total.square += pieces[piece].square;
    }
    if (total.square == 0) return;
    double factor = total.product / total.square + static_cast<double>(alpha);
    parallel_ranges(count, kPiece, [&](int64_t begin, int64_t end) { project_range(p, a, factor, begin, end); });
}

}  // namespace avedis

using namespace avedis;

int32_t avedis_gradient_projection(float* primary, const float* adversary, const int32_t* offsets, const float* alpha,
                                   int64_t segments) {
    return guarded([&] {
        for (int64_t s = 0; s < segments; s++)
            project_segment(primary + offsets[s], adversary + offsets[s], alpha[0], offsets[s + 1] - offsets[s]);
    });
}
