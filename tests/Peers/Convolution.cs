using Avedis.Engine;
using Avedis.Tests.Ops;

namespace Avedis.Peers;

/// <summary>The three passes of a convolution.</summary>
internal sealed record Convolution(Conv2dGeometry G) : PeerCase("convolution")
{
    public override string Description => Describe(G);

    public override bool Convolves => true;

    public static string Describe(Conv2dGeometry g) => $"{g.Input} by {g.Weight} stride {g.StrideH}x{g.StrideW} pad {g.PadH}x{g.PadW}";

    public static Convolution Draw(Random random)
    {
        while (true)
        {
            int r = Shapes.Extent(random, 7), s = Shapes.Extent(random, 7);
            // with padding as wide as the window some windows see nothing else, perhaps all of them: rarely
            int wide = random.Next(8) == 0 ? 1 : 0;
            var g = new Conv2dGeometry(
                Shapes.Extent(random, 5), Shapes.Extent(random, 20), Shapes.Extent(random, 20), Shapes.Channels(random), Shapes.Channels(random),
                r, s, random.Next(1, 4), random.Next(1, 4), random.Next(r + wide), random.Next(s + wide));
            if (g.P > 0 && g.Q > 0)
                return new(g);
        }
    }

    public override void Compare(Trial t)
    {
        double[] x = Numbers.Uniform(t.Random, G.Input.Count, t.Act), weight = Numbers.Uniform(t.Random, G.Weight.Count);
        double[] dY = Numbers.Uniform(t.Random, G.Output.Count, t.Act), start = Numbers.Uniform(t.Random, G.Weight.Count, low: -10, high: 10);
        var tensorX = t.Op.Input("x", G.Input, t.Act, x);
        var tensorWeight = t.Op.Input("weight", G.Weight, DType.F32, weight);
        var tensorDY = t.Op.Input("dY", G.Output, t.Act, dY);
        var y = t.Op.Output("y", G.Output, t.Act);
        var dX = t.Op.Output("dX", G.Input, t.Act);
        var dWeight = t.Op.Sum("dWeight", G.Weight, start);
        t.Op.UseWorkspace(G, t.Act);

        t.Op.Run(device =>
        {
            device.Conv2dForward(y, null, tensorX, tensorWeight, G);
            device.Conv2dBackwardData(dX, tensorDY, tensorWeight, G);
            device.Conv2dBackwardWeight(dWeight, tensorDY, tensorX, G);
        });

        // the values that the engine multiplies
        double[] Multiplied(double[] values) => t.Tf32 ? Numbers.RoundToTf32(values) : Numbers.Round(values, t.Act);
        (x, weight, dY) = (Multiplied(x), Multiplied(weight), Multiplied(dY));
        var peerX = t.Data(x, G.Input);
        var peerWeight = Oracle.Leaf(weight, G.Weight);
        var peerY = Oracle.Convolution(peerX, peerWeight, G);
        Oracle.Backward(peerY, dY, G.Output);

        double[] expectedY = Oracle.Values(peerY), expectedDX = Oracle.Gradient(peerX), gradient = Oracle.Gradient(peerWeight);
        double[] sizeX = Numbers.Abs(x), sizeWeight = Numbers.Abs(weight), sizeDY = Numbers.Abs(dY);
        t.Expect(y, expectedY, Tolerance.Sum(t.Act, (long)G.R * G.S * G.C, Reference.Conv2dForward(sizeX, sizeWeight, G), expectedY));
        t.Expect(dX, expectedDX, Tolerance.Sum(t.Act, (long)G.R * G.S * G.K, Reference.Conv2dBackwardData(sizeDY, sizeWeight, G), expectedDX));
        double[] total = Reference.Plus(start, gradient), size = Reference.Plus(Numbers.Abs(start), Reference.Conv2dBackwardWeight(sizeDY, sizeX, G));
        t.Expect(dWeight, total, Tolerance.Sum(DType.F32, (long)G.N * G.P * G.Q + 1, size, total));
    }
}
