using System.Text;

namespace Avedis.Trainer.Reproduce;

/// <summary>What is forgotten against what is kept: networks beside each other, and the epochs among which each was chosen.</summary>
public sealed partial class GridReport
{
    private void AppendPareto()
    {
        const double Width = 460, Height = 400, Left = 44, Right = 14, Top = 26, Bottom = 44;
        var points = view.Dimensions.SelectMany((d, i) => view.Both.Select(v => (Variant: v, Dimension: d, Shape: i,
            X: view.Mean(v, d, c => c.LeakEmotionFromSpeaker)?.Mean ?? double.NaN, Y: view.Mean(v, d, Task)?.Mean ?? double.NaN)))
            .Where(p => double.IsFinite(p.X) && double.IsFinite(p.Y)).ToList();
        Section("pareto", "Trade-off", "What is forgotten against what is kept",
            "Leak of emotion (fresh probe, macro-F) against the mean of emotion macro-F and speaker accuracy; the best place is top left.");
        if (points.Count == 0)
        {
            html.Append("<p class=\"muted\">No cell has both a leak and both tasks yet.</p>\n");
            EndSection();
            return;
        }
        var seeds = view.Both.SelectMany(v => view.Cells(v, null).Select(c => (Variant: v, X: GridReportView.Finite(c.LeakEmotionFromSpeaker), Y: Task(c))))
            .Where(p => p.X is not null && p.Y is not null).ToList();
        var x = Around([.. seeds.Select(p => p.X!.Value), .. view.LeakChance is { } c ? new[] { c } : []], Left, Width - Right);
        var y = Around([.. seeds.Select(p => p.Y!.Value)], Height - Bottom, Top);
        var front = points.Where(p => !points.Any(q => q.X <= p.X && q.Y >= p.Y && (q.X < p.X || q.Y > p.Y))).OrderBy(p => p.X).ToList();
        html.Append("<figure class=\"beside whole\">\n<div>");
        BeginSvg(Width, Height, "leak against the mean of the two tasks");
        html.Append($"<text class=\"t\" x=\"0\" y=\"12\">mean of emotion macro-F and speaker accuracy</text>\n");
        AppendGrid(x, 6, y, 5, gap: 7);
        html.Append($"<text class=\"t\" x=\"{Width - Right}\" y=\"{Height - 8}\" text-anchor=\"end\">leak: emotion read from the speaker embedding, macro-F</text>\n");
        var labels = new Labels(Left + 2, Top + 2, Width - 2, Height - Bottom - 2);
        if (view.LeakChance is { } chance)
        {
            html.Append($"<line class=\"chance\" x1=\"{x.At(chance):F1}\" x2=\"{x.At(chance):F1}\" y1=\"{Top}\" y2=\"{Height - Bottom}\"/>\n");
            html.Append($"<text class=\"t halo\" x=\"{x.At(chance) + 5:F1}\" y=\"{Height - Bottom - 6}\">chance</text>\n");
            labels.Occupy(x.At(chance) - 1, Top, x.At(chance) + 1, Height - Bottom, soft: true);
            labels.Occupy(x.At(chance), Height - Bottom - 18, x.At(chance) + 44, Height - Bottom);
        }
        foreach (var seed in view.Seeds > 1 ? seeds : [])
            html.Append($"<circle class=\"seed {ColourClass(seed.Variant)}\" cx=\"{x.At(seed.X!.Value):F1}\" cy=\"{y.At(seed.Y!.Value):F1}\" r=\"2\"/>");
        html.Append($"\n<polyline class=\"front\" points=\"{string.Join(" ", front.Select(p => $"{x.At(p.X):F1},{y.At(p.Y):F1}"))}\"/>\n");
        foreach (var p in points)
        {
            html.Append($"<path class=\"{ColourClass(p.Variant)} {(p.Variant.Recipe is "" or "strong" ? "solid" : "open")}\" d=\"{Shape(p.Shape, x.At(p.X), y.At(p.Y), 5.5)}\">"
                + $"<title>{Printable.Markup(p.Variant.Name)}, {p.Dimension}: leak {p.X:F3}, tasks {p.Y:F3}</title></path>\n");
            labels.Occupy(x.At(p.X) - 6, y.At(p.Y) - 6, x.At(p.X) + 6, y.At(p.Y) + 6);
        }
        foreach (var (p, q) in front.Zip(front.Skip(1)))
            labels.OccupyLine(x.At(p.X), y.At(p.Y), x.At(q.X), y.At(q.Y));
        foreach (var p in front.Concat(points.Where(p => p.Variant.IsBaseline).Except(front)))
            if (labels.Place(x.At(p.X), y.At(p.Y), 6.5 * Short($"{p.Variant.Name} {p.Dimension}", 24).Length, 13) is { } place)
                html.Append($"<text class=\"halo\" x=\"{place.X:F1}\" y=\"{place.Y:F1}\">{Printable.Markup(Short($"{p.Variant.Name} {p.Dimension}", 24))}</text>\n");
        html.Append("</svg></div>\n<div><ul class=\"legend\">");
        foreach (var variant in view.Both)
            html.Append($"<li class=\"{ColourClass(variant)}\"><svg class=\"key\" viewBox=\"-8 -5.5 16 11\" aria-hidden=\"true\"><path class=\"{(variant.Recipe is "" or "strong" ? "solid" : "open")}\" d=\"{Shape(0, 0, 0, 4)}\"/></svg>{Printable.Markup(variant.Name)}</li>");
        for (int i = 0; i < view.Dimensions.Count; i++)
            html.Append(LegendItem($"<path class=\"claim\" d=\"{Shape(i, 0, 0, 4)}\"/>", $"speaker embedding {view.Dimensions[i]}"));
        html.Append("</ul>\n<figcaption><b>What to see:</b> the dashed line joins the networks that no other beats in both. A method worth having moves left without "
            + $"sinking.{(view.Seeds > 1 ? " Marks are means over seeds, the faint dots single seeds." : "")}</figcaption></div>\n</figure>\n");
        EndSection();

        static double? Task(GridCell cell) => (GridReportView.Finite(cell.EmotionMacroF1) + GridReportView.Finite(cell.SpeakerAccuracy)) / 2;
    }

    // a scale of round ends with some air around the values, which are shares of 1
    private static Scale Around(List<double> values, double from, double to)
    {
        double low = values.Min(), high = values.Max(), air = Math.Max(0.01, 0.06 * (high - low));
        double step = Scale.Step((high - low + 2 * air) / 6);
        return new(Math.Max(0, Math.Floor((low - air) / step) * step), Math.Min(1, Math.Ceiling((high + air) / step) * step), from, to);
    }

    private void AppendProbedEpochs()
    {
        const double Width = 250, Height = 210, Left = 36, Right = 13, Top = 24, Bottom = 40;
        var shown = view.Disentangled.Select(v => (Variant: v, Cells: view.Cells(v, view.Smallest).Where(c => GridReportView.Probed(c).Any()).ToList())).Where(s => s.Cells.Count > 0).ToList();
        if (shown.Count == 0)
            return;
        var all = shown.SelectMany(s => s.Cells).SelectMany(GridReportView.Probed).ToList();
        var x = Around([.. all.Select(e => e.Leak)], Left, Width - Right);
        var y = Around([.. all.Select(e => e.Score)], Height - Bottom, Top);
        ulong[] seeds = [.. shown.SelectMany(s => s.Cells).Select(c => c.Seed).Distinct().Order()];
        html.Append($"<h3>Every epoch that was probed, at speaker embedding {view.Smallest}</h3>\n<figure>\n<ul class=\"legend m-stl\">");
        for (int i = 0; i < seeds.Length; i++)
            html.Append(LegendItem($"<path class=\"solid\" d=\"{Shape(i, 0, 0, 3.6)}\"/>", $"seed {seeds[i]}"));
        html.Append(LegendItem("<polyline class=\"trail\" points=\"-8,4 -2,0 8,-4\"/>", "Pareto front of a seed"));
        html.Append(LegendItem($"<path class=\"solid pale\" d=\"{Shape(0, 0, 0, 3.6)}\"/>", "another epoch beats it"));
        html.Append(LegendItem($"<path class=\"ring\" d=\"{Shape(0, 0, 0, 5)}\"/><path class=\"solid\" d=\"{Shape(0, 0, 0, 2)}\"/>", "chosen"));
        html.Append("</ul>\n<div class=\"small\">\n");
        foreach (var (variant, cells) in shown)
        {
            html.Append($"<div class=\"panel\"><h3><span>{Key(variant)}{Printable.Markup(variant.Name)}</span></h3>\n");
            BeginSvg(Width, Height, $"leak against score of the probed epochs, {variant.Name}");
            html.Append("<text class=\"t\" x=\"0\" y=\"12\">score</text>\n");
            AppendGrid(x, 4, y, 4, gap: 5);
            html.Append($"<text class=\"t\" x=\"{Width - Right}\" y=\"{Height - 6}\" text-anchor=\"end\">leak</text>\n<g class=\"{ColourClass(variant)}\">\n");
            var above = new StringBuilder(); // what is chosen is never buried
            foreach (var cell in cells)
            {
                int shape = Array.IndexOf(seeds, cell.Seed);
                var front = GridReportView.Front(cell);
                if (front.Count > 1)
                    html.Append($"<polyline class=\"trail\" points=\"{string.Join(" ", front.Select(e => $"{x.At(e.Leak):F1},{y.At(e.Score):F1}"))}\"/>\n");
                foreach (var epoch in GridReportView.Probed(cell))
                {
                    if (epoch.Chosen)
                        above.Append($"<path class=\"ring\" d=\"{Shape(shape, x.At(epoch.Leak), y.At(epoch.Score), 6)}\"/>");
                    (epoch.Chosen ? above : html).Append($"<path class=\"solid{(front.Contains(epoch) ? "" : " pale")}\" d=\"{Shape(shape, x.At(epoch.Leak), y.At(epoch.Score), 2.8)}\">"
                        + $"<title>seed {cell.Seed}, epoch {epoch.Epoch}: leak {epoch.Leak:F3}, score {epoch.Score:F3}{(epoch.Chosen ? ", chosen" : "")}</title></path>\n");
                }
            }
            html.Append(above).Append("</g></svg></div>\n");
        }
        html.Append("</div>\n<figcaption><b>What to see:</b> up and left is better. The line joins the epochs that no other of the same seed beats in both; the ringed mark is the one chosen. "
            + "Marks at the left that lie low have little leak because they know little of anything: they are passed over. Score is the mean of emotion macro-F and speaker accuracy, "
            + "leak what fresh probes read, from 0 (chance) to 1 (everything), both on Validation.</figcaption>\n</figure>\n");
    }

    // what selecting by leak costs and gains; only what forgets has a choice
    private void AppendSelection()
    {
        var chosen = view.Disentangled.Where(v => view.Cells(v, null).Any(c => GridReportView.Probed(c).Any())).ToList();
        if (chosen.Count == 0)
            return;
        Section("selection", "Selection", "Which epoch is taken, and what that costs",
            "A network that forgets is taken at the epoch whose fresh probes on Validation read least, among those whose score there is hardly below the best; the auxiliary heads of the "
            + "training have no say. Beside it, what the epoch of the best score gives, where that is another. Test clips; "
            + $"{(view.Seeds > 1 ? $"means over {view.Seeds} seeds, ranges below" : "one seed")}. "
            + "Emotion and leak are macro-F, speakers accuracy in percent; tasks is the mean of emotion and speakers.");
        BeginTable("epochs chosen by lowest leak and by primary score");
        html.Append("<thead><tr><th rowspan=\"2\" scope=\"col\">method</th><th colspan=\"4\" scope=\"colgroup\" class=\"first\">by lowest leak</th>"
            + "<th colspan=\"4\" scope=\"colgroup\" class=\"first\">by primary score</th><th colspan=\"2\" scope=\"colgroup\" class=\"first\">the former less the latter</th></tr>\n<tr>");
        for (int i = 0; i < 2; i++)
            html.Append("<th class=\"first\">epoch</th><th>emotion</th><th>speakers</th><th>leak</th>");
        html.Append("<th class=\"first\">tasks</th><th>leak</th></tr></thead>\n");
        foreach (int dimension in view.Dimensions.Where(d => chosen.Any(v => view.Cells(v, d).Count > 0)))
        {
            BeginGroup($"speaker embedding {dimension}", 11);
            foreach (var variant in chosen)
            {
                var cells = view.Cells(variant, dimension);
                if (cells.Count == 0)
                    continue;
                int without = cells.Count(c => c.Selection == "primary_score");
                html.Append($"<tr><th scope=\"row\">{Key(variant)}{Printable.Markup(variant.Name)}"
                    + $"{(without == 0 ? "" : $"<small>{without} of {cells.Count} without a choice</small>")}</th>");
                Side(cells, c => c.Epoch, c => c.EmotionMacroF1, c => c.SpeakerAccuracy, c => c.LeakEmotionFromSpeaker);
                Side(cells, c => c.ByScore?.Epoch ?? c.Epoch, Emotion, Speaker, Leak);
                if (cells.All(c => c.ByScore is null) && cells.Any(c => c.Epoch > 0))
                {
                    html.Append("<td class=\"first muted\" colspan=\"2\">same epochs</td></tr>\n");
                    continue;
                }
                html.Append(Cell(GridReportView.Mean(cells, c => Tasks(c.EmotionMacroF1, c.SpeakerAccuracy) - Tasks(Emotion(c), Speaker(c))), v => Signed(v), first: true));
                html.Append(Cell(GridReportView.Mean(cells, c => c.LeakEmotionFromSpeaker - Leak(c)), v => Signed(v), bold: true)).Append("</tr>\n");
            }
            html.Append("</tbody>\n");
        }
        EndTable();
        if (chosen.SelectMany(v => view.Cells(v, null)).Any(c => c.Selection == "primary_score"))
            html.Append("<p class=\"muted\">Without a choice: no probed epoch of that seed kept enough of the score, or its embedding had collapsed; the best score's is taken.</p>\n");
        AppendProbedEpochs();
        EndSection();

        void Side(IReadOnlyList<GridCell> cells, Func<GridCell, int> epoch, params Func<GridCell, double?>[] values)
        {
            int[] epochs = [.. cells.Select(epoch).Where(e => e > 0).Distinct().Order()];
            html.Append($"<td class=\"first\">{epochs.Length switch { 0 => Missing, 1 => $"{epochs[0]}", _ => $"{epochs[0]}–{epochs[^1]}" }}</td>");
            html.Append(Cell(GridReportView.Mean(cells, values[0]), v => $"{v:F3}")).Append(Cell(GridReportView.Mean(cells, values[1]), v => $"{100 * v:F1}"));
            html.Append(Cell(GridReportView.Mean(cells, values[2]), v => $"{v:F3}"));
        }

        static double? Emotion(GridCell c) => c.ByScore is { } other ? other.EmotionMacroF1 : c.EmotionMacroF1;
        static double? Speaker(GridCell c) => c.ByScore is { } other ? other.SpeakerAccuracy : c.SpeakerAccuracy;
        static double? Leak(GridCell c) => c.ByScore is { } other ? other.Leak : c.LeakEmotionFromSpeaker;
        static double? Tasks(double? emotion, double? speaker) => (emotion + speaker) / 2;
    }

    /// <summary>Lines and numbers of both axes over the whole picture.</summary>
    /// <param name="gap">Between the numbers and the picture's left.</param>
    private void AppendGrid(Scale x, int xTicks, Scale y, int yTicks, double gap)
    {
        foreach (double tick in y.Ticks(yTicks))
            html.Append($"<line class=\"grid\" x1=\"{x.From}\" x2=\"{x.To}\" y1=\"{y.At(tick):F1}\" y2=\"{y.At(tick):F1}\"/>"
                + $"<text class=\"t\" x=\"{x.From - gap}\" y=\"{y.At(tick) + 3.5:F1}\" text-anchor=\"end\">{Tick(tick, y.TickStep(yTicks))}</text>\n");
        foreach (double tick in x.Ticks(xTicks))
            html.Append($"<line class=\"grid\" y1=\"{y.To}\" y2=\"{y.From}\" x1=\"{x.At(tick):F1}\" x2=\"{x.At(tick):F1}\"/>"
                + $"<text class=\"t\" x=\"{x.At(tick):F1}\" y=\"{y.From + 16}\" text-anchor=\"middle\">{Tick(tick, x.TickStep(xTicks))}</text>\n");
    }
}
