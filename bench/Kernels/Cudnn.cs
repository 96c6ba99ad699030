using System.Runtime.InteropServices;
using Avedis.Engine;

namespace Avedis.Bench.Kernels;

/// <summary>
/// What of cuDNN 8 and 9 a convolution takes, with the numbers of their headers: activations N, H, W, C, weights K, R, S, C as ours are, all of one type; sums in
/// FP32. In FP32 it may use fused multiply-adds only, in TF32 and BF16 the matrix units.
/// </summary>
internal sealed unsafe class Cudnn : IDisposable
{
    // cudnnDataType_t, cudnnTensorFormat_t, cudnnConvolutionMode_t, cudnnMathType_t
    private const int TypeF32 = 0, TypeBf16 = 9, Nhwc = 1, CrossCorrelation = 1, DefaultMath = 0, TensorOpMath = 1, FmaMath = 3;

    /// <summary>More than a pass has algorithms, each with two kinds of math.</summary>
    private const int MostAlgorithms = 32;

    /// <summary>cudnnConvolutionFwdAlgoPerf_t and those of the two other passes, which are laid out alike.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct Performance
    {
        public int Algorithm, Status;
        public float Milliseconds;
        public nuint Memory;
        public int Deterministic, Math, Reserved0, Reserved1, Reserved2;
    }

    private readonly nint library, handle;
    private readonly delegate* unmanaged<nint, int> destroy;
    private readonly delegate* unmanaged<int, nint> errorString;

    // handle, x, its data, w, its data, convolution, y, its data, requested, returned, results, workspace, its bytes; x and w are the operands of the pass, y its result
    private delegate* unmanaged<nint, nint, nint, nint, nint, nint, nint, nint, int, int*, Performance*, nint, nuint, int> Find(string pass) =>
        (delegate* unmanaged<nint, nint, nint, nint, nint, nint, nint, nint, int, int*, Performance*, nint, nuint, int>)
        PeerLibraries.Function(library, $"cudnnFindConvolution{pass}AlgorithmEx");

    // handle, alpha, x, its data, w, its data, convolution, algorithm, workspace, its bytes, beta, y, its data
    private delegate* unmanaged<nint, float*, nint, nint, nint, nint, nint, int, nint, nuint, float*, nint, nint, int> Convolve(string pass) =>
        (delegate* unmanaged<nint, float*, nint, nint, nint, nint, nint, int, nint, nuint, float*, nint, nint, int>)
        PeerLibraries.Function(library, $"cudnnConvolution{pass}");

    /// <param name="stream">CUstream that the calls join.</param>
    /// <exception cref="PeerException">It cannot be used here.</exception>
    public Cudnn(nint library, nint stream)
    {
        this.library = library;
        errorString = (delegate* unmanaged<int, nint>)PeerLibraries.Function(library, "cudnnGetErrorString");
        destroy = (delegate* unmanaged<nint, int>)PeerLibraries.Function(library, "cudnnDestroy");
        long version = (long)((delegate* unmanaged<nuint>)PeerLibraries.Function(library, "cudnnGetVersion"))();
        Version = version >= 90000 ? $"{version / 10000}.{version / 100 % 100}.{version % 100}" : $"{version / 1000}.{version / 100 % 10}.{version % 100}";
        nint created;
        Check(((delegate* unmanaged<nint*, int>)PeerLibraries.Function(library, "cudnnCreate"))(&created), "cudnnCreate");
        handle = created;
        Check(((delegate* unmanaged<nint, nint, int>)PeerLibraries.Function(library, "cudnnSetStream"))(handle, stream), "cudnnSetStream");
    }

    public string Version { get; }

    /// <summary>A pass over the rig's tensors, by the fastest algorithm that cuDNN finds within so much workspace.</summary>
    public PeerCall Call(ConvolutionRig rig, Conv2dPass pass, Tensor workspace)
    {
        var g = rig.Geometry;
        var result = rig.Tensors.Zeroes($"cuDNN {ConvolutionRig.NameOf(pass)}", rig.ShapeOf(pass), rig.Act);
        int type = rig.Act == DType.BF16 ? TypeBf16 : TypeF32, math = rig.Precision switch { "bf16" => TensorOpMath, "tf32" => DefaultMath, _ => FmaMath };
        var weight = rig.WeightAsAct();
        var (name, left, right) = pass switch
        {
            Conv2dPass.Forward => ("Forward", rig.X, weight),
            Conv2dPass.BackwardData => ("BackwardData", weight, rig.DY),
            _ => ("BackwardFilter", rig.X, rig.DY),
        };
        var find = Find(name);
        var convolve = Convolve(name);
        nint x = 0, y = 0, w = 0, convolution = 0;
        (nint Left, nint Right, nint Result) of = default;
        Performance best = default;
        return new PeerCall("cuDNN", Version, Prepare, Run, result, () => rig.Check(pass, result), Release);

        string Prepare()
        {
            (x, y, w, convolution) = (Create("Tensor"), Create("Tensor"), Create("Filter"), Create("Convolution"));
            of = pass switch { Conv2dPass.Forward => (x, w, y), Conv2dPass.BackwardData => (w, y, x), _ => (x, y, w) };
            var setTensor = (delegate* unmanaged<nint, int, int, int, int, int, int, int>)PeerLibraries.Function(library, "cudnnSetTensor4dDescriptor");
            Check(setTensor(x, Nhwc, type, g.N, g.C, g.H, g.W), "cudnnSetTensor4dDescriptor");
            Check(setTensor(y, Nhwc, type, g.N, g.K, g.P, g.Q), "cudnnSetTensor4dDescriptor");
            var setFilter = (delegate* unmanaged<nint, int, int, int, int, int, int, int>)PeerLibraries.Function(library, "cudnnSetFilter4dDescriptor");
            Check(setFilter(w, type, Nhwc, g.K, g.C, g.R, g.S), "cudnnSetFilter4dDescriptor");
            var setConvolution = (delegate* unmanaged<nint, int, int, int, int, int, int, int, int, int>)PeerLibraries.Function(library, "cudnnSetConvolution2dDescriptor");
            Check(setConvolution(convolution, g.PadH, g.PadW, g.StrideH, g.StrideW, 1, 1, CrossCorrelation, TypeF32), "cudnnSetConvolution2dDescriptor");
            SetMath(math);
            var found = stackalloc Performance[MostAlgorithms];
            int count;
            Check(
                find(
                    handle, of.Left, left.Address, of.Right, right.Address, convolution, of.Result, result.Address,
                    MostAlgorithms, &count, found, workspace.Address, (nuint)workspace.Bytes),
                $"cudnnFindConvolution{name}AlgorithmEx");
            // sorted by time; those that do not apply come last
            if (count == 0 || found[0].Status != 0)
                throw new PeerException($"cuDNN has no algorithm for this in {workspace.Bytes >> 20} MiB of workspace");
            best = found[0];
            SetMath(best.Math);
            return $"algorithm {best.Algorithm}, math {best.Math}, {best.Memory / 1048576.0:F1} MiB{(best.Deterministic == 0 ? ", not deterministic" : "")}";
        }

        void Run()
        {
            float one = 1, zero = 0;
            Check(
                convolve(
                    handle, &one, of.Left, left.Address, of.Right, right.Address, convolution, best.Algorithm,
                    workspace.Address, best.Memory, &zero, of.Result, result.Address),
                $"cudnnConvolution{name}");
        }

        void SetMath(int type)
        {
            var setMath = (delegate* unmanaged<nint, int, int>)PeerLibraries.Function(library, "cudnnSetConvolutionMathType");
            Check(setMath(convolution, type), "cudnnSetConvolutionMathType");
        }

        void Release()
        {
            Destroy("Tensor", x);
            Destroy("Tensor", y);
            Destroy("Filter", w);
            Destroy("Convolution", convolution);
        }
    }

    public void Dispose() => destroy(handle);

    private nint Create(string kind)
    {
        nint descriptor;
        Check(((delegate* unmanaged<nint*, int>)PeerLibraries.Function(library, $"cudnnCreate{kind}Descriptor"))(&descriptor), $"cudnnCreate{kind}Descriptor");
        return descriptor;
    }

    private void Destroy(string kind, nint descriptor)
    {
        if (descriptor != 0)
            ((delegate* unmanaged<nint, int>)PeerLibraries.Function(library, $"cudnnDestroy{kind}Descriptor"))(descriptor);
    }

    private void Check(int status, string call)
    {
        if (status != 0)
            throw new PeerException($"{call}: {Marshal.PtrToStringUTF8(errorString(status))} ({status})");
    }
}
