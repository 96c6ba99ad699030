using System.Globalization;
using System.Text;
using System.Text.Json;
using Avedis.Engine;
using Avedis.Trainer.Data;
using Avedis.Trainer.Evaluation;

namespace Avedis.Trainer.Reproduce;

/// <summary>Scores of emotion on the clips of a fold, or of all folds together.</summary>
/// <param name="Uar">Mean recall over the emotions that the clips have.</param>
/// <param name="Uf">Mean F over the emotions that the clips have.</param>
public sealed record FoldScore(int Clips, double Uar, double Uf, double Accuracy)
{
    public static FoldScore Of(ConfusionMatrix matrix) =>
        new((int)matrix.Total, matrix.BalancedAccuracy, matrix.ObservedMacroF1, matrix.Accuracy);
}

/// <summary>What one network of the grid scores, trained once for each fold.</summary>
/// <param name="Folds">One per fold, in order.</param>
/// <param name="Pooled">Of all clips of all folds in one table.</param>
public sealed record FoldedCell(string Name, IReadOnlyList<FoldScore> Folds, FoldScore Pooled)
{
    public FoldScore Mean => Over(values => values.Average());

    /// <summary>Standard deviation, of a sample; NaN of a single fold.</summary>
    public FoldScore Deviation => Over(values =>
    {
        double mean = values.Average();
        return Math.Sqrt(values.Sum(value => (value - mean) * (value - mean)) / (values.Count - 1.0));
    });

    private FoldScore Over(Func<IReadOnlyList<double>, double> of) => new(
        Pooled.Clips,
        of([.. Folds.Select(fold => fold.Uar)]), of([.. Folds.Select(fold => fold.Uf)]), of([.. Folds.Select(fold => fold.Accuracy)]));
}

/// <summary>The content of folds.json.</summary>
/// <param name="Column">speaker, or a column of the manifest.</param>
/// <param name="Planned">Folds in all.</param>
/// <param name="Groups">Values that each finished fold held out.</param>
public sealed record FoldReport(
    string Column, int Planned, IReadOnlyList<IReadOnlyList<string>> Groups, IReadOnlyList<FoldedCell> Cells);

/// <summary>
/// Leaves one speaker out, or whoever shares a value of a column: session, corpus. For each fold a grid is trained on the others' clips and
/// scored on the fold's. Of the others the validation clips stay what they are, and the test clips are trained on. Stopped at any moment,
/// it goes on where it was, as the grids do.
/// </summary>
/// <param name="dataset">Every clip has a speaker who is named in it; the splits only say which clips validate.</param>
/// <param name="column">speaker, or a further column of the manifest.</param>
/// <param name="count">Folds to put the values into, as even in clips as whole values allow; null for a fold each.</param>
public sealed class Folds(PreparedDataset dataset, string column, int? count, string folder, TextWriter log)
{
    private readonly int number = dataset.Index.Factors.ToList().IndexOf(column);

    // training clips with a varied sound: nobody is scored on them
    private readonly HashSet<string> copies = dataset.Index.Data.Variants is { Copies: > 0 } variants
        ? [.. dataset.Index.Clips.SelectMany(clip => Enumerable.Range(1, variants.Copies).Select(copy => variants.NameOf(clip.Id, copy)))]
        : [];

    /// <summary>Values of the column, by fold.</summary>
    /// <exception cref="UserException">Exit codes 2 and 3: no such column, or clips that cannot be divided by it.</exception>
    public IReadOnlyList<IReadOnlyList<string>> Groups()
    {
        var named = dataset.Index.Factors;
        if (column != Factor.Speaker && number < 0)
            throw new UserException(
                ExitCode.Usage, $"--folds {column}: expected {string.Join(" or ", named.Prepend(Factor.Speaker))}");
        var clips = dataset.Index.Clips;
        if (clips.Count(clip => clip.Speaker < 0) is > 0 and var unnamed)
            throw new UserException(
                ExitCode.BadInput,
                $"{dataset.Folder}: {unnamed:N0} clips are of speakers without a training clip; "
                + "for --folds, prepare without the column split");
        if (clips.Count(clip => ValueOf(clip).Length == 0) is > 0 and var empty)
            throw new UserException(
                ExitCode.BadInput, $"{dataset.Folder}: {empty:N0} clips have no {column}; fill the column of the manifest");
        var sizes = clips.CountBy(ValueOf).OrderByDescending(group => group.Value).ThenBy(group => group.Key, StringComparer.Ordinal)
            .ToList();
        int folds = count ?? sizes.Count;
        if (folds < 2 || folds > sizes.Count)
            throw new UserException(
                ExitCode.Usage, $"--folds {column}: there are {sizes.Count} of them, for 2 to {sizes.Count} folds, not {folds}");
        // the largest first, each to the fold that has fewest clips
        var groups = Enumerable.Range(0, folds).Select(_ => new List<string>()).ToList();
        var queue = new PriorityQueue<int, (int Clips, int Fold)>(Enumerable.Range(0, folds).Select(fold => (fold, (0, fold))));
        foreach (var (value, size) in sizes)
        {
            queue.TryDequeue(out int fold, out var load);
            groups[fold].Add(value);
            queue.Enqueue(fold, (load.Clips + size, fold));
        }
        foreach (var group in groups)
            group.Sort(StringComparer.Ordinal);
        return [.. groups.OrderBy(group => group[0], StringComparer.Ordinal)];
    }

    /// <summary>The same clips, with one fold held out.</summary>
    public PreparedDataset HoldOut(IReadOnlyList<string> group)
    {
        var held = group.ToHashSet(StringComparer.Ordinal);
        return dataset.Divided(clip =>
            !held.Contains(ValueOf(clip)) ? clip.Split == Split.Validation ? Split.Validation : Split.Train
            : copies.Contains(clip.Id) ? (Split?)null
            : Split.Test);
    }

    /// <summary>Trains and scores what is not finished yet; writes folds.md, folds.csv and folds.json.</summary>
    /// <param name="run">Trains the grid of a fold in a folder; false if it was stopped on the way.</param>
    /// <returns>The table, as far as it got: of the folds that are finished.</returns>
    public string Run(Func<PreparedDataset, string, bool> run)
    {
        var groups = Groups();
        var found = new Dictionary<string, List<ConfusionMatrix>>();
        int done = 0;
        foreach (var (fold, group) in groups.Index())
        {
            log.WriteLine($"fold {fold + 1} of {groups.Count}: without {Named(group)}");
            string place = Path.Combine(folder, $"fold-{fold + 1:D3}");
            using var part = HoldOut(group);
            if (part.Clips(Split.Train).Count == 0)
                throw new UserException(ExitCode.BadInput, $"{dataset.Folder}: without {Named(group)} there is no clip to train on");
            if (!run(part, place))
                break;
            foreach (string cell in Directory.GetDirectories(Path.Combine(place, "cells")).Order(StringComparer.Ordinal))
            {
                string file = Path.Combine(cell, "predictions.json"), name = Path.GetFileName(cell);
                if (!File.Exists(file) || Grid.Load<Predictions>(file, Json.Line) is not { PredictedEmotions.Length: > 0 } predictions)
                    continue;
                if (!found.TryGetValue(name, out var own))
                    found[name] = own = [];
                own.Add(Matrix(predictions));
            }
            done++;
        }
        return Write([.. groups.Take(done)], groups.Count, found);
    }

    private ConfusionMatrix Matrix(Predictions predictions)
    {
        var matrix = new ConfusionMatrix(dataset.Emotions.Count);
        foreach (var (truth, predicted) in predictions.Emotions.Zip(predictions.PredictedEmotions))
            matrix.Add(truth, predicted);
        return matrix;
    }

    private string Write(List<IReadOnlyList<string>> groups, int planned, Dictionary<string, List<ConfusionMatrix>> found)
    {
        var cells = found.Where(cell => cell.Value.Count == groups.Count && groups.Count > 0).Select(cell =>
        {
            var pooled = new ConfusionMatrix(dataset.Emotions.Count);
            foreach (var (truth, predicted, clips) in cell.Value.SelectMany(matrix => matrix.Pairs))
                pooled.Add(truth, predicted, clips);
            return new FoldedCell(cell.Key, [.. cell.Value.Select(FoldScore.Of)], FoldScore.Of(pooled));
        }).ToList();
        var text = new StringBuilder("| network | held out | clips | UAR | UF | accuracy |\n| --- | --- | ---: | ---: | ---: | ---: |\n");
        var csv = new StringBuilder("network,fold,clips,uar,uf,accuracy\n");
        foreach (var cell in cells)
        {
            foreach (var (fold, score) in cell.Folds.Index())
                Row(cell.Name, $"{fold + 1}", Named(groups[fold]), score);
            Row(cell.Name, "mean", "mean over folds", cell.Mean);
            Row(cell.Name, "sd", "s.d. over folds", cell.Deviation);
            Row(cell.Name, "pooled", "all clips pooled", cell.Pooled);
        }
        foreach (string name in found.Where(cell => cell.Value.Count < groups.Count).Select(cell => cell.Key))
            text.Append(CultureInfo.InvariantCulture,
                $"\n{name} has no result in every fold, so none is shown; see the grids of the folds.\n");
        if (groups.Count < planned)
            text.Append(CultureInfo.InvariantCulture, $"\n{groups.Count} of {planned} folds are finished; the same command goes on.\n");
        Directory.CreateDirectory(folder);
        Grid.Save(Path.Combine(folder, "folds.md"), text.ToString());
        Grid.Save(Path.Combine(folder, "folds.csv"), csv.ToString());
        var report = new FoldReport(column, planned, groups, cells);
        Grid.Save(Path.Combine(folder, "folds.json"), JsonSerializer.Serialize(report, Json.Indented) + "\n");
        return text.ToString();

        void Row(string name, string fold, string held, FoldScore score)
        {
            text.Append(CultureInfo.InvariantCulture, $"| {name} | {held.Replace('|', ' ')} | {score.Clips} | ");
            text.Append(CultureInfo.InvariantCulture, $"{score.Uar:F3} | {score.Uf:F3} | {score.Accuracy:F3} |\n");
            csv.Append(CultureInfo.InvariantCulture, $"{name},{fold},{score.Clips},{score.Uar:R},{score.Uf:R},{score.Accuracy:R}\n");
        }
    }

    private static string Named(IReadOnlyList<string> group) =>
        string.Join(", ", group.Take(5).Select(Printable.Name)) + (group.Count > 5 ? $" and {group.Count - 5} more" : "");

    private string ValueOf(ClipInfo clip) =>
        column == Factor.Speaker ? dataset.Speakers[clip.Speaker] : clip.Factors[number];
}
