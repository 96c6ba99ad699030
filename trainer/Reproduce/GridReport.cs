using System.Text;
using System.Text.Json;

namespace Avedis.Trainer.Reproduce;

/// <summary>
/// report.html of a grid: one file without scripts or outside resources, for a phone, a wide screen and paper, light and dark. Tables and figures are numbered as
/// in Peri et al. (ICASSP 2021). It is well-formed XML, so that tests can read it. Every name comes from somebody's data and is escaped; a number that is missing
/// is a dash.
/// </summary>
public sealed partial class GridReport
{
    private const string Missing = "–";
    private const string Minus = "−";

    /// <summary>Table 1 of the paper, speaker accuracy in percent on its own corpus: by size of the speaker embedding, then baseline, ALT, GR, CONF.</summary>
    private static readonly (int Dimension, double[] Accuracy)[] published =
    [
        (2048, [90.98, 92.40, 93.19, 93.12]),
        (256, [94.75, 95.04, 95.86, 95.42]),
        (64, [90.62, 92.83, 91.17, 90.75]),
    ];

    private readonly GridResult grid;
    private readonly GridReportView view;
    private readonly StringBuilder html = new();
    private readonly List<(string Id, string Number)> sections = [];

    private GridReport(GridResult grid) => (this.grid, view) = (grid, new GridReportView(grid));

    public static string Create(GridResult grid)
    {
        var report = new GridReport(grid);
        report.AppendPage();
        return report.html.ToString();
    }

    private void AppendPage()
    {
        html.Append("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>\n");
        html.Append("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/><meta name=\"color-scheme\" content=\"light dark\"/>\n");
        html.Append($"<title>Reproduction grid, {Printable.Markup(grid.Data)}</title>\n<style>\n{Style}</style></head>\n<body>\n");
        AppendHatches();
        AppendHead();
        int head = html.Length;
        html.Append("</header>\n<main>\n");
        if (grid.Cells.Count > 0)
        {
            AppendTable1();
            AppendEmotionBars();
            AppendLeakBars();
            AppendPareto();
            AppendSelection();
            AppendLeaks();
            AppendComparisons();
            AppendConfusions();
            AppendCurves();
            AppendScatters();
            AppendTimes();
        }
        AppendSettings();
        html.Append("</main>\n</body></html>\n");
        if (sections.Count > 1)
            html.Insert(head, $"<nav>{string.Concat(sections.Select(s => $"<a href=\"#{s.Id}\">{s.Number}</a>"))}</nav>\n");
    }

    private void AppendHead()
    {
        html.Append("<header>\n<p class=\"eyebrow\">Avedis · reproduction grid</p>\n");
        html.Append($"<h1>What a speaker embedding still tells of emotion <span>on {Printable.Markup(grid.Data)}</span></h1>\n");
        if (grid.Cells.Count < grid.Planned)
            html.Append($"<p class=\"notice\"><b>{grid.Cells.Count} of {grid.Planned} cells</b> are finished."
                + $"{(grid.Cells.Count > 0 ? " What follows is of those; means and adjusted p values will still move." : "")}</p>\n");
        string summary = string.Join(" ", Summary());
        html.Append($"<p class=\"lead\">{(summary.Length > 0 ? $"At the smallest speaker embedding, {view.Smallest} numbers, {char.ToLowerInvariant(summary[0])}{summary[1..]}" : "No finished cell says anything of the leak yet.")}</p>\n");
        html.Append("<dl class=\"facts\">\n");
        Fact("Data", $"{grid.Speakers:N0} speakers, {grid.Emotions.Count} emotions");
        Fact("Clips", $"{grid.TrainClips:N0} train, {grid.ValidationClips:N0} validation, {grid.TestClips:N0} test");
        Fact("Device", grid.Device);
        Fact("Precision", grid.Precision);
        Fact("Version", grid.Version);
        Fact("Cells", grid.Cells.Count == grid.Planned ? $"{grid.Planned}" : $"{grid.Cells.Count} of {grid.Planned}");
        html.Append("</dl>\n");

        void Fact(string name, string value) => html.Append($"<div><dt>{name}</dt><dd>{(value.Length == 0 ? Missing : Printable.Markup(value))}</dd></div>\n");
    }

    // baseline leak against chance; what each method takes away; what it costs; where the head of the training misleads most
    private IEnumerable<string> Summary()
    {
        if (view.Smallest is not { } smallest)
            yield break;
        var baseline = new Variant("baseline", "");
        if (view.Mean(baseline, smallest, c => c.LeakEmotionFromSpeaker) is { } leak)
            yield return $"A fresh probe reads emotion from the baseline's with a macro-F of <b>{leak.Mean:F3}</b>"
                + (view.LeakChance is { } chance ? $", against {chance:F3} for always naming the most frequent." : ".");
        var drops = view.Disentangled.Select(v => (Variant: v, Change: view.Change(v, smallest, c => c.LeakEmotionFromSpeaker))).Where(d => d.Change is not null).ToList();
        if (drops.Count > 0)
            yield return $"Beside the baseline, the leak changes by {List(drops.Select(d => $"<b>{Signed(d.Change!.Mean)}</b> with {Printable.Markup(d.Variant.Name)}"))}.";
        var emotion = view.Disentangled.Select(v => view.Change(v, smallest, c => c.EmotionMacroF1)?.Mean).OfType<double>().ToList();
        var speaker = view.Disentangled.Select(v => view.Change(v, smallest, c => c.SpeakerAccuracy)?.Mean).OfType<double>().ToList();
        if (emotion.Count > 0 && speaker.Count > 0)
            yield return $"The tasks themselves change by {FromTo(emotion, v => Signed(v))} (emotion, macro-F) and {FromTo(speaker, v => Signed(100 * v, "F1"))} points (speakers, accuracy).";
        var lies = view.Disentangled
            .Select(v => (Variant: v, Claim: view.Mean(v, smallest, c => c.LeakInTrainingHead), Fresh: view.Mean(v, smallest, c => c.LeakEmotionFromSpeaker)))
            .Where(l => l.Claim is not null && l.Fresh is not null && l.Fresh.Mean - l.Claim.Mean > 0.02).ToList();
        if (lies.Count > 0)
        {
            var (variant, claim, fresh) = lies.MaxBy(l => l.Fresh!.Mean - l.Claim!.Mean);
            yield return $"The head of the training misleads most with {Printable.Markup(variant.Name)}: it finds {claim!.Mean:F3} where the fresh probe finds {fresh!.Mean:F3}.";
        }
    }

    private void AppendTable1()
    {
        Section("table1", "Table 1", "Speakers recognised",
            $"Accuracy in percent on the test clips, {Averaged}. Bold: the best of a row among networks of both tasks. The published values are of another corpus, "
            + "with far more speakers: compare the differences within a row, not the levels.");
        if (string.Join(" ", Methods()) is { Length: > 0 } methods)
            html.Append($"<p class=\"about\">{methods}</p>\n");
        var columns = view.Variants.Where(v => v.Method != "stl-emotion").ToList();
        int[] rows = [.. view.Dimensions.Union(published.Select(p => p.Dimension)).OrderDescending()];
        BeginTable("speaker accuracy by size of the speaker embedding and method", "dense");
        html.Append($"<thead><tr><th rowspan=\"2\" scope=\"col\">speaker embedding</th><th colspan=\"{Math.Max(1, columns.Count)}\" scope=\"colgroup\">this grid</th>"
            + "<th colspan=\"4\" scope=\"colgroup\" class=\"muted first\">published, another corpus</th></tr>\n<tr>");
        foreach (var variant in columns)
            html.Append($"<th scope=\"col\">{Key(variant)}{Printable.Markup(variant.Name)}</th>");
        if (columns.Count == 0)
            html.Append("<th></th>");
        html.Append("<th class=\"muted first\">baseline</th><th class=\"muted\">ALT</th><th class=\"muted\">GR</th><th class=\"muted\">CONF</th></tr></thead>\n<tbody>\n");
        foreach (int dimension in rows)
        {
            var own = columns.ToDictionary(v => v, v => view.Mean(v, dimension, c => c.SpeakerAccuracy, c => c.SpeakerInterval));
            double best = own.Where(o => !o.Key.IsSingle && o.Value is not null).Select(o => o.Value!.Mean).DefaultIfEmpty(double.PositiveInfinity).Max();
            html.Append($"<tr><th scope=\"row\">{dimension}</th>");
            foreach (var variant in columns)
                html.Append(Cell(own[variant], v => $"{100 * v:F1}", !variant.IsSingle && own[variant]?.Mean == best));
            if (columns.Count == 0)
                html.Append(Empty);
            var paper = published.FirstOrDefault(p => p.Dimension == dimension).Accuracy;
            for (int i = 0; i < 4; i++)
                html.Append($"<td class=\"muted{(i == 0 ? " first" : "")}\">{(paper is null ? Missing : $"{paper[i]:F2}")}</td>");
            html.Append("</tr>\n");
        }
        html.Append("</tbody>");
        EndTable();
        EndSection();
    }

    // what the columns are, as far as they are in the grid
    private IEnumerable<string> Methods()
    {
        var own = Named(("alt", "alternate training"), ("gr", "gradient reversal"), ("conf", "confusion loss"));
        if (own.Count > 0)
            yield return $"{List(own)} {(own.Count > 1 ? "are methods" : "is a method")} of the paper.";
        var others = Named(("projected", "gradient projection, Zhang et al. 2018"), ("leace", "linear erasure in closed form from the baseline's embedding, Belrose et al. 2023"));
        if (others.Count > 0)
            yield return $"{List(others)} {(others.Count > 1 ? "are yardsticks" : "is a yardstick")} from elsewhere, not the paper's.";
        if (view.Variants.Any(v => v.Recipe == "paper"))
            yield return "The recipe <b>paper</b> trains everything at once, as published.";
        if (view.Variants.Any(v => v.Recipe == "strong"))
            yield return "The recipe <b>strong</b> starts from the baseline and trains longer and harder to forget.";

        List<string> Named(params (string Method, string Text)[] methods) =>
            [.. methods.Where(m => view.Variants.Any(v => v.Method == m.Method)).Select(m => $"<b>{new Variant(m.Method, "").MethodName}</b> ({m.Text})")];
    }

    private void AppendLeaks()
    {
        Section("leaks", "Leaks", "What the embeddings tell that they should not",
            "Macro-F of emotion read from the speaker embedding, by probe; the last columns are the other direction, accuracy of speakers read from the emotion "
            + "embedding, and the embedding's health. "
            + "<b>Shuffled</b> is a probe with shuffled labels, <b>label alone</b> one that sees nothing but which speaker it is: what the corpus tells without any embedding. "
            + "<b>Dead</b> is the share of numbers that never change, <b>norm</b> the mean length; a network that hides by shrinking or dying shows here. "
            + $"Each is {Averaged}.");
        (string Name, Func<GridCell, double?> Value, string Format)[] columns =
        [
            ("fresh", c => c.LeakEmotionFromSpeaker, "F3"),
            ("balanced", c => c.LeakEmotionFromSpeakerBalanced, "F3"),
            ("linear", c => c.LeakEmotionFromSpeakerLinear, "F3"),
            ("in training", c => c.LeakInTrainingHead, "F3"),
            ("shuffled", c => c.LeakShuffled, "F3"),
            ("label alone", c => c.LeakSpeakerLabel, "F3"),
            ("chance", c => c.LeakChance, "F3"),
            ("speaker from emotion", c => c.LeakSpeakerFromEmotion, "F3"),
            ("dead", c => c.DeadShare, "P0"),
            ("norm", c => c.EmbeddingNorm, "G3"),
        ];
        BeginTable("leaks by dimension and method");
        html.Append("<thead><tr><th scope=\"col\">method</th>");
        foreach (var (name, _, _) in columns)
            html.Append($"<th scope=\"col\">{name}</th>");
        html.Append("</tr></thead>\n");
        foreach (var group in grid.Cells.GroupBy(c => c.SpeakerDimension).OrderByDescending(g => g.Key))
        {
            BeginGroup(group.Key == 0 ? "no speaker embedding" : $"speaker embedding {group.Key}", columns.Length + 1);
            foreach (var variant in view.Variants.Where(group.Select(GridReportView.VariantOf).Contains))
            {
                html.Append($"<tr><th scope=\"row\">{Key(variant)}{Printable.Markup(variant.Name)}</th>");
                for (int i = 0; i < columns.Length; i++)
                    html.Append(Cell(GridReportView.Mean(group.Where(c => GridReportView.VariantOf(c) == variant), columns[i].Value), v => Fixed(v, columns[i].Format), bold: i == 0));
                html.Append("</tr>\n");
            }
            html.Append("</tbody>\n");
        }
        EndTable();
        var warnings = grid.Cells.SelectMany(cell => cell.Warnings.Select(text => (Cell: cell, Text: text))).GroupBy(w => w.Text).ToList();
        html.Append($"<h3>Warnings</h3>\n{(warnings.Count == 0 ? "<p class=\"muted\">None.</p>" : "<ul class=\"warnings\">")}\n");
        foreach (var warning in warnings)
            html.Append($"<li>{Printable.Markup(warning.Key)} <span class=\"muted\">{Printable.Markup(CellNames(warning.Select(w => w.Cell)))}</span></li>\n");
        html.Append(warnings.Count == 0 ? "" : "</ul>\n");
        EndSection();
    }

    private void AppendComparisons()
    {
        Section("comparison", "Comparison", "Each network against the baseline of its dimension and seed",
            "Differences on the same test clips with 95 % intervals of a paired bootstrap, bold where the interval leaves out zero. Stuart-Maxwell, the paper's test, asks "
            + "whether two networks predict the emotions equally often, and McNemar whether they are right equally often; Bowker, whether what one calls A and the other B "
            + "balances. Holm adjusts Stuart-Maxwell over the whole grid; the star marks values below 0.01. A test that does not apply has a dash.");
        var compared = view.Dimensions.Select(d => (Dimension: d,
            Cells: view.Disentangled.SelectMany(v => view.Cells(v, d).Select(c => (Variant: v, Cell: c))).Where(c => c.Cell.Comparison is not null).ToList())).Where(d => d.Cells.Count > 0).ToList();
        if (compared.Count == 0)
        {
            html.Append("<p class=\"muted\">No cell has a baseline to compare with yet.</p>\n");
            EndSection();
            return;
        }
        BeginTable("differences to the baseline and tests", "line");
        html.Append("<thead><tr><th rowspan=\"2\" scope=\"col\">method</th><th rowspan=\"2\" scope=\"col\">seed</th><th colspan=\"3\" scope=\"colgroup\">difference to the baseline</th>"
            + "<th colspan=\"4\" scope=\"colgroup\" class=\"first\">p</th></tr>\n<tr><th>emotion, macro-F</th><th>speakers, points</th><th>leak, macro-F</th>"
            + "<th class=\"first\">Stuart-Maxwell</th><th>Holm</th><th>McNemar</th><th>Bowker</th></tr></thead>\n");
        foreach (var (dimension, cells) in compared)
        {
            BeginGroup($"speaker embedding {dimension}", 9);
            Variant? before = null;
            foreach (var (variant, cell) in cells)
            {
                var c = cell.Comparison!;
                string name = variant == before ? "<tr class=\"again\"><th></th>" : $"<tr><th scope=\"row\">{Key(variant)}{Printable.Markup(variant.Name)}</th>";
                before = variant;
                bool star = GridReportView.Finite(c.StuartMaxwellHolm) < 0.01;
                html.Append(name).Append($"<td>{cell.Seed}</td>");
                html.Append(Difference(c.EmotionDifference, 1, "F3")).Append(Difference(c.SpeakerDifference, 100, "F1")).Append(Difference(c.LeakDifference, 1, "F3"));
                html.Append($"<td class=\"first\">{Probability(c.StuartMaxwell)}</td><td>{(star ? StarMark : "")}{Probability(c.StuartMaxwellHolm)}</td>");
                html.Append($"<td>{Probability(c.McNemar)}</td><td>{Probability(c.Bowker)}</td></tr>\n");
            }
            html.Append("</tbody>\n");
        }
        EndTable();
        EndSection();

        static string Difference(Estimate? estimate, double scale, string format)
        {
            if (estimate is null || GridReportView.Finite(estimate.Value) is null)
                return Empty;
            bool known = double.IsFinite(estimate.Low) && double.IsFinite(estimate.High);
            string value = Signed(scale * estimate.Value, format);
            return $"<td>{(known && (estimate.Low > 0 || estimate.High < 0) ? $"<b>{value}</b>" : value)}"
                + $"{(known ? $"<small>{Signed(scale * estimate.Low, format)} to {Signed(scale * estimate.High, format)}</small>" : "")}</td>";
        }
    }

    private void AppendTimes()
    {
        Section("time", "Time", "Where the hours went", $"{(view.Seeds > 1 ? "Mean of a cell, its range over seeds below; the" : "The")} bar is training, its lighter end the probes.");
        var rows = view.Variants.SelectMany(v => view.Cells(v, null).GroupBy(c => c.SpeakerDimension).OrderByDescending(g => g.Key).Select(g => (
            Variant: v, Dimension: g.Key, Cells: g.Count(),
            Train: GridReportView.Mean(g, c => c.TrainSeconds), Probe: GridReportView.Mean(g, c => c.ProbeSeconds)))).ToList();
        double longest = Math.Max(1e-9, rows.Max(r => (r.Train?.Mean ?? 0) + (r.Probe?.Mean ?? 0)));
        BeginTable("time per cell");
        html.Append("<thead><tr><th scope=\"col\">method</th><th>speaker embedding</th><th>cells</th><th>training</th><th>probes</th><th class=\"left\">per cell</th></tr></thead>\n<tbody>\n");
        foreach (var row in rows)
        {
            double train = 200 * Math.Max(0, row.Train?.Mean ?? 0) / longest, probe = 200 * Math.Max(0, row.Probe?.Mean ?? 0) / longest;
            html.Append($"<tr><th scope=\"row\">{Key(row.Variant)}{Printable.Markup(row.Variant.Name)}</th><td>{(row.Dimension == 0 ? Missing : $"{row.Dimension}")}</td><td>{row.Cells}</td>");
            html.Append(Cell(row.Train, Span)).Append(Cell(row.Probe, Span));
            html.Append($"<td class=\"left\"><svg class=\"time {ColourClass(row.Variant)}\" viewBox=\"0 0 200 10\" width=\"200\" height=\"10\" aria-hidden=\"true\">"
                + $"<rect width=\"{train:F1}\" height=\"10\" class=\"solid\"/><rect x=\"{train:F1}\" width=\"{probe:F1}\" height=\"10\" class=\"solid pale\"/></svg></td></tr>\n");
        }
        double total = grid.Cells.Sum(c => (GridReportView.Finite(c.TrainSeconds) ?? 0) + (GridReportView.Finite(c.ProbeSeconds) ?? 0));
        html.Append($"</tbody><tfoot><tr><th scope=\"row\">all cells</th><td></td><td>{grid.Cells.Count}</td><td colspan=\"2\">{Span(total)}</td><td></td></tr></tfoot>");
        EndTable();
        EndSection();
    }

    private void AppendSettings()
    {
        Section("settings", "Settings", "What differs, and what made this",
            grid.Cells.Count == 0 ? "" : "Settings in which some network differs from the baseline of its dimension and seed; a dot is the baseline's value. Everything else is the same in all cells.");
        var rows = DifferentSettings();
        if (rows.Count == 0)
            html.Append(grid.Cells.Count == 0 ? "" : "<p class=\"muted\">No cell differs from its baseline in its settings, or none says what it was trained with.</p>\n");
        else
        {
            var columns = view.Variants.Where(v => !v.IsBaseline).ToList();
            BeginTable("settings that differ");
            html.Append($"<thead><tr><th scope=\"col\">setting</th><th class=\"left\">{Key(new("baseline", ""))}baseline</th>");
            foreach (var variant in columns)
                html.Append($"<th class=\"left\">{Key(variant)}{Printable.Markup(variant.Name)}</th>");
            html.Append("</tr></thead>\n<tbody>\n");
            foreach (var (name, baseline, values) in rows)
            {
                html.Append($"<tr><th scope=\"row\"><code>{Printable.Markup(name)}</code></th><td class=\"left\"><code>{Printable.Markup(baseline)}</code></td>");
                foreach (var variant in columns)
                    html.Append(values.TryGetValue(variant, out string? value) ? $"<td class=\"left\"><code>{Printable.Markup(value)}</code></td>" : "<td class=\"left muted\">·</td>");
                html.Append("</tr>\n");
            }
            html.Append("</tbody>");
            EndTable();
        }
        html.Append("<h3>Versions</h3>\n");
        BeginTable("versions");
        html.Append("<tbody>\n");
        Row("Avedis", grid.Version);
        Row("device", grid.Device);
        Row("precision", grid.Precision);
        Row("data", grid.Data);
        Row("hash of the data", grid.DataHash);
        Row("emotions", string.Join(", ", grid.Emotions));
        Row("seeds", string.Join(", ", grid.Cells.Select(c => c.Seed).Distinct().Order()));
        Row("grid.json", $"schema {grid.Schema}");
        html.Append("</tbody>");
        EndTable();
        EndSection();

        void Row(string name, string value) => html.Append($"<tr><th scope=\"row\">{name}</th><td class=\"left wrap\">{(value.Length == 0 ? Missing : Printable.Markup(value))}</td></tr>\n");
    }

    /// <summary>Settings in which a cell differs from its baseline: what the baselines have, and what each variant has where it differs.</summary>
    private List<(string Name, string Baseline, Dictionary<Variant, string> Values)> DifferentSettings()
    {
        var settings = new Dictionary<GridCell, Dictionary<string, string>>(ReferenceEqualityComparer.Instance);
        foreach (var cell in grid.Cells)
            settings[cell] = cell.Settings is { } resolved ? Flatten(resolved) : [];
        var baselines = grid.Cells.Where(c => c.Method == "baseline").ToList();
        var own = baselines.SelectMany(c => settings[c]).ToLookup(s => s.Key, s => s.Value);
        var varying = own.Where(s => s.Distinct().Count() > 1).Select(s => s.Key).ToHashSet();
        var found = new SortedDictionary<string, Dictionary<Variant, List<string>>>(StringComparer.Ordinal);
        foreach (var variant in view.Variants.Where(v => !v.IsBaseline))
            foreach (var cell in view.Cells(variant, null).Where(c => settings[c].Count > 0))
            {
                // one without a speaker embedding has no baseline of its dimension: what varies among baselines says nothing then
                var exact = view.BaselineOf(cell);
                if ((exact ?? baselines.FirstOrDefault(b => b.Seed == cell.Seed) ?? baselines.FirstOrDefault()) is not { } baseline || settings[baseline].Count == 0)
                    continue;
                foreach (string name in settings[cell].Keys.Union(settings[baseline].Keys))
                {
                    string value = settings[cell].GetValueOrDefault(name, Missing);
                    if (value == settings[baseline].GetValueOrDefault(name, Missing) || (exact is null && (varying.Contains(name) || name == "training.seed")))
                        continue;
                    if (!found.TryGetValue(name, out var values))
                        found[name] = values = [];
                    if (!values.TryGetValue(variant, out var list))
                        values[variant] = list = [];
                    list.Add(value);
                }
            }
        return [.. found.Select(s => (s.Key, Join(own[s.Key]), s.Value.ToDictionary(v => v.Key, v => Join(v.Value))))];

        static string Join(IEnumerable<string> values)
        {
            var distinct = values.Select(value => value.Length == 0 ? "\"\"" : value).Distinct().ToList();
            return distinct.Count switch { 0 => Missing, <= 3 => string.Join(", ", distinct), _ => $"{distinct[0]} and {distinct.Count - 1} more" };
        }
    }

    // section.key: value
    private static Dictionary<string, string> Flatten(JsonElement settings)
    {
        var flat = new Dictionary<string, string>(StringComparer.Ordinal);
        Add(settings, "");
        return flat;

        void Add(JsonElement element, string path)
        {
            switch (element.ValueKind)
            {
                case JsonValueKind.Object:
                    foreach (var property in element.EnumerateObject())
                        Add(property.Value, path.Length == 0 ? property.Name : $"{path}.{property.Name}");
                    break;
                case JsonValueKind.Array:
                    flat[path] = string.Join(", ", element.EnumerateArray().Select(item => item.ToString()));
                    break;
                case JsonValueKind.Undefined:
                    break;
                default:
                    flat[path] = element.ValueKind == JsonValueKind.Null ? Missing : element.GetRawText().Trim('"');
                    break;
            }
        }
    }

    private string Averaged => view.Seeds > 1 ? $"mean over {view.Seeds} seeds, its range below" : "of one seed, with the 95 % bootstrap interval where there is one";

    private static string CellNames(IEnumerable<GridCell> cells) => string.Join("; ", cells.GroupBy(c => (Variant: GridReportView.VariantOf(c), c.SpeakerDimension)).Select(g =>
        $"{g.Key.Variant.Name}{(g.Key.SpeakerDimension == 0 ? "" : $" {g.Key.SpeakerDimension}")}, seed {string.Join(" ", g.Select(c => c.Seed).Distinct().Order())}"));

    private void Section(string id, string number, string title, string text)
    {
        sections.Add((id, number));
        html.Append($"<section id=\"{id}\">\n<h2><span>{number}</span>{title}</h2>\n");
        html.Append(text.Length == 0 ? "" : $"<p class=\"about\">{text}</p>\n");
    }

    private void EndSection() => html.Append("</section>\n");

    private void BeginTable(string label, string look = "") =>
        html.Append($"<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{label}\"><table{(look.Length == 0 ? "" : $" class=\"{look}\"")}>\n");

    private void EndTable() => html.Append("</table></div>\n");

    private void BeginGroup(string name, int columns) =>
        html.Append("<tbody>\n").Append(name.Length == 0 ? "" : $"<tr class=\"group\"><th colspan=\"{columns}\" scope=\"rowgroup\"><span>{name}</span></th></tr>\n");

    private static string Empty => $"<td class=\"muted\">{Missing}</td>";

    private static string Cell(Spread? spread, Func<double, string> format, bool bold = false, bool first = false)
    {
        if (spread is null)
            return first ? $"<td class=\"muted first\">{Missing}</td>" : Empty;
        string mean = format(spread.Mean), low = format(spread.Low), high = format(spread.High);
        return $"<td{(first ? " class=\"first\"" : "")}>{(bold ? $"<b>{mean}</b>" : mean)}{(spread.HasRange && low != high ? $"<small>{low}{(spread.Low < 0 ? " to " : "–")}{high}</small>" : "")}</td>";
    }

    private static string Fixed(double value, string format) => format switch
    {
        "P0" => $"{100 * value:F0} %",
        "G3" => value.ToString(Math.Abs(value) switch { 0 => "F0", < 0.01 or >= 1e5 => "0.0E+0", < 10 => "F2", < 100 => "F1", _ => "F0" }),
        _ => value.ToString(format),
    };

    private static string Signed(double value, string format = "F3")
    {
        string text = Math.Abs(value).ToString(format);
        return text.All(c => c is '0' or '.') ? text : (value < 0 ? Minus : "+") + text;
    }

    private static string FromTo(List<double> values, Func<double, string> format) =>
        format(values.Min()) == format(values.Max()) ? format(values[0]) : $"{format(values.Min())} to {format(values.Max())}";

    private static string List(IEnumerable<string> items)
    {
        string[] all = [.. items];
        return all.Length == 1 ? all[0] : $"{string.Join(", ", all[..^1])} and {all[^1]}";
    }

    private static string Probability(double? p) => GridReportView.Finite(p) switch
    {
        null => Missing,
        < 0.001 => "&lt; 0.001",
        { } value => $"{value:F3}",
    };

    private static string Span(double seconds) => seconds switch
    {
        < 100 => $"{seconds:F1} s",
        < 5400 => $"{seconds / 60:F1} min",
        _ => $"{seconds / 3600:F1} h",
    };

    private static string Short(string text, int length) => text.Length <= length ? text : $"{text[..(length - 1)]}…";
}
