// A double of cuDNN and cuBLAS for tests: the functions that bench/Kernels binds, with the signatures and numbers of
// their documentation, computed by loops over the memory of the emulated driver. What the caller mixes up (a descriptor
// of another kind, a stream that was not set, types that do not go together, a workspace that is too small) is refused;
// another layout or another order of arguments computes something else.
#include <cstdint>
#include <cstring>
#include <vector>

extern "C" int cuStreamSynchronize(void* stream);  // of the emulated driver, which puts work off

#define API extern "C" __attribute__((visibility("default")))

namespace {

enum Status { kSuccess = 0, kBadParam = 3, kNotSupported = 9 };
enum DataType { kFloat = 0, kBfloat16 = 9 };
enum Format { kNchw = 0, kNhwc = 1 };
enum Math { kDefaultMath = 0, kTensorOpMath = 1, kFmaMath = 3 };

// What a test makes it do wrong.
enum Fault { kNone = 0, kOtherLayout = 1, kNoAlgorithm = 2 };
int fault = kNone;

constexpr int kHandleTag = 0x48414e44, kTensorTag = 0x54454e53, kFilterTag = 0x46494c54, kConvolutionTag = 0x434f4e56;
constexpr size_t kWorkspace = 4096;  // that its algorithm asks for
constexpr int kAlgorithm = 1;

struct Handle {
    int tag = kHandleTag;
    void* stream = nullptr;
};

// Of a tensor n, c, h, w; of a filter k, c, r, s.
struct Descriptor {
    int tag;
    int type = -1, format = -1;
    int extents[4] = {};

    size_t index(int a, int b, int h, int w) const {
        bool channels_last = (format == kNhwc) != (fault == kOtherLayout);
        size_t pixel = static_cast<size_t>(h) * extents[3] + w;
        return channels_last ? (static_cast<size_t>(a) * extents[2] * extents[3] + pixel) * extents[1] + b
                             : (static_cast<size_t>(a) * extents[1] + b) * extents[2] * extents[3] + pixel;
    }
    size_t count() const { return static_cast<size_t>(extents[0]) * extents[1] * extents[2] * extents[3]; }
};

struct Convolution {
    int tag = kConvolutionTag;
    int pad_h = 0, pad_w = 0, stride_h = 0, stride_w = 0, math = kDefaultMath;
    bool set = false;
};

struct Performance {
    int algorithm, status;
    float time;
    size_t memory;
    int determinism, math, reserved[3];
};

float load(const void* data, int type, size_t i) {
    if (type == kFloat) return static_cast<const float*>(data)[i];
    uint32_t bits = static_cast<uint32_t>(static_cast<const uint16_t*>(data)[i]) << 16;
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

// BF16 to nearest even
void store(void* data, int type, size_t i, float value) {
    if (type == kFloat) {
        static_cast<float*>(data)[i] = value;
        return;
    }
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    bits += 0x7fff + (bits >> 16 & 1);
    static_cast<uint16_t*>(data)[i] = static_cast<uint16_t>(bits >> 16);
}

Handle* handle_of(void* pointer) {
    auto handle = static_cast<Handle*>(pointer);
    return handle && handle->tag == kHandleTag && handle->stream ? handle : nullptr;
}

enum Pass { kForward, kBackwardData, kBackwardFilter };

// The descriptors of a pass in the order in which its functions take them.
struct Operands {
    const Descriptor *x, *w, *y;
    const Convolution* convolution;

    Operands(Pass pass, const void* a, const void* b, const void* conv, const void* result)
        : convolution(static_cast<const Convolution*>(conv)) {
        auto first = static_cast<const Descriptor*>(a), second = static_cast<const Descriptor*>(b),
             third = static_cast<const Descriptor*>(result);
        x = pass == kBackwardData ? third : first;
        w = pass == kForward ? second : pass == kBackwardData ? first : third;
        y = pass == kForward ? third : second;
    }

    int extent(int size, int window, int pad, int stride) const { return (size + 2 * pad - window) / stride + 1; }

    Status check() const {
        if (x->tag != kTensorTag || y->tag != kTensorTag || w->tag != kFilterTag ||
            convolution->tag != kConvolutionTag || !convolution->set)
            return kBadParam;
        if (x->format != w->format || x->format != y->format || x->type != w->type || x->type != y->type)
            return kNotSupported;
        const auto& c = *convolution;
        if (c.math == kFmaMath && x->type != kFloat) return kNotSupported;
        if (x->extents[0] != y->extents[0] || x->extents[1] != w->extents[1] || y->extents[1] != w->extents[0])
            return kBadParam;
        if (extent(x->extents[2], w->extents[2], c.pad_h, c.stride_h) != y->extents[2] ||
            extent(x->extents[3], w->extents[3], c.pad_w, c.stride_w) != y->extents[3])
            return kBadParam;
        return kSuccess;
    }
};

int find(Pass pass, void* handle, const Operands& of, void* result, int requested, int* returned, Performance* found,
         size_t workspace) {
    if (!handle_of(handle) || requested < 2) return kBadParam;
    if (Status status = of.check()) return status;
    const Descriptor* written = pass == kForward ? of.y : pass == kBackwardData ? of.x : of.w;
    cuStreamSynchronize(handle_of(handle)->stream);
    for (size_t i = 0; i < written->count(); i++)
        store(result, written->type, i, -1e30f);  // trials overwrite the result
    bool fits = fault != kNoAlgorithm && workspace >= kWorkspace;
    found[0] = {kAlgorithm, fits ? kSuccess : kNotSupported, fits ? 0.5f : -1, kWorkspace, 1, of.convolution->math, {}};
    found[1] = {7, kNotSupported, -1, 0, 0, kDefaultMath, {}};
    *returned = 2;
    return kSuccess;
}

int convolve(Pass pass, void* handle, const Operands& of, const void* alpha, const void* a, const void* b,
             int algorithm, void* workspace, size_t bytes, const void* beta, void* result) {
    if (!handle_of(handle) || algorithm != kAlgorithm || !workspace || bytes < kWorkspace) return kBadParam;
    if (Status status = of.check()) return status;
    cuStreamSynchronize(handle_of(handle)->stream);
    float scale = *static_cast<const float*>(alpha), keep = *static_cast<const float*>(beta);
    const Descriptor* written = pass == kForward ? of.y : pass == kBackwardData ? of.x : of.w;
    std::vector<double> sums(written->count());
    const auto& c = *of.convolution;
    for (int n = 0; n < of.x->extents[0]; n++)
        for (int p = 0; p < of.y->extents[2]; p++)
            for (int q = 0; q < of.y->extents[3]; q++)
                for (int r = 0; r < of.w->extents[2]; r++)
                    for (int s = 0; s < of.w->extents[3]; s++) {
                        int h = p * c.stride_h + r - c.pad_h, w = q * c.stride_w + s - c.pad_w;
                        if (h < 0 || h >= of.x->extents[2] || w < 0 || w >= of.x->extents[3]) continue;
                        for (int k = 0; k < of.w->extents[0]; k++)
                            for (int channel = 0; channel < of.w->extents[1]; channel++) {
                                size_t ix = of.x->index(n, channel, h, w), iw = of.w->index(k, channel, r, s),
                                       iy = of.y->index(n, k, p, q);
                                size_t ia = pass == kBackwardData ? iw : ix, ib = pass == kForward ? iw : iy;
                                size_t to = pass == kForward ? iy : pass == kBackwardData ? ix : iw;
                                sums[to] += static_cast<double>(load(a, of.x->type, ia)) * load(b, of.x->type, ib);
                            }
                    }
    for (size_t i = 0; i < sums.size(); i++)
        store(result, written->type, i,
              scale * static_cast<float>(sums[i]) + (keep != 0 ? keep * load(result, written->type, i) : 0));
    return kSuccess;
}

int set_descriptor(void* pointer, int tag, int format, int type, int a, int b, int c, int d) {
    auto descriptor = static_cast<Descriptor*>(pointer);
    if (descriptor->tag != tag || (format != kNchw && format != kNhwc) || (type != kFloat && type != kBfloat16) ||
        a < 1 || b < 1 || c < 1 || d < 1)
        return kBadParam;
    descriptor->format = format;
    descriptor->type = type;
    int extents[] = {a, b, c, d};
    std::memcpy(descriptor->extents, extents, sizeof extents);
    return kSuccess;
}

}  // namespace

// ---- for the tests

API void peers_double_set_fault(int wanted) {
    fault = wanted;
}

// ---- cuDNN

API size_t cudnnGetVersion() {
    return 90100;
}
API const char* cudnnGetErrorString(int status) {
    return status == kSuccess        ? "CUDNN_STATUS_SUCCESS"
           : status == kNotSupported ? "CUDNN_STATUS_NOT_SUPPORTED"
                                     : "CUDNN_STATUS_BAD_PARAM";
}
API int cudnnCreate(void** handle) {
    *handle = new Handle;
    return kSuccess;
}
API int cudnnDestroy(void* handle) {
    delete static_cast<Handle*>(handle);
    return kSuccess;
}
API int cudnnSetStream(void* handle, void* stream) {
    static_cast<Handle*>(handle)->stream = stream;
    return kSuccess;
}
API int cudnnCreateTensorDescriptor(void** descriptor) {
    *descriptor = new Descriptor{kTensorTag};
    return kSuccess;
}
API int cudnnCreateFilterDescriptor(void** descriptor) {
    *descriptor = new Descriptor{kFilterTag};
    return kSuccess;
}
API int cudnnCreateConvolutionDescriptor(void** descriptor) {
    *descriptor = new Convolution;
    return kSuccess;
}
API int cudnnDestroyTensorDescriptor(void* descriptor) {
    delete static_cast<Descriptor*>(descriptor);
    return kSuccess;
}
API int cudnnDestroyFilterDescriptor(void* descriptor) {
    return cudnnDestroyTensorDescriptor(descriptor);
}
API int cudnnDestroyConvolutionDescriptor(void* descriptor) {
    delete static_cast<Convolution*>(descriptor);
    return kSuccess;
}
API int cudnnSetTensor4dDescriptor(void* descriptor, int format, int type, int n, int c, int h, int w) {
    return set_descriptor(descriptor, kTensorTag, format, type, n, c, h, w);
}
API int cudnnSetFilter4dDescriptor(void* descriptor, int type, int format, int k, int c, int h, int w) {
    return set_descriptor(descriptor, kFilterTag, format, type, k, c, h, w);
}
// mode 1: cross-correlation
API int cudnnSetConvolution2dDescriptor(void* descriptor, int pad_h, int pad_w, int u, int v, int dilation_h,
                                        int dilation_w, int mode, int compute_type) {
    auto convolution = static_cast<Convolution*>(descriptor);
    if (convolution->tag != kConvolutionTag || dilation_h != 1 || dilation_w != 1 || mode != 1 ||
        compute_type != kFloat || u < 1 || v < 1)
        return kBadParam;
    convolution->pad_h = pad_h;
    convolution->pad_w = pad_w;
    convolution->stride_h = u;
    convolution->stride_w = v;
    convolution->set = true;
    return kSuccess;
}
API int cudnnSetConvolutionMathType(void* descriptor, int math) {
    if (math != kDefaultMath && math != kTensorOpMath && math != kFmaMath) return kBadParam;
    static_cast<Convolution*>(descriptor)->math = math;
    return kSuccess;
}
API int cudnnFindConvolutionForwardAlgorithmEx(void* handle, void* x_desc, const void*, void* w_desc, const void*,
                                               void* conv_desc, void* y_desc, void* y, int requested, int* returned,
                                               void* found, void*, size_t workspace) {
    return find(kForward, handle, Operands(kForward, x_desc, w_desc, conv_desc, y_desc), y, requested, returned,
                static_cast<Performance*>(found), workspace);
}
API int cudnnFindConvolutionBackwardDataAlgorithmEx(void* handle, void* w_desc, const void*, void* dy_desc, const void*,
                                                    void* conv_desc, void* dx_desc, void* dx, int requested,
                                                    int* returned, void* found, void*, size_t workspace) {
    return find(kBackwardData, handle, Operands(kBackwardData, w_desc, dy_desc, conv_desc, dx_desc), dx, requested,
                returned, static_cast<Performance*>(found), workspace);
}
API int cudnnFindConvolutionBackwardFilterAlgorithmEx(void* handle, void* x_desc, const void*, void* dy_desc,
                                                      const void*, void* conv_desc, void* dw_desc, void* dw,
                                                      int requested, int* returned, void* found, void*,
                                                      size_t workspace) {
    return find(kBackwardFilter, handle, Operands(kBackwardFilter, x_desc, dy_desc, conv_desc, dw_desc), dw, requested,
                returned, static_cast<Performance*>(found), workspace);
}
API int cudnnConvolutionForward(void* handle, const void* alpha, void* x_desc, const void* x, void* w_desc,
                                const void* w, void* conv_desc, int algorithm, void* workspace, size_t bytes,
                                const void* beta, void* y_desc, void* y) {
    return convolve(kForward, handle, Operands(kForward, x_desc, w_desc, conv_desc, y_desc), alpha, x, w, algorithm,
                    workspace, bytes, beta, y);
}
API int cudnnConvolutionBackwardData(void* handle, const void* alpha, void* w_desc, const void* w, void* dy_desc,
                                     const void* dy, void* conv_desc, int algorithm, void* workspace, size_t bytes,
                                     const void* beta, void* dx_desc, void* dx) {
    return convolve(kBackwardData, handle, Operands(kBackwardData, w_desc, dy_desc, conv_desc, dx_desc), alpha, w, dy,
                    algorithm, workspace, bytes, beta, dx);
}
API int cudnnConvolutionBackwardFilter(void* handle, const void* alpha, void* x_desc, const void* x, void* dy_desc,
                                       const void* dy, void* conv_desc, int algorithm, void* workspace, size_t bytes,
                                       const void* beta, void* dw_desc, void* dw) {
    return convolve(kBackwardFilter, handle, Operands(kBackwardFilter, x_desc, dy_desc, conv_desc, dw_desc), alpha, x,
                    dy, algorithm, workspace, bytes, beta, dw);
}

// ---- cuBLAS

API const char* cublasGetStatusString(int status) {
    return status == kSuccess ? "CUBLAS_STATUS_SUCCESS" : "CUBLAS_STATUS_INVALID_VALUE";
}
API int cublasCreate_v2(void** handle) {
    return cudnnCreate(handle);
}
API int cublasDestroy_v2(void* handle) {
    return cudnnDestroy(handle);
}
API int cublasSetStream_v2(void* handle, void* stream) {
    return cudnnSetStream(handle, stream);
}
API int cublasGetVersion_v2(void* handle, int* version) {
    *version = 120405;
    return static_cast<Handle*>(handle)->tag == kHandleTag ? kSuccess : kBadParam;
}

// Column-major; types 0 FP32 and 14 BF16, compute types 68 32F and 77 32F_FAST_TF32, algorithm -1 by default.
API int cublasGemmEx(void* handle, int trans_a, int trans_b, int m, int n, int k, const void* alpha, const void* a,
                     int a_type, int lda, const void* b, int b_type, int ldb, const void* beta, void* c, int c_type,
                     int ldc, int compute, int algorithm) {
    if (!handle_of(handle) || trans_a < 0 || trans_a > 1 || trans_b < 0 || trans_b > 1 || m < 1 || n < 1 || k < 1 ||
        a_type != b_type || c_type != 0 || (a_type != 0 && a_type != 14) || (compute != 68 && compute != 77) ||
        (compute == 77 && a_type != 0) || algorithm != -1)
        return kBadParam;
    if (lda < (trans_a ? k : m) || ldb < (trans_b ? n : k) || ldc < m) return kBadParam;
    cuStreamSynchronize(handle_of(handle)->stream);
    int type = a_type == 14 ? kBfloat16 : kFloat;
    bool swapped = fault == kOtherLayout;
    float scale = *static_cast<const float*>(alpha), keep = *static_cast<const float*>(beta);
    auto at = [](bool transposed, size_t row, size_t column, size_t ld) {
        return transposed ? row * ld + column : column * ld + row;
    };
    auto result = static_cast<float*>(c);
    for (int j = 0; j < n; j++)
        for (int i = 0; i < m; i++) {
            double sum = 0;
            for (int l = 0; l < k; l++)
                sum +=
                    static_cast<double>(load(a, type, at(trans_a, i, l, lda))) * load(b, type, at(trans_b, l, j, ldb));
            size_t to = swapped ? static_cast<size_t>(i) * n + j : static_cast<size_t>(j) * ldc + i;
            result[to] = scale * static_cast<float>(sum) + (keep != 0 ? keep * result[to] : 0);
        }
    return kSuccess;
}
