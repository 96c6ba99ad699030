// The first block of a stream: convolution of a one-channel image, batch norm, ReLU if asked, max pooling. The convolution's output z is by far the
// largest tensor of a network and costs little to compute, so it is never stored: its statistics come from the input alone, and what the backward
// pass needs of it as well.
//
// With T = R * S taps, w_c the T weights of channel c, x_p the T pixels under the window at position p (zeros where the convolution pads) and
// n = N * P * Q positions, one pass over the input gives
//   S = sum_p x_p    G = sum_p x_p x_p^T    and centred  Gc = G - S S^T / n = sum_p (x_p - S / n) (x_p - S / n)^T.
//   z_pc = w_c . x_p, so  mean_c = w_c . S / n  and  var_c = w_c^T Gc w_c / n.
// With dA the gradient behind the batch norm, which is not zero only where a pooled output took its value from and ReLU let it pass,
//   D_c = sum_p dA_pc x_p    dbeta_c = sum_p dA_pc    dgamma_c = is_c (w_c . D_c - mean_c dbeta_c)    (is = inverse standard deviation)
//   dW_c = gamma_c is_c (D_c - dbeta_c / n S - dgamma_c is_c / n Gc w_c).
// Covariances do not change when a constant vector is taken from every x_p, if S and D are taken of the shifted ones everywhere. All sums are
// over x_p minus the same number in each tap, padding included: the mean of some pixels. So a large mean of the input costs no digits. A tap that lies
// on padding at every p is constant, so that its row of Gc and its gradient are 0, which rounded sums would only come near to; the shape tells which taps these
// are, and their weights count as 0.
//
// x is rounded as the convolution rounds it, w too: the statistics are those of the values that are normalised. Three forms: f32 multiplies in FP32; tf32
// and bf16 convolve in the forward pass on the matrix units, 16 positions x 8 channels at a time. The sums of the Gram matrix and of the sparse
// D are FP32 multiplications in all three.
//
// Launches, forward:   gram, merge, statistics, forward; evaluation: forward alone.    Backward: backward, finish.
//   gram        (any, pairs of tap groups / 8) blocks of 256, shared: one strip of the input
//   merge       any blocks of 256
//   statistics  K blocks of 64
//   forward     tiles blocks of 256, shared: strip, weights of 32 channels, convolution tile
//   backward    (any, K / 32) blocks of 256, shared: strip, gradients of one tile
//   finish      K blocks of 256
// T is at most 64, a tile's convolution positions at most 256.
#include "kernel.cuh"

namespace stem {

constexpr int kThreads = 256, kWarps = kThreads / kWarp;
constexpr int kMostTaps = 64;
constexpr int kChannels = 32;     // of a chunk: a lane each
constexpr int kPositions = 256;   // convolution positions of a tile
constexpr int kGroup = 7;         // taps of a group of the Gram matrix: a row of the networks' windows
constexpr int kPairSums = kGroup * kGroup + kGroup;  // products of two groups, and the sums of one

// In 32-bit fields, as the host fills it. A strip is the part of the input under a tile.
struct Geometry {
    int32_t n, h, w, k, r, s, stride_h, stride_w, pad_h, pad_w, p, q;
    int32_t pool_r, pool_s, pool_stride_h, pool_stride_w, pool_pad_h, pool_pad_w, pooled_p, pooled_q, relu;
    int32_t tile_rows, tile_columns, pitch;       // pooled outputs of a tile; strip elements from row to row
    int32_t gram_rows, gram_columns, gram_pitch;  // convolution positions of a tile of the Gram matrix
};

// ---- the three forms ----------------------------------------------------------------------------------------------------------

struct F32 {
    typedef float Element;
    static constexpr bool kMatrix = false;
    __device__ static float pixel(float x) { return x; }
    __device__ static float weight(float w) { return w; }
};

// The matrix forms see a window as words, each what one multiplication of the unit takes in: a tap in TF32, two neighbours in a row in BF16.
struct Tf32 {
    typedef float Element;
    static constexpr bool kMatrix = true;
    static constexpr int kTapsOfWord = 1;
    __device__ static float pixel(float x) { return __uint_as_float(round_to_tf32(__float_as_uint(x))); }
    __device__ static float weight(float w) { return pixel(w); }
    __device__ static uint32_t word(float first, float) { return __float_as_uint(first); }
    __device__ static void multiply(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) { mma_m16n8k8_tf32(c, a, b); }
};

struct Bf16 {
    typedef bf16 Element;
    static constexpr bool kMatrix = true;
    static constexpr int kTapsOfWord = 2;
    __device__ static float pixel(bf16 x) { return to_float(x); }
    __device__ static float weight(float w) { return to_float(to_bf16(w)); }
    // of values that BF16 holds exactly
    __device__ static uint32_t word(float first, float second) { return __float_as_uint(first) >> 16 | (__float_as_uint(second) & 0xffff0000u); }
    __device__ static void multiply(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) { mma_m16n8k16_bf16(c, a, b); }
};

// ---- strips -------------------------------------------------------------------------------------------------------------------

template <typename Form>
__device__ inline float pixel_at(const typename Form::Element* image, const Geometry& g, int row, int column) {
    bool inside = row >= 0 && row < g.h && column >= 0 && column < g.w;
    return inside ? Form::pixel(image[static_cast<int64_t>(row) * g.w + column]) : 0.0f;
}

template <typename Form>
__device__ inline const typename Form::Element* image_of(const typename Form::Element* x, const Geometry& g, int image) {
    return x + static_cast<int64_t>(image) * g.h * g.w;
}

// Brings rows x columns of an image, zeros around it, to shared memory, less the shift. A warp takes whole rows.
template <typename Form>
__device__ inline void load_strip(float* strip, const typename Form::Element* image, const Geometry& g, int top, int left, int rows, int columns,
                                  int pitch, float shift) {
    for (int row = threadIdx.x / kWarp; row < rows; row += kWarps)
        for (int column = threadIdx.x % kWarp; column < columns; column += kWarp)
            strip[row * pitch + column] = pixel_at<Form>(image, g, top + row, left + column) - shift;
}

// A tile of pooled outputs, the convolution positions under it and the strip under those.
struct Tile {
    int image, pooled_top, pooled_left;   // first pooled output
    int top, left;                        // first convolution position; negative in the pool's padding
    int rows, columns;                    // convolution positions
    int strip_rows, strip_columns;

    __device__ Tile(const Geometry& g, int index) {
        int across = (g.pooled_q + g.tile_columns - 1) / g.tile_columns, down = (g.pooled_p + g.tile_rows - 1) / g.tile_rows;
        pooled_left = index % across * g.tile_columns;
        pooled_top = index / across % down * g.tile_rows;
        image = index / across / down;
        top = pooled_top * g.pool_stride_h - g.pool_pad_h;
        left = pooled_left * g.pool_stride_w - g.pool_pad_w;
        rows = (g.tile_rows - 1) * g.pool_stride_h + g.pool_r;
        columns = (g.tile_columns - 1) * g.pool_stride_w + g.pool_s;
        strip_rows = (rows - 1) * g.stride_h + g.r;
        strip_columns = (columns - 1) * g.stride_w + g.s;
    }

    __device__ int strip_top(const Geometry& g) const { return top * g.stride_h - g.pad_h; }
    __device__ int strip_left(const Geometry& g) const { return left * g.stride_w - g.pad_w; }

    // Offset in the strip of the first tap of a position of the tile.
    __device__ int offset(const Geometry& g, int row, int column) const { return row * g.stride_h * g.pitch + column * g.stride_w; }
};

// ---- Gram matrix ----------------------------------------------------------------------------------------------------------------

// Mean of 256 pixels spread over the whole input; the same in every block.
template <typename Form>
__device__ inline float sample_mean(const typename Form::Element* x, const Geometry& g) {
    int64_t count = static_cast<int64_t>(g.n) * g.h * g.w;
    return block_sum<kThreads>(Form::pixel(x[count * threadIdx.x / kThreads])) / kThreads;
}

// Adds the products of two groups of taps over this lane's share of a tile's positions. Consecutive groups are rows of a window seven wide: their
// offsets are constants of the code.
template <bool kConsecutive>
__device__ inline void add_products(float (&products)[kGroup][kGroup], float (&sums)[kGroup], const float* strip, const int (&a)[kGroup],
                                    const int (&b)[kGroup], const Geometry& g, int rows, int columns, bool diagonal) {
    int row = 0, column = threadIdx.x % kWarp;
    while (true) {
        while (column >= columns) {
            column -= columns;
            row++;
        }
        if (row >= rows) return;
        const float* patch = strip + row * g.stride_h * g.gram_pitch + column * g.stride_w;
        float left[kGroup], right[kGroup];
        for (int i = 0; i < kGroup; i++) {
            left[i] = kConsecutive ? patch[a[0] + i] : patch[a[i]];
            right[i] = kConsecutive ? patch[b[0] + i] : patch[b[i]];
        }
        for (int i = 0; i < kGroup; i++)
            for (int j = 0; j < kGroup; j++) products[i][j] += left[i] * right[j];
        if (diagonal)
            for (int i = 0; i < kGroup; i++) sums[i] += left[i];
        column += kWarp;
    }
}

// A warp holds the products of one pair of tap groups, its lanes share the positions. partial [blocks][pairs][kPairSums].
template <typename Form>
__device__ inline void gram(float* partial, double* state, const typename Form::Element* x, const Geometry& g) {
    DYNAMIC_SHARED(float, strip);
    int taps = g.r * g.s, groups = (taps + kGroup - 1) / kGroup, pairs = groups * (groups + 1) / 2;
    int pair = static_cast<int>(blockIdx.y) * kWarps + static_cast<int>(threadIdx.x) / kWarp;
    int first = 0, second = pair;
    while (second >= groups - first && first < groups) second -= groups - first++;
    second += first;
    int a[kGroup], b[kGroup];
    for (int i = 0; i < kGroup; i++) {
        int left = first * kGroup + i, right = second * kGroup + i;  // taps beyond the last read the first; merge drops their sums
        a[i] = left < taps ? left / g.s * g.gram_pitch + left % g.s : 0;
        b[i] = right < taps ? right / g.s * g.gram_pitch + right % g.s : 0;
    }
    float shift = sample_mean<Form>(x, g);
    if (blockIdx.x == 0 && blockIdx.y == 0 && threadIdx.x == 0) state[taps * taps + taps] = shift;

    float products[kGroup][kGroup] = {}, sums[kGroup] = {};
    int across = (g.q + g.gram_columns - 1) / g.gram_columns, down = (g.p + g.gram_rows - 1) / g.gram_rows, tiles = g.n * across * down;
    for (int tile = static_cast<int>(blockIdx.x); tile < tiles; tile += static_cast<int>(gridDim.x)) {
        int left = tile % across * g.gram_columns, top = tile / across % down * g.gram_rows;
        int rows = min(g.gram_rows, g.p - top), columns = min(g.gram_columns, g.q - left);
        __syncthreads();  // the strip before this one has been read
        load_strip<Form>(strip, image_of<Form>(x, g, tile / across / down), g, top * g.stride_h - g.pad_h, left * g.stride_w - g.pad_w,
                         (rows - 1) * g.stride_h + g.r, (columns - 1) * g.stride_w + g.s, g.gram_pitch, shift);
        __syncthreads();
        if (pair >= pairs) continue;
        if (g.s == kGroup)
            add_products<true>(products, sums, strip, a, b, g, rows, columns, first == second);
        else
            add_products<false>(products, sums, strip, a, b, g, rows, columns, first == second);
    }
    if (pair >= pairs) return;
    float* out = partial + (static_cast<int64_t>(blockIdx.x) * pairs + pair) * kPairSums;
    for (int i = 0; i < kPairSums; i++) {
        float total = warp_sum(i < kGroup * kGroup ? products[i / kGroup][i % kGroup] : sums[i % kGroup]);
        if (threadIdx.x % kWarp == 0) out[i] = total;
    }
}

// state [T * T + T + 1]: G and S of the shifted windows, and the shift, which the kernel above has left.
__device__ inline void merge(double* state, const float* partial, int taps, int blocks) {
    int groups = (taps + kGroup - 1) / kGroup, pairs = groups * (groups + 1) / 2;
    int stride = static_cast<int>(gridDim.x) * kThreads;
    for (int i = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x); i < pairs * kPairSums; i += stride) {
        int first = 0, second = i / kPairSums, entry = i % kPairSums;
        while (second >= groups - first) second -= groups - first++;
        second += first;
        bool is_sum = entry >= kGroup * kGroup;
        int row = first * kGroup + (is_sum ? entry % kGroup : entry / kGroup), column = is_sum ? row : second * kGroup + entry % kGroup;
        bool needed = is_sum ? first == second : row <= column;  // the rest are the other half of the same group's products
        if (row >= taps || column >= taps || !needed) continue;
        double total = 0;
        for (int block = 0; block < blocks; block++) total += partial[static_cast<int64_t>(block) * pairs * kPairSums + i];
        if (is_sum) {
            state[taps * taps + row] = total;
        } else {
            state[row * taps + column] = total;
            state[column * taps + row] = total;
        }
    }
}

// Row of Gc w for one tap, from the sums of merge.
__device__ inline double centred_row(const double* state, const double* weights, int taps, int tap, double count) {
    const double* sums = state + taps * taps;
    double total = 0;
    for (int other = 0; other < taps; other++) total += (state[tap * taps + other] - sums[tap] / count * sums[other]) * weights[other];
    return total;
}

__device__ inline double positions_of(const Geometry& g) { return static_cast<double>(g.n) * g.p * g.q; }

// Whether a tap's row or column lies on the image at any position: at the first where it does not lie in front of it.
__device__ inline bool meets_image(int place, int stride, int pad, int positions, int size) {
    int position = (max(0, pad - place) + stride - 1) / stride;
    return position < positions && position * stride + place - pad < size;
}

__device__ inline bool meets_image(const Geometry& g, int tap) {
    return meets_image(tap / g.s, g.stride_h, g.pad_h, g.p, g.h) && meets_image(tap % g.s, g.stride_w, g.pad_w, g.q, g.w);
}

template <typename Form>
__device__ inline double counted_weight(const float* weight, const Geometry& g, int channel, int tap) {
    return meets_image(g, tap) ? Form::weight(weight[channel * g.r * g.s + tap]) : 0.0f;
}

// A block takes a channel, a thread a tap.
template <typename Form>
__device__ inline void statistics(float* mean, float* inverse_std, float* running_mean, float* running_variance, const double* state,
                                  const float* weight, const Geometry& g, float epsilon, float momentum) {
    SHARED(double, weights, [kMostTaps]);
    SHARED(double, variances, [kMostTaps]);
    int taps = g.r * g.s, channel = static_cast<int>(blockIdx.x), tap = static_cast<int>(threadIdx.x);
    double count = positions_of(g);
    if (tap < taps) weights[tap] = counted_weight<Form>(weight, g, channel, tap);
    __syncthreads();
    if (tap < taps) variances[tap] = weights[tap] * centred_row(state, weights, taps, tap, count) / count;
    __syncthreads();
    if (tap > 0) return;
    double m = 0, variance = 0, shift = state[taps * taps + taps];
    for (int i = 0; i < taps; i++) {
        m += weights[i] * (state[taps * taps + i] / count + shift);
        variance += variances[i];
    }
    if (variance < 0) variance = 0;  // rounding
    mean[channel] = static_cast<float>(m);
    inverse_std[channel] = static_cast<float>(1 / sqrt(variance + static_cast<double>(epsilon)));
    float unbiased = count > 1 ? static_cast<float>(variance * count / (count - 1)) : 0.0f;
    running_mean[channel] = (1 - momentum) * running_mean[channel] + momentum * static_cast<float>(m);
    running_variance[channel] = (1 - momentum) * running_variance[channel] + momentum * unbiased;
}

// ---- forward --------------------------------------------------------------------------------------------------------------------

// scale and offset of the chunk's channels. deviation is the inverse standard deviation, or, for evaluation, the variance.
__device__ inline void load_affine(float* scale, float* offset, const float* gamma, const float* beta, const float* mean, const float* deviation,
                                   int first, int channels, float epsilon, bool is_variance) {
    int c = static_cast<int>(threadIdx.x);
    if (c >= kChannels) return;
    bool valid = first + c < channels;
    float inverse = valid ? deviation[first + c] : 0.0f;
    if (is_variance) inverse = 1 / sqrtf(inverse + epsilon);
    scale[c] = valid ? gamma[first + c] * inverse : 0.0f;
    offset[c] = valid ? beta[first + c] - mean[first + c] * scale[c] : 0.0f;
}

__device__ inline float activate(float z, float scale, float offset, bool relu) {
    float a = z * scale + offset;
    return relu && a < 0 ? 0.0f : a;
}

// Convolution of a tile with 32 channels in FP32: a warp takes 8 channels, a lane 4 positions.
struct ScalarConvolution {
    static constexpr int kPitch = kChannels + 1;  // of the tile: lanes that write neighbouring positions meet no bank twice
    static constexpr int kPositionsOfLane = 4, kChannelsOfWarp = 8, kGroups = kChannels / kChannelsOfWarp;

    static_assert(kPositionsOfLane * kWarp * (kWarps / kGroups) == kPositions, "the warps cover a tile");

    // weights [taps][32]
    template <typename Form>
    __device__ static void load_weights(float* weights, const float* weight, const Geometry& g, int first) {
        int taps = g.r * g.s;
        for (int i = static_cast<int>(threadIdx.x); i < taps * kChannels; i += kThreads) {
            int c = first + i % kChannels;
            weights[i] = c < g.k ? Form::weight(weight[c * taps + i / kChannels]) : 0.0f;
        }
    }

    template <typename Form>
    __device__ static void load(float* strip, int*, const typename Form::Element* image, const Geometry& g, const Tile& tile) {
        load_strip<Form>(strip, image, g, tile.strip_top(g), tile.strip_left(g), tile.strip_rows, tile.strip_columns, g.pitch, 0);
    }

    template <typename Form>
    __device__ static void run(float* out, const float* strip, const int*, const float* weights, const float* scale, const float* offset,
                               const Geometry& g, const Tile& tile) {
        int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
        int channel = warp % kGroups * kChannelsOfWarp, start = warp / kGroups * kWarp + lane, positions = tile.rows * tile.columns;
        constexpr int kStep = kWarp * (kWarps / kGroups);
        const float* patch[kPositionsOfLane];
        for (int i = 0; i < kPositionsOfLane; i++) {
            int position = start + i * kStep;
            patch[i] = strip + (position < positions ? tile.offset(g, position / tile.columns, position % tile.columns) : 0);
        }
        float z[kPositionsOfLane][kChannelsOfWarp] = {};
        const float* tap = weights + channel;
        for (int r = 0; r < g.r; r++)
            for (int s = 0; s < g.s; s++, tap += kChannels) {
                auto low = *reinterpret_cast<const float4*>(tap), high = *reinterpret_cast<const float4*>(tap + 4);
                float w[kChannelsOfWarp] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
                for (int i = 0; i < kPositionsOfLane; i++) {
                    float x = patch[i][r * g.pitch + s];
                    for (int c = 0; c < kChannelsOfWarp; c++) z[i][c] += x * w[c];
                }
            }
        for (int i = 0; i < kPositionsOfLane; i++) {
            int position = start + i * kStep;
            if (position >= positions) break;
            for (int c = 0; c < kChannelsOfWarp; c++)
                out[position * kPitch + channel + c] = activate(z[i][c], scale[channel + c], offset[channel + c], g.relu);
        }
    }
};

// The same on the matrix units: a warp takes 32 positions and all 32 channels. Rows of a are positions, read where they lie in the strip: a table has
// the offset of each word of a window. Words beyond the last read the first one's pixels and have weights of zero.
struct MatrixConvolution {
    static constexpr int kPitch = kChannels + 8;  // of the tile: two floats at a time, the half of a warp that is served at once meets no bank twice
    static constexpr int kColumnTiles = kChannels / 8, kWordsOfStep = 8;

    template <typename Form>
    __device__ static int words_of_row(const Geometry& g) {
        return (g.s + Form::kTapsOfWord - 1) / Form::kTapsOfWord;
    }

    template <typename Form>
    __device__ static int steps(const Geometry& g) {
        return (g.r * words_of_row<Form>(g) + kWordsOfStep - 1) / kWordsOfStep;
    }

    template <typename Form>
    __device__ static uint32_t weight_word(const float* weight, const Geometry& g, int channel, int word) {
        int row = word / words_of_row<Form>(g), s = word % words_of_row<Form>(g) * Form::kTapsOfWord;
        if (channel >= g.k || row >= g.r) return 0;
        const float* taps = weight + (channel * g.r + row) * g.s;
        return Form::word(Form::weight(taps[s]), s + 1 < g.s ? Form::weight(taps[s + 1]) : 0.0f);
    }

    // weights [steps][column tiles][lanes][2]: as the units want them
    template <typename Form>
    __device__ static void load_weights(float* weights, const float* weight, const Geometry& g, int first) {
        auto out = reinterpret_cast<uint2*>(weights);
        for (int i = static_cast<int>(threadIdx.x); i < steps<Form>(g) * kColumnTiles * kWarp; i += kThreads) {
            int lane = i % kWarp, column = i / kWarp % kColumnTiles, word = i / kWarp / kColumnTiles * kWordsOfStep + lane % 4;
            int channel = first + column * 8 + lane / 4;
            out[i] = make_uint2(weight_word<Form>(weight, g, channel, word), weight_word<Form>(weight, g, channel, word + 4));
        }
    }

    // In BF16 every pixel with its right neighbour.
    template <typename Form>
    __device__ static void load(float* strip, int* table, const typename Form::Element* image, const Geometry& g, const Tile& tile) {
        auto out = reinterpret_cast<uint32_t*>(strip);
        int top = tile.strip_top(g), left = tile.strip_left(g);
        for (int row = static_cast<int>(threadIdx.x) / kWarp; row < tile.strip_rows; row += kWarps)
            for (int column = static_cast<int>(threadIdx.x) % kWarp; column < tile.strip_columns; column += kWarp) {
                float first = pixel_at<Form>(image, g, top + row, left + column);
                float second = Form::kTapsOfWord > 1 ? pixel_at<Form>(image, g, top + row, left + column + 1) : 0.0f;
                out[row * g.pitch + column] = Form::word(first, second);
            }
        for (int word = static_cast<int>(threadIdx.x); word < steps<Form>(g) * kWordsOfStep; word += kThreads) {
            int row = word / words_of_row<Form>(g);
            table[word] = row < g.r ? row * g.pitch + word % words_of_row<Form>(g) * Form::kTapsOfWord : 0;
        }
    }

    template <typename Form>
    __device__ static void run(float* out, const float* strip, const int* table, const float* weights, const float* scale, const float* offset,
                               const Geometry& g, const Tile& tile) {
        int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp, positions = tile.rows * tile.columns;
        if (warp * kWarp >= positions) return;
        auto pixels = reinterpret_cast<const uint32_t*>(strip);
        auto fragments = reinterpret_cast<const uint2*>(weights) + lane;
        int patch[2][2];
        for (int i = 0; i < 4; i++) {
            int position = warp * kWarp + i * 8 + lane / 4;
            patch[i / 2][i % 2] = position < positions ? tile.offset(g, position / tile.columns, position % tile.columns) : 0;
        }
        float z[2][kColumnTiles][4] = {};
        for (int step = 0; step < steps<Form>(g); step++) {
            int near = table[step * kWordsOfStep + lane % 4], far = table[step * kWordsOfStep + lane % 4 + 4];
            uint32_t a[2][4];
            for (int m = 0; m < 2; m++) {
                a[m][0] = pixels[patch[m][0] + near];
                a[m][1] = pixels[patch[m][1] + near];
                a[m][2] = pixels[patch[m][0] + far];
                a[m][3] = pixels[patch[m][1] + far];
            }
            for (int column = 0; column < kColumnTiles; column++) {
                uint2 pair = fragments[(step * kColumnTiles + column) * kWarp];
                uint32_t b[2] = {pair.x, pair.y};
                for (int m = 0; m < 2; m++) Form::multiply(z[m][column], a[m], b);
            }
        }
        for (int column = 0; column < kColumnTiles; column++) {
            int channel = column * 8 + lane % 4 * 2;
            for (int i = 0; i < 4; i++) {
                int position = warp * kWarp + i * 8 + lane / 4;
                if (position >= positions) break;
                const float* values = z[i / 2][column] + i % 2 * 2;
                *reinterpret_cast<float2*>(out + position * kPitch + channel) =
                    make_float2(activate(values[0], scale[channel], offset[channel], g.relu),
                                activate(values[1], scale[channel + 1], offset[channel + 1], g.relu));
            }
        }
    }
};

template <bool kMatrix>
struct ConvolutionOf {
    typedef ScalarConvolution Type;
};
template <>
struct ConvolutionOf<true> {
    typedef MatrixConvolution Type;
};

// A pooled output and the place of its winner in the window.
struct Pooled {
    float value;
    int winner;

    __device__ void meet(float candidate, int place) {
        if (winner < 0 || candidate > value) {
            value = candidate;
            winner = place;
        }
    }
};

// Pools a tile in 32 channels, a lane each. Windows of kR x kS without padding, or any if kR is 0. Every position of a window counts then, since
// no window reaches over the convolution's end.
template <typename Form, int kPitch, int kR, int kS>
__device__ inline void pool(typename Form::Element* y, uint8_t* argmax, const float* activations, const Geometry& g, const Tile& tile, int channel) {
    int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
    int rows = min(g.tile_rows, g.pooled_p - tile.pooled_top), columns = min(g.tile_columns, g.pooled_q - tile.pooled_left);
    int64_t start = static_cast<int64_t>(tile.image) * g.pooled_p + tile.pooled_top;
    int row = 0, column = warp;
    while (true) {
        while (column >= columns) {
            column -= columns;
            row++;
        }
        if (row >= rows) return;
        const float* window = activations + (row * g.pool_stride_h * tile.columns + column * g.pool_stride_w) * kPitch + lane;
        Pooled best{0, -1};
        if constexpr (kR > 0) {
            best = {window[0], 0};
#pragma unroll
            for (int place = 1; place < kR * kS; place++) best.meet(window[(place / kS * tile.columns + place % kS) * kPitch], place);
        } else {
            int top = tile.top + row * g.pool_stride_h, left = tile.left + column * g.pool_stride_w;
            for (int r = max(0, -top); r < min(g.pool_r, g.p - top); r++)
                for (int s = max(0, -left); s < min(g.pool_s, g.q - left); s++) best.meet(window[(r * tile.columns + s) * kPitch], r * g.pool_s + s);
        }
        int64_t at = ((start + row) * g.pooled_q + tile.pooled_left + column) * g.k + channel;
        y[at] = from_float<typename Form::Element>(best.value);
        if (argmax) argmax[at] = static_cast<uint8_t>(best.winner);
        column += kWarps;
    }
}

// A block takes a tile of pooled outputs and goes through the channels in chunks of 32.
template <typename Form>
__device__ inline void forward(typename Form::Element* y, uint8_t* argmax, const typename Form::Element* x, const float* weight, const float* gamma,
                               const float* beta, const float* mean, const float* deviation, const Geometry& g, float epsilon, bool is_variance) {
    typedef typename ConvolutionOf<Form::kMatrix>::Type Convolution;
    DYNAMIC_SHARED(float, shared);
    SHARED(float, scale, [kChannels]);
    SHARED(float, offset, [kChannels]);
    SHARED(int, table, [kMostTaps]);
    Tile tile(g, static_cast<int>(blockIdx.x));
    // the host's sum of bytes has the same three parts
    float* weights = shared;
    float* activations = weights + kMostTaps * kChannels;
    float* strip = activations + tile.rows * tile.columns * Convolution::kPitch;

    Convolution::template load<Form>(strip, table, image_of<Form>(x, g, tile.image), g, tile);
    bool padded = g.pool_pad_h > 0 || g.pool_pad_w > 0;
    for (int first = 0; first < g.k; first += kChannels) {
        Convolution::template load_weights<Form>(weights, weight, g, first);
        load_affine(scale, offset, gamma, beta, mean, deviation, first, g.k, epsilon, is_variance);
        __syncthreads();
        Convolution::template run<Form>(activations, strip, table, weights, scale, offset, g, tile);
        __syncthreads();
        // weights may be loaded again from here on, activations not before the next barrier: all have left this loop then
        int channel = first + static_cast<int>(threadIdx.x) % kWarp;
        if (channel >= g.k) continue;
        if (!padded && g.pool_r == 3 && g.pool_s == 3)
            pool<Form, Convolution::kPitch, 3, 3>(y, argmax, activations, g, tile, channel);
        else if (!padded && g.pool_r == 1 && g.pool_s == 3)
            pool<Form, Convolution::kPitch, 1, 3>(y, argmax, activations, g, tile, channel);
        else
            pool<Form, Convolution::kPitch, 0, 0>(y, argmax, activations, g, tile, channel);
    }
}

// ---- backward -------------------------------------------------------------------------------------------------------------------

// A gradient behind the batch norm and where in the strip the window of its position starts.
struct alignas(8) Gradient {
    float value;
    int32_t patch;
};

// D of 32 channels over the block's tiles: a lane takes a channel, a warp kTaps taps. The lanes read a few places of the strip only, as many as
// the pool's window has elements; the pitch is such that these lie in different banks.
template <typename Form, int kTaps>
__device__ inline void sum_gradients(float* partial, const typename Form::Element* dy, const typename Form::Element* y, const uint8_t* argmax,
                                     const typename Form::Element* x, float shift, const Geometry& g) {
    DYNAMIC_SHARED(Gradient, gradients);
    auto strip = reinterpret_cast<float*>(gradients + g.tile_rows * g.tile_columns * kChannels);
    int taps = g.r * g.s, warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
    int channel = static_cast<int>(blockIdx.y) * kChannels + lane;
    int places[kTaps];
    for (int i = 0; i < kTaps; i++) {
        int tap = warp * kTaps + i;
        places[i] = tap < taps ? tap / g.s * g.pitch + tap % g.s : 0;
    }
    float d[kTaps] = {}, sum = 0;
    int across = (g.pooled_q + g.tile_columns - 1) / g.tile_columns, down = (g.pooled_p + g.tile_rows - 1) / g.tile_rows;
    for (int index = static_cast<int>(blockIdx.x); index < g.n * across * down; index += static_cast<int>(gridDim.x)) {
        Tile tile(g, index);
        int rows = min(g.tile_rows, g.pooled_p - tile.pooled_top), columns = min(g.tile_columns, g.pooled_q - tile.pooled_left);
        __syncthreads();  // the tile before this one has been read
        load_strip<Form>(strip, image_of<Form>(x, g, tile.image), g, tile.strip_top(g), tile.strip_left(g), tile.strip_rows, tile.strip_columns,
                         g.pitch, shift);
        for (int output = warp; output < rows * columns; output += kWarps) {
            int row = output / columns, column = output % columns;
            Gradient gradient{0, 0};
            if (channel < g.k) {
                int64_t at = ((static_cast<int64_t>(tile.image) * g.pooled_p + tile.pooled_top + row) * g.pooled_q + tile.pooled_left + column) * g.k +
                             channel;
                if (!g.relu || to_float(y[at]) > 0) {
                    int winner = argmax[at];
                    gradient.value = to_float(dy[at]);
                    gradient.patch = tile.offset(g, row * g.pool_stride_h + winner / g.pool_s, column * g.pool_stride_w + winner % g.pool_s);
                }
            }
            gradients[output * kChannels + lane] = gradient;
        }
        __syncthreads();
        for (int output = 0; output < rows * columns; output++) {
            Gradient gradient = gradients[output * kChannels + lane];
            sum += gradient.value;
            for (int i = 0; i < kTaps; i++) d[i] += gradient.value * strip[gradient.patch + places[i]];
        }
    }
    if (channel >= g.k) return;
    float* out = partial + (static_cast<int64_t>(blockIdx.x) * g.k + channel) * (taps + 1);
    for (int i = 0; i < kTaps; i++)
        if (warp * kTaps + i < taps) out[warp * kTaps + i] = d[i];
    if (warp == 0) out[taps] = sum;
}

// partial [blocks][K][T + 1]: D of the shifted windows, then dbeta.
template <typename Form>
__device__ inline void backward(float* partial, const typename Form::Element* dy, const typename Form::Element* y, const uint8_t* argmax,
                                const typename Form::Element* x, const double* state, const Geometry& g) {
    int taps = g.r * g.s;
    float shift = static_cast<float>(state[taps * taps + taps]);
    if (taps <= 5 * kWarps)
        sum_gradients<Form, 5>(partial, dy, y, argmax, x, shift, g);
    else if (taps <= 7 * kWarps)
        sum_gradients<Form, 7>(partial, dy, y, argmax, x, shift, g);
    else
        sum_gradients<Form, 8>(partial, dy, y, argmax, x, shift, g);
}

// A block takes a channel, a thread a tap and a quarter of the partial sums.
template <typename Form>
__device__ inline void finish(float* dweight, float* dgamma, float* dbeta, const float* partial, const double* state, const float* weight,
                              const float* gamma, const float* inverse_std, const Geometry& g, int blocks) {
    constexpr int kSums = kMostTaps + 1, kSlices = 3;
    static_assert(kSums * kSlices <= kThreads, "a thread for each");
    SHARED(double, slices, [kSlices][kSums]);
    SHARED(double, d, [kSums]);
    SHARED(double, weights, [kMostTaps]);
    int taps = g.r * g.s, channel = static_cast<int>(blockIdx.x), thread = static_cast<int>(threadIdx.x);
    int tap = thread % kSums, slice = thread / kSums;
    if (slice < kSlices && tap <= taps) {
        double total = 0;
        for (int block = slice; block < blocks; block += kSlices)
            total += partial[(static_cast<int64_t>(block) * g.k + channel) * (taps + 1) + tap];
        slices[slice][tap] = total;
    }
    if (thread < taps) weights[thread] = counted_weight<Form>(weight, g, channel, thread);
    __syncthreads();
    if (thread <= taps) {
        double total = 0;
        for (int i = 0; i < kSlices; i++) total += slices[i][thread];
        d[thread] = total;
    }
    __syncthreads();
    if (thread >= taps) return;
    const double* sums = state + taps * taps;
    double count = positions_of(g), inverse = inverse_std[channel], beta_gradient = d[taps], gamma_gradient = 0;
    for (int i = 0; i < taps; i++) gamma_gradient += weights[i] * (d[i] - beta_gradient / count * sums[i]);
    gamma_gradient *= inverse;
    double through_variance = gamma_gradient * inverse / count * centred_row(state, weights, taps, thread, count);
    if (meets_image(g, thread))
        dweight[channel * taps + thread] +=
            static_cast<float>(gamma[channel] * inverse * (d[thread] - beta_gradient / count * sums[thread] - through_variance));
    if (thread == 0) {
        dgamma[channel] += static_cast<float>(gamma_gradient);
        dbeta[channel] += static_cast<float>(beta_gradient);
    }
}

}  // namespace stem

KERNEL((stem::kThreads), stem_merge, (double* state, const float* partial, int32_t taps, int32_t blocks)) {
    stem::merge(state, partial, taps, blocks);
}

#define STEM_KERNELS(suffix, Form, Element)                                                                                                   \
    KERNEL((stem::kThreads, 2), stem_gram_##suffix, (float* partial, double* state, const Element* x, stem::Geometry g)) {                    \
        stem::gram<stem::Form>(partial, state, x, g);                                                                                         \
    }                                                                                                                                         \
    KERNEL((stem::kMostTaps), stem_statistics_##suffix,                                                                                       \
           (float* mean, float* inverse_std, float* running_mean, float* running_variance, const double* state, const float* weight,          \
            stem::Geometry g, float epsilon, float momentum)) {                                                                               \
        stem::statistics<stem::Form>(mean, inverse_std, running_mean, running_variance, state, weight, g, epsilon, momentum);                 \
    }                                                                                                                                         \
    KERNEL((stem::kThreads, 3), stem_forward_##suffix,                                                                                        \
           (Element* y, uint8_t* argmax, const Element* x, const float* weight, const float* gamma, const float* beta, const float* mean,     \
            const float* deviation, stem::Geometry g, float epsilon, int32_t is_variance)) {                                                  \
        stem::forward<stem::Form>(y, argmax, x, weight, gamma, beta, mean, deviation, g, epsilon, is_variance != 0);                          \
    }                                                                                                                                         \
    KERNEL((stem::kThreads, 3), stem_backward_##suffix,                                                                                       \
           (float* partial, const Element* dy, const Element* y, const uint8_t* argmax, const Element* x, const double* state,                \
            stem::Geometry g)) {                                                                                                              \
        stem::backward<stem::Form>(partial, dy, y, argmax, x, state, g);                                                                      \
    }                                                                                                                                         \
    KERNEL((stem::kThreads), stem_finish_##suffix,                                                                                            \
           (float* dweight, float* dgamma, float* dbeta, const float* partial, const double* state, const float* weight, const float* gamma,  \
            const float* inverse_std, stem::Geometry g, int32_t blocks)) {                                                                    \
        stem::finish<stem::Form>(dweight, dgamma, dbeta, partial, state, weight, gamma, inverse_std, g, blocks);                              \
    }

STEM_KERNELS(f32, F32, float)
STEM_KERNELS(tf32, Tf32, float)
STEM_KERNELS(bf16, Bf16, bf16)
#undef STEM_KERNELS
