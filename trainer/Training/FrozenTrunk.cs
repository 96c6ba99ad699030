using Avedis.Engine;
using Avedis.Trainer.Data;
using Avedis.Trainer.Evaluation;
using Avedis.Trainer.Model;

namespace Avedis.Trainer.Training;

/// <summary>A trunk that no training changes: it runs once over every clip, and the training goes on with what it gave.</summary>
public static class FrozenTrunk
{
    /// <summary>Pooled features of the training and validation clips by the trunk of a checkpoint; disposes the backend.</summary>
    public static PooledFeatures Pool(
        IBackend backend, NetworkOptions network, NetworkShape shape, PreparedDataset dataset, string checkpoint, TextWriter log)
    {
        using var whole = new Runtime(backend, network, shape, training: null, NetworkParts.Plain);
        ModelFile.LoadStart(Path.Combine(checkpoint, "model.safetensors"), whole, network.Built);
        int width = Trunk.WidthOf(network);
        var values = new Dictionary<Split, float[]>();
        foreach (var split in new[] { Split.Train, Split.Validation })
        {
            var rows = values[split] = new float[dataset.Clips(split).Count * width];
            int done = 0;
            var progress = new Progress(log, $"pooled features, {split.ToString().ToLowerInvariant()}", "clips");
            using var loader = BatchLoader.ForEvaluation(dataset, split, shape.Batch, shape.Factors);
            Evaluator.Run(whole, loader, batch =>
            {
                whole.Output(whole.Network.Pooled).AsSpan(0, batch.Count * width).CopyTo(rows.AsSpan(done * width));
                done += batch.Count;
                progress.Report(done, dataset.Clips(split).Count, 0, "");
            });
        }
        return new PooledFeatures(width, values);
    }
}
