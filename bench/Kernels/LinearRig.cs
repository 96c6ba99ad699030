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
internal sealed class LinearRig : IDisposable
{
    private readonly FormulaNumbers x, weight, dY;
    private readonly Tensor bias, dBias;
    private readonly Dictionary<LinearPass, Tensor> results;

    public LinearRig(IBackend backend, string precision, LinearLayer layer)
    {
        (Precision, Layer) = (precision, layer);
        (x, weight, dY) = (FormulaNumbers.For(precision, 4), FormulaNumbers.For(precision, 5), FormulaNumbers.For(precision, 6));
        Tensors = new BenchTensors(backend);
        (X, Weight, DY) = (Of("x", DType.F32), Of("weight", DType.F32), Of("dY", DType.F32));
        bias = Tensors.Zeroes("bias", new Shape(layer.Outputs), DType.F32); // a library's product has none
        dBias = Tensors.Zeroes("dBias", new Shape(layer.Outputs), DType.F32);
        results = Enum.GetValues<LinearPass>().ToDictionary(pass => pass, pass => Tensors.Zeroes(NameOf(pass), ShapeOf(pass), DType.F32));
    }

    public BenchTensors Tensors { get; }

    public string Precision { get; }

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

    public Tensor Result(LinearPass pass) => results[pass];

    public Shape ShapeOf(LinearPass pass) => pass switch
    {
        LinearPass.Forward => new(Layer.Rows, Layer.Outputs),
        LinearPass.BackwardData => new(Layer.Rows, Layer.Inputs),
        _ => new(Layer.Outputs, Layer.Inputs),
    };

    public void Run(LinearPass pass)
    {
        if (pass == LinearPass.Forward)
            Tensors.Backend.LinearForward(Result(pass), X, Weight, bias);
        else if (pass == LinearPass.BackwardData)
            Tensors.Backend.LinearBackwardData(Result(pass), DY, Weight);
        else
            Tensors.Backend.LinearBackwardWeight(Result(pass), dBias, DY, X);
    }

    /// <summary>Runs a pass once and checks what came.</summary>
    /// <inheritdoc cref="Check(LinearPass, Tensor)"/>
    public double Check(LinearPass pass)
    {
        Tensors.Backend.Zero(Result(pass)); // the gradient of the weights adds
        Run(pass);
        return Check(pass, Result(pass));
    }

    /// <summary>Checks somebody's result of a pass.</summary>
    /// <returns>The error that it may have; see <see cref="ResultCheck.Sampled"/>.</returns>
    /// <exception cref="WrongResultException"/>
    public double Check(LinearPass pass, Tensor result) => ResultCheck.Sampled(Tensors.Backend, result, Precision != "fp32", pass switch
    {
        LinearPass.Forward => index => ProductReference.LinearForward(Layer, x, weight, index),
        LinearPass.BackwardData => index => ProductReference.LinearBackwardData(Layer, dY, weight, index),
        _ => index => ProductReference.LinearBackwardWeight(Layer, dY, x, index),
    });

    /// <summary>x, weight or dY in another type.</summary>
    public Tensor Of(string name, DType type) => name switch
    {
        "x" => Tensors.Of(name, ShapeOf(LinearPass.BackwardData), type, x),
        "weight" => Tensors.Of(name, ShapeOf(LinearPass.BackwardWeight), type, weight),
        _ => Tensors.Of(name, ShapeOf(LinearPass.Forward), type, dY),
    };

    public void Dispose() => Tensors.Dispose();
}
