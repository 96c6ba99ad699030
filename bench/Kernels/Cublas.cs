using System.Runtime.InteropServices;
using Avedis.Engine;

namespace Avedis.Bench.Kernels;

/// <summary>What of cuBLAS a linear layer takes: cublasGemmEx, with the numbers of cublas_api.h and library_types.h.</summary>
internal sealed unsafe class Cublas : IDisposable
{
    // cublasOperation_t, cublasGemmAlgo_t, cudaDataType, cublasComputeType_t
    private const int NotTransposed = 0, Transposed = 1, DefaultAlgorithm = -1, TypeF32 = 0, TypeBf16 = 14, Compute32F = 68, Compute32FFastTf32 = 77;

    private readonly delegate* unmanaged<nint, int> destroy;
    private readonly delegate* unmanaged<int, nint> statusText;

    // handle, transa, transb, m, n, k, alpha, A, type, lda, B, type, ldb, beta, C, type, ldc, compute type, algorithm
    private readonly delegate* unmanaged<nint, int, int, int, int, int, float*, nint, int, int, nint, int, int, float*, nint, int, int, int, int, int> gemm;
    private readonly nint handle;

    /// <param name="stream">CUstream that the calls join.</param>
    /// <exception cref="PeerException">It cannot be used here.</exception>
    public Cublas(nint library, nint stream)
    {
        statusText = (delegate* unmanaged<int, nint>)PeerLibraries.Function(library, "cublasGetStatusString");
        destroy = (delegate* unmanaged<nint, int>)PeerLibraries.Function(library, "cublasDestroy_v2");
        gemm = (delegate* unmanaged<nint, int, int, int, int, int, float*, nint, int, int, nint, int, int, float*, nint, int, int, int, int, int>)
            PeerLibraries.Function(library, "cublasGemmEx");
        var create = (delegate* unmanaged<nint*, int>)PeerLibraries.Function(library, "cublasCreate_v2");
        var setStream = (delegate* unmanaged<nint, nint, int>)PeerLibraries.Function(library, "cublasSetStream_v2");
        var getVersion = (delegate* unmanaged<nint, int*, int>)PeerLibraries.Function(library, "cublasGetVersion_v2");
        nint created;
        Check(create(&created), "cublasCreate");
        handle = created;
        Check(setStream(handle, stream), "cublasSetStream");
        int version;
        Check(getVersion(handle, &version), "cublasGetVersion");
        Version = version >= 100000 ? $"{version / 10000}.{version / 100 % 100}.{version % 100}" : $"{version / 1000}.{version / 100 % 10}.{version % 100}";
    }

    public string Version { get; }

    /// <summary>A linear layer's pass without its bias: in BF16 from BF16 operands to FP32, in TF32 from FP32 ones that it may round.</summary>
    /// <remarks>cuBLAS is column-major: our rows are its columns, so each product is that of the transposed matrices in reverse.</remarks>
    public PeerCall Call(LinearRig rig, LinearPass pass)
    {
        var type = rig.Precision == "bf16" ? DType.BF16 : DType.F32;
        var (a, b) = pass switch
        {
            LinearPass.Forward => ("weight", "x"),
            LinearPass.BackwardData => ("weight", "dY"),
            _ => ("x", "dY"),
        };
        Tensor left = rig.Of(a, type), right = rig.Of(b, type), result = rig.Tensors.Zeroes($"cuBLAS {LinearRig.NameOf(pass)}", rig.ShapeOf(pass), DType.F32);
        var (rows, inputs, outputs) = (rig.Layer.Rows, rig.Layer.Inputs, rig.Layer.Outputs);
        int compute = rig.Precision == "tf32" ? Compute32FFastTf32 : Compute32F;
        return new PeerCall("cuBLAS", Version, () => rig.Precision == "tf32" ? "FAST_TF32" : "32F", () =>
        {
            if (pass == LinearPass.Forward) // y^T [O,N] = weight [I,O]^T * x [I,N]
                Product(Transposed, NotTransposed, outputs, rows, inputs, left, inputs, right, inputs, result, outputs);
            else if (pass == LinearPass.BackwardData) // dX^T [I,N] = weight [I,O] * dY [O,N]
                Product(NotTransposed, NotTransposed, inputs, rows, outputs, left, inputs, right, outputs, result, inputs);
            else // dWeight^T [I,O] = x [I,N] * dY [O,N]^T
                Product(NotTransposed, Transposed, inputs, outputs, rows, left, inputs, right, outputs, result, inputs);
        }, result, () => rig.Check(pass, result));

        void Product(int ta, int tb, int m, int n, int k, Tensor a, int lda, Tensor b, int ldb, Tensor c, int ldc)
        {
            float one = 1, zero = 0;
            int ab = type == DType.BF16 ? TypeBf16 : TypeF32;
            Check(gemm(handle, ta, tb, m, n, k, &one, a.Address, ab, lda, b.Address, ab, ldb, &zero, c.Address, TypeF32, ldc, compute, DefaultAlgorithm), "cublasGemmEx");
        }
    }

    public void Dispose() => destroy(handle);

    private void Check(int status, string call)
    {
        if (status != 0)
            throw new PeerException($"{call}: {Marshal.PtrToStringUTF8(statusText(status))} ({status})");
    }
}
