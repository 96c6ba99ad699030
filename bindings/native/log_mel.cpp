// Logarithms of filtered power spectra: the frames of a signal times the basis, the powers times the filters. The products with the basis are summed in
// double: beside a loud tone those of the quiet frequencies cancel, and floats would leave roundings above the floor. Powers are positive and are added as
// floats.
#include <cmath>

#include "status.h"

namespace avedis {

// Frames that are done at once, beside each other: vectors over them change no sum's order.
constexpr int64_t kFrames = 16;

struct log_mel_shape {
    int64_t length, window, frequencies, bins, frames, hop;
};

// frame [window, kFrames] = samples of the frames from first on; 0 behind the signal.
static void take_frames(double* frame, const float* samples, const log_mel_shape& s, int64_t first) {
    for (int64_t i = 0; i < s.window; i++)
        for (int64_t t = 0; t < kFrames; t++) {
            int64_t at = (first + t) * s.hop + i;
            frame[i * kFrames + t] = at < s.length ? samples[at] : 0;
        }
}

// power [frequencies, kFrames]
AVEDIS_CLONES static void powers_of_frames(float* power, const double* frame, const float* basis, log_mel_shape s) {
    const float* fine = basis + 2 * s.frequencies * s.window;
    for (int64_t f = 0; f < s.frequencies; f++) {
        double sums[2][kFrames] = {};
        for (int64_t part = 0; part < 2; part++)
            for (int64_t i = 0; i < s.window; i++) {
                int64_t at = (2 * f + part) * s.window + i;
                double factor = static_cast<double>(basis[at]) + static_cast<double>(fine[at]);
                for (int64_t t = 0; t < kFrames; t++) sums[part][t] += frame[i * kFrames + t] * factor;
            }
        for (int64_t t = 0; t < kFrames; t++)
            power[f * kFrames + t] = static_cast<float>(sums[0][t] * sums[0][t] + sums[1][t] * sums[1][t]);
    }
}

// energy [bins, kFrames]
AVEDIS_CLONES static void energies_of_frames(float* energy, const float* power, const float* filters, log_mel_shape s) {
    for (int64_t b = 0; b < s.bins; b++) {
        float sums[kFrames] = {};
        for (int64_t f = 0; f < s.frequencies; f++)
            for (int64_t t = 0; t < kFrames; t++) sums[t] += filters[b * s.frequencies + f] * power[f * kFrames + t];
        std::copy_n(sums, kFrames, energy + b * kFrames);
    }
}

}  // namespace avedis

using namespace avedis;

int32_t avedis_log_mel(float* y, const float* samples, const float* basis, const float* filters, int64_t n, int64_t length, int64_t window,
                       int64_t frequencies, int64_t bins, int64_t frames, int64_t hop, float floor, int32_t add_floor) {
    return guarded([&] {
        log_mel_shape shape{length, window, frequencies, bins, frames, hop};
        for (int64_t i = 0; i < n; i++, y += bins * frames, samples += length)
            parallel_ranges(frames, kFrames, [&](int64_t begin, int64_t end) {
                double* frame = scratch<double, 0>(window * kFrames);
                float* power = scratch<float, 0>(frequencies * kFrames);
                float* energy = scratch<float, 1>(bins * kFrames);
                take_frames(frame, samples, shape, begin);
                powers_of_frames(power, frame, basis, shape);
                energies_of_frames(energy, power, filters, shape);
                for (int64_t b = 0; b < bins; b++)
                    for (int64_t t = begin; t < end; t++) {
                        float e = energy[b * kFrames + t - begin];
                        y[b * frames + t] = std::log(add_floor ? e + floor : std::max(e, floor));
                    }
            });
    });
}
