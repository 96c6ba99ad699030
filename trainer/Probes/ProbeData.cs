using Avedis.Engine;

namespace Avedis.Trainer.Probes;

/// <summary>One split of frozen embeddings. Inputs [N, width] row by row; a label of -1 means that the clip has none.</summary>
public sealed record ProbeSplit(float[] Inputs, int[] Labels);

/// <summary>Labels of the rows that take part, in the order of <see cref="ProbeData"/>'s rows.</summary>
public sealed record ProbeLabels(int[] Train, int[] Validation, int[] Test);

/// <summary>
/// What a probe learns from and is scored on: rows with a label, standardised with the train rows' mean and deviation. The train rows are in a seeded
/// random order, so that any prefix of them is a sample (<see cref="OnlineCode"/>).
/// </summary>
public sealed class ProbeData
{
    /// <summary>
    /// Among n numbers none lies further than sqrt(n - 1) deviations from their mean, so up to a million clips this touches no train row; a held-out value
    /// in a column that hardly varied in training cannot overflow.
    /// </summary>
    private const double MaxDeviations = 1000;

    /// <summary>Where there is no validation split, one train clip in so many is kept apart instead.</summary>
    private const int ValidationPart = 5;

    /// <param name="width">Columns of the inputs.</param>
    /// <param name="classes">Labels are 0 .. classes - 1.</param>
    /// <param name="validation">May be empty: then a fifth of the train clips, drawn within each class, is kept apart.</param>
    /// <param name="seed">Decides the order of the train rows and which of them validate.</param>
    /// <exception cref="UserException">An input is not finite, or a label is out of range.</exception>
    public ProbeData(int width, int classes, ProbeSplit train, ProbeSplit validation, ProbeSplit test, ulong seed)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(width, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(classes, 1);
        (Width, Classes, Given, TestClips) = (width, classes, train, test.Labels.Length);
        int[] trainRows = Labelled(train, "train"), validationRows = Labelled(validation, "validation");
        TestRows = Labelled(test, "test");

        new Philox(seed, StableHash.Of("probe.order")).Shuffle<int>(trainRows);
        var validationSource = validation;
        if (validationRows.Length == 0)
        {
            (trainRows, validationRows) = KeepApart(trainRows, train.Labels);
            (validationSource, ValidationFromTrain) = (train, true);
        }
        Labels = new(Pick(train.Labels, trainRows), Pick(validationSource.Labels, validationRows), Pick(test.Labels, TestRows));
        NotApplicable = Labels switch
        {
            { Test.Length: 0 } => "the test split has no labelled clip",
            { Train.Length: 0 } => "the train split has no labelled clip",
            { Validation.Length: 0 } => $"without a validation split, {ValidationPart} labelled train clips are needed; there are {Labels.Train.Length}",
            _ when Labels.Train.All(label => label == Labels.Train[0]) => "the train split has fewer than two classes",
            _ => null,
        };
        if (NotApplicable is not null)
            return;
        var (mean, scale) = Statistics(train.Inputs, trainRows);
        Train = Standardise(train.Inputs, trainRows, mean, scale);
        Validation = Standardise(validationSource.Inputs, validationRows, mean, scale);
        Test = Standardise(test.Inputs, TestRows, mean, scale);
    }

    public int Width { get; }

    public int Classes { get; }

    /// <summary>Why nothing can be probed here; null if it can.</summary>
    public string? NotApplicable { get; }

    /// <summary>Whether the validation rows are a part of the train split.</summary>
    public bool ValidationFromTrain { get; }

    public ProbeLabels Labels { get; }

    /// <summary>The train split as it was given.</summary>
    internal ProbeSplit Given { get; }

    /// <summary>Clips of the test split, with and without a label.</summary>
    internal int TestClips { get; }

    /// <summary>Which clips of the test split the test rows are.</summary>
    internal int[] TestRows { get; }

    /// <summary>Standardised inputs, [rows, width]; empty where probes are not applicable.</summary>
    internal float[] Train { get; } = [];

    internal float[] Validation { get; } = [];

    internal float[] Test { get; } = [];

    private static int[] Pick(int[] labels, int[] rows) => Array.ConvertAll(rows, row => labels[row]);

    /// <summary>Rows with a label; checks every value on the way.</summary>
    private int[] Labelled(ProbeSplit split, string name)
    {
        if (split.Inputs.LongLength != (long)split.Labels.Length * Width)
            throw new ArgumentException($"{name}: {split.Labels.Length} labels and {split.Inputs.LongLength} inputs of width {Width}");
        for (int i = 0; i < split.Inputs.Length; i++)
            if (!float.IsFinite(split.Inputs[i]))
                throw new UserException(
                    ExitCode.BadInput, $"probe: the embedding of row {i / Width} of split {name} is {split.Inputs[i]} in column {i % Width} (both from 0); " +
                    "the network has diverged, use an earlier checkpoint");
        var rows = new List<int>();
        for (int row = 0; row < split.Labels.Length; row++)
        {
            int label = split.Labels[row];
            if (label < -1 || label >= Classes)
                throw new UserException(
                    ExitCode.BadInput, $"probe: the label of row {row} (from 0) of split {name} is {label}; use 0 to {Classes - 1}, or -1 for none");
            if (label >= 0)
                rows.Add(row);
        }
        return [.. rows];
    }

    /// <summary>Every fifth row in order of class, so that each class gives its share.</summary>
    private static (int[] Train, int[] Validation) KeepApart(int[] rows, int[] labels)
    {
        var byClass = rows.OrderBy(row => labels[row]).ToArray(); // stable: random within a class
        var kept = byClass.Where((_, i) => i % ValidationPart == ValidationPart - 1).ToHashSet();
        return ([.. rows.Where(row => !kept.Contains(row))], [.. rows.Where(kept.Contains)]);
    }

    /// <summary>Mean and 1 / deviation of each column; a column that is constant has 0 for the latter, exactly.</summary>
    private (double[] Mean, double[] Scale) Statistics(float[] inputs, int[] rows)
    {
        var (mean, scale) = (new double[Width], new double[Width]);
        var constant = new bool[Width];
        Array.Fill(constant, true);
        foreach (int row in rows)
            for (int d = 0; d < Width; d++)
            {
                float value = inputs[row * Width + d];
                mean[d] += value / (double)rows.Length;
                constant[d] &= value == inputs[rows[0] * Width + d];
            }
        foreach (int row in rows)
            for (int d = 0; d < Width; d++)
                scale[d] += Math.Pow(inputs[row * Width + d] - mean[d], 2);
        for (int d = 0; d < Width; d++)
            scale[d] = constant[d] ? 0 : 1 / Math.Sqrt(scale[d] / rows.Length);
        return (mean, scale);
    }

    private float[] Standardise(float[] inputs, int[] rows, double[] mean, double[] scale)
    {
        var result = new float[rows.Length * Width];
        for (int i = 0; i < rows.Length; i++)
            for (int d = 0; d < Width; d++)
            {
                double deviations = scale[d] == 0 ? 0 : (inputs[rows[i] * Width + d] - mean[d]) * scale[d];
                result[i * Width + d] = (float)Math.Clamp(deviations, -MaxDeviations, MaxDeviations);
            }
        return result;
    }
}
