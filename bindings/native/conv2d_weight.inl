// The products of conv2d_weight.cpp for one instruction set: see instruction_sets.h.

// Sums of Channels x Vectors vectors that stay in registers, beside the gradients and a pixel.
constexpr int kMostVectors = kLanes == 16 ? 4 : 3;

constexpr int most_channels(int vectors) {
    return kLanes == 16 ? (vectors == 4 ? 6 : vectors == 3 ? 8 : 12) : (vectors == 3 ? 4 : vectors == 2 ? 6 : 8);
}

template <int Channels, int Vectors, class T>
static void outer(float* sums, const T* dy, const T* x, const outer_shape& s) {
    constexpr int64_t kLanesOfStep = 4 / sizeof(T), kElements = kLanes * kLanesOfStep;
    vfloat acc[Channels][Vectors] = {};
    for (int64_t image = 0; image < s.images; image++)
        for (int64_t row = 0; row < s.rows; row++) {
            const T *gradients = dy + image * s.dy_image + row * s.dy_row,
                    *pixels = x + image * s.x_image + row * s.x_row;
            for (int64_t step = 0; step < s.steps; step++, gradients += Vectors * kElements, pixels += s.x_step) {
                vfloat g[Vectors];
#pragma GCC unroll 8
                for (int v = 0; v < Vectors; v++) std::memcpy(&g[v], gradients + v * kElements, sizeof(vfloat));
#pragma GCC unroll 16
                for (int c = 0; c < Channels; c++)
#pragma GCC unroll 8
                    for (int v = 0; v < Vectors; v++)
                        acc[c][v] = multiply_add(acc[c][v], g[v], pixels + c * kLanesOfStep);
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

template <int Vectors, class T, int... Channels>
static void outer_channels(float* sums, const T* dy, const T* x, const outer_shape& s, int64_t channels,
                           std::integer_sequence<int, Channels...>) {
    static constexpr void (*kernels[])(float*, const T*, const T*,
                                       const outer_shape&) = {outer<Channels + 1, Vectors, T>...};
    kernels[channels - 1](sums, dy, x, s);
}

template <class T>
static void outer_product(float* sums, const T* dy, const T* x, const outer_shape& s, int64_t channels,
                          int64_t vectors) {
    auto with = [&](auto count) {
        outer_channels<count>(sums, dy, x, s, channels, std::make_integer_sequence<int, most_channels(count)>());
    };
    if constexpr (kMostVectors >= 4)
        if (vectors == 4) return with(std::integral_constant<int, 4>());
    if (vectors == 3) return with(std::integral_constant<int, 3>());
    if (vectors == 2) return with(std::integral_constant<int, 2>());
    with(std::integral_constant<int, 1>());
}

static void pack(float* y, const float* x, const float*, int64_t count) {
    std::memcpy(y, x, static_cast<size_t>(count) * sizeof(float));
}

static void pack(float* y, const bf16* x, const bf16*, int64_t count) {
    for (int64_t i = 0; i < count; i++) y[i] = to_float(x[i]);
}

#if AVEDIS_HAS_BF16
static void pack(bf16* y, const bf16* first, const bf16* second, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        uint32_t pair = first[i].bits | static_cast<uint32_t>(second[i].bits) << 16;
        std::memcpy(static_cast<void*>(y + 2 * i), &pair, sizeof(pair));
    }
}
#endif

static int64_t channels_at_once(int64_t vectors) {
    return most_channels(static_cast<int>(vectors));
}

static const weight_kernels& kernels() {
#if AVEDIS_HAS_BF16
    static constexpr weight_kernels table{kLanes,
                                          kMostVectors,
                                          channels_at_once,
                                          {outer_product<float>, pack},
                                          {outer_product<float>, pack},
                                          {outer_product<bf16>, pack}};
#else
    static constexpr weight_kernels table{
        kLanes, kMostVectors, channels_at_once, {outer_product<float>, pack}, {outer_product<float>, pack}, {}};
#endif
    return table;
}
