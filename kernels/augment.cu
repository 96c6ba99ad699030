// Augmentation of a training batch, each clip by its own row of `plans`: pictures are mirrored, moved and begin later, log-mels begin later, are made
// louder or quieter and lose bands of bins and of frames (SpecAugment, Park and others 2019). A row of zeros leaves a clip as it is.
//
//   faces   y [clips * frames, side, side] = scale * pixel + shift, bytes to activations, as normalise of elementwise.cu has it: so pixels are read once
//   mels    y [clips, bins, steps], FP32 to activations
//
// Both are bound by memory. What is read is shifted by any number of pixels or frames, so loads go one by one, beside each other in a warp.
//
// Launch: faces a block per picture, mels a block per bin of a clip; 256 threads.
#include "elementwise.cuh"

namespace augment {

struct Mask {
    float first, count;
};

// AugmentPlan of the engine: whole numbers, but for gain and silence.
struct Plan {
    float flip, crop_y, crop_x, face_shift, pad_pixel;
    float mel_shift, mel_frames, gain, silence;
    Mask bins[2], frames[2];
};

__device__ inline bool masked(const Mask (&masks)[2], int at) {
    float place = static_cast<float>(at);
    bool any = false;
    for (const Mask& mask : masks) any = any || (place >= mask.first && place < mask.first + mask.count);
    return any;
}

// What is beyond the edge of a picture is as the edge.
__device__ inline int at_most(int side, int at) { return min(max(at, 0), side - 1); }

template <typename T>
__device__ inline void faces(T* y, const uint8_t* x, const Plan* plans, int frames, FastDivisor side, float scale, float shift) {
    constexpr int kRun = kIn16Bytes<T>;
    int clip = static_cast<int>(blockIdx.x) / frames, size = side.divisor, pixels = size * size;
    Plan plan = plans[clip];
    int frame = static_cast<int>(blockIdx.x) % frames + static_cast<int>(plan.face_shift);
    int crop_y = static_cast<int>(plan.crop_y), crop_x = static_cast<int>(plan.crop_x);
    bool flip = plan.flip != 0, padded = frame >= frames;
    x += (static_cast<int64_t>(clip) * frames + min(frame, frames - 1)) * pixels;
    y += static_cast<int64_t>(blockIdx.x) * pixels;
    // a run stays within its row
    for_each_run<kRun>(pixels, size % kRun == 0 && allow_runs<kRun>(y), threadIdx.x, blockDim.x, [=](auto run) {
        int i = static_cast<int>(run.start) / side, j = static_cast<int>(run.start) - i * size;
        const uint8_t* row = x + at_most(size, i + crop_y) * size;
        Vector<T, run.length> to;
        for (int k = 0; k < run.length; k++) {
            int column = flip ? size - 1 - (j + k) : j + k;
            float pixel = padded ? plan.pad_pixel : row[at_most(size, column + crop_x)];
            to.at[k] = from_float<T>(scale * pixel + shift);
        }
        run.store(y, to);
    });
}

template <typename T>
__device__ inline void mels(T* y, const float* x, const Plan* plans, int bins, int steps) {
    int bin = static_cast<int>(blockIdx.x) % bins;
    Plan plan = plans[static_cast<int>(blockIdx.x) / bins];
    bool silent = masked(plan.bins, bin);
    x += static_cast<int64_t>(blockIdx.x) * steps;
    y += static_cast<int64_t>(blockIdx.x) * steps;
    for (int t = threadIdx.x; t < steps; t += blockDim.x) {
        int from = t + static_cast<int>(plan.mel_shift);
        float value = plan.silence;
        if (!silent && from < steps && !masked(plan.frames, t)) value = x[from] + (static_cast<float>(t) < plan.mel_frames ? plan.gain : 0);
        y[t] = from_float<T>(value);
    }
}

}  // namespace augment

KERNEL((256), augment_faces_f32,
       (float* y, const uint8_t* x, const augment::Plan* plans, int frames, FastDivisor side, float scale, float shift)) {
    augment::faces(y, x, plans, frames, side, scale, shift);
}

KERNEL((256), augment_faces_bf16,
       (bf16* y, const uint8_t* x, const augment::Plan* plans, int frames, FastDivisor side, float scale, float shift)) {
    augment::faces(y, x, plans, frames, side, scale, shift);
}

KERNEL((256), augment_mels_f32, (float* y, const float* x, const augment::Plan* plans, int bins, int steps)) {
    augment::mels(y, x, plans, bins, steps);
}

KERNEL((256), augment_mels_bf16, (bf16* y, const float* x, const augment::Plan* plans, int bins, int steps)) {
    augment::mels(y, x, plans, bins, steps);
}
