using Avedis.Engine;
using Avedis.Tests.Ops;
using TorchSharp;

namespace Avedis.Peers;

/// <summary>
/// A network of eight layers over ten Adam steps on two batches: the loss of each step, every parameter and running statistic at the end, and then the logits of
/// the engine with libtorch's final state.
/// <para>
/// How far rounding errors grow in ten steps depends on the network: Adam divides by small second moments, and turns a gradient that is nothing but rounding
/// into full steps. So the yardstick is libtorch in the engine's precision (float32; activations rounded to BF16, or what convolutions multiply to TF32): how far
/// it ends up from its own float64 on the same data.
/// </para>
/// </summary>
internal sealed record WholeNetwork(NetworkSize Size, ulong Seed) : PeerCase("network")
{
    private const int Steps = 10;

    /// <summary>
    /// Two programs of one precision part from float64 by roundings of their own, of one size: the root mean square over a tensor, or over the steps, may be this many
    /// times the other's. An error of method that is no rounding is many times more.
    /// </summary>
    private const double Precisions = 4;

    public override string Description =>
        $"{Convolution.Describe(Size.First)}{MaxPooling.Describe(Size.Pool)}, {Convolution.Describe(Size.Second)}, hidden {Size.Hidden}, classes {Size.Classes}";

    public override bool Convolves => true;

    public override void Compare(Trial t)
    {
        using var engine = new EngineNetwork(t.Rig.Open(), Size, t.Act);
        engine.Initialise(Seed);
        PeerNetwork Peer(Func<string, Tensor, double[]> values, bool exact) => new(
            Size, engine.State.Select(s => (s.Name, s.Tensor.Shape, values(s.Name, s.Tensor))), exact ? torch.float64 : torch.float32, exact ? DType.F32 : t.Act, !exact && t.Tf32);
        using var peer = Peer((_, tensor) => engine.Read(tensor), exact: true);
        using var yardstick = Peer((_, tensor) => engine.Read(tensor), exact: false);
        NetworkBatch[] batches = [Batch(t), Batch(t)];
        NetworkBatch[] seen = [.. batches.Select(batch => batch with { Image = t.Moved(batch.Image) })];

        double[] loss = new double[Steps], exactLoss = new double[Steps], singleLoss = new double[Steps];
        for (int step = 0; step < Steps; step++)
        {
            loss[step] = engine.Step(batches[step % 2]);
            (exactLoss[step], singleLoss[step]) = (peer.Step(seen[step % 2]), yardstick.Step(seen[step % 2]));
        }
        Expect("loss", loss, exactLoss, singleLoss);
        foreach (var (name, tensor) in engine.State)
            Expect(name, engine.Read(tensor), peer.Read(name), yardstick.Read(name));

        foreach (var (name, tensor) in engine.State)
            engine.Write(tensor, peer.Read(name));
        using var single = Peer((name, _) => peer.Read(name), exact: false);
        Expect("logits", engine.Logits(batches[0]), peer.Logits(seen[0]), single.Logits(seen[0]));

        // besides, a few roundings of the largest: the yardstick may be lucky
        void Expect(string name, double[] actual, double[] exact, double[] inPrecision) => t.Expect(
            $"{name}, root mean square of differences", [Distance(actual, exact)], [0],
            [Precisions * Distance(inPrecision, exact) + Tolerance.Walk * Tolerance.F32 * exact.Max(Math.Abs)]);
    }

    private static double Distance(double[] a, double[] b) => Math.Sqrt(a.Zip(b, (x, y) => (x - y) * (x - y)).Average());

    private NetworkBatch Batch(Trial t)
    {
        double[] shares = Numbers.Uniform(t.Random, Size.Clips, low: 0.5, high: 1.5);
        return new(
            Numbers.Uniform(t.Random, Size.First.Input.Count, t.Act),
            [.. shares.Select(_ => t.Random.Next(1, Size.Steps + 1))], [.. shares.Select(_ => t.Random.Next(Size.Classes))],
            Numbers.Round(Array.ConvertAll(shares, share => share / shares.Sum()), DType.F32));
    }
}
