// y [N, A + B] = a [N, A] beside b [N, B], and dA, dB = the two parts of dY; FP32. The rows are some thousand numbers long and few.
//
// Launch: N blocks of 256 threads, one a row.
#include "elementwise.cuh"

// to = from, by the threads of the block. Where the widths are odd each row has its own alignment; the block decides for its row.
__device__ inline void concat_copy(float* to, const float* from, int count) {
    constexpr int kRun = kIn16Bytes<float>;
    for_each_run<kRun>(count, allow_runs<kRun>(to, from), threadIdx.x, blockDim.x, [=](auto run) { run.store(to, run.load(from)); });
}

KERNEL((256), concat_forward_f32, (float* y, const float* a, const float* b, int a_width, int b_width)) {
    int64_t row = blockIdx.x;
    y += row * (a_width + b_width);
    concat_copy(y, a + row * a_width, a_width);
    concat_copy(y + a_width, b + row * b_width, b_width);
}

KERNEL((256), concat_backward_f32, (float* da, float* db, const float* dy, int a_width, int b_width)) {
    int64_t row = blockIdx.x;
    dy += row * (a_width + b_width);
    concat_copy(da + row * a_width, dy, a_width);
    concat_copy(db + row * b_width, dy + a_width, b_width);
}
