using System.Text.Json;
using Avedis.Engine;
using Avedis.Trainer.Data;
using Avedis.Trainer.Evaluation;
using CsvHelper;

namespace Avedis.Trainer.Export;

/// <summary>What the network says of a window.</summary>
/// <param name="Probabilities">One array per factor of the network, in its order of classes.</param>
public sealed record WindowPrediction(ClipWindow Window, IReadOnlyList<float[]> Probabilities);

/// <summary>Prints predictions as they come: sentences for people, a CSV table, or one JSON object per line.</summary>
public sealed class PredictionWriter : IDisposable
{
    private const int ClassesShown = 5;

    private readonly IReadOnlyList<Factor> factors;
    private readonly TextWriter output;
    private readonly CsvWriter? csv;
    private readonly bool json, timeline;

    /// <param name="format">text, csv or json.</param>
    /// <param name="timeline">Whether start and end of each window are said.</param>
    public PredictionWriter(TextWriter output, string format, IReadOnlyList<Factor> factors, bool timeline)
    {
        (this.output, this.factors, this.timeline, json) = (output, factors, timeline, format == "json");
        if (format != "csv")
            return;
        csv = CsvWriter.Create(output, new CsvWriterOptions { NewLine = "\n" }, leaveOpen: true);
        csv.WriteRecord(["path", .. timeline ? ["start", "end"] : (string[])[], .. factors.SelectMany(factor =>
            (string[])[$"predicted_{factor.Name}", .. factor.Classes.Select(name => $"p_{factor.Name}_{name}")])]);
    }

    public void Write(WindowPrediction prediction)
    {
        if (csv is not null)
            csv.WriteRecord(Record(prediction));
        else
            output.WriteLine(json ? ToJson(prediction) : Printable.Whole(ToText(prediction)));
    }

    /// <summary>Hands on what is complete.</summary>
    public void Flush()
    {
        csv?.Flush();
        output.Flush();
    }

    public void Dispose() => csv?.Dispose();

    private string[] Record(WindowPrediction prediction) =>
    [
        prediction.Window.Path, .. timeline ? [$"{prediction.Window.Start:0.###}", $"{prediction.Window.End:0.###}"] : (string[])[],
        .. factors.Zip(prediction.Probabilities).SelectMany(own => (string[])[Best(own.First, own.Second), .. own.Second.Select(p => $"{p}")]),
    ];

    private string ToText(WindowPrediction prediction) => $"{prediction.Window}: " + string.Join("; ", factors.Zip(prediction.Probabilities, (factor, probabilities) =>
    {
        var ranked = factor.Classes.Zip(probabilities).OrderByDescending(c => c.Second).ToList();
        return $"{factor.Name} {ranked[0].First} ({string.Join(", ", ranked.Take(ClassesShown).Select(c => $"{c.First} {c.Second:P0}"))})";
    }));

    private string ToJson(WindowPrediction prediction)
    {
        var fields = new Dictionary<string, object> { ["path"] = prediction.Window.Path };
        if (timeline)
            (fields["start"], fields["end"]) = (prediction.Window.Start, prediction.Window.End!);
        foreach (var (factor, probabilities) in factors.Zip(prediction.Probabilities))
        {
            fields[factor.Name] = Best(factor, probabilities);
            fields[$"{factor.Name}s"] = factor.Classes.Zip(probabilities).OrderByDescending(c => c.Second).ToDictionary(c => c.First, c => c.Second);
        }
        return JsonSerializer.Serialize(fields, Json.Line);
    }

    private static string Best(Factor factor, float[] probabilities) => factor.Classes[Evaluator.ArgMax(probabilities)];
}
