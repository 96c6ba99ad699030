// Softmax cross-entropy with its gradient: with p = softmax(logits [N,C]),
//   loss [N] = weights[n] * -log p[n, labels[n]];  probabilities = p;  dLogits = scale * weights[n] * (p - onehot).  FP32; labels I32.
// The largest logit is taken out first, so nothing overflows, and -log p = log(sum) + (largest - logit): huge logits of which little is left do not take
// the loss with them. A row of weight 0 is padding, and its label may be anything.
//
// A block does one row, for N is the batch and C some thousand at most: it goes over the row three times, the first from memory, the others from the
// multiprocessor's own cache.
//
// Launch: N blocks of 128 threads.
#include "kernel.cuh"

KERNEL((128), softmax_cross_entropy_f32,
       (float* loss, float* probabilities, float* dlogits, const float* logits, const int* labels, const float* weights, float scale, int classes)) {
    constexpr int kThreads = 128;
    int64_t row = static_cast<int64_t>(blockIdx.x) * classes;
    const float* x = logits + row;
    float largest = x[0];
    for (int c = threadIdx.x; c < classes; c += kThreads) largest = fmaxf(largest, x[c]);
    largest = block_max<kThreads>(largest);
    float sum = 0;
    for (int c = threadIdx.x; c < classes; c += kThreads) sum += expf(x[c] - largest);
    sum = block_sum<kThreads>(sum);

    float weight = weights[blockIdx.x];
    int label = weight == 0 ? -1 : labels[blockIdx.x];
    for (int c = threadIdx.x; c < classes; c += kThreads) {
        float p = expf(x[c] - largest) / sum;
        probabilities[row + c] = p;
        dlogits[row + c] = scale * weight * (c == label ? p - 1 : p);
    }
    if (threadIdx.x == 0) loss[blockIdx.x] = weight == 0 ? 0 : weight * (logf(sum) + (largest - x[label]));
}
