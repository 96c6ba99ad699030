// loss[n] = weights[n] * cross-entropy between the uniform distribution and softmax(logits[n]), and its gradient.
#include "softmax.h"
#include "status.h"

using namespace avedis;

int32_t avedis_uniform_confusion(float* loss, float* dlogits, const float* logits, const float* weights, float scale,
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
            float weight = scale * weights[i];
            for (int64_t j = 0; j < c; j++) gradient[j] = weight * (gradient[j] - share);
        }
    });
}
