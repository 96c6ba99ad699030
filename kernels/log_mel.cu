// Logarithms of filtered power spectra of frames that overlap, straight from the samples: with frame t of signal n = samples[n, t * hop + i], i below window
// (0 behind the signal) and b = basis[0] + basis[1],
//   power[f] = (frame . b[f,0])^2 + (frame . b[f,1])^2;  y [N,B,T] = ln of sum over f of filters[b,f] * power[f], with a floor.
// The basis is a taper times cosine and sine: the Fourier transform as a matrix product. It does more multiplications than a fast transform, but 1,200 frames
// are half a GFLOP, and what a block needs of samples, basis and filters comes from the multiprocessor's own cache.
//
// The products with the basis are summed in FP64, and basis [2,F,2,window] is a number of 48 bits in two of FP32: beside a loud tone the sums of the quiet
// frequencies cancel, and the roundings of FP32 would stand above the floors of the usual definitions (1e-10 and below). Powers and energies are sums of
// what is positive, where FP32 costs a relative 1e-6.
//
// A block does 32 frames. For each 32 frequencies it multiplies frames by basis (a thread has 2 frames and 2 frequencies, cosine and sine), leaves the
// powers in shared memory and adds them, filtered, to the energies [B,32] there; so nothing but y is written, and every sum has one order.
//
// Launch: (tiles of 32 frames, N) blocks of 256 threads with 33 * B floats of dynamic shared memory.
#include "kernel.cuh"

namespace log_mel {

constexpr int kThreads = 256, kFrames = 32, kFrequencies = 32, kDepth = 16, kPitch = kFrames + 1;

}  // namespace log_mel

KERNEL((256), log_mel_f32,
       (float* y, const float* samples, const float* basis, const float* filters, int length, int window, int frequencies, int bins, int frames,
        int hop, float floor, int add_floor)) {
    using namespace log_mel;
    DYNAMIC_SHARED(float, energies);
    SHARED(double, frame_tile, [kDepth][kPitch]);
    SHARED(double, basis_tile, [kDepth][2 * kFrequencies + 1]);
    SHARED(float, power, [kFrequencies][kPitch]);
    int first_frame = blockIdx.x * kFrames, thread = threadIdx.x;
    const float* fine = basis + 2 * static_cast<int64_t>(frequencies) * window;
    samples += static_cast<int64_t>(blockIdx.y) * length;
    for (int i = thread; i < bins * kPitch; i += kThreads) energies[i] = 0;

    // frames m and m + 16, frequencies f and f + 16 of the tile
    int m = thread / 16, f = thread % 16;
    for (int first_frequency = 0; first_frequency < frequencies; first_frequency += kFrequencies) {
        double sum[2][2][2] = {};
        for (int start = 0; start < window; start += kDepth) {
            for (int i = thread; i < kDepth * kFrames; i += kThreads) {
                int d = i % kDepth, frame = i / kDepth;
                int64_t at = static_cast<int64_t>(first_frame + frame) * hop + start + d;
                frame_tile[d][frame] = start + d < window && at < length ? samples[at] : 0;
            }
            for (int i = thread; i < kDepth * 2 * kFrequencies; i += kThreads) {
                int d = i % kDepth, row = i / kDepth;
                int64_t at = (2 * static_cast<int64_t>(first_frequency) + row) * window + start + d;
                bool inside = start + d < window && first_frequency + row / 2 < frequencies;
                basis_tile[d][row] = inside ? static_cast<double>(basis[at]) + static_cast<double>(fine[at]) : 0;
            }
            __syncthreads();
            for (int d = 0; d < kDepth; d++)
                for (int i = 0; i < 2; i++)
                    for (int j = 0; j < 2; j++)
                        for (int part = 0; part < 2; part++)
                            sum[i][j][part] += frame_tile[d][m + 16 * i] * basis_tile[d][2 * (f + 16 * j) + part];
            __syncthreads();
        }
        for (int i = 0; i < 2; i++)
            for (int j = 0; j < 2; j++)
                power[f + 16 * j][m + 16 * i] = static_cast<float>(sum[i][j][0] * sum[i][j][0] + sum[i][j][1] * sum[i][j][1]);
        __syncthreads();
        int end = min(kFrequencies, frequencies - first_frequency);
        for (int i = thread; i < bins * kFrames; i += kThreads) {
            int bin = i / kFrames, frame = i % kFrames;
            const float* filter = filters + static_cast<int64_t>(bin) * frequencies + first_frequency;
            float energy = energies[bin * kPitch + frame];
            for (int k = 0; k < end; k++) energy += filter[k] * power[k][frame];
            energies[bin * kPitch + frame] = energy;
        }
        __syncthreads();
    }
    for (int i = thread; i < bins * kFrames; i += kThreads) {
        int bin = i / kFrames, frame = i % kFrames;
        float energy = energies[bin * kPitch + frame];
        if (first_frame + frame < frames)
            y[(static_cast<int64_t>(blockIdx.y) * bins + bin) * frames + first_frame + frame] = logf(add_floor ? energy + floor : fmaxf(energy, floor));
    }
}
