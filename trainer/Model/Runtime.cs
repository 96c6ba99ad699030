using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Avedis.Bindings;
using Avedis.Engine;
using Avedis.Trainer.Data;
using Avedis.Trainer.Ranks;
using Avedis.Trainer.Strategies;
using Avedis.Trainer.Training;

namespace Avedis.Trainer.Model;

/// <summary>
/// A network on a device, planned and ready: trains batches if it was built with a strategy, predicts them in any case. Owns the device.
/// <para>
/// A training step is <see cref="Load"/>, <see cref="TrainStep"/>, which only queues it, and <see cref="ReadLosses"/>, which waits for it. The next batch may
/// be loaded before the losses are read, so that its transfer overlaps the step.
/// </para>
/// </summary>
public sealed class Runtime : IDisposable
{
    private readonly Device device;
    private readonly Strategy? strategy;
    private readonly float[] clipLosses;
    private readonly Tensor nonFinite;
    private readonly Action train, evaluate;
    private readonly Dictionary<AuxiliaryHead, int> lossIndices = [];
    private readonly Dictionary<Tensor, float[]> outputs = [];

    /// <param name="training">null for a runtime that only predicts; it plans far less memory.</param>
    /// <param name="parts">null for the whole network, with the auxiliary heads that the training has a use for.</param>
    /// <exception cref="OutOfDeviceMemoryException">The message says how large a batch would fit.</exception>
    /// <param name="collective">The ranks that train together, each on its part of a batch; null: one.</param>
    public Runtime(IBackend backend, NetworkOptions options, NetworkShape shape, TrainingOptions? training, NetworkParts? parts = null, ICollective? collective = null)
        : this(backend, options, shape, training, parts, collective, measures: false)
    {
    }

    /// <param name="measures">Whether it only plans: it has a <see cref="Memory"/>, takes none of the device's, and leaves the backend
    /// alone.</param>
    private Runtime(
        IBackend backend, NetworkOptions options, NetworkShape shape, TrainingOptions? training, NetworkParts? parts,
        ICollective? collective, bool measures)
    {
        device = new Device(backend, collective) { NormalisesOverRanks = training?.Ranks.BatchNorm == BatchNormRanks.Global && collective is { Size: > 1 } };
        try
        {
            Network = new TwoStreamNetwork(device, options, shape, parts ?? new(training is null ? 0 : Strategy.PassesOf(training), false, [], training?.Augment.Enabled ?? false));
            nonFinite = device.Persistent("nonFinite", new Shape(1), DType.I32);
            evaluate = Evaluate;
            train = () => strategy!.Step(Network);
            LossNames = [.. Network.Learning.Select(branch => branch.Name), .. Network.Auxiliary.Select(head => head.Name)];
            foreach (var head in Network.Auxiliary)
                lossIndices[head] = Network.Learning.Count + lossIndices.Count;
            LossValues = new float[LossNames.Count];
            clipLosses = new float[Network.Losses.Count];

            var blank = Network.TakesPooled
                ? new Batch(shape.Batch, 0, 0, 0, 0, shape.Factors.Count, Trunk.WidthOf(options))
                : new Batch(shape.Batch, shape.FaceFrames, shape.FaceSize, shape.MelBins, shape.MelFrames, shape.Factors.Count);
            Action[] steps = [() => Predict(blank)];
            if (training is not null)
            {
                Optimisers = Strategy.Optimisers(training, device, Network);
                strategy = Strategy.Create(training, device, Network, Optimisers);
                if (!measures)
                    device.Reduce(Network.Groups, training.Ranks.BucketBytes);
                steps = [() => Train(blank), .. steps];
            }
            if (measures)
                device.Measure(steps);
            else
                device.Plan(steps);
        }
        catch (OutOfDeviceMemoryException failure) when (device.Memory is { } plan)
        {
            string message = TooLarge(
                plan, shape.Batch, device.Ops.FreeMemory, collective?.Size ?? 1,
                clips => new Runtime(backend, options, shape with { Batch = clips }, training, parts, collective, measures: true).Memory);
            device.Dispose();
            throw new OutOfDeviceMemoryException(message, failure);
        }
        catch when (!measures)
        {
            device.Dispose();
            throw;
        }
    }

    public TwoStreamNetwork Network { get; }

    /// <summary>One for each of the network's groups; empty in a runtime that only predicts.</summary>
    public IReadOnlyList<Adam> Optimisers { get; } = [];

    public MemoryPlan Memory => device.Memory!;

    public string DeviceDescription => device.Description;

    /// <summary>What <see cref="LossValues"/> are: factors that learn, then auxiliary heads.</summary>
    public IReadOnlyList<string> LossNames { get; }

    /// <summary>Mean cross-entropies of the last step whose losses were read, over the clips of all ranks, before the weights of the total.</summary>
    public float[] LossValues { get; }

    /// <summary>What the ranks say to each other at the end of a step besides gradients: a sum over them; 0 when a step begins.</summary>
    public float[] Votes { get; } = new float[2];

    /// <summary>Moves the optimisers' schedules on by one step; behind <see cref="Prepare"/>, which may have an optimiser begin anew.</summary>
    /// <param name="auxiliaryRate">Rate of the auxiliary heads.</param>
    public void Advance(double rate, double auxiliaryRate)
    {
        for (int i = 0; i < Optimisers.Count; i++)
            Optimisers[i].Advance(i == 0 ? rate : auxiliaryRate);
        Network.BatchesTracked++;
    }

    /// <inheritdoc cref="Strategy.Prepare"/>
    public void Prepare(long step, double progress, Func<AuxiliaryHead, double> lossOfHead) => strategy!.Prepare(step, progress, lossOfHead);

    /// <inheritdoc cref="Strategy.Strength"/>
    public double? Strength(double progress) => strategy!.Strength(progress);

    /// <summary>Place of a head's loss in <see cref="LossValues"/>.</summary>
    public int LossIndex(AuxiliaryHead head) => lossIndices[head];

    /// <summary>Sends a batch for the next <see cref="TrainStep"/>; until then, no <see cref="Predict"/>. The batch may be reused on return.</summary>
    public void Load(Batch batch) => Network.Load(batch);

    /// <summary>Queues one training step of the loaded batch; call <see cref="Prepare"/> and <see cref="Advance"/> before.</summary>
    public void TrainStep() => device.Replay("train", train);

    /// <summary>Fills <see cref="LossValues"/> with the losses of the last training step, and <see cref="Votes"/> with the sum of all ranks'; waits for it.</summary>
    /// <returns>Whether all are finite.</returns>
    public bool ReadLosses()
    {
        device.Ops.Download<float>(clipLosses, Network.Losses);
        int clips = Network.Losses.Shape[1];
        for (int i = 0; i < LossValues.Length; i++)
        {
            float sum = 0;
            foreach (float loss in clipLosses.AsSpan(i * clips, clips))
                sum += loss;
            LossValues[i] = sum;
        }
        if (device.Collective.Size > 1)
        {
            float[] exchanged = [.. LossValues, .. Votes];
            device.Collective.AllReduce(exchanged, "losses");
            exchanged.AsSpan(0, LossValues.Length).CopyTo(LossValues);
            exchanged.AsSpan(LossValues.Length).CopyTo(Votes);
        }
        bool finite = true;
        foreach (float loss in LossValues)
            finite &= float.IsFinite(loss);
        return finite;
    }

    /// <summary>Gives all ranks the weights, statistics and moments of rank 0.</summary>
    public void Share()
    {
        if (device.Collective.Size == 1)
            return;
        foreach (var (name, tensor) in Network.State().Concat(Optimisers.SelectMany(o => new[] { (o.FirstMoment.Name, o.FirstMoment), (o.SecondMoment.Name, o.SecondMoment) })))
        {
            float[] values = Read(tensor);
            device.Collective.Broadcast(MemoryMarshal.AsBytes(values.AsSpan()), name);
            Write(tensor, values);
        }
        long[] counts = [Network.BatchesTracked, .. Optimisers.Select(optimiser => optimiser.Step)];
        device.Collective.Broadcast(MemoryMarshal.AsBytes(counts.AsSpan()), "counts of steps");
        Network.BatchesTracked = counts[0];
        for (int i = 0; i < Optimisers.Count; i++)
            Optimisers[i].Step = counts[i + 1];
    }

    /// <summary>Ranks whose weights are not those of rank 0, to the bit: none, unless a machine computes otherwise than the others.</summary>
    public IReadOnlyList<int> Strayed()
    {
        byte[] hash = SHA256.HashData(MemoryMarshal.AsBytes(Network.Groups.SelectMany(group => Read(group.Values)).ToArray().AsSpan()));
        byte[] all = device.Collective.AllGather(hash, "hash of the weights");
        return [.. Enumerable.Range(0, device.Collective.Size).Where(rank => !all.AsSpan(rank * hash.Length, hash.Length).SequenceEqual(all.AsSpan(0, hash.Length)))];
    }

    /// <summary>Sums gradients over ranks; null where there is one.</summary>
    public GradientReduction? Reduction => device.Reduction;

    /// <summary>Elements of all parameters that are NaN or infinite.</summary>
    public long CountNonFinite() => Network.Groups.Sum(group => CountNonFinite(group.Values));

    /// <summary>Parameters and running statistics with elements that are NaN or infinite, and how many.</summary>
    public IReadOnlyDictionary<string, long> NonFiniteTensors() =>
        Network.State().Select(s => (s.Name, Count: CountNonFinite(s.Tensor))).Where(s => s.Count > 0).ToDictionary(s => s.Name, s => s.Count);

    private long CountNonFinite(Tensor tensor)
    {
        var count = new int[1];
        device.Ops.CountNonFinite(nonFinite, tensor);
        device.Ops.Download<int>(count, nonFinite);
        return count[0];
    }

    /// <summary>Evaluation-mode forward; see <see cref="Output"/> for what comes of it.</summary>
    public void Predict(Batch batch)
    {
        Load(batch);
        device.Replay("predict", evaluate);
        Keep(Network.Pooled);
        foreach (var branch in Network.Branches)
        {
            Keep(branch.Embedding);
            Keep(branch.Probabilities);
        }
        foreach (var head in Network.Auxiliary)
            Keep(head.Probabilities);
    }

    /// <summary>
    /// What the last <see cref="Predict"/> made of one of these, row-major: the pooled features, an embedding, the probabilities of a branch or an auxiliary
    /// head. Overwritten by the next.
    /// </summary>
    public float[] Output(Tensor tensor) => outputs[tensor];

    /// <summary>Copies a tensor to the host; waits for queued work.</summary>
    public float[] Read(Tensor tensor)
    {
        var values = new float[tensor.Count];
        device.Ops.Download<float>(values, tensor);
        return values;
    }

    public void Write(Tensor tensor, ReadOnlySpan<float> values) => device.Ops.Upload(tensor, values);

    public void Dispose() => device.Dispose();

    private void Train(Batch batch)
    {
        Load(batch);
        TrainStep();
        ReadLosses();
    }

    private void Evaluate()
    {
        Network.Forward(Phase.Evaluation);
        foreach (var branch in Network.Branches)
        {
            branch.Evaluate();
            foreach (var head in branch.Auxiliary)
            {
                head.Forward(branch.Embedding, Phase.Evaluation);
                head.Evaluate();
            }
        }
    }

    private void Keep(Tensor tensor)
    {
        if (!outputs.TryGetValue(tensor, out float[]? values))
            outputs[tensor] = values = new float[tensor.Count];
        device.Ops.Download<float>(values, tensor);
    }

    // workspace and packing are not proportional to the batch: the one that it advises has been planned
    private static string TooLarge(MemoryPlan plan, int batch, long free, int ranks, Func<int, MemoryPlan> planFor)
    {
        int fits = 0;
        for (int beyond = batch; beyond - fits > 1;)
        {
            int middle = fits + (beyond - fits) / 2;
            if (Needed(planFor(middle)) <= free)
                fits = middle;
            else
                beyond = middle;
        }
        string advice = fits > 0
            ? $"{fits * ranks} clips fit (--batch-size {fits * ranks})"
            : "not one clip fits: the preset is too large for this device";
        return $"out of memory: a batch of {batch * ranks} needs {Needed(plan) / 1048576.0:N0} MiB{(ranks > 1 ? " of each rank" : "")}, " +
            $"the device has {free / 1048576.0:N0} MiB free; {advice}";

        static long Needed(MemoryPlan plan) => plan.TotalBytes + plan.MarginBytes;
    }
}
