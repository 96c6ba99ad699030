using System.Text;
using Avedis.Trainer.Training;

namespace Avedis.Trainer.Evaluation;

/// <summary>
/// report.html: one file without scripts or outside resources; inline SVG for the curves and confusion matrices, a table under each. Names come
/// from manifests, so every text is escaped.
/// </summary>
public static class HtmlReport
{
    // a matrix of more classes than this is unreadable as a picture; its CSV has it all
    private const int MaxPictureClasses = 64;

    private const int ShownMistakes = 50; // where the classes are too many for a table of them

    private static readonly string[] Colours = ["#0b6e99", "#c2571a", "#3c8d40", "#7b4fa3", "#8a6d1b"];

    public static string Create(
        string run, string split, TrainingState state, IReadOnlyList<MetricsRecord> metrics, EvaluationResult result)
    {
        var html = new StringBuilder();
        html.Append("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n");
        html.Append($"<title>{Printable.Markup(Path.GetFileName(Path.GetFullPath(run)))}</title>\n<style>\n");
        html.Append("body{font:15px/1.5 system-ui,sans-serif;max-width:1000px;margin:2em auto;padding:0 1em;color:#222}\n");
        html.Append("table{border-collapse:collapse;margin:1em 0}td,th{padding:.2em .8em;border-bottom:1px solid #ddd;text-align:right}\n");
        html.Append("td:first-child,th:first-child{text-align:left}svg{max-width:100%;height:auto}svg text{font:12px system-ui,sans-serif;fill:#333}\n");
        html.Append("</style></head><body>\n");
        html.Append($"<h1>Run {Printable.Markup(Path.GetFileName(Path.GetFullPath(run)))}</h1>\n");
        html.Append($"<p>{Printable.Markup(state.Device)}, {Printable.Markup(state.Precision)}; {state.Epoch} epochs, {state.Step:N0} steps, {state.TrainClipsPerSecond:N1} clips/s, ");
        html.Append($"peak memory {state.PeakRssBytes / 1048576.0:N0} MiB.</p>\n");
        AppendScores(html, split, result.Factors.Where(factor => factor.Matrix.Total > 0));
        foreach (string note in result.Notes)
            html.Append($"<p>{Printable.Markup(note)}.</p>\n");
        AppendCurves(html, metrics);
        foreach (var factor in result.Factors.Where(factor => factor.Matrix.Total > 0))
        {
            html.Append($"<h2>Confusion of {Printable.Markup(factor.Name)}, split {split}</h2>\n");
            if (factor.Matrix.Classes <= MaxPictureClasses)
                AppendMatrix(html, factor.Matrix, factor.Factor.Classes);
            if (factor.Matrix.Classes <= ConfusionMatrix.WholeUpTo)
                AppendClasses(html, factor.Matrix, factor.Factor.Classes);
            else
                AppendMistakes(html, factor.Matrix, factor.Factor.Classes);
        }
        return html.Append("</body></html>\n").ToString();
    }

    private static void AppendScores(StringBuilder html, string split, IEnumerable<FactorResult> factors)
    {
        html.Append($"<table><tr><th>split {split}</th><th>macro-F</th><th>all majority</th>"
            + "<th>accuracy</th><th>all majority</th><th>mean recall</th><th>clips</th></tr>\n");
        foreach (var factor in factors)
        {
            var m = factor.Matrix;
            html.Append($"<tr><td>{Printable.Markup(factor.Name)}</td>"
                + $"<td><b>{m.MacroF1:F3}</b></td><td>{m.MajorityMacroF1:F3}</td>"
                + $"<td><b>{m.Accuracy:F3}</b></td><td>{m.MajorityAccuracy:F3}</td><td>{m.BalancedAccuracy:F3}</td><td>{m.Total}</td></tr>\n");
        }
        html.Append("</table>\n");
    }

    private static void AppendCurves(StringBuilder html, IReadOnlyList<MetricsRecord> metrics)
    {
        var train = metrics.Where(m => m.Losses is not null).ToList();
        var validation = metrics.Where(m => m.Accuracy is not null).ToList();
        html.Append("<h2>Training</h2>\n");
        AppendChart(html, "mean cross-entropy by step", Series(train, m => m.Losses));
        AppendChart(html, "validation macro-F by step", Series(validation, m => m.MacroF1));
        AppendChart(html, "validation accuracy by step", Series(validation, m => m.Accuracy));
        var names = validation.SelectMany(m => m.Accuracy!.Keys).Distinct().ToList();
        html.Append("<table><tr><th>epoch</th><th>step</th>");
        foreach (string name in names)
            html.Append($"<th>{Printable.Markup(name)} macro-F</th><th>{Printable.Markup(name)} accuracy</th>");
        html.Append("<th>clips/s</th></tr>\n");
        foreach (var m in validation)
        {
            html.Append($"<tr><td>{m.Epoch + 1}</td><td>{m.Step}</td>");
            foreach (string name in names)
                html.Append($"<td>{m.MacroF1!.GetValueOrDefault(name):F3}</td><td>{m.Accuracy!.GetValueOrDefault(name):F3}</td>");
            html.Append($"<td>{m.ClipsPerSecond:F1}</td></tr>\n");
        }
        html.Append("</table>\n");
    }

    private static (string Name, List<(double X, double Y)> Points)[] Series(
        List<MetricsRecord> records, Func<MetricsRecord, IReadOnlyDictionary<string, double>?> values) =>
    [
        .. records.SelectMany(m => values(m)!.Keys).Distinct().Select(name => (
            name, records.Where(m => values(m)!.ContainsKey(name)).Select(m => ((double)m.Step, values(m)![name])).ToList())),
    ];

    private static void AppendChart(StringBuilder html, string title, params (string Name, List<(double X, double Y)> Points)[] series)
    {
        var drawn = series.Where(s => s.Points.Count > 0).ToList();
        if (drawn.Count == 0)
            return;
        const int Width = 900, Height = 300, Left = 60, Right = 20, Top = 30, Bottom = 40;
        double maxX = Math.Max(1, drawn.Max(s => s.Points.Max(p => p.X))), maxY = Math.Max(1e-6, drawn.Max(s => s.Points.Max(p => p.Y)));
        double X(double x) => Left + x / maxX * (Width - Left - Right);
        double Y(double y) => Height - Bottom - y / maxY * (Height - Top - Bottom);
        html.Append($"<svg viewBox=\"0 0 {Width} {Height}\" width=\"{Width}\" role=\"img\" aria-label=\"{title}\">\n<text x=\"{Left}\" y=\"18\">{title}</text>\n");
        for (int i = 0; i <= 4; i++)
        {
            double y = maxY * i / 4;
            html.Append($"<line x1=\"{Left}\" x2=\"{Width - Right}\" y1=\"{Y(y):F1}\" y2=\"{Y(y):F1}\" stroke=\"#ddd\"/><text x=\"{Left - 8}\" y=\"{Y(y) + 4:F1}\" text-anchor=\"end\">{y:G3}</text>\n");
            double x = maxX * i / 4;
            html.Append($"<text x=\"{X(x):F1}\" y=\"{Height - Bottom + 18}\" text-anchor=\"middle\">{x:F0}</text>\n");
        }
        for (int s = 0; s < drawn.Count; s++)
        {
            string points = string.Join(" ", drawn[s].Points.Select(p => $"{X(p.X):F1},{Y(p.Y):F1}"));
            html.Append($"<polyline points=\"{points}\" fill=\"none\" stroke=\"{Colours[s % Colours.Length]}\" stroke-width=\"2\"/>\n");
            html.Append($"<text x=\"{Width - Right - 150 * (drawn.Count - s)}\" y=\"18\" style=\"fill:{Colours[s % Colours.Length]}\">{Printable.Markup(drawn[s].Name)}</text>\n");
        }
        html.Append("</svg>\n");
    }

    private static void AppendMatrix(StringBuilder html, ConfusionMatrix matrix, IReadOnlyList<string> names)
    {
        int k = matrix.Classes, cell = k <= 8 ? 64 : Math.Max(14, 520 / k), left = 120, top = 90;
        int width = Math.Max(left + k * cell + 20, 460), height = top + k * cell + 20;
        html.Append($"<svg viewBox=\"0 0 {width} {height}\" width=\"{width}\" role=\"img\" aria-label=\"confusion matrix\">\n");
        html.Append($"<text x=\"{left}\" y=\"14\">predicted (columns), truth (rows), shade = share of the row</text>\n");
        for (int t = 0; t < k; t++)
        {
            html.Append($"<text x=\"{left - 8}\" y=\"{top + t * cell + cell / 2 + 4}\" text-anchor=\"end\">{Printable.Markup(names[t])}</text>\n");
            html.Append($"<text transform=\"translate({left + t * cell + cell / 2 + 4},{top - 8}) rotate(-45)\">{Printable.Markup(names[t])}</text>\n");
            long row = matrix.Support(t);
            for (int p = 0; p < k; p++)
            {
                double share = row == 0 ? 0 : (double)matrix[t, p] / row;
                html.Append($"<rect x=\"{left + p * cell}\" y=\"{top + t * cell}\" width=\"{cell - 1}\" height=\"{cell - 1}\" fill=\"{Colours[t == p ? 0 : 1]}\" fill-opacity=\"{0.06 + 0.94 * share:F3}\"/>\n");
                if (k <= 16 && matrix[t, p] > 0)
                    html.Append($"<text x=\"{left + p * cell + cell / 2}\" y=\"{top + t * cell + cell / 2 + 4}\" text-anchor=\"middle\" style=\"fill:{(share > 0.5 ? "#fff" : "#333")}\">{matrix[t, p]}</text>\n");
            }
        }
        html.Append("</svg>\n");
    }

    private static void AppendMistakes(StringBuilder html, ConfusionMatrix matrix, IReadOnlyList<string> names)
    {
        html.Append($"<p>The most frequent mistakes of {matrix.Classes:N0} classes; "
            + "classes.csv and the confusion's CSV have them all.</p>\n");
        html.Append("<table><tr><th>truth</th><th>predicted</th><th>clips</th></tr>\n");
        foreach (var (truth, prediction, clips) in matrix.Mistakes.Take(ShownMistakes))
            html.Append($"<tr><td>{Printable.Markup(names[truth])}</td>"
                + $"<td>{Printable.Markup(names[prediction])}</td><td>{clips}</td></tr>\n");
        html.Append("</table>\n");
    }

    private static void AppendClasses(StringBuilder html, ConfusionMatrix matrix, IReadOnlyList<string> names)
    {
        html.Append("<table><tr><th>class</th><th>clips</th><th>predicted</th><th>precision</th><th>recall</th><th>F</th></tr>\n");
        for (int c = 0; c < matrix.Classes; c++)
            html.Append($"<tr><td>{Printable.Markup(names[c])}</td><td>{matrix.Support(c)}</td><td>{matrix.Predicted(c)}</td><td>{matrix.Precision(c):F3}</td><td>{matrix.Recall(c):F3}</td><td>{matrix.F1(c):F3}</td></tr>\n");
        html.Append("</table>\n");
    }
}
