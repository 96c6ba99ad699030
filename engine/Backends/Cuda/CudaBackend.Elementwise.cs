using Avedis.Bindings.Cuda;

namespace Avedis.Engine;

public sealed partial class CudaBackend
{
    private const int ElementwiseThreads = 256;

    /// <summary>What a thread of the element-wise kernels takes at a time.</summary>
    private const int BytesPerLoad = 16;

    [Kernels("convert_f32_bf16", "convert_bf16_f32", "add_f32")]
    private readonly record struct ElementwiseArguments(nint Y, nint X, long Count);

    [Kernels("normalise_f32", "normalise_bf16")]
    private readonly record struct NormaliseArguments(nint Y, nint X, long Count, float Scale, float Shift);

    public void Zero(Tensor x)
    {
        Enter();
        CudaDriver.Check(CudaDriver.MemsetD8Async(x.Address, 0, (nuint)x.Bytes, lane.Stream));
    }

    public void Copy(Tensor y, Tensor x)
    {
        Enter();
        if (y.Type == x.Type)
            CudaDriver.Check(CudaDriver.MemcpyDtoDAsync(y.Address, x.Address, (nuint)x.Bytes, lane.Stream));
        else
            LaunchElementwise($"convert_{Suffix(x)}_{Suffix(y)}", y, x);
    }

    public void Add(Tensor y, Tensor x) => LaunchElementwise("add_f32", y, x);

    public void Normalise(Tensor y, Tensor x, float scale, float shift) =>
        Launch($"normalise_{Suffix(y)}", Elementwise(y), ElementwiseThreads, new NormaliseArguments(y.Address, x.Address, y.Count, scale, shift));

    private void LaunchElementwise(string kernel, Tensor y, Tensor x) =>
        Launch(kernel, Elementwise(y.Type == DType.F32 ? y : x), ElementwiseThreads, new ElementwiseArguments(y.Address, x.Address, y.Count));

    /// <summary>Blocks for a pass over so many elements of this type, the widest of those that it touches.</summary>
    private Grid Elementwise(Tensor widest) => Strided((widest.Bytes + BytesPerLoad - 1) / BytesPerLoad, ElementwiseThreads);
}
