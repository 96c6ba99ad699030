// loss[n] = weights[n] * cross-entropy between the uniform distribution and softmax(logits[n]), its gradient, and how far
// the loss is above its minimum.
#include "softmax.h"
#include "status.h"

namespace avedis {

// KL(uniform || softmax(x)) = log mean exp(d), d = x - mean x. As the d sum to 0 that is log1p of the mean of
// exp(d) - 1 - d, whose terms are all positive: near the uniform distribution nothing cancels.
static double divergence(const float* x, int64_t c, const softmax_row& row) {
    // above it exp is large against 1 + d and, farther on, overflows; log_sum is right to a rounding
    constexpr double kFar = 100;
    double mean = 0;
    for (int64_t j = 0; j < c; j++) mean += x[j];
    mean /= static_cast<double>(c);
    double spread = row.largest - mean;
    if (!(spread < kFar)) return row.log_sum + spread - std::log(static_cast<double>(c));
    double sum = 0;
    for (int64_t j = 0; j < c; j++) {
        double d = x[j] - mean;
        sum += std::expm1(d) - d;
    }
    return std::log1p(sum / static_cast<double>(c));
}

}  // namespace avedis

using namespace avedis;

int32_t avedis_uniform_confusion(float* loss, float* kl, float* dlogits, const float* logits, const float* weights, float scale,
                                 int64_t n, int64_t c) {
    return guarded([&] {
        float share = 1.0f / static_cast<float>(c);
#pragma omp parallel for schedule(static) if (n * c > 4096)
        for (int64_t i = 0; i < n; i++) {
            const float* row = logits + i * c;
            float* gradient = dlogits + i * c;
            softmax_row result = softmax(gradient, row, c);
            double sum = 0;
            for (int64_t j = 0; j < c; j++) sum += result.loss(row[j]);
            loss[i] = weights[i] * static_cast<float>(sum / static_cast<double>(c));
            kl[i] = weights[i] * static_cast<float>(divergence(row, c, result));
            float weight = scale * weights[i];
            for (int64_t j = 0; j < c; j++) gradient[j] = weight * (gradient[j] - share);
        }
    });
}
