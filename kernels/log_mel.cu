// Logarithms of filtered power spectra of frames that overlap, straight from the samples: with frame t of signal n = samples[n, first + t * hop + i],
// i below window (0 outside the signal),
//   power[f] = (frame . basis[f,0])^2 + (frame . basis[f,1])^2;  y [N,B,T] = ln of sum over f of filters[b,f] * power[f], with a floor.  FP32.
// basis [F,2,window] is a taper times cosine and sine: the Fourier transform as a matrix product. It does more multiplications than a fast transform, but
// 1,200 frames are half a GFLOP, and what a block needs of samples, basis and filters comes from the multiprocessor's own cache.
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
        int hop, int first, float floor, int add_floor)) {
    using namespace log_mel;
    DYNAMIC_SHARED(float, energies);
    SHARED(float, frame_tile, [kDepth][kPitch]);
    SHARED(float, basis_tile, [kDepth][2 * kFrequencies + 1]);
    SHARED(float, power, [kFrequencies][kPitch]);
    int first_frame = blockIdx.x * kFrames, thread = threadIdx.x;
    samples += static_cast<int64_t>(blockIdx.y) * length;
    for (int i = thread; i < bins * kPitch; i += kThreads) energies[i] = 0;

    // frames m and m + 16, frequencies f and f + 16 of the tile
    int m = thread / 16, f = thread % 16;
    for (int first_frequency = 0; first_frequency < frequencies; first_frequency += kFrequencies) {
        float sum[2][2][2] = {};
        for (int start = 0; start < window; start += kDepth) {
            for (int i = thread; i < kDepth * kFrames; i += kThreads) {
                int d = i % kDepth, frame = i / kDepth;
                int64_t at = static_cast<int64_t>(first_frame + frame) * hop + first + start + d;
                frame_tile[d][frame] = start + d < window && at >= 0 && at < length ? samples[at] : 0;
            }
            for (int i = thread; i < kDepth * 2 * kFrequencies; i += kThreads) {
                int d = i % kDepth, row = i / kDepth;
                bool inside = start + d < window && first_frequency + row / 2 < frequencies;
                basis_tile[d][row] = inside ? basis[(2 * static_cast<int64_t>(first_frequency) + row) * window + start + d] : 0;
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
            for (int j = 0; j < 2; j++) power[f + 16 * j][m + 16 * i] = sum[i][j][0] * sum[i][j][0] + sum[i][j][1] * sum[i][j][1];
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
