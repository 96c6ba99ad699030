using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Avedis.Bindings.Cpu;

/// <summary>Element types of activations, as avedis_cpu.h numbers them.</summary>
internal enum CpuType
{
    F32 = 0,
    BF16 = 1,
}

/// <summary>How float convolutions are computed, as avedis_cpu.h numbers it.</summary>
internal enum CpuConv2dAlgorithm
{
    Auto = 0,
    Direct = 1,
}

/// <summary>avedis_conv2d_geometry: y [n,p,q,k] = x [n,h,w,c] * weight [k,r,s,c].</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct CpuConv2dGeometry(
    int N, int H, int W, int C, int K, int R, int S, int StrideH, int StrideW, int PadH, int PadW);

/// <summary>avedis_pool2d_geometry: y [n,p,q,c] from r x s windows of x [n,h,w,c].</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct CpuPool2dGeometry(
    int N, int H, int W, int C, int R, int S, int StrideH, int StrideW, int PadH, int PadW);

/// <summary>The functions of libavedis_cpu.so, one to one; bindings/native/avedis_cpu.h says what each does.</summary>
internal static unsafe partial class CpuNative
{
    internal const string Library = "avedis_cpu";
    private const int OutOfMemory = 2;

    static CpuNative() => NativeLibraries.Register();

    /// <summary>Turns a status into an exception that names the call and carries the library's text.</summary>
    /// <exception cref="CpuCallException"/>
    public static void Check(int status, [CallerArgumentExpression(nameof(status))] string call = "")
    {
        if (status == 0)
            return;
        throw new CpuCallException($"{call.Split('(')[0]}: {Marshal.PtrToStringUTF8(LastError())}", status == OutOfMemory);
    }

    /// <summary>Version of the oneDNN that was loaded, such as 2.6.3.</summary>
    public static string OneDnnVersion => Marshal.PtrToStringUTF8(OneDnnVersionText())!;

    /// <summary>Widest instruction set that oneDNN uses on this processor.</summary>
    public static string InstructionSet => Marshal.PtrToStringUTF8(InstructionSetText())!;

    // runtime.cpp

    [LibraryImport(Library, EntryPoint = "avedis_last_error")]
    private static partial nint LastError();

    [LibraryImport(Library, EntryPoint = "avedis_set_threads")]
    public static partial int SetThreads(int threads);

    [LibraryImport(Library, EntryPoint = "avedis_onednn_version")]
    private static partial nint OneDnnVersionText();

    [LibraryImport(Library, EntryPoint = "avedis_instruction_set")]
    private static partial nint InstructionSetText();

    // memory.cpp

    [LibraryImport(Library, EntryPoint = "avedis_allocate")]
    public static partial int Allocate(out nint address, long bytes);

    [LibraryImport(Library, EntryPoint = "avedis_free")]
    public static partial int Free(nint address);

    [LibraryImport(Library, EntryPoint = "avedis_zero")]
    public static partial int Zero(nint x, long bytes);

    [LibraryImport(Library, EntryPoint = "avedis_copy")]
    public static partial int Copy(nint y, nint x, long bytes);

    // elementwise.cpp

    [LibraryImport(Library, EntryPoint = "avedis_convert")]
    public static partial int Convert(nint y, nint x, CpuType xType, long count);

    [LibraryImport(Library, EntryPoint = "avedis_add")]
    public static partial int Add(nint y, nint x, long count);

    [LibraryImport(Library, EntryPoint = "avedis_normalise")]
    public static partial int Normalise(nint y, CpuType type, nint x, long count, float scale, float shift);

    [LibraryImport(Library, EntryPoint = "avedis_relu_forward")]
    public static partial int ReluForward(nint y, nint x, CpuType type, long count);

    [LibraryImport(Library, EntryPoint = "avedis_relu_backward")]
    public static partial int ReluBackward(nint dX, nint dY, nint y, CpuType type, long count);

    [LibraryImport(Library, EntryPoint = "avedis_gradient_reversal_backward")]
    public static partial int GradientReversalBackward(nint dX, nint dY, nint lambda, CpuType type, long count);

    [LibraryImport(Library, EntryPoint = "avedis_gradient_reversal_add")]
    public static partial int GradientReversalAdd(nint dX, nint dY, nint lambda, long count);

    [LibraryImport(Library, EntryPoint = "avedis_concat_forward")]
    public static partial int ConcatForward(nint y, nint a, nint b, long n, long aWidth, long bWidth);

    [LibraryImport(Library, EntryPoint = "avedis_concat_backward")]
    public static partial int ConcatBackward(nint dA, nint dB, nint dY, long n, long aWidth, long bWidth);

    [LibraryImport(Library, EntryPoint = "avedis_count_non_finite")]
    public static partial int CountNonFinite(nint result, nint x, CpuType type, long count);

    // augment.cpp

    [LibraryImport(Library, EntryPoint = "avedis_augment_faces")]
    public static partial int AugmentFaces(nint y, CpuType type, nint x, nint plans, long n, long frames, long size, float scale, float shift);

    [LibraryImport(Library, EntryPoint = "avedis_augment_mels")]
    public static partial int AugmentMels(nint y, CpuType type, nint x, nint plans, long n, long bins, long steps);

    // conv2d.cpp

    [LibraryImport(Library, EntryPoint = "avedis_conv2d_create")]
    internal static partial int Conv2dCreate(
        out CpuConv2d conv, out long workspace, in CpuConv2dGeometry geometry, CpuType type, CpuConv2dAlgorithm algorithm);

    [LibraryImport(Library, EntryPoint = "avedis_conv2d_destroy")]
    internal static partial void Conv2dDestroy(nint conv);

    [LibraryImport(Library, EntryPoint = "avedis_conv2d_multiplications")]
    public static unsafe partial void Conv2dMultiplications(CpuConv2d conv, long* counts);

    [LibraryImport(Library, EntryPoint = "avedis_conv2d_forward")]
    public static partial int Conv2dForward(CpuConv2d conv, nint y, nint x, nint weight, nint workspace);

    [LibraryImport(Library, EntryPoint = "avedis_conv2d_backward_data")]
    public static partial int Conv2dBackwardData(CpuConv2d conv, nint dX, nint dY, nint weight, nint workspace);

    [LibraryImport(Library, EntryPoint = "avedis_conv2d_backward_weight")]
    public static partial int Conv2dBackwardWeight(CpuConv2d conv, nint dWeight, nint dY, nint x, nint workspace);

    // batch_norm.cpp

    [LibraryImport(Library, EntryPoint = "avedis_batch_norm_forward")]
    public static partial int BatchNormForward(
        nint y, nint argmax, nint mean, nint inverseStd, nint runningMean, nint runningVariance, nint x, nint parts, long rowsOfPart, long allRows, nint gamma, nint beta,
        CpuType type, long rows, int c, CpuPool2dGeometry* pool, float epsilon, float momentum, int relu);

    [LibraryImport(Library, EntryPoint = "avedis_batch_norm_moments")]
    public static partial int BatchNormMoments(nint result, nint x, CpuType type, long rows, int c);

    [LibraryImport(Library, EntryPoint = "avedis_batch_norm_apply")]
    public static partial int BatchNormApply(
        nint y, nint x, nint gamma, nint beta, nint mean, nint inverseStd, CpuType type, long rows, int c, int relu);

    [LibraryImport(Library, EntryPoint = "avedis_batch_norm_inference")]
    public static partial int BatchNormInference(
        nint y, nint x, nint gamma, nint beta, nint runningMean, nint runningVariance,
        CpuType type, long rows, int c, CpuPool2dGeometry* pool, float epsilon, int relu);

    [LibraryImport(Library, EntryPoint = "avedis_batch_norm_backward")]
    public static partial int BatchNormBackward(
        nint dX, nint dGamma, nint dBeta, nint dY, nint argmax, nint x, nint gamma, nint beta, nint mean, nint inverseStd,
        CpuType type, long rows, int c, CpuPool2dGeometry* pool, int relu);

    [LibraryImport(Library, EntryPoint = "avedis_batch_norm_backward_means")]
    public static partial int BatchNormBackwardMeans(
        nint means, nint dGamma, nint dBeta, nint dY, nint argmax, nint x, nint gamma, nint beta, nint mean, nint inverseStd,
        CpuType type, long rows, long allRows, int c, CpuPool2dGeometry* pool, int relu);

    [LibraryImport(Library, EntryPoint = "avedis_batch_norm_backward_data")]
    public static partial int BatchNormBackwardData(
        nint dX, nint dY, nint argmax, nint x, nint gamma, nint beta, nint mean, nint inverseStd, nint means,
        CpuType type, long rows, int c, CpuPool2dGeometry* pool, int relu);

    // stem.cpp

    [LibraryImport(Library, EntryPoint = "avedis_stem_state_bytes")]
    public static partial long StemStateBytes(in CpuConv2dGeometry conv);

    [LibraryImport(Library, EntryPoint = "avedis_stem_forward")]
    public static partial int StemForward(
        nint y, nint argmax, nint mean, nint inverseStd, nint runningMean, nint runningVariance, nint state, nint x, nint weight, nint gamma, nint beta,
        CpuType type, in CpuConv2dGeometry conv, in CpuPool2dGeometry pool, float epsilon, float momentum, int relu);

    [LibraryImport(Library, EntryPoint = "avedis_stem_inference")]
    public static partial int StemInference(
        nint y, nint x, nint weight, nint gamma, nint beta, nint runningMean, nint runningVariance,
        CpuType type, in CpuConv2dGeometry conv, in CpuPool2dGeometry pool, float epsilon, int relu);

    [LibraryImport(Library, EntryPoint = "avedis_stem_backward")]
    public static partial int StemBackward(
        nint dWeight, nint dGamma, nint dBeta, nint dY, nint y, nint argmax, nint x, nint weight, nint gamma, nint inverseStd, nint state,
        CpuType type, in CpuConv2dGeometry conv, in CpuPool2dGeometry pool, int relu);

    // max_pool.cpp

    [LibraryImport(Library, EntryPoint = "avedis_max_pool_forward")]
    public static partial int MaxPoolForward(nint y, nint argmax, nint x, CpuType type, in CpuPool2dGeometry geometry);

    [LibraryImport(Library, EntryPoint = "avedis_max_pool_backward")]
    public static partial int MaxPoolBackward(nint dX, nint dY, nint argmax, CpuType type, in CpuPool2dGeometry geometry);

    // masked_mean.cpp

    [LibraryImport(Library, EntryPoint = "avedis_masked_mean_forward")]
    public static partial int MaskedMeanForward(nint y, nint x, nint lengths, CpuType type, long n, long t, long c);

    [LibraryImport(Library, EntryPoint = "avedis_masked_mean_backward")]
    public static partial int MaskedMeanBackward(nint dX, nint dY, nint lengths, CpuType type, long n, long t, long c);

    // linear.cpp

    [LibraryImport(Library, EntryPoint = "avedis_linear_forward")]
    public static partial int LinearForward(nint y, nint x, nint weight, nint bias, CpuType type, long n, long i, long o);

    [LibraryImport(Library, EntryPoint = "avedis_linear_backward_data")]
    public static partial int LinearBackwardData(nint dX, nint dY, nint weight, CpuType type, long n, long i, long o);

    [LibraryImport(Library, EntryPoint = "avedis_linear_backward_weight")]
    public static partial int LinearBackwardWeight(nint dWeight, nint dBias, nint dY, nint x, CpuType type, long n, long i, long o);

    // softmax_cross_entropy.cpp, uniform_confusion.cpp

    [LibraryImport(Library, EntryPoint = "avedis_softmax_cross_entropy")]
    public static partial int SoftmaxCrossEntropy(
        nint loss, nint probabilities, nint dLogits, nint logits, nint labels, nint weights, float scale, long n, long c);

    [LibraryImport(Library, EntryPoint = "avedis_uniform_confusion")]
    public static partial int UniformConfusion(nint loss, nint kl, nint dLogits, nint logits, nint weights, float scale, long n, long c);

    // log_mel.cpp

    [LibraryImport(Library, EntryPoint = "avedis_log_mel")]
    public static partial int LogMel(
        nint y, nint samples, nint basis, nint filters, long n, long length, long window, long frequencies, long bins, long frames,
        long hop, float floor, int addFloor);

    // gradient_projection.cpp

    [LibraryImport(Library, EntryPoint = "avedis_gradient_projection")]
    public static partial int GradientProjection(nint primary, nint adversary, nint offsets, nint alpha, long segments);

    // adam.cpp

    [LibraryImport(Library, EntryPoint = "avedis_adam")]
    public static partial int Adam(
        nint parameters, nint gradients, nint m, nint v, nint schedule, float beta1, float beta2, float epsilon, long count);

    // peak.cpp

    [LibraryImport(Library, EntryPoint = "avedis_peak")]
    public static partial int Peak(out double flops, CpuType type);
}
