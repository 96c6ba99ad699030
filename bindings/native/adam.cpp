// One Adam step over flat memory: 28 bytes of traffic per parameter, and the gradients are 0 behind it.
#include <cmath>

#include "status.h"

namespace avedis {

struct adam_step {
    float rate;  // rate / (1 - beta1^t)
    float root;  // 1 / sqrt(1 - beta2^t)
    float beta1, beta2, epsilon;
};

AVEDIS_CLONES static void adam_range(float* __restrict p, float* __restrict g, float* __restrict m, float* __restrict v,
                                     adam_step step, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
        float gradient = g[i];
        float mean = step.beta1 * m[i] + (1 - step.beta1) * gradient;
        float square = step.beta2 * v[i] + (1 - step.beta2) * gradient * gradient;
        m[i] = mean;
        v[i] = square;
        p[i] -= step.rate * mean / (std::sqrt(square) * step.root + step.epsilon);
        g[i] = 0;
    }
}

}  // namespace avedis

using namespace avedis;

int32_t avedis_adam(float* parameters, float* gradients, float* m, float* v, const float* schedule, float beta1,
                    float beta2, float epsilon, int64_t count) {
    return guarded([&] {
        adam_step step{schedule[0] / schedule[1], 1 / std::sqrt(schedule[2]), beta1, beta2, epsilon};
        parallel_ranges(count, kPiece,
                        [&](int64_t begin, int64_t end) { adam_range(parameters, gradients, m, v, step, begin, end); });
    });
}
