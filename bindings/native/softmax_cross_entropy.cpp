// loss[n] = weights[n] * -log softmax(logits[n])[labels[n]], and its gradient.
#include "softmax.h"
#include "status.h"

using namespace avedis;

int32_t avedis_softmax_cross_entropy(float* loss, float* probabilities, float* dlogits, const float* logits,
                                     const int32_t* labels, const float* weights, float scale, int64_t n, int64_t c) {
    return guarded([&] {
#pragma omp parallel for schedule(static) if (n * c > 4096)
        for (int64_t i = 0; i < n; i++) {
            const float* row = logits + i * c;
            float* p = probabilities + i * c;
            softmax_row result = softmax(p, row, c);
            float weight = scale * weights[i];
            for (int64_t j = 0; j < c; j++) dlogits[i * c + j] = weight * p[j];
            // the label of padding may be anything
            loss[i] = 0;
            if (weights[i] == 0) continue;
            dlogits[i * c + labels[i]] = weight * (p[labels[i]] - 1);
            loss[i] = weights[i] * static_cast<float>(result.loss(row[labels[i]]));
        }
    });
}
