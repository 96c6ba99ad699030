// Logarithms of filtered power spectra: the frames of a signal times the basis, the powers times the filters, both as matrix products.
#include <cmath>

#include "onednn.h"
#include "status.h"

namespace avedis {

// frame [frames, window] = samples of overlapping frames; 0 outside the signal.
static void take_frames(float* frame, const float* samples, int64_t length, int64_t window, int64_t frames, int64_t hop, int64_t first) {
    for (int64_t t = 0; t < frames; t++)
        for (int64_t i = 0; i < window; i++) {
            int64_t at = t * hop + first + i;
            frame[t * window + i] = at >= 0 && at < length ? samples[at] : 0;
        }
}

}  // namespace avedis

using namespace avedis;

int32_t avedis_log_mel(float* y, const float* samples, const float* basis, const float* filters, int64_t n, int64_t length, int64_t window,
                       int64_t frequencies, int64_t bins, int64_t frames, int64_t hop, int64_t first, float floor, int32_t add_floor) {
    return guarded([&] {
        float* frame = scratch<float, 0>(frames * window);
        float* spectrum = scratch<float, 1>(frames * 2 * frequencies);
        for (int64_t i = 0; i < n; i++, y += bins * frames) {
            take_frames(frame, samples + i * length, length, window, frames, hop, first);
            gemm(false, true, frames, 2 * frequencies, window, frame, basis, spectrum, false);
            // in place: the power of a frequency lies in front of what is still to be read
            for (int64_t k = 0; k < frames * frequencies; k++)
                spectrum[k] = spectrum[2 * k] * spectrum[2 * k] + spectrum[2 * k + 1] * spectrum[2 * k + 1];
            gemm(false, true, bins, frames, frequencies, filters, spectrum, y, false);
            for (int64_t k = 0; k < bins * frames; k++) y[k] = std::log(add_floor ? y[k] + floor : std::max(y[k], floor));
        }
    });
}
