using System.Text;
using Avedis.Trainer.Data;
using Avedis.Trainer.Evaluation;

namespace Avedis.Trainer.Export;

/// <summary>
/// A video's predictions as an SVG picture of its own, without scripts or outside resources: the first factor's probabilities over time, stacked to 1, and below
/// it a band for each other factor with the names of its classes. A window stands at its middle; windows that could not be read leave a gap.
/// </summary>
public static class TimelinePlot
{
    private const int Width = 900, Left = 52, Right = 16, AreaHeight = 220, BandHeight = 22, BandStep = 44;
    private const double CharacterWidth = 6.6; // of 12 px text, a little more than most fonts need

    // the report's colours of classes, which also differ in lightness; on light paper and on dark
    private static readonly (string Light, string Dark)[] colours =
    [
        ("#8d97a1", "#8b96a1"), ("#c2455c", "#ff7d90"), ("#3b57b8", "#8aa4ff"), ("#b98a00", "#f0c030"), ("#1d8a4a", "#5fd08a"), ("#7d3fa0", "#cf93ee"),
        ("#1a97b5", "#5fd0ea"), ("#8b4a20", "#d59a6c"),
    ];

    /// <param name="predictions">Of one video, in time.</param>
    /// <param name="hop">Seconds from one window to the next.</param>
    public static string Draw(string title, IReadOnlyList<WindowPrediction> predictions, IReadOnlyList<Factor> factors, double hop)
    {
        double length = predictions.Max(p => p.Window.End!.Value);
        double X(double seconds) => Left + (seconds / length * (Width - Left - Right));
        var body = new StringBuilder();
        body.Append($"<text class=\"title\" x=\"{Left}\" y=\"20\">{Printable.Markup(title)}</text>\n");
        int top = AppendLegend(body, factors[0], 44) + 14, bottom = top + AreaHeight;
        AppendAxes(body, X, length, top, bottom, factors.Count - 1);
        foreach (var run in Runs(predictions, hop))
            AppendAreas(body, X, run, factors[0], bottom);
        for (int f = 1; f < factors.Count; f++)
        {
            int y = bottom + 12 + ((f - 1) * BandStep);
            body.Append($"<text x=\"{Left}\" y=\"{y + 12}\">{Printable.Markup(factors[f].Name)}</text>\n");
            AppendBand(body, X, predictions, factors[f], f, hop, y + 18);
        }
        int height = bottom + 12 + ((factors.Count - 1) * BandStep) + 30;
        return $"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {Width} {height}\" width=\"{Width}\" height=\"{height}\" role=\"img\" aria-label=\"{Printable.Markup(title)}: {Printable.Markup(factors[0].Name)} over time\">\n"
            + $"<style>{Style()}</style>\n<rect class=\"paper\" width=\"{Width}\" height=\"{height}\"/>\n{body}</svg>\n";
    }

    private static string Style()
    {
        var style = new StringBuilder("text{font:12px system-ui,-apple-system,\"Segoe UI\",Roboto,sans-serif}.title{font-size:15px;font-weight:600}.edge{stroke-width:1}.middle{text-anchor:middle}.end{text-anchor:end}");
        Append("#fdfdfc", "#1b1f24", "#5c6670", "#d8dce0", colour => colour.Light);
        style.Append("@media (prefers-color-scheme:dark){");
        Append("#14171a", "#e7eaed", "#9ca6b0", "#343a41", colour => colour.Dark);
        return style.Append('}').ToString();

        void Append(string paper, string ink, string muted, string line, Func<(string Light, string Dark), string> of)
        {
            style.Append($".paper{{fill:{paper}}}text{{fill:{ink}}}text.t{{fill:{muted}}}.grid{{stroke:{line}}}.edge{{stroke:{paper}}}text.on{{fill:{paper}}}");
            for (int i = 0; i < colours.Length; i++)
                style.Append($".c{i}{{fill:{of(colours[i])}}}");
        }
    }

    private static string ColourClass(int index) => $"c{index % colours.Length}";

    // swatches with names, in as many lines as they need; the height of the last
    private static int AppendLegend(StringBuilder svg, Factor factor, int y)
    {
        double x = Left;
        for (int c = 0; c < factor.Classes.Count; c++)
        {
            double width = 18 + (factor.Classes[c].Length * CharacterWidth) + 14;
            if (x > Left && x + width > Width - Right)
                (x, y) = (Left, y + 18);
            svg.Append($"<rect class=\"{ColourClass(c)}\" x=\"{x:F1}\" y=\"{y - 10}\" width=\"12\" height=\"12\"/><text x=\"{x + 18:F1}\" y=\"{y}\">{Printable.Markup(factor.Classes[c])}</text>\n");
            x += width;
        }
        return y;
    }

    private static void AppendAxes(StringBuilder svg, Func<double, double> x, double length, int top, int bottom, int bands)
    {
        for (int i = 0; i <= 4; i++)
        {
            double y = bottom - (i * AreaHeight / 4.0);
            svg.Append($"<line class=\"grid\" x1=\"{Left}\" x2=\"{Width - Right}\" y1=\"{y:F1}\" y2=\"{y:F1}\"/><text class=\"t end\" x=\"{Left - 8}\" y=\"{y + 4:F1}\">{i * 25} %</text>\n");
        }
        int foot = bottom + 12 + (bands * BandStep);
        double step = TickStep(length);
        for (double t = 0; t <= length + 1e-9; t += step)
            svg.Append($"<line class=\"grid\" x1=\"{x(t):F1}\" x2=\"{x(t):F1}\" y1=\"{top}\" y2=\"{foot}\"/><text class=\"t middle\" x=\"{x(t):F1}\" y=\"{foot + 16}\">{Clock(t, step)}</text>\n");
    }

    /// <summary>Seconds between marks: at most ten, at round times.</summary>
    private static double TickStep(double length)
    {
        double[] steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600];
        double found = steps.FirstOrDefault(step => length / step <= 10);
        return found > 0 ? found : 3600 * Math.Ceiling(length / 36_000);
    }

    private static string Clock(double seconds, double step)
    {
        if (step < 1)
            return $"{seconds:0.0} s";
        var time = TimeSpan.FromSeconds(Math.Round(seconds));
        return time.TotalHours >= 1 ? $"{(int)time.TotalHours}:{time:mm\\:ss}" : $"{time:m\\:ss}";
    }

    // stretches without a missing window
    private static List<List<WindowPrediction>> Runs(IReadOnlyList<WindowPrediction> predictions, double hop)
    {
        var runs = new List<List<WindowPrediction>>();
        foreach (var prediction in predictions)
        {
            if (runs.Count == 0 || prediction.Window.Start - runs[^1][^1].Window.Start > 1.5 * hop)
                runs.Add([]);
            runs[^1].Add(prediction);
        }
        return runs;
    }

    private static double Middle(ClipWindow window) => (window.Start + window.End!.Value) / 2;

    private static void AppendAreas(StringBuilder svg, Func<double, double> x, List<WindowPrediction> run, Factor factor, int bottom)
    {
        // the first and the last window reach to their ends
        var times = run.Select(p => Middle(p.Window)).Prepend(run[0].Window.Start).Append(run[^1].Window.End!.Value).ToList();
        var rows = run.Select(p => p.Probabilities[0]).Prepend(run[0].Probabilities[0]).Append(run[^1].Probabilities[0]).ToList();
        var floor = new double[rows.Count];
        for (int c = 0; c < factor.Classes.Count; c++)
        {
            var ceiling = floor.Select((height, i) => height + rows[i][c]).ToArray();
            string Points(double[] heights) => string.Join(" ", heights.Select((height, i) => $"{x(times[i]):F1},{bottom - (Math.Min(1, height) * AreaHeight):F1}"));
            string back = string.Join(" ", Points(floor).Split(' ').Reverse());
            svg.Append($"<polygon class=\"{ColourClass(c)} edge\" points=\"{Points(ceiling)} {back}\"><title>{Printable.Markup(factor.Classes[c])}</title></polygon>\n");
            floor = ceiling;
        }
    }

    // neighbours that say the same become one box; each window has half the way to the next
    private static void AppendBand(StringBuilder svg, Func<double, double> x, IReadOnlyList<WindowPrediction> predictions, Factor factor, int index, double hop, int y)
    {
        foreach (var run in Runs(predictions, hop))
            for (int first = 0, last; first < run.Count; first = last + 1)
            {
                int best = Best(run[first]);
                for (last = first; last + 1 < run.Count && Best(run[last + 1]) == best;)
                    last++;
                double from = first == 0 ? run[0].Window.Start : (Middle(run[first - 1].Window) + Middle(run[first].Window)) / 2;
                double to = last == run.Count - 1 ? run[^1].Window.End!.Value : (Middle(run[last].Window) + Middle(run[last + 1].Window)) / 2;
                string name = factor.Classes[best];
                double sure = run.Skip(first).Take(last - first + 1).Average(p => p.Probabilities[index][best]), width = x(to) - x(from);
                svg.Append($"<rect class=\"{ColourClass(best)} edge\" x=\"{x(from):F1}\" y=\"{y}\" width=\"{width:F1}\" height=\"{BandHeight}\"><title>{Printable.Markup(name)}, {from:0.#} to {to:0.#} s, {sure:P0}</title></rect>\n");
                if (name.Length * CharacterWidth < width - 6)
                    svg.Append($"<text class=\"on middle\" x=\"{x(from) + (width / 2):F1}\" y=\"{y + 15}\">{Printable.Markup(name)}</text>\n");
            }

        int Best(WindowPrediction prediction) => Evaluator.ArgMax(prediction.Probabilities[index]);
    }
}
