using Avedis.Engine;
using Avedis.Trainer.Data;
using Avedis.Trainer.Model;

namespace Avedis.Trainer.Evaluation;

/// <summary>What a network says of one clip, for one factor.</summary>
/// <param name="Truth">Class of the clip; -1 for none of them.</param>
/// <param name="Probabilities">Of every class; of speakers, who may be many, of the predicted one.</param>
public sealed record Prediction(int Truth, int Predicted, float[] Probabilities);

/// <summary>Scores of one factor over a split, by its own branch or by an auxiliary head.</summary>
/// <param name="Name">The factor's name, or that of the auxiliary head.</param>
/// <param name="Predictions">One per clip, in order.</param>
public sealed record FactorResult(string Name, Factor Factor, ConfusionMatrix Matrix, IReadOnlyList<Prediction> Predictions)
{
    /// <summary>Of predictions, one per clip, in order.</summary>
    public static FactorResult Of(string name, Factor factor, IReadOnlyList<Prediction> predictions)
    {
        var matrix = new ConfusionMatrix(factor.Classes.Count);
        foreach (var prediction in predictions.Where(prediction => prediction.Truth >= 0))
            matrix.Add(prediction.Truth, prediction.Predicted);
        return new(name, factor, matrix, predictions);
    }

    /// <summary>What the paper reports of this factor: macro-F of emotion, accuracy of speakers.</summary>
    public double Score => Factor.ByMacroF ? Matrix.MacroF1 : Matrix.Accuracy;

    /// <summary>The same for whoever always names the most frequent class of the split, or, of speakers, any one.</summary>
    public double Chance => Factor.ByMacroF ? Matrix.MajorityMacroF1 : 1.0 / Matrix.Classes;
}

/// <summary>Scores of one split.</summary>
/// <param name="Ids">Every clip, in the order of the manifest.</param>
/// <param name="Factors">One for each branch.</param>
/// <param name="Auxiliary">One for each auxiliary head: what the training itself believes of the leak.</param>
public sealed record EvaluationResult(IReadOnlyList<string> Ids, IReadOnlyList<FactorResult> Factors, IReadOnlyList<FactorResult> Auxiliary)
{
    /// <summary>
    /// The selection score by the primary tasks: mean of macro-F or, of speakers, accuracy, over the factors of which the split has a clip.
    /// </summary>
    public double Score => Factors.Where(factor => factor.Matrix.Total > 0).Select(factor => factor.Score).DefaultIfEmpty().Average();

    /// <summary>What could not be scored, of all or some clips.</summary>
    public IEnumerable<string> Notes => Factors.Where(factor => factor.Matrix.Total < Ids.Count).Select(factor => factor.Matrix.Total == 0
        ? $"{factor.Name} is not scored: no clip has one of the classes that the network learnt"
        : $"{factor.Name} is scored on {factor.Matrix.Total:N0} of {Ids.Count:N0} clips: "
            + "the others have none of the classes that the network learnt");

    /// <summary>Null if there is none of this factor.</summary>
    public FactorResult? Find(string factor) => Factors.FirstOrDefault(result => result.Name == factor);
}

/// <summary>Runs a network over every clip of a split, each once, with running statistics.</summary>
public static class Evaluator
{
    /// <param name="look">Called with each batch behind its prediction, for whoever wants more of it.</param>
    public static EvaluationResult Run(Runtime runtime, BatchLoader loader, Action<Batch>? look = null)
    {
        var network = runtime.Network;
        var ids = new List<string>();
        var branches = network.Branches.Select(branch => new Tally(branch.Name, branch.Factor, branch.Probabilities, network)).ToList();
        var heads = network.Auxiliary.Select(head => new Tally(head.Name, head.Factor, head.Probabilities, network)).ToList();
        while (loader.TryNext(out var batch))
        {
            runtime.Predict(batch);
            ids.AddRange(batch.Ids.Take(batch.Count));
            foreach (var tally in branches.Concat(heads))
                tally.Count(runtime, batch);
            look?.Invoke(batch);
            loader.Return(batch);
        }
        return new EvaluationResult(ids, [.. branches.Select(tally => tally.Result)], [.. heads.Select(tally => tally.Result)]);
    }

    /// <summary>Index of the largest value, the first of equals; -1 for none.</summary>
    public static int ArgMax(ReadOnlySpan<float> values)
    {
        int best = values.IsEmpty ? -1 : 0;
        for (int i = 1; i < values.Length; i++)
            if (values[i] > values[best])
                best = i;
        return best;
    }

    private sealed class Tally(string name, Factor factor, Tensor probabilities, TwoStreamNetwork network)
    {
        private readonly int index = network.Shape.Factors.ToList().FindIndex(f => f.Name == factor.Name);
        private readonly List<Prediction> predictions = [];

        public FactorResult Result => FactorResult.Of(name, factor, predictions);

        public void Count(Runtime runtime, Batch batch)
        {
            float[] all = runtime.Output(probabilities);
            int classes = factor.Classes.Count;
            for (int n = 0; n < batch.Count; n++)
            {
                var own = all.AsSpan(n * classes, classes);
                int truth = batch.Labels[index][n], predicted = ArgMax(own);
                predictions.Add(new Prediction(truth, predicted, factor.ByMacroF ? own.ToArray() : [own[predicted]]));
            }
        }
    }
}
