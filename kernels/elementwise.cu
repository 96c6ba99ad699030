// Element by element: y = x and its conversions, y += x, bytes to activations. All are bound by memory; see elementwise.cuh.
//
// Launch: any number of blocks of 256 threads; threads stride over the array until its end.
#include "elementwise.cuh"

// y = x, FP32 to BF16 and back; a run is 16 bytes of FP32.
template <typename Y, typename X>
__device__ inline void convert(Y* y, const X* x, int64_t count) {
    constexpr int kRun = kIn16Bytes<float>;
    for_each_run<kRun>(count, allow_runs<kRun>(y, x), [=](auto run) {
        auto from = run.load(x);
        Vector<Y, run.length> to;
        for (int i = 0; i < run.length; i++) to.at[i] = from_float<Y>(to_float(from.at[i]));
        run.store(y, to);
    });
}

KERNEL((256), convert_f32_bf16, (bf16* y, const float* x, int64_t count)) { convert(y, x, count); }
KERNEL((256), convert_bf16_f32, (float* y, const bf16* x, int64_t count)) { convert(y, x, count); }

// y += x
KERNEL((256), add_f32, (float* y, const float* x, int64_t count)) {
    constexpr int kRun = kIn16Bytes<float>;
    for_each_run<kRun>(count, allow_runs<kRun>(y, x), [=](auto run) {
        auto sum = run.load(y), more = run.load(x);
        for (int i = 0; i < run.length; i++) sum.at[i] += more.at[i];
        run.store(y, sum);
    });
}

// y = scale * x + shift, bytes to activations
template <typename T>
__device__ inline void normalise(T* y, const uint8_t* x, int64_t count, float scale, float shift) {
    constexpr int kRun = kIn16Bytes<T>;
    for_each_run<kRun>(count, allow_runs<kRun>(y, x), [=](auto run) {
        auto pixels = run.load(x);
        Vector<T, run.length> to;
        for (int i = 0; i < run.length; i++) to.at[i] = from_float<T>(scale * pixels.at[i] + shift);
        run.store(y, to);
    });
}

KERNEL((256), normalise_f32, (float* y, const uint8_t* x, int64_t count, float scale, float shift)) { normalise(y, x, count, scale, shift); }
KERNEL((256), normalise_bf16, (bf16* y, const uint8_t* x, int64_t count, float scale, float shift)) { normalise(y, x, count, scale, shift); }
