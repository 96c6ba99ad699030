// Gradient projection (Zhang, Lemoine and Mitchell 2018) over flat FP32 memory that is cut into segments, one a parameter tensor: of the gradient P, in
// place, what lies along the adversary's gradient A is taken away, and alpha times A besides:
//   P <- P - (<P,A> / <A,A>) A - alpha[0] A;  P stays as it is where <A,A> = 0
// Segment s is the elements from offsets[s] to offsets[s + 1]. alpha is read on the device, so that a recorded step follows its schedule.
//
// The sums are in FP64, unlike all others: the squares of a gradient of 1e-20 are nothing in FP32, and the quotient of two such sums is not. It costs no
// time. Both kernels are bound by memory (8 and 12 bytes an element), with two and one FP64 operations an element, which even a GPU that has few FP64
// units hides behind the loads. A product of two FP32 numbers is exact in FP64, and the result is rounded once.
//
// Launch, both: (slices, segments) blocks of 256 threads. A block does one slice of one segment; the first kernel leaves its two sums in partial
// [segments][slices][2], and each block of the second adds up those of its segment, in the same order as every other. So the order of the sums depends on
// the lengths of the segments and the number of slices alone.
#include "elementwise.cuh"

namespace gradient_projection {

constexpr int kThreads = 256;

struct Slice {
    int64_t start, count;
};

// This block's part of its segment: even, but for the last ones, of which some may be left with nothing.
__device__ inline Slice slice_of(const int* offsets) {
    int64_t begin = offsets[blockIdx.y], end = offsets[blockIdx.y + 1], slices = gridDim.x;
    int64_t share = ((end - begin + slices - 1) / slices + kThreads - 1) / kThreads * kThreads;
    int64_t start = min(begin + blockIdx.x * share, end);
    return {start, min(share, end - start)};
}

}  // namespace gradient_projection

KERNEL((256), gradient_projection_sums_f32, (double* partial, const float* primary, const float* adversary, const int* offsets)) {
    using namespace gradient_projection;
    Slice slice = slice_of(offsets);
    double product = 0, square = 0;
#pragma unroll 4
    for (int64_t i = slice.start + threadIdx.x; i < slice.start + slice.count; i += kThreads) {
        double a = adversary[i];
        product += a * static_cast<double>(primary[i]);
        square += a * a;
    }
    product = block_sum<kThreads>(product);
    square = block_sum<kThreads>(square);
    if (threadIdx.x == 0) {
        double* sums = partial + 2 * (static_cast<int64_t>(blockIdx.y) * gridDim.x + blockIdx.x);
        sums[0] = product;
        sums[1] = square;
    }
}

KERNEL((256), gradient_projection_apply_f32,
       (float* primary, const float* adversary, const double* partial, const int* offsets, const float* alpha)) {
    using namespace gradient_projection;
    Slice slice = slice_of(offsets);
    if (slice.count == 0) return;
    int slices = static_cast<int>(gridDim.x);
    const double* sums = partial + 2 * static_cast<int64_t>(blockIdx.y) * slices;
    double product = 0, square = 0;
    for (int s = threadIdx.x; s < slices; s += kThreads) {
        product += sums[2 * s];
        square += sums[2 * s + 1];
    }
    product = block_sum<kThreads>(product);
    square = block_sum<kThreads>(square);
    if (square == 0) return;
    double factor = product / square + static_cast<double>(alpha[0]);
    float* p = primary + slice.start;
    const float* a = adversary + slice.start;
    constexpr int kRun = kIn16Bytes<float>;
    for_each_run<kRun>(slice.count, allow_runs<kRun>(p, a), threadIdx.x, kThreads, [=](auto run) {
        auto gradient = run.load(p), direction = run.load(a);
        for (int i = 0; i < run.length; i++)
            gradient.at[i] = static_cast<float>(static_cast<double>(gradient.at[i]) - factor * static_cast<double>(direction.at[i]));
        run.store(p, gradient);
    });
}
