// Augmentation of a training batch, each clip by its own plan; a plan of zeros leaves it as it is.
#include "status.h"

namespace avedis {

template <class T>
AVEDIS_CLONES static void fill_range(T* y, float value, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) store(y + i, value);
}

// One row of a picture: y[j] = scale * x[column] + shift, where the column is j, or that from the right if mirrored,
// and `crop` more; what is beyond the edge is as the edge.
template <class T>
AVEDIS_CLONES static void row_of_picture(T* y, const uint8_t* x, int64_t size, bool flip, int64_t crop, float scale,
                                         float shift) {
    int64_t move = flip ? -crop : crop;
    int64_t first = std::clamp<int64_t>(-move, 0, size), last = std::clamp<int64_t>(size - move, first, size);
    float left = x[flip ? size - 1 : 0], right = x[flip ? 0 : size - 1];
    for (int64_t j = 0; j < first; j++) store(y + j, scale * left + shift);
    if (flip)
        for (int64_t j = first; j < last; j++) store(y + j, scale * static_cast<float>(x[size - 1 - move - j]) + shift);
    else
        for (int64_t j = first; j < last; j++) store(y + j, scale * static_cast<float>(x[move + j]) + shift);
    for (int64_t j = last; j < size; j++) store(y + j, scale * right + shift);
}

template <class T>
static void picture(T* y, const uint8_t* clip, const avedis_augment_plan& plan, int64_t frame, int64_t frames,
                    int64_t size, float scale, float shift) {
    frame += static_cast<int64_t>(plan.face_shift);
    if (frame >= frames) {
        fill_range(y, scale * plan.pad_pixel + shift, 0, size * size);
        return;
    }
    const uint8_t* x = clip + frame * size * size;
    for (int64_t i = 0; i < size; i++) {
        int64_t row = std::clamp<int64_t>(i + static_cast<int64_t>(plan.crop_y), 0, size - 1);
        row_of_picture(y + i * size, x + row * size, size, plan.flip != 0, static_cast<int64_t>(plan.crop_x), scale,
                       shift);
    }
}

template <class T>
AVEDIS_CLONES static void add_constant_range(T* y, const float* x, float constant, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) store(y + i, x[i] + constant);
}

// One bin of a clip.
template <class T>
static void row_of_mels(T* y, const float* x, const avedis_augment_plan& plan, int64_t bin, int64_t steps) {
    auto place = [](float at, int64_t most) { return std::clamp<int64_t>(static_cast<int64_t>(at), 0, most); };
    for (const auto& mask : plan.bins)
        if (bin >= static_cast<int64_t>(mask.first) && bin < static_cast<int64_t>(mask.first + mask.count)) {
            fill_range(y, plan.silence, 0, steps);
            return;
        }
    int64_t move = place(plan.mel_shift, steps), kept = steps - move, valid = place(plan.mel_frames, kept);
    add_constant_range(y, x + move, plan.gain, 0, valid);
    add_constant_range(y, x + move, 0, valid, kept);
    fill_range(y, plan.silence, kept, steps);
    for (const auto& mask : plan.frames)
        fill_range(y, plan.silence, place(mask.first, steps), place(mask.first + mask.count, steps));
}

}  // namespace avedis

using namespace avedis;

int32_t avedis_augment_faces(void* y, int32_t type, const uint8_t* x, const avedis_augment_plan* plans, int64_t n,
                             int64_t frames, int64_t size, float scale, float shift) {
    return guarded(type, [&](auto zero) {
        using T = decltype(zero);
        int64_t pixels = size * size;
        parallel_ranges(n * frames, std::max<int64_t>(1, kPiece / pixels), [&](int64_t begin, int64_t end) {
            for (int64_t i = begin; i < end; i++)
                picture(static_cast<T*>(y) + i * pixels, x + i / frames * frames * pixels, plans[i / frames],
                        i % frames, frames, size, scale, shift);
        });
    });
}

int32_t avedis_augment_mels(void* y, int32_t type, const float* x, const avedis_augment_plan* plans, int64_t n,
                            int64_t bins, int64_t steps) {
    return guarded(type, [&](auto zero) {
        using T = decltype(zero);
        parallel_ranges(n * bins, std::max<int64_t>(1, kPiece / steps), [&](int64_t begin, int64_t end) {
            for (int64_t i = begin; i < end; i++)
                row_of_mels(static_cast<T*>(y) + i * steps, x + i * steps, plans[i / bins], i % bins, steps);
        });
    });
}
