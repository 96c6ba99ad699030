using System.Text;

namespace Avedis.Trainer.Reproduce;

/// <summary>
/// The figures: inline SVG. Small panels in a grid of the page instead of wide pictures, so that a phone stacks them and their text keeps its size. Colour is the
/// method; hatched is the paper's recipe, solid the strong one and what has no recipe.
/// </summary>
public sealed partial class GridReport
{
    // matrices of more classes than this get no numbers, of more than the second no picture
    private const int MaxNumberedClasses = 8;
    private const int MaxPictureClasses = 24;

    private const string StarMark = "<svg class=\"key\" viewBox=\"-6 -5 12 10\" role=\"img\" aria-label=\"significant\"><path class=\"star\" d=\"" + StarPath + "\"/></svg>";
    private const string StarPath = "M0-5 1.2-1.6 4.8-1.5 1.9.6 2.9 4 0 2-2.9 4-1.9.6-4.8-1.5-1.2-1.6z";

    /// <summary>Places numbers along an axis.</summary>
    private readonly record struct Scale(double Low, double High, double From, double To)
    {
        public double At(double value) => From + (High > Low ? (value - Low) / (High - Low) : 0.5) * (To - From);

        /// <summary>Round numbers over the range, about as many as asked for.</summary>
        public IEnumerable<double> Ticks(int count)
        {
            double step = TickStep(count);
            for (double k = Math.Ceiling(Low / step - 1e-9); k * step <= High + 1e-9 * step; k++)
                yield return k == 0 ? 0 : k * step; // not -0
        }

        public double TickStep(int count) => Step((High - Low) / count);

        public static double Step(double atLeast)
        {
            double power = Math.Pow(10, Math.Floor(Math.Log10(Math.Max(atLeast, 1e-9))));
            double least = Math.Max(atLeast, 1e-9) * (1 - 1e-9);
            return power * ((double[])[1, 2, 2.5, 5, 10]).First(m => m * power >= least);
        }
    }

    private static string ColourClass(Variant variant) => variant.Method switch
    {
        "baseline" or "alt" or "gr" or "conf" or "projected" or "leace" => $"m-{variant.Method}",
        _ => variant.IsSingle ? "m-stl" : "m-other",
    };

    // the attributes that fill a shape as its method and recipe are filled
    private static string Fill(Variant variant) => variant.Recipe switch
    {
        "" or "strong" => "class=\"solid\"",
        "paper" => $"class=\"hatch\" fill=\"url(#hatch-{ColourClass(variant)[2..]})\"",
        _ => "class=\"open\"",
    };

    /// <summary>The small mark beside a variant's name.</summary>
    private static string Key(Variant variant) => $"<svg class=\"key {ColourClass(variant)}\" viewBox=\"0 0 16 11\" aria-hidden=\"true\">"
        + (variant.IsSingle ? "<line class=\"single\" x1=\"0\" x2=\"16\" y1=\"5.5\" y2=\"5.5\"/>" : $"<rect x=\"1\" y=\"1\" width=\"14\" height=\"9\" {Fill(variant)}/>") + "</svg>";

    private static string LegendItem(string picture, string text) =>
        $"<li><svg class=\"key\" viewBox=\"-8 -5.5 16 11\" aria-hidden=\"true\">{picture}</svg>{text}</li>";

    // patterns of the whole page
    private void AppendHatches()
    {
        html.Append("<svg class=\"defs\" aria-hidden=\"true\"><defs>\n");
        foreach (string name in (string[])["alt", "gr", "conf", "projected", "other"])
            html.Append($"<pattern id=\"hatch-{name}\" width=\"5\" height=\"5\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">"
                + $"<rect width=\"5\" height=\"5\" style=\"fill:var(--bg)\"/><rect width=\"2\" height=\"5\" style=\"fill:var(--{name})\"/></pattern>\n");
        html.Append("</defs></svg>\n");
    }

    private void AppendVariants(StringBuilder to, IEnumerable<Variant> variants)
    {
        foreach (var variant in variants)
            to.Append($"<li>{Key(variant)}{Printable.Markup(variant.Name)}</li>");
    }

    private string WhiskerText => view.Seeds > 1 ? "range over seeds" : "95 % bootstrap interval";

    private void AppendEmotionBars()
    {
        Section("figure3a", "Figure 3(a)", "Emotion from the emotion embedding", "The task itself; higher is better. Macro-F on the test clips.");
        html.Append("<figure class=\"whole\">\n<ul class=\"legend\">");
        AppendVariants(html, view.Both);
        if (view.Mean(new("stl-emotion", ""), null, c => c.EmotionMacroF1) is not null)
            html.Append(LegendItem("<line class=\"single\" x1=\"-8\" x2=\"8\" y1=\"0\" y2=\"0\"/>", "trained for emotion alone"));
        html.Append(LegendItem("<path class=\"whisker\" d=\"M0-5V5M-3-5H3M-3 5H3\"/>", WhiskerText));
        html.Append(LegendItem($"<path class=\"star\" d=\"{StarPath}\"/>", $"differs from the baseline{(view.Seeds > 1 ? ", every seed" : "")}"));
        if (view.Seeds > 1)
            html.Append(LegendItem($"<path class=\"star some\" d=\"{StarPath}\"/>", "some seeds"));
        html.Append("</ul>\n<div class=\"bars\">\n");
        AppendBars(new("emotion macro-F", "emotion alone",
            (v, d) => view.Mean(v, d, c => c.EmotionMacroF1, c => c.EmotionInterval), d => view.Mean(new("stl-emotion", ""), d, c => c.EmotionMacroF1)?.Mean) { Stars = true });
        html.Append("</div>\n<figcaption><b>What to see:</b> whether the bars reach over the dashed line (two tasks help each other), and whether taking emotion out of the speaker "
            + "embedding costs emotion here: coloured bars against the dark one. Stars: Stuart-Maxwell on the predictions, p below 0.01 after Holm; it says that they differ, not which is better.</figcaption>\n</figure>\n");
        EndSection();
    }

    private void AppendLeakBars()
    {
        Section("figure3b", "Figure 3(b)", "Emotion left in the speaker embedding", "The leak; lower is better. Macro-F of a fresh probe on frozen embeddings of the test clips.");
        html.Append("<figure class=\"whole\">\n<ul class=\"legend\">");
        AppendVariants(html, view.Both);
        if (view.LeakChance is { } chance)
            html.Append(LegendItem("<line class=\"chance\" x1=\"-8\" x2=\"8\" y1=\"0\" y2=\"0\"/>", $"chance, {chance:F3}"));
        if (view.Mean(new("stl-speaker", ""), null, c => c.LeakEmotionFromSpeaker) is not null)
            html.Append(LegendItem("<line class=\"single\" x1=\"-8\" x2=\"8\" y1=\"0\" y2=\"0\"/>", "trained for speakers alone"));
        html.Append(LegendItem(Claim(0, 0), "what the head of the training claims"));
        html.Append(LegendItem(Balanced(0, 0), "balanced probe"));
        if (view.Seeds > 1)
            html.Append(LegendItem("<path class=\"whisker\" d=\"M0-5V5M-3-5H3M-3 5H3\"/>", WhiskerText));
        html.Append("</ul>\n<div class=\"bars\">\n");
        AppendBars(new("leak, macro-F", "speaker alone",
            (v, d) => view.Mean(v, d, c => c.LeakEmotionFromSpeaker), d => view.Mean(new("stl-speaker", ""), d, c => c.LeakEmotionFromSpeaker)?.Mean)
        {
            Claims = (v, d) => view.Mean(v, d, c => c.LeakInTrainingHead)?.Mean,
            Balanced = (v, d) => view.Mean(v, d, c => c.LeakEmotionFromSpeakerBalanced)?.Mean,
            Chance = view.LeakChance,
        });
        html.Append("</div>\n<figcaption><b>What to see:</b> how far each bar comes down from the dark one towards the dotted line. Where the open diamond hangs far below the top of its bar, "
            + "the embedding has learnt to hide from the one head it was trained against; the emotion is still in it.</figcaption>\n</figure>\n");
        EndSection();
    }

    private sealed record BarFigure(string Axis, string LineName, Func<Variant, int, Spread?> Value, Func<int, double?> Line)
    {
        public bool Stars { get; init; }

        public Func<Variant, int, double?>? Claims { get; init; }

        public Func<Variant, int, double?>? Balanced { get; init; }

        public double? Chance { get; init; }
    }

    // a panel per dimension, all on one scale; the numbers stand below the axis, where nothing can cover them
    private void AppendBars(BarFigure figure)
    {
        const double Width = 372, Height = 276, Left = 30, Right = 4, Top = 34, Bottom = 38, Between = 14; // wide enough for the names of six methods
        var variants = view.Both.ToList();
        double highest = view.Dimensions
            .SelectMany(d => variants.SelectMany(v => new[] { figure.Value(v, d)?.High, figure.Claims?.Invoke(v, d), figure.Balanced?.Invoke(v, d) }).Append(figure.Line(d)))
            .Append(figure.Chance).OfType<double>().DefaultIfEmpty(1).Max();
        double step = Scale.Step(Math.Max(highest, 0.05) / 5);
        var y = new Scale(0, Math.Ceiling(Math.Max(highest, 0.05) / step - 1e-9) * step, Height - Bottom, Top);
        foreach (int dimension in view.Dimensions)
        {
            var shown = variants.Where(v => view.Cells(v, dimension).Count > 0).ToList();
            double? line = figure.Line(dimension);
            html.Append($"<div class=\"panel\"><h3>embedding of {dimension}{(line is { } l ? $"<small>{figure.LineName} {l:F3}</small>" : "")}</h3>\n");
            BeginSvg(Width, Height, $"{figure.Axis} at speaker embedding {dimension}");
            html.Append($"<text class=\"t\" x=\"0\" y=\"12\">{figure.Axis}</text>\n");
            foreach (double tick in y.Ticks(5))
                html.Append($"<line class=\"{(tick == 0 ? "axis" : "grid")}\" x1=\"{Left}\" x2=\"{Width - Right}\" y1=\"{y.At(tick):F1}\" y2=\"{y.At(tick):F1}\"/>"
                    + $"<text class=\"t\" x=\"{Left - 6}\" y=\"{y.At(tick) + 3.5:F1}\" text-anchor=\"end\">{Tick(tick, step)}</text>\n");
            var groups = shown.GroupBy(v => v.Method).ToList();
            double bar = Math.Min(40, (Width - Left - Right - Between * (groups.Count + 1)) / Math.Max(1, shown.Count));
            double x = Left + (Width - Left - Right - bar * shown.Count - Between * (groups.Count - 1)) / 2;
            var above = new StringBuilder();
            foreach (var group in groups)
            {
                double start = x;
                foreach (var variant in group)
                {
                    AppendBar(above, figure, variant, dimension, x + 1.5, bar - 3, y);
                    x += bar;
                }
                html.Append($"<text{(groups.Count > 5 ? " class=\"v\"" : "")} x=\"{(start + x) / 2:F1}\" y=\"{Height - 6}\" text-anchor=\"middle\">{Printable.Markup(Short(group.First().MethodName, (int)Math.Max(9, (x - start) / 6.5)))}</text>\n");
                x += Between;
            }
            if (line is { } single)
                above.Insert(0, $"<line class=\"single\" x1=\"{Left}\" x2=\"{Width - Right}\" y1=\"{y.At(single):F1}\" y2=\"{y.At(single):F1}\"/>\n");
            if (figure.Chance is { } chance)
                above.Insert(0, $"<line class=\"chance\" x1=\"{Left}\" x2=\"{Width - Right}\" y1=\"{y.At(chance):F1}\" y2=\"{y.At(chance):F1}\"/>\n");
            html.Append(above).Append("</svg></div>\n");
        }
    }

    // the bar goes to the page, what stands on bars to above
    private void AppendBar(StringBuilder above, BarFigure figure, Variant variant, int dimension, double x, double width, Scale y)
    {
        double middle = x + width / 2;
        var value = figure.Value(variant, dimension);
        if (width >= 21)
            html.Append($"<text class=\"v\" x=\"{middle:F1}\" y=\"{y.From + 13:F1}\" text-anchor=\"middle\">{(value is null ? Missing : $"{value.Mean:F2}".TrimStart('0'))}</text>");
        if (value is null)
            return;
        html.Append($"<g class=\"{ColourClass(variant)}\"><rect x=\"{x:F1}\" y=\"{y.At(value.Mean):F1}\" width=\"{width:F1}\" height=\"{Math.Max(0, y.From - y.At(value.Mean)):F1}\" {Fill(variant)}>"
            + $"<title>{Printable.Markup(variant.Name)}, {dimension}: {value.Mean:F3}{(value.HasRange ? $" ({value.Low:F3} to {value.High:F3})" : "")}</title></rect></g>\n");
        double top = y.At(value.High);
        if (value.HasRange)
        {
            string path = $"M{middle:F1} {y.At(value.Low):F1}V{top:F1}M{middle - 3:F1} {top:F1}h6M{middle - 3:F1} {y.At(value.Low):F1}h6";
            above.Append($"<path class=\"under\" d=\"{path}\"/><path class=\"whisker\" d=\"{path}\"/>\n");
        }
        if (figure.Claims?.Invoke(variant, dimension) is { } claim)
        {
            double at = x + width * 0.22;
            above.Append($"<line class=\"gap\" x1=\"{at:F1}\" x2=\"{at:F1}\" y1=\"{y.At(value.Mean):F1}\" y2=\"{y.At(claim):F1}\"/>{Claim(at, y.At(claim))}\n");
        }
        if (figure.Balanced?.Invoke(variant, dimension) is { } balanced)
            above.Append(Balanced(x + width * 0.78, y.At(balanced))).Append('\n');
        if (figure.Stars && !variant.IsBaseline && view.Significance(variant, dimension) is { Significant: > 0 } test)
            above.Append($"<path class=\"star{(test.Significant < test.Tested ? " some" : "")}\" transform=\"translate({middle:F1},{Math.Min(top, y.At(value.Mean)) - 9:F1})\" d=\"{StarPath}\"/>\n");
    }

    private static string Claim(double x, double y) => $"<path class=\"claim\" d=\"M{x:F1} {y - 4.5:F1}l4 4.5-4 4.5-4-4.5z\"/>";

    private static string Balanced(double x, double y) => $"<circle class=\"balanced\" cx=\"{x:F1}\" cy=\"{y:F1}\" r=\"3.4\"/>";

    /// <summary>Finds room for labels beside their points.</summary>
    private sealed class Labels(double left, double top, double right, double bottom)
    {
        private readonly List<(double Left, double Top, double Right, double Bottom, bool Soft)> taken = [];

        /// <param name="soft">May be written over where there is no other room.</param>
        public void Occupy(double x0, double y0, double x1, double y1, bool soft = false) => taken.Add((x0, y0, x1, y1, soft));

        public void OccupyLine(double x0, double y0, double x1, double y1)
        {
            const int Steps = 16; // of a few pixels each
            for (int i = 0; i <= Steps; i++)
            {
                double x = x0 + (x1 - x0) * i / Steps, y = y0 + (y1 - y0) * i / Steps;
                Occupy(x - 3, y - 3, x + 3, y + 3);
            }
        }

        /// <returns>Start of the base line; null where everything around is taken.</returns>
        public (double X, double Y)? Place(double x, double y, double width, double height)
        {
            (double X, double Y)[] places =
            [
                (x + 9, y + 4), (x - 9 - width, y + 4), (x - width / 2, y - 9), (x - width / 2, y + 18), (x + 6, y - 7), (x + 6, y + 16), (x - 6 - width, y - 7),
                (x - 6 - width, y + 16), (x - 0.8 * width, y - 9), (x - 0.2 * width, y - 9), (x - 0.8 * width, y + 18), (x - 0.2 * width, y + 18), (x + 4, y - 21), (x - 4 - width, y - 21), (x + 4, y + 30), (x - 4 - width, y + 30),
            ];
            foreach (var (place, soft) in places.Select(p => (p, false)).Concat(places.Select(p => (p, true))))
            {
                double x0 = place.X, y0 = place.Y - height + 3, x1 = place.X + width, y1 = place.Y + 3;
                if (x0 < left || x1 > right || y0 < top || y1 > bottom || taken.Any(t => !(soft && t.Soft) && x0 < t.Right && x1 > t.Left && y0 < t.Bottom && y1 > t.Top))
                    continue;
                Occupy(x0, y0, x1, y1);
                return place;
            }
            return null;
        }
    }

    // circle, square, triangle, diamond, upside-down triangle, and again
    private static string Shape(int kind, double x, double y, double r) => (kind % 5) switch
    {
        0 => $"M{x - r:F1} {y:F1}a{r:F1} {r:F1} 0 1 0 {2 * r:F1} 0a{r:F1} {r:F1} 0 1 0 {-2 * r:F1} 0z",
        1 => $"M{x - 0.88 * r:F1} {y - 0.88 * r:F1}h{1.76 * r:F1}v{1.76 * r:F1}h{-1.76 * r:F1}z",
        2 => $"M{x:F1} {y - 1.2 * r:F1}l{1.15 * r:F1} {2 * r:F1}h{-2.3 * r:F1}z",
        3 => $"M{x:F1} {y - 1.3 * r:F1}l{1.2 * r:F1} {1.3 * r:F1} {-1.2 * r:F1} {1.3 * r:F1} {-1.2 * r:F1} {-1.3 * r:F1}z",
        _ => $"M{x:F1} {y + 1.2 * r:F1}l{1.15 * r:F1} {-2 * r:F1}h{-2.3 * r:F1}z",
    };

    private void AppendConfusions()
    {
        var shown = view.Variants.Select(v => (Variant: v, Counts: Confusion(v))).Where(s => s.Counts is not null).ToList();
        if (shown.Count == 0 || grid.Emotions.Count is 0 or > MaxPictureClasses)
            return;
        int k = grid.Emotions.Count;
        Section("confusion", "Confusion", "Which emotions are taken for which",
            $"Truth in rows, prediction in columns, shade and number the share of the row in percent{(view.Seeds > 1 ? ", all seeds together" : "")}. {AtSmallest}");
        html.Append("<figure>\n<div class=\"small\">\n");
        foreach (var (variant, counts) in shown)
        {
            const double Width = 250, Left = 70, Right = 22, Top = 54; // room for names on three sides
            double cell = (Width - Left - Right) / k;
            html.Append($"<div class=\"panel\"><h3><span>{Key(variant)}{Printable.Markup(variant.Name)}</span></h3>\n");
            BeginSvg(Width, Top + k * cell + 2, $"confusion of emotions, {variant.Name}");
            for (int t = 0; t < k; t++)
            {
                string name = Printable.Markup(Short(grid.Emotions[t], 9));
                html.Append($"<text class=\"t\" x=\"{Left - 6}\" y=\"{Top + (t + 0.5) * cell + 3.5:F1}\" text-anchor=\"end\">{name}</text>"
                    + $"<text class=\"t\" transform=\"translate({Left + (t + 0.5) * cell:F1},{Top - 6}) rotate(-45)\">{name}</text>\n");
                double row = counts![t].Sum();
                for (int p = 0; p < k; p++)
                {
                    double share = row > 0 ? counts[t][p] / row : 0;
                    html.Append($"<rect class=\"cell\" x=\"{Left + p * cell:F1}\" y=\"{Top + t * cell:F1}\" width=\"{cell - 1:F1}\" height=\"{cell - 1:F1}\" fill-opacity=\"{0.05 + 0.95 * share:F3}\">"
                        + $"<title>{Printable.Markup(grid.Emotions[t])} taken for {Printable.Markup(grid.Emotions[p])}: {counts[t][p]} of {row}</title></rect>");
                    if (k <= MaxNumberedClasses)
                        html.Append($"<text class=\"v{(share > 0.68 ? " on" : "")}\" x=\"{Left + (p + 0.5) * cell:F1}\" y=\"{Top + (t + 0.5) * cell + 3.5:F1}\" text-anchor=\"middle\">{(row > 0 ? $"{100 * share:F0}" : Missing)}</text>\n");
                }
                html.Append($"<rect class=\"diagonal\" x=\"{Left + t * cell:F1}\" y=\"{Top + t * cell:F1}\" width=\"{cell - 1:F1}\" height=\"{cell - 1:F1}\"/>\n");
            }
            html.Append("</svg></div>\n");
        }
        html.Append("</div>\n<figcaption><b>What to see:</b> outlined is what is right. A column that is dark all the way down would be a network that calls everything by one name; "
            + "its accuracy can look good, its macro-F does not.</figcaption>\n</figure>\n");
        EndSection();

        long[][]? Confusion(Variant variant)
        {
            var found = view.Cells(variant, view.Smallest).Select(c => c.EmotionConfusion).OfType<long[][]>()
                .Where(m => m.Length == grid.Emotions.Count && m.All(row => row.Length == grid.Emotions.Count)).ToList();
            return found.Count == 0 ? null : [.. Enumerable.Range(0, grid.Emotions.Count).Select(t => Enumerable.Range(0, grid.Emotions.Count).Select(p => found.Sum(m => m[t][p])).ToArray())];
        }
    }

    private string AtSmallest => view.Smallest is { } d ? $"At speaker embedding {d}." : "";

    private void AppendCurves()
    {
        const double Width = 250, Height = 165, Left = 34, Right = 6, Top = 8, Bottom = 24;
        var shown = view.Variants.Select(v => (Variant: v, Cells: view.Cells(v, view.Smallest).Where(c => c.EmotionCurve.Count + c.SpeakerCurve.Count > 0).ToList())).Where(s => s.Cells.Count > 0).ToList();
        if (shown.Count == 0)
            return;
        int epochs = shown.Max(s => s.Cells.Max(c => Math.Max(c.EmotionCurve.Count, c.SpeakerCurve.Count)));
        double highest = shown.SelectMany(s => s.Cells).SelectMany(c => c.EmotionCurve.Concat(c.SpeakerCurve)).Where(double.IsFinite).DefaultIfEmpty(1).Max();
        double step = Scale.Step(Math.Max(highest, 0.05) / 4);
        var x = new Scale(1, epochs, Left, Width - Right);
        var y = new Scale(0, Math.Ceiling(Math.Max(highest, 0.05) / step - 1e-9) * step, Height - Bottom, Top);
        Section("curves", "Training", "Validation scores by epoch", $"{(view.Seeds > 1 ? "A line per seed. " : "")}{AtSmallest}");
        html.Append("<figure>\n<ul class=\"legend m-stl\">");
        html.Append(LegendItem("<line class=\"emotion\" x1=\"-8\" x2=\"8\" y1=\"0\" y2=\"0\"/>", "emotion, macro-F"));
        html.Append(LegendItem("<line class=\"speaker\" x1=\"-8\" x2=\"8\" y1=\"0\" y2=\"0\"/>", "speakers, accuracy"));
        html.Append("</ul>\n<div class=\"small\">\n");
        foreach (var (variant, cells) in shown)
        {
            html.Append($"<div class=\"panel\"><h3><span>{Key(variant)}{Printable.Markup(variant.Name)}</span></h3>\n");
            BeginSvg(Width, Height, $"validation scores by epoch, {variant.Name}");
            foreach (double tick in y.Ticks(4))
                html.Append($"<line class=\"{(tick == 0 ? "axis" : "grid")}\" x1=\"{Left}\" x2=\"{Width - Right}\" y1=\"{y.At(tick):F1}\" y2=\"{y.At(tick):F1}\"/>"
                    + $"<text class=\"t\" x=\"{Left - 5}\" y=\"{y.At(tick) + 3.5:F1}\" text-anchor=\"end\">{Tick(tick, step)}</text>\n");
            html.Append($"<text class=\"t\" x=\"{Left}\" y=\"{Height - 8}\">{(epochs > 1 ? "epoch 1" : "")}</text>"
                + $"<text class=\"t\" x=\"{Width - Right}\" y=\"{Height - 8}\" text-anchor=\"end\">{(epochs > 1 ? "" : "epoch ")}{epochs}</text>\n<g class=\"{ColourClass(variant)}\">\n");
            foreach (var cell in cells)
            {
                Curve("speaker", cell.SpeakerCurve);
                Curve("emotion", cell.EmotionCurve);
            }
            html.Append("</g></svg></div>\n");
        }
        html.Append("</div>\n<figcaption><b>What to see:</b> lines that have flattened: a method judged before it has learnt is judged too early. An adversary that is too strong shows as a line that falls or shakes.</figcaption>\n</figure>\n");
        EndSection();

        void Curve(string name, IReadOnlyList<double> values)
        {
            string[] points = [.. values.Select((v, i) => (v, i)).Where(p => double.IsFinite(p.v)).Select(p => $"{x.At(p.i + 1):F1},{y.At(p.v):F1}")];
            if (points.Length == 1) // a line of one point is not seen
                html.Append($"<path class=\"{name}\" d=\"M{points[0].Replace(',', ' ')}m-2 0h4\"/>\n");
            else if (points.Length > 1)
                html.Append($"<polyline class=\"{name}\" points=\"{string.Join(" ", points)}\"/>\n");
        }
    }

    private void AppendScatters()
    {
        const double Width = 250, Height = 230, Pad = 8;
        var shown = view.Both.Select(v => (Variant: v, Cell: view.Cells(v, view.Smallest).FirstOrDefault(c => c.Scatter.Any(IsPoint)))).Where(s => s.Cell is not null).ToList();
        if (shown.Count == 0)
            return;
        Section("scatter", "Embeddings", "Speaker embeddings, coloured by emotion",
            $"Some test clips in the first two principal components of each network's speaker embedding. {AtSmallest}{(view.Seeds > 1 ? " One seed." : "")}");
        html.Append("<figure>\n<ul class=\"legend\">");
        for (int e = 0; e < grid.Emotions.Count; e++)
            html.Append(LegendItem($"<path style=\"--c:var(--e{e % 8})\" class=\"solid\" d=\"{Shape(e, 0, 0, 3.6)}\"/>", Printable.Markup(grid.Emotions[e])));
        html.Append("</ul>\n<div class=\"small\">\n");
        foreach (var (variant, cell) in shown)
        {
            var points = cell!.Scatter.Where(IsPoint).ToList();
            double middleX = (points.Min(p => p[0]) + points.Max(p => p[0])) / 2, middleY = (points.Min(p => p[1]) + points.Max(p => p[1])) / 2;
            double rangeX = Math.Max(1e-12, points.Max(p => p[0]) - points.Min(p => p[0])), rangeY = Math.Max(1e-12, points.Max(p => p[1]) - points.Min(p => p[1]));
            // one unit is as long both ways, else a direction that hardly varies would look as wide as the first
            double unit = Math.Min((Width - 2 * Pad - 8) / rangeX, (Height - 18 - 2 * Pad - 8) / rangeY);
            html.Append($"<div class=\"panel\"><h3><span>{Key(variant)}{Printable.Markup(variant.Name)}</span>{(view.Seeds > 1 ? $"<small>seed {cell.Seed}</small>" : "")}</h3>\n");
            BeginSvg(Width, Height, $"speaker embeddings by emotion, {variant.Name}");
            html.Append($"<rect class=\"frame\" x=\".5\" y=\".5\" width=\"{Width - 1}\" height=\"{Height - 19}\"/>"
                + $"<text class=\"t\" x=\"0\" y=\"{Height - 4}\">1st component across, 2nd up</text>\n");
            // the most frequent first, or it would bury the others
            foreach (var emotion in points.GroupBy(p => (int)p[2]).OrderByDescending(g => g.Count()))
                html.Append($"<path class=\"dots\" style=\"fill:var(--e{emotion.Key % 8})\" d=\"{string.Concat(emotion.Select(p =>
                    Shape(emotion.Key, Width / 2 + (p[0] - middleX) * unit, (Height - 18) / 2 - (p[1] - middleY) * unit, 2.6)))}\"/>\n");
            html.Append("</svg></div>\n");
        }
        html.Append("</div>\n<figcaption><b>What to see:</b> colours that keep together inside a cloud are emotion in an embedding that should only know the speaker. Two components "
            + "show little of many: mixed colours here prove nothing, the probes above do.</figcaption>\n</figure>\n");
        EndSection();

        static bool IsPoint(double[] p) => p.Length >= 3 && double.IsFinite(p[0]) && double.IsFinite(p[1]) && p[2] is >= 0 and < 1000;
    }

    private void BeginSvg(double width, double height, string label) => html.Append($"<svg viewBox=\"0 0 {width:F0} {height:F0}\" role=\"img\" aria-label=\"{Printable.Markup(label)}\">\n");

    private static string Tick(double value, double step) => value.ToString(step * 100 % 1 is > 0.01 and < 0.99 ? "F3" : step * 10 % 1 is > 0.01 and < 0.99 ? "F2" : "F1");
}
