using System.Text.Json.Serialization;
using Avedis.Engine;
using Avedis.Trainer.Evaluation;

namespace Avedis.Trainer.Probes;

/// <summary>How probes are trained, and which.</summary>
public sealed record ProbeSettings
{
    /// <summary>Units of the hidden layer.</summary>
    public int Hidden { get; init; } = 256;

    /// <summary>Steps of Adam, each over all train rows.</summary>
    public int Steps { get; init; } = 150;

    /// <summary>Steps between two looks at the validation rows.</summary>
    public int CheckEvery { get; init; } = 10;

    /// <summary>
    /// Adam's rate for the linear probe at width 1. The rate falls with the root of the width, as the weights at the start do: with embeddings of 16 to 1024
    /// columns this scores within two points of six to ten times the steps at a rate far lower.
    /// </summary>
    public double LinearRate { get; init; } = 0.25;

    /// <summary>The same for the probe with a hidden layer.</summary>
    public double HiddenRate { get; init; } = 0.025;

    /// <summary>Rows that a device works on at a time, a multiple of 64; what more there is follows in further chunks of the same step.</summary>
    public int MaxRows { get; init; } = 4096;

    /// <summary>The first probe's seed; the next have the numbers that follow.</summary>
    public ulong Seed { get; init; } = 1;

    /// <summary>Probes of each kind, from different starts.</summary>
    public int Seeds { get; init; } = 3;

    public IReadOnlyList<ProbeKind> Kinds { get; init; } = Enum.GetValues<ProbeKind>();

    /// <summary>Whether the online code is measured.</summary>
    public bool Codes { get; init; } = true;

    /// <summary>Whether the probes are repeated with shuffled labels, and with another factor's label for the embedding.</summary>
    public bool Controls { get; init; } = true;

    /// <summary>Everything: for the end of a run.</summary>
    public static ProbeSettings Full { get; } = new();

    /// <summary>One probe of each kind.</summary>
    public static ProbeSettings Cheap { get; } = new() { Seeds = 1, Codes = false, Controls = false };

    /// <summary>One probe with a hidden layer, plain and balanced: for the end of an epoch.</summary>
    public static ProbeSettings Epoch { get; } = Cheap with { Kinds = [ProbeKind.Hidden] };
}

/// <summary>What one probe found.</summary>
/// <param name="Step">The step that did best on the validation rows; the other figures are those of its weights.</param>
/// <param name="MacroF1">On the test rows, as the accuracies and the confusion.</param>
/// <param name="BalancedAccuracy">Mean recall over the classes that occur.</param>
/// <param name="Confusion">Counts by truth, then prediction; empty where the classes are more than <see
/// cref="ConfusionMatrix.WholeUpTo"/>.</param>
public sealed record ProbeScore(
    ulong Seed, int Step, double TrainMacroF1, double ValidationMacroF1, double MacroF1, double Accuracy, double BalancedAccuracy, long[][] Confusion)
{
    /// <summary>One per clip of the test split as it was given, -1 where that has no label. Too long for JSON.</summary>
    [JsonIgnore]
    public int[] Predictions { get; init; } = [];
}

/// <summary>
/// Fresh classifiers on frozen embeddings: all rows lie on the device, and any number of probes are trained on them one after the other. A probe is trained on
/// the train rows, its best step is chosen on the validation rows, and it is scored once on the test rows.
/// </summary>
public sealed class Probe : IDisposable
{
    // chunks begin on multiples of so many rows: 256 bytes of labels, and more of anything else
    private const int RowsStep = 64;

    private const int MostOutputs = 1 << 25; // of a chunk, 128 MiB: it has fewer rows where the classes are many

    private readonly Device device;
    private readonly ProbeData data;
    private readonly Tensor inputs, labels, weights; // [capacity, width], [capacity], [capacity]: train, then validation, then test
    private readonly int validationStart, testStart;
    private readonly List<ProbeNetwork> networks = [];
    private ProbeNetwork network = null!; // of the probe in training
    private int trained;                  // rows that it is trained on: the first so many

    /// <param name="backend">The probe takes it over and disposes it.</param>
    /// <param name="data">Probes must be applicable to it.</param>
    public Probe(IBackend backend, ProbeData data, ProbeSettings settings)
    {
        device = new Device(backend) { LeavesMargin = false };
        try
        {
            if (data.NotApplicable is { } reason)
                throw new ArgumentException($"probes are not applicable: {reason}");
            if (settings.MaxRows < RowsStep || settings.MaxRows % RowsStep != 0 || settings.CheckEvery < 1 || settings.Steps < 1)
                throw new ArgumentException($"a probe needs steps, and chunks of a multiple of {RowsStep} rows: {settings}");
            (this.data, Settings) = (data, settings);
            int rows = data.Labels.Train.Length;
            validationStart = RoundUp(rows);
            testStart = validationStart + RoundUp(data.Labels.Validation.Length);
            int most = Math.Clamp(MostOutputs / data.Classes / RowsStep * RowsStep, RowsStep, settings.MaxRows);
            int chunk = RoundUp(CeilingOf(rows, CeilingOf(rows, most)));
            int capacity = testStart + RoundUp(data.Labels.Test.Length) + chunk; // the last chunk may reach over the end
            inputs = device.Persistent("probe.inputs", new Shape(capacity, data.Width), DType.F32);
            labels = device.Persistent("probe.labels", new Shape(capacity), DType.I32);
            weights = device.Persistent("probe.weights", new Shape(capacity), DType.F32);

            // the online code trains on prefixes of half the length, a quarter, and so on: with chunks of a fourth each, none pads much
            int[] sizes = settings.Codes ? [chunk, RoundUp(chunk / 4), RoundUp(chunk / 16), RoundUp(chunk / 64)] : [chunk];
            foreach (var kind in settings.Kinds)
                foreach (int size in sizes.Distinct())
                    networks.Add(new ProbeNetwork(device, kind, size, data.Width, settings.Hidden, data.Classes));
            device.Plan([.. networks.SelectMany(n => new Action[] { () => Step(n, n.Rows, 0), () => Probabilities(n, 0, 1, (_, _) =>
                { }) })]);
            UploadRows(data.Train, 0);
            UploadRows(data.Validation, validationStart);
            UploadRows(data.Test, testStart);
        }
        catch
        {
            device.Dispose();
            throw;
        }
    }

    public ProbeSettings Settings { get; }

    /// <summary>Trains and scores a probe.</summary>
    /// <param name="balanced">Whether each class weighs the same in the loss, or each clip.</param>
    /// <param name="substitute">Labels in place of the data's.</param>
    public ProbeScore Run(ProbeKind kind, bool balanced, ulong seed, ProbeLabels? substitute = null, CancellationToken cancellation = default)
    {
        var (train, validation, test) = substitute ?? data.Labels;
        Begin(kind, train, balanced, seed);
        int chosen = 0;
        double score = -1, loss = 0;
        float[] values = [];
        for (int step = 1; step <= Settings.Steps; step++)
        {
            cancellation.ThrowIfCancellationRequested();
            Step();
            if (step % Settings.CheckEvery != 0 && step != Settings.Steps)
                continue;
            var looked = Look(validationStart, validation);
            double nextScore = Confusion(looked, validation).MacroF1, nextLoss = LogLoss(looked, validation, balanced);
            // scores of few clips are often equal
            if (nextScore < score || (nextScore == score && nextLoss >= loss))
                continue;
            (chosen, score, loss, values) = (step, nextScore, nextLoss, SaveWeights());
        }
        LoadWeights(values);
        var found = Look(testStart, test);
        var confusion = Confusion(found, test);
        var predictions = new int[data.TestClips];
        Array.Fill(predictions, -1);
        for (int i = 0; i < test.Length; i++)
            predictions[data.TestRows[i]] = found[i].Predicted;
        return new ProbeScore(
            seed, chosen, Confusion(Look(0, train), train).MacroF1, score, confusion.MacroF1, confusion.Accuracy,
            confusion.BalancedAccuracy,
            data.Classes > ConfusionMatrix.WholeUpTo ? [] : [.. Enumerable.Range(0, data.Classes).Select(t => Enumerable.Range(0,
                data.Classes).Select(p => confusion[t, p]).ToArray())])
        {
            Predictions = predictions,
        };
    }

    public void Dispose() => device.Dispose();

    /// <summary>A fresh probe for the first train rows, as many as there are labels.</summary>
    internal void Begin(ProbeKind kind, ReadOnlySpan<int> train, bool balanced, ulong seed)
    {
        trained = train.Length;
        network = networks.Where(n => n.Kind == kind).MinBy(n => (CeilingOf(trained, n.Rows) * n.Rows, -n.Rows))!;
        var clips = new int[data.Classes];
        foreach (int label in train)
            clips[label]++;
        int observed = clips.Count(n => n > 0);
        var (allLabels, allWeights) = (new int[labels.Count], new float[weights.Count]); // rows that are not trained on weigh nothing
        train.CopyTo(allLabels);
        for (int i = 0; i < trained; i++)
            allWeights[i] = balanced ? 1f / (observed * clips[train[i]]) : 1f / trained;
        device.Ops.Upload<int>(labels, allLabels);
        device.Ops.Upload<float>(weights, allWeights);
        network.Begin(seed);
    }

    /// <summary>One step of Adam over all rows that are trained on.</summary>
    internal void Step() =>
        Step(network, trained, (network.Kind == ProbeKind.Linear ? Settings.LinearRate : Settings.HiddenRate) / Math.Sqrt(data.Width));

    internal float[] SaveWeights()
    {
        var values = new float[network.Values.Count];
        device.Ops.Download<float>(values, network.Values);
        return values;
    }

    internal void LoadWeights(float[] values) => device.Ops.Upload<float>(network.Values, values);

    /// <summary>What the probe says of train rows: [count, classes].</summary>
    internal float[] TrainProbabilities(int start, int count)
    {
        var result = new float[count * data.Classes];
        Probabilities(network, start, count, (row, own) => own.CopyTo(result.AsSpan(row * data.Classes)));
        return result;
    }

    /// <summary>The probability that the probe gives the label of each train row.</summary>
    internal float[] TrainLabels(int start, ReadOnlySpan<int> truth) => Array.ConvertAll(Look(start, truth.ToArray()), row => row.OfTruth);

    private static int CeilingOf(int part, int whole) => (part + whole - 1) / whole;

    private static int RoundUp(int rows) => CeilingOf(rows, RowsStep) * RowsStep;

    private void UploadRows(float[] rows, int start) =>
        device.Ops.Upload<float>(inputs.Part("probe.rows", new Shape(rows.Length / data.Width, data.Width), (long)start * data.Width), rows);

    private (Tensor X, Tensor Labels, Tensor Weights) Chunk(int start, int rows)
    {
        var shape = new Shape(rows);
        return (inputs.Part("probe.chunk", new Shape(rows, data.Width), (long)start * data.Width),
            labels.Part("probe.chunk.labels", shape, start), weights.Part("probe.chunk.weights", shape, start));
    }

    private void Step(ProbeNetwork network, int rows, double rate)
    {
        for (int start = 0; start < rows; start += network.Rows)
        {
            var (x, chunkLabels, chunkWeights) = Chunk(start, network.Rows);
            network.Accumulate(x, chunkLabels, chunkWeights);
        }
        network.Move(rate);
    }

    private delegate void TakeRow(int row, ReadOnlySpan<float> probabilities);

    private void Probabilities(ProbeNetwork network, int start, int count, TakeRow take)
    {
        int classes = data.Classes, begin = start / RowsStep * RowsStep, end = start + count;
        var chunk = new float[network.Rows * classes];
        for (int row = begin; row < end; row += network.Rows)
        {
            var (x, chunkLabels, chunkWeights) = Chunk(row, network.Rows);
            device.Ops.Download<float>(chunk, network.Probabilities(x, chunkLabels, chunkWeights));
            for (int i = Math.Max(row, start); i < Math.Min(row + network.Rows, end); i++)
                take(i - start, chunk.AsSpan((i - row) * classes, classes));
        }
    }

    // all classes of all rows would not fit where both are many
    private (int Predicted, float OfTruth)[] Look(int start, int[] truth)
    {
        var rows = new (int, float)[truth.Length];
        Probabilities(network, start, truth.Length, (row, own) => rows[row] = (Evaluator.ArgMax(own), own[truth[row]]));
        return rows;
    }

    private ConfusionMatrix Confusion((int Predicted, float OfTruth)[] rows, int[] truth)
    {
        var matrix = new ConfusionMatrix(data.Classes);
        for (int i = 0; i < truth.Length; i++)
            matrix.Add(truth[i], rows[i].Predicted);
        return matrix;
    }

    /// <summary>Mean cross-entropy, over clips or over the classes' means.</summary>
    private double LogLoss((int Predicted, float OfTruth)[] rows, int[] truth, bool balanced)
    {
        var (sums, clips) = (new double[data.Classes], new int[data.Classes]);
        for (int i = 0; i < truth.Length; i++)
        {
            sums[truth[i]] -= Math.Log(Math.Max(rows[i].OfTruth, float.Epsilon));
            clips[truth[i]]++;
        }
        return balanced ? sums.Zip(clips).Where(c => c.Second > 0).Average(c => c.First / c.Second) : sums.Sum() / truth.Length;
    }
}
