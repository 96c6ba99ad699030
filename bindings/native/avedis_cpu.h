// Every function that libavedis_cpu.so exports.
//
// Status: 0 is success; anything else is a failure whose text avedis_last_error() returns on the same thread until the
// next call. Argument order: outputs, inputs, sizes, settings. Activations are N, H, W, C; gradients of parameters
// accumulate, gradients of activations overwrite. "act" memory holds the type that the call names: float, or bfloat16
// computed in float and rounded once. Shapes are the caller's business.
#pragma once

#include <cstdint>

#define AVEDIS_API extern "C" __attribute__((visibility("default")))

enum avedis_status : int32_t { AVEDIS_OK = 0, AVEDIS_FAILED = 1, AVEDIS_OUT_OF_MEMORY = 2 };

enum avedis_type : int32_t { AVEDIS_F32 = 0, AVEDIS_BF16 = 1 };

// How float convolutions are computed: with fewer multiplications where that is faster, by shape and instruction set;
// or by direct sums of products.
enum avedis_conv2d_algorithm : int32_t { AVEDIS_CONV2D_AUTO = 0, AVEDIS_CONV2D_DIRECT = 1 };

// y [n, p, q, k] = x [n, h, w, c] * weight [k, r, s, c], zero padding.
struct avedis_conv2d_geometry {
    int32_t n, h, w, c, k, r, s, stride_h, stride_w, pad_h, pad_w;
};

// y [n, p, q, c] = largest of each r x s window of x [n, h, w, c]; padding never wins.
struct avedis_pool2d_geometry {
    int32_t n, h, w, c, r, s, stride_h, stride_w, pad_h, pad_w;
};

// What augmentation does to one clip: whole numbers, but for gain and silence. All zero: nothing.
struct avedis_augment_mask {
    float first, count;
};
struct avedis_augment_plan {
    float flip, crop_y, crop_x, face_shift, pad_pixel;
    float mel_shift, mel_frames, gain, silence;
    avedis_augment_mask bins[2], frames[2];
};

struct avedis_conv2d;

// ---- runtime.cpp

// Text of the last failure on this thread.
AVEDIS_API const char* avedis_last_error();

// Threads that calls from this thread use from now on. Convolution objects must run with the number they were made
// with.
AVEDIS_API int32_t avedis_set_threads(int32_t threads);

// Version of the oneDNN that was loaded, and the instruction set that it uses here.
AVEDIS_API const char* avedis_onednn_version();
AVEDIS_API const char* avedis_instruction_set();

// ---- memory.cpp

// Zeroed memory on a 64-byte boundary, spread over the memory of the cores that will use it.
AVEDIS_API int32_t avedis_allocate(void** address, int64_t bytes);
AVEDIS_API int32_t avedis_free(void* address);
AVEDIS_API int32_t avedis_zero(void* x, int64_t bytes);
AVEDIS_API int32_t avedis_copy(void* y, const void* x, int64_t bytes);

// ---- elementwise.cpp

// y = x, between float and bfloat16; x_type is the type of x, y has the other one.
AVEDIS_API int32_t avedis_convert(void* y, const void* x, int32_t x_type, int64_t count);
// y += x
AVEDIS_API int32_t avedis_add(float* y, const float* x, int64_t count);
// y = scale * x + shift
AVEDIS_API int32_t avedis_normalise(void* y, int32_t type, const uint8_t* x, int64_t count, float scale, float shift);
AVEDIS_API int32_t avedis_relu_forward(void* y, const void* x, int32_t type, int64_t count);
AVEDIS_API int32_t avedis_relu_backward(void* dx, const void* dy, const void* y, int32_t type, int64_t count);
// dx = -lambda[0] * dy
AVEDIS_API int32_t avedis_gradient_reversal_backward(void* dx, const void* dy, const float* lambda, int32_t type,
                                                     int64_t count);
// dx += -lambda[0] * dy
AVEDIS_API int32_t avedis_gradient_reversal_add(float* dx, const float* dy, const float* lambda, int64_t count);
// y [n, a_width + b_width] = a beside b, and its reverse
AVEDIS_API int32_t avedis_concat_forward(float* y, const float* a, const float* b, int64_t n, int64_t a_width,
                                         int64_t b_width);
AVEDIS_API int32_t avedis_concat_backward(float* da, float* db, const float* dy, int64_t n, int64_t a_width,
                                          int64_t b_width);
// result [1] = elements of x that are NaN or infinite
AVEDIS_API int32_t avedis_count_non_finite(int32_t* result, const void* x, int32_t type, int64_t count);

// ---- augment.cpp: clip i is changed by plans[i], i < n

// y [n, frames, size, size] = scale * pixel + shift. Pixel (i, j) of frame f is that of x at frame f + face_shift, row
// i + crop_y, column crop_x + (flip ? size - 1 - j : j); beyond the edge the edge, beyond the last frame pad_pixel.
AVEDIS_API int32_t avedis_augment_faces(void* y, int32_t type, const uint8_t* x, const avedis_augment_plan* plans,
                                        int64_t n, int64_t frames, int64_t size, float scale, float shift);
// y [n, bins, steps] = x at step t + mel_shift, plus gain where t < mel_frames; silence beyond the last step, in both
// masks of bins and in both of frames. type is that of y.
AVEDIS_API int32_t avedis_augment_mels(void* y, int32_t type, const float* x, const avedis_augment_plan* plans,
                                       int64_t n, int64_t bins, int64_t steps);

// ---- conv2d.cpp

// Builds the three passes of one geometry. workspace: bytes of scratch, on a 64-byte boundary, that each pass may need.
AVEDIS_API int32_t avedis_conv2d_create(avedis_conv2d** conv, int64_t* workspace,
                                        const avedis_conv2d_geometry* geometry, int32_t type, int32_t algorithm);
AVEDIS_API void avedis_conv2d_destroy(avedis_conv2d* conv);
// Multiplications that the passes do, counts [3]: forward, gradient of x, gradient of the weights.
AVEDIS_API void avedis_conv2d_multiplications(const avedis_conv2d* conv, int64_t* counts);
// Which implementation each pass uses, for people. Lives as long as the object.
AVEDIS_API const char* avedis_conv2d_describe(const avedis_conv2d* conv);
AVEDIS_API int32_t avedis_conv2d_forward(avedis_conv2d* conv, void* y, const void* x, const float* weight,
                                         void* workspace);
AVEDIS_API int32_t avedis_conv2d_backward_data(avedis_conv2d* conv, void* dx, const void* dy, const float* weight,
                                               void* workspace);
AVEDIS_API int32_t avedis_conv2d_backward_weight(avedis_conv2d* conv, float* dweight, const void* dy, const void* x,
                                                 void* workspace);

// ---- batch_norm.cpp; x is [rows, c]; pool is null without pooling, else rows = n * h * w of the pool. all_rows: those
// that are normalised together, of which x may be a part.

// parts [ceil(all_rows / rows_of_part), 2, c]: moments of runs of rows; null: all_rows = rows, and x is read for them.
AVEDIS_API int32_t avedis_batch_norm_forward(void* y, uint8_t* argmax, float* mean, float* inverse_std,
                                             float* running_mean, float* running_variance, const void* x,
                                             const float* parts, int64_t rows_of_part, int64_t all_rows,
                                             const float* gamma, const float* beta, int32_t type, int64_t rows,
                                             int32_t c, const avedis_pool2d_geometry* pool, float epsilon,
                                             float momentum, int32_t relu);
// result [2, c]: mean of x and sum of squared deviations from it.
AVEDIS_API int32_t avedis_batch_norm_moments(float* result, const void* x, int32_t type, int64_t rows, int32_t c);
// y of a forward pass once more, without pooling.
AVEDIS_API int32_t avedis_batch_norm_apply(void* y, const void* x, const float* gamma, const float* beta,
                                           const float* mean, const float* inverse_std, int32_t type, int64_t rows,
                                           int32_t c, int32_t relu);
AVEDIS_API int32_t avedis_batch_norm_inference(void* y, const void* x, const float* gamma, const float* beta,
                                               const float* running_mean, const float* running_variance, int32_t type,
                                               int64_t rows, int32_t c, const avedis_pool2d_geometry* pool,
                                               float epsilon, int32_t relu);
// dx may be x.
AVEDIS_API int32_t avedis_batch_norm_backward(void* dx, float* dgamma, float* dbeta, const void* dy,
                                              const uint8_t* argmax, const void* x, const float* gamma,
                                              const float* beta, const float* mean, const float* inverse_std,
                                              int32_t type, int64_t rows, int32_t c, const avedis_pool2d_geometry* pool,
                                              int32_t relu);
// The two steps of it: means [2, c] = sums of dz and of dz * xhat over these rows / all_rows; dx from the means of all.
AVEDIS_API int32_t avedis_batch_norm_backward_means(float* means, float* dgamma, float* dbeta, const void* dy,
                                                    const uint8_t* argmax, const void* x, const float* gamma,
                                                    const float* beta, const float* mean, const float* inverse_std,
                                                    int32_t type, int64_t rows, int64_t all_rows, int32_t c,
                                                    const avedis_pool2d_geometry* pool, int32_t relu);
AVEDIS_API int32_t avedis_batch_norm_backward_data(void* dx, const void* dy, const uint8_t* argmax, const void* x,
                                                   const float* gamma, const float* beta, const float* mean,
                                                   const float* inverse_std, const float* means, int32_t type,
                                                   int64_t rows, int32_t c, const avedis_pool2d_geometry* pool,
                                                   int32_t relu);

// ---- stem.cpp: y, argmax = pooling of relu of batch norm of z, the convolution of x [n, h, w, c] with weight
// [k, r, s, c]; pool takes z, which is never stored. Forward leaves in state what backward needs.

AVEDIS_API int64_t avedis_stem_state_bytes(const avedis_conv2d_geometry* conv);
AVEDIS_API int32_t avedis_stem_forward(void* y, uint8_t* argmax, float* mean, float* inverse_std, float* running_mean,
                                       float* running_variance, void* state, const void* x, const float* weight,
                                       const float* gamma, const float* beta, int32_t type,
                                       const avedis_conv2d_geometry* conv, const avedis_pool2d_geometry* pool,
                                       float epsilon, float momentum, int32_t relu);
AVEDIS_API int32_t avedis_stem_inference(void* y, const void* x, const float* weight, const float* gamma,
                                         const float* beta, const float* running_mean, const float* running_variance,
                                         int32_t type, const avedis_conv2d_geometry* conv,
                                         const avedis_pool2d_geometry* pool, float epsilon, int32_t relu);
AVEDIS_API int32_t avedis_stem_backward(float* dweight, float* dgamma, float* dbeta, const void* dy, const void* y,
                                        const uint8_t* argmax, const void* x, const float* weight, const float* gamma,
                                        const float* inverse_std, const void* state, int32_t type,
                                        const avedis_conv2d_geometry* conv, const avedis_pool2d_geometry* pool,
                                        int32_t relu);

// ---- max_pool.cpp

AVEDIS_API int32_t avedis_max_pool_forward(void* y, uint8_t* argmax, const void* x, int32_t type,
                                           const avedis_pool2d_geometry* geometry);
AVEDIS_API int32_t avedis_max_pool_backward(void* dx, const void* dy, const uint8_t* argmax, int32_t type,
                                            const avedis_pool2d_geometry* geometry);

// ---- masked_mean.cpp: x [n, t, c] act, y [n, c] float, 1 <= lengths[n] <= t

AVEDIS_API int32_t avedis_masked_mean_forward(float* y, const void* x, const int32_t* lengths, int32_t type, int64_t n,
                                              int64_t t, int64_t c);
AVEDIS_API int32_t avedis_masked_mean_backward(void* dx, const float* dy, const int32_t* lengths, int32_t type,
                                               int64_t n, int64_t t, int64_t c);

// ---- linear.cpp: y [n, o] = x [n, i] * weight [o, i]^T + bias [o]

AVEDIS_API int32_t avedis_linear_forward(void* y, const void* x, const float* weight, const float* bias, int32_t type,
                                         int64_t n, int64_t i, int64_t o);
AVEDIS_API int32_t avedis_linear_backward_data(void* dx, const void* dy, const float* weight, int32_t type, int64_t n,
                                               int64_t i, int64_t o);
AVEDIS_API int32_t avedis_linear_backward_weight(float* dweight, float* dbias, const void* dy, const void* x,
                                                 int32_t type, int64_t n, int64_t i, int64_t o);

// ---- softmax_cross_entropy.cpp, uniform_confusion.cpp: logits [n, c]; the gradient is scale times that of the loss's
// sum; kl [n] is weights times the divergence of the uniform distribution from softmax(logits)

AVEDIS_API int32_t avedis_softmax_cross_entropy(float* loss, float* probabilities, float* dlogits, const float* logits,
                                                const int32_t* labels, const float* weights, float scale, int64_t n,
                                                int64_t c);
AVEDIS_API int32_t avedis_uniform_confusion(float* loss, float* kl, float* dlogits, const float* logits,
                                            const float* weights, float scale, int64_t n, int64_t c);

// ---- log_mel.cpp: samples [n, length], basis [2, frequencies, 2, window], filters [bins, frequencies], y [n, bins,
// frames]

// Frame t of a signal starts at sample t * hop. The basis is the sum of basis[0] and basis[1]. y = ln(energy + floor),
// or ln(max(energy, floor)) unless add_floor.
AVEDIS_API int32_t avedis_log_mel(float* y, const float* samples, const float* basis, const float* filters, int64_t n,
                                  int64_t length, int64_t window, int64_t frequencies, int64_t bins, int64_t frames,
                                  int64_t hop, float floor, int32_t add_floor);

// ---- gradient_projection.cpp: segment s of primary and adversary is elements offsets[s] to offsets[s + 1]

// primary -= (<primary, adversary> / <adversary, adversary> + alpha[0]) * adversary within each segment; the segment
// stays as it is where the divisor is 0
AVEDIS_API int32_t avedis_gradient_projection(float* primary, const float* adversary, const int32_t* offsets,
                                              const float* alpha, int64_t segments);

// ---- adam.cpp

// schedule [3] = rate, 1 - beta1^t, 1 - beta2^t. gradients become 0.
AVEDIS_API int32_t avedis_adam(float* parameters, float* gradients, float* m, float* v, const float* schedule,
                               float beta1, float beta2, float epsilon, int64_t count);

// ---- peak.cpp

// flops [1] = multiplications and additions a second that all threads together reach in registers, at most; type is
// that of the factors. Without instructions for bfloat16 it is the rate of float, which then computes for it. Needs
// AVX2.
AVEDIS_API int32_t avedis_peak(double* flops, int32_t type);
