using Avedis.Engine;
using Avedis.Tests.Ops;

namespace Avedis.Peers;

/// <summary>Max pooling, forward and backward.</summary>
/// <param name="Ties">Three different values in all: nearly every window has a tie, which its first element wins in both.</param>
internal sealed record MaxPooling(Pool2dGeometry G, bool Ties) : PeerCase("max pooling")
{
    public override string Description => $"{G.Input}{Describe(G)}{(Ties ? " with ties" : "")}";

    public static string Describe(Pool2dGeometry? pool) =>
        pool is { } g ? $" pool {g.R}x{g.S} stride {g.StrideH}x{g.StrideW} pad {g.PadH}x{g.PadW}" : "";

    public static MaxPooling Draw(Random random)
    {
        int h = Shapes.Extent(random, 20), w = Shapes.Extent(random, 20);
        return new(Shapes.Pool(random, Shapes.Extent(random, 5), h, w, Shapes.Extent(random, 100)), random.Next(4) == 0);
    }

    public override void Compare(Trial t)
    {
        double[] x = Ties ? Numbers.Integers(t.Random, G.Input.Count, -1, 1) : Shapes.Distinct(t.Random, G.Input.Count, t.Act);
        double[] dY = Numbers.Uniform(t.Random, G.Output.Count, t.Act);
        var tensorX = t.Op.Input("x", G.Input, t.Act, x);
        var tensorDY = t.Op.Input("dY", G.Output, t.Act, dY);
        var y = t.Op.Output("y", G.Output, t.Act);
        var argmax = t.Op.Output("argmax", G.Output, DType.U8);
        var dX = t.Op.Output("dX", G.Input, t.Act);

        t.Op.Run(device =>
        {
            device.MaxPoolForward(y, argmax, tensorX, G);
            device.MaxPoolBackward(dX, tensorDY, argmax, G);
        });

        var peerX = t.Data(x, G.Input);
        var (peerY, winners) = Oracle.MaxPool(peerX, G);
        Oracle.Backward(peerY, dY, G.Output);

        double[] exactly = new double[dY.Length], expectedDX = Oracle.Gradient(peerX);
        t.Expect(y, Oracle.Values(peerY), exactly);
        t.Expect(argmax, Numbers.Of(winners), exactly);
        t.Expect(dX, expectedDX, Tolerance.Sum(t.Act, (long)G.R * G.S, Reference.MaxPoolBackward(Numbers.Abs(dY), winners, G), expectedDX));
    }
}
