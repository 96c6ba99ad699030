using Avedis.Engine;

namespace Avedis.Bench.Kernels;

/// <summary>The passes of one convolution on tensors of their own.</summary>
internal sealed class ConvolutionRig : ProductRig<Conv2dPass>
{
    private readonly FormulaNumbers x, weight, dY;
    private readonly Dictionary<Conv2dPass, Tensor> results = [];

    public ConvolutionRig(IBackend backend, string precision, in Conv2dGeometry geometry)
        : base(backend, precision)
    {
        Geometry = geometry;
        (x, weight, dY) = (FormulaNumbers.For(precision, 1), FormulaNumbers.For(precision, 2), FormulaNumbers.For(precision, 3));
        X = Tensors.Of("x", geometry.Input, Act, x);
        Weight = Tensors.Of("weight", geometry.Weight, DType.F32, weight);
        DY = Tensors.Of("dY", geometry.Output, Act, dY);
        Tensors.RequireWorkspace(backend.Conv2dWorkspace(geometry, Act));
    }

    public Conv2dGeometry Geometry { get; }

    public DType Act => Precision == "bf16" ? DType.BF16 : DType.F32;

    public Tensor X { get; }

    public Tensor Weight { get; }

    public Tensor DY { get; }

    public static string NameOf(Conv2dPass pass) => pass switch
    {
        Conv2dPass.Forward => "conv2d forward",
        Conv2dPass.BackwardData => "conv2d backward data",
        _ => "conv2d backward weight",
    };

    public override Tensor Result(Conv2dPass pass)
    {
        if (!results.TryGetValue(pass, out var result))
            results.Add(pass, result = Tensors.Zeroes(
                NameOf(pass), ShapeOf(pass), pass == Conv2dPass.BackwardWeight ? DType.F32 : Act));
        return result;
    }

    public override Shape ShapeOf(Conv2dPass pass) => pass switch
    {
        Conv2dPass.Forward => Geometry.Output,
        Conv2dPass.BackwardData => Geometry.Input,
        _ => Geometry.Weight,
    };

    public override void Run(Conv2dPass pass)
    {
        if (pass == Conv2dPass.Forward)
            Tensors.Backend.Conv2dForward(Result(pass), moments: null, X, Weight, Geometry);
        else if (pass == Conv2dPass.BackwardData)
            Tensors.Backend.Conv2dBackwardData(Result(pass), DY, Weight, Geometry);
        else
            Tensors.Backend.Conv2dBackwardWeight(Result(pass), DY, X, Geometry);
    }

    protected override Func<long, SumOfProducts> Element(Conv2dPass pass) => pass switch
    {
        Conv2dPass.Forward => index => ProductReference.Forward(Geometry, x, weight, index),
        Conv2dPass.BackwardData => index => ProductReference.BackwardData(Geometry, dY, weight, index),
        _ => index => ProductReference.BackwardWeight(Geometry, dY, x, index),
    };

    /// <summary>The weights in the type of the activations, for libraries that multiply one type.</summary>
    public Tensor WeightAsAct() => Act == DType.F32 ? Weight : Tensors.Of("weight", Geometry.Weight, Act, weight);
}
