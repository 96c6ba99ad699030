// Mean over the valid steps of each clip: y [N,C] FP32 = sum of x [N,T,C] over t < lengths[n], divided by lengths[n]; and its gradient
// dX [N,T,C] = dY [N,C] / lengths[n] for the valid steps, 0 for the padded ones. Bound by memory; padded steps are not read.
#include "elementwise.cuh"

namespace masked_mean {

constexpr int kChannelThreads = 8, kStepThreads = 32;

// A block takes the channels of eight 16-byte loads (128 bytes, a cache line) of one clip. Thread (s, c) sums steps s, s + 32, ...; then the 32 sums
// of each channel are added in order.
template <typename T, int kRun>
__device__ inline void forward(float* y, const T* x, const int* lengths, int steps, int channels) {
    constexpr int kWidth = kChannelThreads * kRun;
    SHARED(float, sums, [kStepThreads][kWidth]);
    int n = blockIdx.y, length = lengths[n];
    int first_step = threadIdx.x / kChannelThreads, within = threadIdx.x % kChannelThreads * kRun;
    for (int tile = blockIdx.x * kWidth; tile < channels; tile += gridDim.x * kWidth) {
        float sum[kRun] = {};
        int channel = tile + within;
        if (channel < channels)
            for (int t = first_step; t < length; t += kStepThreads) {
                auto values = Run<kRun>{(static_cast<int64_t>(n) * steps + t) * channels + channel}.load(x);
                for (int i = 0; i < kRun; i++) sum[i] += to_float(values.at[i]);
            }
        for (int i = 0; i < kRun; i++) sums[first_step][within + i] = sum[i];
        __syncthreads();
        int column = threadIdx.x;
        if (column < kWidth && tile + column < channels) {
            float total = 0;
            for (int s = 0; s < kStepThreads; s++) total += sums[s][column];
            y[static_cast<int64_t>(n) * channels + tile + column] = total / static_cast<float>(length);
        }
        __syncthreads();  // before the next tile's sums
    }
}

template <typename T>
__device__ inline void forward(float* y, const T* x, const int* lengths, int steps, int channels) {
    constexpr int kRun = kIn16Bytes<T>;
    if (channels % kRun == 0 && allow_runs<kRun>(x))
        forward<T, kRun>(y, x, lengths, steps, channels);
    else
        forward<T, 1>(y, x, lengths, steps, channels);
}

// A block writes one step of one clip; where the channels are odd each step has its own alignment.
template <typename T>
__device__ inline void backward(T* dx, const float* dy, const int* lengths, int steps, int channels) {
    constexpr int kRun = kIn16Bytes<float>;
    int n = static_cast<int>(blockIdx.x) / steps, t = static_cast<int>(blockIdx.x) % steps;
    float length = static_cast<float>(lengths[n]);
    bool valid = t < lengths[n];
    dx += static_cast<int64_t>(blockIdx.x) * channels;
    dy += static_cast<int64_t>(n) * channels;
    for_each_run<kRun>(channels, allow_runs<kRun>(dx, dy), threadIdx.x, blockDim.x, [=](auto run) {
        Vector<T, run.length> to = {};
        if (valid) {
            auto gradient = run.load(dy);
            for (int i = 0; i < run.length; i++) to.at[i] = from_float<T>(gradient.at[i] / length);
        }
        run.store(dx, to);
    });
}

}  // namespace masked_mean

// Launch: (any number of blocks up to one for each 128 bytes of channels, N) blocks of 256 threads.
KERNEL((256), masked_mean_forward_f32, (float* y, const float* x, const int* lengths, int steps, int channels)) {
    masked_mean::forward(y, x, lengths, steps, channels);
}
KERNEL((256), masked_mean_forward_bf16, (float* y, const bf16* x, const int* lengths, int steps, int channels)) {
    masked_mean::forward(y, x, lengths, steps, channels);
}

// Launch: N * T blocks of 128 threads.
KERNEL((128), masked_mean_backward_f32, (float* dx, const float* dy, const int* lengths, int steps, int channels)) {
    masked_mean::backward(dx, dy, lengths, steps, channels);
}
KERNEL((128), masked_mean_backward_bf16, (bf16* dx, const float* dy, const int* lengths, int steps, int channels)) {
    masked_mean::backward(dx, dy, lengths, steps, channels);
}
