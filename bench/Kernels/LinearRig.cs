using Avedis.Engine;

namespace Avedis.Bench.Kernels;

/// <summary>The passes of a linear layer.</summary>
internal enum LinearPass
{
    Forward,
    BackwardData,
    BackwardWeight,
}

/// <summary>The passes of one linear layer on tensors of their own; FP32, as these layers are in training, whatever the precision of the convolutions.</summary>
internal sealed class LinearRig : ProductRig<LinearPass>
{
    private readonly FormulaNumbers x, weight, dY;
    private readonly Tensor bias, dBias;
    private readonly Dictionary<LinearPass, Tensor> results;

    public LinearRig(IBackend backend, string precision, LinearLayer layer)
        : base(backend, precision)
    {
        Layer = layer;
        (x, weight, dY) = (FormulaNumbers.For(precision, 4), FormulaNumbers.For(precision, 5), FormulaNumbers.For(precision, 6));
        (X, Weight, DY) = (Of("x", DType.F32), Of("weight", DType.F32), Of("dY", DType.F32));
        bias = Tensors.Zeroes("bias", new Shape(layer.Outputs), DType.F32); // a library's product has none
        dBias = Tensors.Zeroes("dBias", new Shape(layer.Outputs), DType.F32);
        results = Enum.GetValues<LinearPass>().ToDictionary(pass => pass, pass => Tensors.Zeroes(NameOf(pass), ShapeOf(pass), DType.F32));
    }

    public LinearLayer Layer { get; }

    public Tensor X { get; }

    public Tensor Weight { get; }

    public Tensor DY { get; }

    /// <summary>Multiplications and additions of each pass.</summary>
    public double Flops => 2.0 * Layer.Rows * Layer.Inputs * Layer.Outputs;

    /// <summary>What each pass reads and writes at least: one of the three tensors is its result.</summary>
    public double Bytes => sizeof(float) * ((double)X.Count + Weight.Count + DY.Count);

    public static string NameOf(LinearPass pass) => pass switch
    {
        LinearPass.Forward => "linear forward",
        LinearPass.BackwardData => "linear backward data",
        _ => "linear backward weight",
    };

    public override Tensor Result(LinearPass pass) => results[pass];

    public override Shape ShapeOf(LinearPass pass) => pass switch
    {
        LinearPass.Forward => new(Layer.Rows, Layer.Outputs),
        LinearPass.BackwardData => new(Layer.Rows, Layer.Inputs),
        _ => new(Layer.Outputs, Layer.Inputs),
    };

    public override void Run(LinearPass pass)
    {
        if (pass == LinearPass.Forward)
            Tensors.Backend.LinearForward(Result(pass), X, Weight, bias);
        else if (pass == LinearPass.BackwardData)
            Tensors.Backend.LinearBackwardData(Result(pass), DY, Weight);
        else
            Tensors.Backend.LinearBackwardWeight(Result(pass), dBias, DY, X);
    }

    protected override Func<long, SumOfProducts> Element(LinearPass pass) => pass switch
    {
        LinearPass.Forward => index => ProductReference.LinearForward(Layer, x, weight, index),
        LinearPass.BackwardData => index => ProductReference.LinearBackwardData(Layer, dY, weight, index),
        _ => index => ProductReference.LinearBackwardWeight(Layer, dY, x, index),
    };

    /// <summary>x, weight or dY in another type.</summary>
    public Tensor Of(string name, DType type) => name switch
    {
        "x" => Tensors.Of(name, ShapeOf(LinearPass.BackwardData), type, x),
        "weight" => Tensors.Of(name, ShapeOf(LinearPass.BackwardWeight), type, weight),
        _ => Tensors.Of(name, ShapeOf(LinearPass.Forward), type, dY),
    };
}
