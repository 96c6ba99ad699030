// kLanes channels in registers, for one instruction set: see instruction_sets.h. A tail of C % kLanes channels takes
// the same path with fewer lanes: the others read as zero.

typedef float vfloat __attribute__((vector_size(4 * kLanes)));
typedef int32_t vint __attribute__((vector_size(4 * kLanes)));
typedef uint32_t vuint __attribute__((vector_size(4 * kLanes)));
typedef uint16_t vshort __attribute__((vector_size(2 * kLanes)));
using all_lanes = std::integral_constant<int, kLanes>;

template <class V, class T>
AVEDIS_INLINE V read(const T* p, int lanes) {
    V v = {};
    if (lanes == kLanes)
        std::memcpy(&v, p, kLanes * sizeof(T));
    else if (lanes == 8)  // half a vector, where channels are multiples of eight
        std::memcpy(&v, p, 8 * sizeof(T));
    else
        std::memcpy(&v, p, lanes * sizeof(T));
    return v;
}

template <class V, class T>
AVEDIS_INLINE void write(T* p, V v, int lanes) {
    if (lanes == kLanes)
        std::memcpy(p, &v, kLanes * sizeof(T));
    else if (lanes == 8)
        std::memcpy(p, &v, 8 * sizeof(T));
    else
        std::memcpy(p, &v, lanes * sizeof(T));
}

AVEDIS_INLINE vfloat load(const float* p, int lanes) {
    return read<vfloat>(p, lanes);
}

AVEDIS_INLINE void store(float* p, vfloat v, int lanes) {
    write(p, v, lanes);
}

#if AVEDIS_HAS_AVX512
AVEDIS_INLINE vfloat load(const bf16* p, int lanes) {
    return (vfloat)_mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)read<vshort>(p, lanes)), 16);
}

AVEDIS_INLINE vint load(const uint8_t* p, int lanes) {
    return (vint)_mm512_cvtepu8_epi32(read<__m128i>(p, lanes));
}

AVEDIS_INLINE void store(uint8_t* p, vint v, int lanes) {
    write(p, _mm512_cvtepi32_epi8((__m512i)v), lanes);
}

AVEDIS_INLINE vshort narrow(vuint v) {
    return (vshort)_mm512_cvtepi32_epi16((__m512i)v);
}
#elif AVEDIS_HAS_AVX2
AVEDIS_INLINE vfloat load(const bf16* p, int lanes) {
    return (vfloat)_mm256_slli_epi32(_mm256_cvtepu16_epi32((__m128i)read<vshort>(p, lanes)), 16);
}

AVEDIS_INLINE vint load(const uint8_t* p, int lanes) {
    int64_t bytes = 0;
    std::memcpy(&bytes, p, lanes);
    return (vint)_mm256_cvtepu8_epi32(_mm_cvtsi64_si128(bytes));
}

AVEDIS_INLINE void store(uint8_t* p, vint v, int lanes) {
    const __m256i first = _mm256_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 4, 8, 12, -1,
                                           -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
    __m256i halves = _mm256_shuffle_epi8((__m256i)v, first);
    __m128i eight = _mm_unpacklo_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256(halves, 1));
    std::memcpy(p, &eight, lanes);
}

AVEDIS_INLINE vshort narrow(vuint v) {
    return __builtin_convertvector(v, vshort);
}
#else
// Spelled as shuffles where __builtin_convertvector becomes one scalar move per channel.
AVEDIS_INLINE vfloat load(const bf16* p, int lanes) {
    vshort upper = read<vshort>(p, lanes), zero = {};
    return (vfloat)__builtin_shufflevector(upper, zero, 8, 0, 8, 1, 8, 2, 8, 3, 8, 4, 8, 5, 8, 6, 8, 7);
}

typedef uint64_t vlong __attribute__((vector_size(4 * kLanes)));
typedef uint8_t vbyte __attribute__((vector_size(2 * kLanes)));

AVEDIS_INLINE vint load(const uint8_t* p, int lanes) {
    uint64_t bytes = 0;
    std::memcpy(&bytes, p, lanes);
    vuint words = (vuint)(vlong{} + bytes);
    words = __builtin_shufflevector(words, words, 0, 0, 0, 0, 1, 1, 1, 1);
    return (vint)(words >> (vuint){0, 8, 16, 24, 0, 8, 16, 24} & 255);
}

AVEDIS_INLINE void store(uint8_t* p, vint v, int lanes) {
    vbyte halves[2];
    std::memcpy(halves, &v, sizeof(v));
    vbyte bytes =
        __builtin_shufflevector(halves[0], halves[1], 0, 4, 8, 12, 16, 20, 24, 28, 0, 4, 8, 12, 16, 20, 24, 28);
    std::memcpy(p, &bytes, lanes);
}

AVEDIS_INLINE vshort narrow(vuint v) {
    return __builtin_convertvector(v, vshort);
}
#endif

AVEDIS_INLINE void store(bf16* p, vfloat v, int lanes) {
    vuint bits = (vuint)v;
    vuint rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    vuint quiet = (bits >> 16) | 0x40;
    write(p, narrow(v != v ? quiet : rounded), lanes);
}

// sum + v * x[0]
AVEDIS_INLINE vfloat multiply_add(vfloat sum, vfloat v, const float* x) {
    return sum + v * *x;
}

#if AVEDIS_HAS_BF16
// sum + v0 * x[0] + v1 * x[1] for pairs of bfloat16 in v
AVEDIS_INLINE vfloat multiply_add(vfloat sum, vfloat v, const bf16* x) {
    int32_t pair;
    std::memcpy(&pair, x, sizeof(pair));
    return (vfloat)_mm512_dpbf16_ps((__m512)sum, (__m512bh)v, (__m512bh)_mm512_set1_epi32(pair));
}
#endif
