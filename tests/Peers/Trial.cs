using Avedis.Bindings;
using Avedis.Engine;
using Avedis.Tests.Ops;
using NUnit.Framework;
using NUnit.Framework.Internal;
using TorchSharp;

namespace Avedis.Peers;

/// <summary>A backend at a precision, on which cases run.</summary>
/// <param name="Tf32">Whether F32 convolutions multiply in TF32.</param>
/// <param name="Convolving">Whether it differs from another rig in convolutions alone.</param>
internal sealed record Rig(string Backend, string Precision, DType Act, Func<IBackend> Open, bool Tf32 = false, bool Convolving = false)
{
    private readonly Lazy<IBackend> opened = new(Open);

    /// <summary>Opened once, for all cases.</summary>
    public IBackend Ops => opened.Value;

    public void Close()
    {
        if (opened.IsValueCreated)
            opened.Value.Dispose();
    }
}

/// <summary>One operation on one shape, compared with libtorch.</summary>
internal abstract record PeerCase(string Operation)
{
    /// <summary>Shape and settings, for people.</summary>
    public abstract string Description { get; }

    /// <summary>Whether it has activations, which may be BF16, or is F32 in every precision.</summary>
    public virtual bool HasActivations => true;

    /// <summary>Whether it has a convolution, which TF32 and the instructions of Hopper concern.</summary>
    public virtual bool Convolves => false;

    public bool RunsOn(Rig rig) => (HasActivations || rig.Act == DType.F32) && (Convolves || !rig.Convolving);

    public abstract void Compare(Trial trial);
}

/// <summary>What became of a trial.</summary>
/// <param name="Shares">By result, the largest error as a share of its bound.</param>
/// <param name="Failure">Null, or what is wrong, in one line.</param>
internal sealed record Outcome(IReadOnlyList<(string Result, double Share)> Shares, string? Failure)
{
    public double Worst => Shares.Max(result => result.Share);
}

/// <summary>A case on a rig: numbers, the engine's memory, libtorch's inputs, and how far the results lie apart.</summary>
internal sealed class Trial
{
    private readonly double moved;
    private readonly Random signs = new(1);
    private readonly List<(string Result, double Share)> shares = [];
    private string? failure;

    private Trial(Rig rig, OpHarness op, Random random, double moved) =>
        (Rig, Op, Random, this.moved) = (rig, op, random, moved);

    public Rig Rig { get; }

    public DType Act => Rig.Act;

    public bool Tf32 => Rig.Tf32;

    public OpHarness Op { get; }

    public Random Random { get; }

    /// <param name="moved">By how much the inputs that libtorch sees are moved, relative to each; 0 but for the control.</param>
    public static Outcome Run(PeerCase peerCase, Rig rig, int seed, double moved)
    {
        using var scope = torch.NewDisposeScope();
        // NUnit's assertions gather what failed in a context
        using var context = new TestExecutionContext.IsolatedContext();
        using var op = new OpHarness(rig.Ops);
        var trial = new Trial(rig, op, new Random(seed), moved);
        try
        {
            peerCase.Compare(trial);
        }
        catch (Exception error) when (error is AssertionException or DeviceFailedException)
        {
            trial.failure ??= error.Message;
            trial.shares.Add((error.GetType().Name, double.PositiveInfinity));
        }
        return new(trial.shares, trial.failure?.ReplaceLineEndings(" "));
    }

    /// <summary>Data as libtorch sees it: the same, or if this is the control each value moved up or down.</summary>
    public double[] Moved(double[] values) => Array.ConvertAll(values, value => value * (1 + (signs.Next(2) == 0 ? moved : -moved)));

    public torch.Tensor Data(double[] values, Shape shape) => Oracle.Leaf(Moved(values), shape);

    public void Expect(Tensor tensor, double[] expected, double[] allowed)
    {
        bool within = Measure(tensor.Name, Op.Read(tensor), expected, allowed);
        if (within || failure is not null)
            return;
        try
        {
            Op.Expect(tensor, expected, allowed);
        }
        catch (AssertionException assertion)
        {
            failure = assertion.Message;
        }
    }

    /// <summary>The same of values that are in no tensor of the harness.</summary>
    public void Expect(string name, double[] actual, double[] expected, double[] allowed)
    {
        if (Measure(name, actual, expected, allowed))
            return;
        int at = Enumerable.Range(0, actual.Length).First(i => Share(actual[i], expected[i], allowed[i]) > 1);
        failure ??= $"{name}[{at}]: got {actual[at]:R}, expected {expected[at]:R}, allowed difference {allowed[at]:g3}";
    }

    /// <summary>A gradient that was added to what was there.</summary>
    /// <param name="error">How far the gradient may be off; adding makes roundings of its own.</param>
    public void ExpectAdded(Tensor tensor, double[] start, double[] gradient, double[] error) => Expect(
        tensor, Reference.Plus(start, gradient),
        [.. error.Select((e, i) => e + Tolerance.Walk * Tolerance.F32 * (Math.Abs(start[i]) + Math.Abs(gradient[i])))]);

    /// <summary>y within its bound, and every winner of a pooling an element of its window that is as large as the largest, as far as can be told.</summary>
    /// <param name="expected">y by libtorch.</param>
    /// <param name="error">How far an element in front of the pooling may be off.</param>
    public void ExpectActivation(Tensor y, Tensor? argmax, BatchNormProblem p, double[] expected, double[] error)
    {
        double[] outputError = p.PooledBound(error);
        Expect(y, expected, Tolerance.Rounded(y.Type, outputError, expected));
        if (argmax is null || p.Settings.Pool is not { } pool)
            return;
        double[] winners = Op.Read(argmax), activation = p.Activation(), largest = Reference.MaxPoolForward(activation, pool).Y;
        double[] won = [.. winners.Select((winner, i) =>
            winner < pool.R * pool.S && Reference.PoolInput(pool, i, (int)winner) is int input ? activation[input] : double.NaN)];
        Expect("activation of the winner", won, largest, Array.ConvertAll(outputError, e => 2 * e));
    }

    private bool Measure(string name, double[] actual, double[] expected, double[] allowed)
    {
        Assert.That((expected.Length, allowed.Length), Is.EqualTo((actual.Length, actual.Length)), "elements of libtorch's answer and of the bounds");
        double largest = 0;
        for (int i = 0; i < actual.Length; i++)
            largest = Math.Max(largest, Share(actual[i], expected[i], allowed[i]));
        shares.Add((name, largest));
        return largest <= 1;
    }

    private static double Share(double actual, double expected, double allowed)
    {
        if (actual.Equals(expected))
            return 0;
        double share = Math.Abs(actual - expected) / allowed;
        return double.IsNaN(share) ? double.PositiveInfinity : share;
    }
}
