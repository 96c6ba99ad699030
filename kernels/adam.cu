// One Adam step over flat FP32 memory, for all parameters of a group at once:
//   m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;  p -= rate * m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps);  g = 0
// schedule [3] on the device holds rate, 1 - b1^t, 1 - b2^t, so that a recorded step follows it. Bound by memory: 28 bytes a parameter are read and
// written (p, m, v both, g read), and 4 more to zero g.
//
// Launch: any number of blocks of 256 threads; threads stride over the parameters until their end.
#include "elementwise.cuh"

KERNEL((256), adam_f32,
       (float* parameters, float* gradients, float* m, float* v, const float* schedule, float beta1, float beta2, float epsilon, int64_t count)) {
    constexpr int kRun = kIn16Bytes<float>;
    float rate = schedule[0] / schedule[1], root = 1 / sqrtf(schedule[2]);
    for_each_run<kRun>(count, allow_runs<kRun>(parameters, gradients, m, v), [=](auto run) {
        auto parameter = run.load(parameters), gradient = run.load(gradients), mean = run.load(m), square = run.load(v);
        for (int i = 0; i < run.length; i++) {
            float g = gradient.at[i];
            mean.at[i] = beta1 * mean.at[i] + (1 - beta1) * g;
            square.at[i] = beta2 * square.at[i] + (1 - beta2) * g * g;
            parameter.at[i] -= rate * mean.at[i] / (sqrtf(square.at[i]) * root + epsilon);
        }
        run.store(parameters, parameter);
        run.store(gradients, Vector<float, run.length>{});
        run.store(m, mean);
        run.store(v, square);
    });
}
