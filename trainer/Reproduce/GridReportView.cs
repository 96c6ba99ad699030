namespace Avedis.Trainer.Reproduce;

/// <summary>A method under one recipe; the recipe is empty for networks without an adversary, to which no recipe applies.</summary>
internal sealed record Variant(string Method, string Recipe)
{
    public bool IsSingle => Method.StartsWith("stl", StringComparison.Ordinal);

    public bool IsBaseline => Method == "baseline";

    public string MethodName => Method switch
    {
        "stl-emotion" => "emotion alone",
        "stl-speaker" => "speaker alone",
        "alt" or "gr" or "conf" or "leace" => Method.ToUpperInvariant(),
        _ => Method,
    };

    public string Name => Recipe.Length == 0 ? MethodName : $"{MethodName} {Recipe}";
}

/// <summary>Mean over seeds with its range; of one seed the bootstrap interval where there is one.</summary>
internal sealed record Spread(double Mean, double Low, double High, int Seeds)
{
    public bool HasRange => High > Low;
}

/// <summary>The cells of a grid by method and recipe, dimension and seed, in the order of the paper. Numbers that are not finite count as missing.</summary>
internal sealed class GridReportView
{
    // the paper's order, then the yardsticks
    private static readonly string[] methods = ["stl-emotion", "stl-speaker", "baseline", "alt", "gr", "conf", "projected", "leace"];
    private static readonly string[] recipes = ["paper", "strong"];

    private readonly ILookup<Variant, GridCell> cells;

    public GridReportView(GridResult grid)
    {
        cells = grid.Cells.OrderBy(cell => cell.SpeakerDimension).ThenBy(cell => cell.Seed).ToLookup(VariantOf);
        Variants =
        [
            .. cells.Select(group => group.Key)
                .OrderBy(v => Rank(methods, v.Method)).ThenBy(v => v.Method, StringComparer.Ordinal)
                .ThenBy(v => Rank(recipes, v.Recipe)).ThenBy(v => v.Recipe, StringComparer.Ordinal),
        ];
        Dimensions = [.. grid.Cells.Select(cell => cell.SpeakerDimension).Where(d => d > 0).Distinct().OrderDescending()];
        Seeds = grid.Cells.Select(cell => cell.Seed).Distinct().Count();
        LeakChance = Mean(grid.Cells, cell => cell.LeakChance)?.Mean;
    }

    public IReadOnlyList<Variant> Variants { get; }

    /// <summary>Networks of both tasks: the baseline and the methods.</summary>
    public IEnumerable<Variant> Both => Variants.Where(v => !v.IsSingle);

    public IEnumerable<Variant> Disentangled => Both.Where(v => !v.IsBaseline);

    /// <summary>Largest first.</summary>
    public IReadOnlyList<int> Dimensions { get; }

    public int? Smallest => Dimensions.Count == 0 ? null : Dimensions[^1];

    public int Seeds { get; }

    public double? LeakChance { get; }

    /// <param name="dimension">null for all. A network without a speaker embedding, dimension 0, belongs to every dimension.</param>
    public IReadOnlyList<GridCell> Cells(Variant variant, int? dimension) =>
        [.. cells[variant].Where(cell => dimension is null || cell.SpeakerDimension == dimension || cell.SpeakerDimension == 0)];

    public IReadOnlyList<GridCell> Cells(string method, int? dimension) => Cells(new Variant(method, ""), dimension);

    /// <param name="interval">What is shown of a grid of one seed; where others have several, a seed alone has no range.</param>
    public Spread? Mean(Variant variant, int? dimension, Func<GridCell, double?> value, Func<GridCell, Estimate?>? interval = null) =>
        Mean(Cells(variant, dimension), value, Seeds == 1 ? interval : null);

    public static Spread? Mean(IEnumerable<GridCell> of, Func<GridCell, double?> value, Func<GridCell, Estimate?>? interval = null)
    {
        var found = of.Where(cell => Finite(value(cell)) is not null).ToList();
        if (found.Count == 0)
            return null;
        var values = found.Select(cell => value(cell)!.Value).ToList();
        if (found.Count == 1 && interval?.Invoke(found[0]) is { } only && double.IsFinite(only.Low) && double.IsFinite(only.High))
            return new(values[0], Math.Min(only.Low, values[0]), Math.Max(only.High, values[0]), 1);
        return new(values.Average(), values.Min(), values.Max(), values.Count);
    }

    /// <summary>Mean difference to the baseline of the same dimension and seed, with its range over seeds.</summary>
    public Spread? Change(Variant variant, int? dimension, Func<GridCell, double?> value)
    {
        var own = Cells(variant, dimension);
        return Mean(own, cell => Finite(value(cell)) - (BaselineOf(cell) is { } baseline ? Finite(value(baseline)) : null));
    }

    /// <summary>The baseline that a cell compares with; null where it is not there, and for a baseline.</summary>
    public GridCell? BaselineOf(GridCell cell) => cell.Method == "baseline"
        ? null
        : cells[new Variant("baseline", "")].FirstOrDefault(other => other.SpeakerDimension == cell.SpeakerDimension && other.Seed == cell.Seed);

    /// <summary>The probed epochs whose numbers are there.</summary>
    public static IEnumerable<ProbedEpoch> Probed(GridCell cell) => cell.ProbedEpochs.Where(e => double.IsFinite(e.Score) && double.IsFinite(e.Leak));

    /// <summary>Those of a cell that no other beats in both score and leak, by leak.</summary>
    public static IReadOnlyList<ProbedEpoch> Front(GridCell cell) =>
    [
        .. Probed(cell).Where(a => !Probed(cell).Any(b => b.Score >= a.Score && b.Leak <= a.Leak && (b.Score > a.Score || b.Leak < a.Leak)))
            .OrderBy(e => e.Leak).ThenBy(e => e.Epoch),
    ];

    /// <summary>Of the cells with an adjusted Stuart-Maxwell p, how many are below 1 %.</summary>
    public (int Significant, int Tested) Significance(Variant variant, int dimension)
    {
        var p = Cells(variant, dimension).Select(cell => Finite(cell.Comparison?.StuartMaxwellHolm)).OfType<double>().ToList();
        return (p.Count(value => value < 0.01), p.Count);
    }

    public static Variant VariantOf(GridCell cell) =>
        cell.Method is "baseline" or GridPlace.Leace || cell.Method.StartsWith("stl", StringComparison.Ordinal) ? new(cell.Method, "") : new(cell.Method, cell.Recipe);

    public static double? Finite(double? value) => value is { } v && double.IsFinite(v) ? v : null;

    private static int Rank(string[] order, string name) => Array.IndexOf(order, name) is >= 0 and var place ? place : order.Length;
}
