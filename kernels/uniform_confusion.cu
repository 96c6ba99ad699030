// Cross-entropy between the uniform distribution and p = softmax(logits [N,C]), its gradient, and how far the loss is above its minimum:
//   loss [N] = weights[n] * -(1/C) * sum over c of log p[n,c] = weights[n] * (ln C + KL);  kl [N] = weights[n] * KL(uniform || p);
//   dLogits = scale * weights[n] * (p - 1/C).  FP32.
// With d = logit - mean, KL = log mean exp(d); as the d sum to 0 that is log1p of the mean of exp(d) - 1 - d, whose terms are all positive: near the
// uniform distribution, where the loss has no digit left of it, nothing cancels.
//
// A block does one row, as in softmax_cross_entropy.cu. Launch: N blocks of 128 threads.
#include "kernel.cuh"

namespace uniform_confusion {

// exp(d) - 1 - d to a few roundings. Near 0 expm1(d) - d would cancel, and the series takes its place: at 1/2 its first term left out is 1e-9 of it.
__device__ inline float excess(float d) {
    if (fabsf(d) > 0.5f) return expm1f(d) - d;
    constexpr int kTerms = 8;
    // d^2/2! + d^3/3! + ... + d^9/9!
    float series = 1;
    for (int n = kTerms + 1; n > 2; n--) series = 1 + series * d / static_cast<float>(n);
    return series * d * d / 2;
}

}  // namespace uniform_confusion

KERNEL((128), uniform_confusion_f32,
       (float* loss, float* kl, float* dlogits, const float* logits, const float* weights, float scale, int classes)) {
    constexpr int kThreads = 128;
    // of the largest logit above the mean; beyond it the excess is large and, farther on, overflows, and the difference of logarithms loses nothing
    constexpr float kFar = 10;
    int64_t row = static_cast<int64_t>(blockIdx.x) * classes;
    const float* x = logits + row;
    float count = static_cast<float>(classes), largest = x[0], sum = 0;
    for (int c = threadIdx.x; c < classes; c += kThreads) {
        largest = fmaxf(largest, x[c]);
        sum += x[c];
    }
    largest = block_max<kThreads>(largest);
    // the mean in two steps: the rounding of the first, as large as that of the logits, is what the second finds
    float about = block_sum<kThreads>(sum) / count;
    float rest = 0, exponentials = 0;
    for (int c = threadIdx.x; c < classes; c += kThreads) {
        rest += x[c] - about;
        exponentials += expf(x[c] - largest);
    }
    rest = block_sum<kThreads>(rest) / count;
    exponentials = block_sum<kThreads>(exponentials);

    float weight = weights[blockIdx.x], spread = (largest - about) - rest, excess = 0;
    for (int c = threadIdx.x; c < classes; c += kThreads) {
        dlogits[row + c] = scale * weight * (expf(x[c] - largest) / exponentials - 1 / count);
        if (spread < kFar) excess += uniform_confusion::excess((x[c] - about) - rest);
    }
    excess = block_sum<kThreads>(excess);
    if (threadIdx.x == 0) {
        float divergence = spread < kFar ? log1pf(excess / count) : logf(exponentials) + spread - logf(count);
        kl[blockIdx.x] = weight * divergence;
        loss[blockIdx.x] = weight * (logf(count) + divergence);
    }
}
