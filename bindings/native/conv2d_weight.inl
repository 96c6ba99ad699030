// The products of conv2d_weight.cpp for one instruction set: see instruction_sets.h.

// Sums of Channels x Vectors vectors that stay in registers, beside the gradients and a pixel.
constexpr int kMostVectors = kLanes == 16 ? 4 : 3;

constexpr int most_channels(int vectors) {
    return kLanes == 16 ? (vectors == 4 ? 6 : vectors == 3 ? 8 : 12) : (vectors == 3 ? 4 : vectors == 2 ? 6 : 8);
}

template <int Channels, int Vectors, class T>
static void outer(float* sums, const T* dy, const T* x, const outer_shape& s) {
    constexpr int64_t kElements = 4 * kLanes / sizeof(T), kLanesOfStep = 4 / sizeof(T);
    vfloat acc[Channels][Vectors] = {};
    for (int64_t image = 0; image < s.images; image++)
        for (int64_t row = 0; row < s.rows; row++) {
            const T *gradients = dy + image * s.dy_image + row * s.dy_row,
                    *pixels = x + image * s.x_image + row * s.x_row;
            for (int64_t step = 0; step < s.steps; step++, gradients += Vectors * kElements, pixels += kLanesOfStep) {
                vfloat g[Vectors];
#pragma GCC unroll 8
                for (int v = 0; v < Vectors; v++) std::memcpy(&g[v], gradients + v * kElements, sizeof(vfloat));
#pragma GCC unroll 16
                for (int c = 0; c < Channels; c++)
#pragma GCC unroll 8
                    for (int v = 0; v < Vectors; v++)
                        acc[c][v] = multiply_add(acc[c][v], g[v], pixels + c * s.x_channel);
            }
        }
#pragma GCC unroll 16
    for (int c = 0; c < Channels; c++)
#pragma GCC unroll 8
        for (int v = 0; v < Vectors; v++) {
            vfloat sum;
            float* at = sums + c * s.sums_channel + v * kLanes;
            std::memcpy(&sum, at, sizeof(sum));
            sum += acc[c][v];
            std::memcpy(at, &sum, sizeof(sum));
        }
}

template <int Vectors, class T>
static void outer_channels(float* sums, const T* dy, const T* x, const outer_shape& s, int64_t channels) {
    int64_t c = 0;
    auto each = [&](auto some) {
        for (; c + some <= channels; c += some)
            outer<some, Vectors>(sums + c * s.sums_channel, dy, x + c * s.x_channel, s);
    };
    each(std::integral_constant<int, most_channels(Vectors)>());
    each(std::integral_constant<int, 4>());
    each(std::integral_constant<int, 2>());
    each(std::integral_constant<int, 1>());
}

template <class T>
static void outer_vectors(float* sums, const T* dy, const T* x, const outer_shape& s, int64_t channels,
                          int64_t vectors) {
    if constexpr (kMostVectors >= 4)
        if (vectors == 4) return outer_channels<4>(sums, dy, x, s, channels);
    if (vectors == 3) return outer_channels<3>(sums, dy, x, s, channels);
    if (vectors == 2) return outer_channels<2>(sums, dy, x, s, channels);
    outer_channels<1>(sums, dy, x, s, channels);
}

static int64_t channels_at_once(int64_t vectors) {
    return most_channels(static_cast<int>(vectors));
}

static const weight_kernels& kernels() {
#if AVEDIS_HAS_BF16
    static constexpr weight_kernels table{kLanes, kMostVectors, channels_at_once, outer_vectors<float>,
                                          outer_vectors<bf16>};
#else
    static constexpr weight_kernels table{kLanes, kMostVectors, channels_at_once, outer_vectors<float>, nullptr};
#endif
    return table;
}
