using Avedis.Engine;
using Avedis.Tests.Ops;
using TorchSharp;
using static TorchSharp.torch.nn;

namespace Avedis.Peers;

/// <summary>Logits of both losses: ordinary ones, or so large that exp would overflow.</summary>
internal sealed record LogitShape(int Rows, int Classes, bool Huge, float Scale)
{
    public Shape Matrix => new(Rows, Classes);

    public static LogitShape Draw(Random random) =>
        new(Shapes.Extent(random, 70), Shapes.Extent(random, random.Next(8) == 0 ? 2000 : 200), random.Next(8) == 0, 4 * random.NextSingle() - 2);

    public double[] Logits(Random random) => Numbers.Uniform(random, Matrix.Count, low: Huge ? -10000 : -5, high: Huge ? 10000 : 5);

    public override string ToString() => $"{Matrix} scale {Scale}{(Huge ? " huge" : "")}";
}

/// <summary>Softmax cross-entropy with weights; rows of weight 0 have labels that are none.</summary>
internal sealed record CrossEntropy(LogitShape Logits) : PeerCase("cross-entropy")
{
    public override string Description => Logits.ToString();

    public override bool HasActivations => false;

    public override void Compare(Trial t)
    {
        var matrix = Logits.Matrix;
        var rows = new Shape(Logits.Rows);
        double[] logits = Logits.Logits(t.Random), weights = LossCases.Weights(t.Random, Logits.Rows);
        int[] labels = [.. weights.Select(_ => t.Random.Next(Logits.Classes))];
        int[] given = [.. labels.Zip(weights, (label, weight) => weight == 0 ? -1 - label : label)];
        var tensorLogits = t.Op.Input("logits", matrix, DType.F32, logits);
        var tensorLabels = t.Op.Input("labels", rows, DType.I32, Numbers.Of(given));
        var tensorWeights = t.Op.Input("weights", rows, DType.F32, weights);
        var loss = t.Op.Output("loss", rows, DType.F32);
        var probabilities = t.Op.Output("probabilities", matrix, DType.F32);
        var dLogits = t.Op.Output("dLogits", matrix, DType.F32);

        t.Op.Run(device => device.SoftmaxCrossEntropy(loss, probabilities, dLogits, tensorLogits, tensorLabels, tensorWeights, Logits.Scale));

        var peerLogits = t.Data(logits, matrix);
        var target = torch.tensor(Array.ConvertAll(labels, label => (long)label));
        var peerLoss = functional.cross_entropy(peerLogits, target, reduction: Reduction.None) * Oracle.Constant(weights, rows);
        (Logits.Scale * peerLoss).sum().backward();

        double[] targets = [.. Enumerable.Range(0, logits.Length).Select(i => i % Logits.Classes == given[i / Logits.Classes] ? 1.0 : 0)];
        var bound = LossCases.Bounds(logits, targets, weights, Logits.Scale);
        t.Expect(probabilities, Oracle.Values(functional.softmax(peerLogits, 1)), bound.Probabilities);
        t.Expect(dLogits, Oracle.Gradient(peerLogits), bound.DLogits);
        t.Expect(loss, Oracle.Values(peerLoss), [.. weights.Select((weight, n) => weight * bound.LogProbabilities[n * Logits.Classes + labels[n]])]);
    }
}

/// <summary>The confusion loss and its distance from the uniform distribution.</summary>
internal sealed record Confusion(LogitShape Logits) : PeerCase("uniform confusion")
{
    public override string Description => Logits.ToString();

    public override bool HasActivations => false;

    public override void Compare(Trial t)
    {
        var matrix = Logits.Matrix;
        var rows = new Shape(Logits.Rows);
        double[] logits = Logits.Logits(t.Random), weights = LossCases.Weights(t.Random, Logits.Rows);
        var tensorLogits = t.Op.Input("logits", matrix, DType.F32, logits);
        var tensorWeights = t.Op.Input("weights", rows, DType.F32, weights);
        var loss = t.Op.Output("loss", rows, DType.F32);
        var kl = t.Op.Output("kl", rows, DType.F32);
        var dLogits = t.Op.Output("dLogits", matrix, DType.F32);

        t.Op.Run(device => device.UniformConfusion(loss, kl, dLogits, tensorLogits, tensorWeights, Logits.Scale));

        var peerLogits = t.Data(logits, matrix);
        var peerWeights = Oracle.Constant(weights, rows);
        var logProbabilities = functional.log_softmax(peerLogits, 1);
        var peerLoss = -logProbabilities.mean([1]) * peerWeights;
        (Logits.Scale * peerLoss).sum().backward();
        var uniform = torch.full_like(logProbabilities, 1.0 / Logits.Classes);
        var divergence = functional.kl_div(logProbabilities, uniform, log_target: false, reduction: Reduction.None).sum(1) * peerWeights;

        var bound = LossCases.Bounds(logits, Numbers.Constant(logits.Length, 1.0 / Logits.Classes), weights, Logits.Scale);
        t.Expect(dLogits, Oracle.Gradient(peerLogits), bound.DLogits);
        t.Expect(loss, Oracle.Values(peerLoss), [.. weights.Zip(bound.LogProbabilities.Chunk(Logits.Classes), (weight, row) => weight * row.Average())]);
        t.Expect(kl, Oracle.Values(divergence), LossCases.DivergenceBounds(logits, weights));
    }
}
