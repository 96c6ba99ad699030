using Avedis.Engine;
using Avedis.Trainer.Data;

namespace Avedis.Trainer.Model;

/// <summary>What a loss is measured against: the labels of one factor, and each clip's share of the batch mean.</summary>
public sealed class Target
{
    private readonly Device device;
    private readonly int index;
    private readonly float[] classWeights;
    private readonly float[] shares;

    /// <param name="index">Number of the factor in <see cref="Batch.Labels"/>.</param>
    /// <param name="classWeights">One per class; empty for all 1.</param>
    public Target(Device device, string name, Factor factor, int index, int batch, float[] classWeights)
    {
        (this.device, Factor, this.index, this.classWeights) = (device, factor, index, classWeights);
        shares = new float[batch];
        Labels = device.Persistent($"{name}.labels", new Shape(batch), DType.I32);
        Weights = device.Persistent($"{name}.weights", new Shape(batch), DType.F32);
    }

    public Factor Factor { get; }

    /// <summary>[N] I32; -1 for a clip without one, whose weight is 0.</summary>
    public Tensor Labels { get; }

    /// <summary>[N] F32, sum 1 over all ranks: a loss is a mean over the valid clips of the whole batch, each weighted as its class.</summary>
    public Tensor Weights { get; }

    /// <summary>Sends a batch's labels and shares to the device.</summary>
    public void Load(Batch batch)
    {
        int[] labels = batch.Labels[index];
        float sum = 0, all = 0;
        for (int n = 0; n < shares.Length; n++)
            sum += shares[n] = batch.Weights[n] * WeightOf(labels[n]);
        if (batch.IsPart)
            foreach (int label in batch.AllLabels[index])
                all += WeightOf(label);
        for (int n = 0; n < shares.Length && sum > 0; n++)
            shares[n] /= batch.IsPart ? all : sum;
        device.Ops.Upload<int>(Labels, labels);
        device.Ops.Upload<float>(Weights, shares);
    }

    private float WeightOf(int label) => label < 0 ? 0 : classWeights.Length == 0 ? 1 : classWeights[label];
}
