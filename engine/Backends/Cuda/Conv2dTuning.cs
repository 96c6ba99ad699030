using System.Text.Json;

namespace Avedis.Engine;

/// <summary>The passes of a convolution.</summary>
internal enum Conv2dPass
{
    Forward,
    BackwardData,
    BackwardWeight,
}

/// <summary>How a pass is cut into blocks: its family of kernels, rows and columns of a tile, and into how many slices the depth of its sums.</summary>
/// <param name="Hopper">Whether it runs on the kernels of conv2d_hopper.cu.</param>
internal readonly record struct Conv2dCut(bool Hopper, int TileRows, int TileColumns, int Slices)
{
    public override string ToString() => $"{(Hopper ? "Hopper, " : "")}{TileRows}x{TileColumns}, {Slices} slices";
}

/// <summary>Cuts of the passes of one convolution; where one is null the plan chooses.</summary>
internal readonly record struct Conv2dCuts(Conv2dCut? Forward, Conv2dCut? BackwardData, Conv2dCut? BackwardWeight)
{
    /// <summary>With that of one pass only.</summary>
    public static Conv2dCuts Of(Conv2dPass pass, Conv2dCut cut) => pass switch
    {
        Conv2dPass.Forward => new(cut, null, null),
        Conv2dPass.BackwardData => new(null, cut, null),
        _ => new(null, null, cut),
    };
}

/// <summary>What was measured of one pass on one architecture: the fastest cut, its time, and that of the cut which the plan would choose.</summary>
/// <param name="Precision">fp32, tf32, bf16.</param>
internal sealed record Conv2dTuningRow(
    Conv2dPass Pass, string Precision, Conv2dGeometry Geometry, Conv2dCut Cut, double Microseconds, double PlannedMicroseconds);

/// <summary>
/// Cuts that were found by measurement (bench tune), as committed for an architecture: conv2d-tuning-sm90.json and others beside this file. A table is part of
/// the program, so that the order of every sum stays the same on all GPUs of an architecture. What it does not name, the plan chooses.
/// </summary>
/// <param name="Device">The GPU that measured; null where none has.</param>
internal sealed record Conv2dTuning(string Architecture, string? Device, Conv2dTuningRow[] Rows)
{
    /// <summary>The name of an architecture's table.</summary>
    public static string FileName(string architecture) => $"conv2d-tuning-{architecture}.json";

    /// <summary>sm90 of compute capability 9.0.</summary>
    public static string ArchitectureOf((int Major, int Minor) capability) => $"sm{capability.Major}{capability.Minor}";

    /// <summary>The committed table; one without rows where there is none.</summary>
    public static Conv2dTuning Of((int Major, int Minor) capability)
    {
        string architecture = ArchitectureOf(capability);
        using var stream = typeof(Conv2dTuning).Assembly.GetManifestResourceStream(FileName(architecture));
        return stream is null ? new(architecture, null, []) : Parse(new StreamReader(stream).ReadToEnd());
    }

    /// <summary>The rows that count for a GPU that may or may not use the kernels for Hopper.</summary>
    public Conv2dTuning For(bool hopper) => this with { Rows = [.. Rows.Where(row => hopper || !row.Cut.Hopper)] };

    /// <exception cref="JsonException"/>
    public static Conv2dTuning Parse(string json) => JsonSerializer.Deserialize<Conv2dTuning>(json, Json.Indented) ?? throw new JsonException("empty");

    public string ToJson() => JsonSerializer.Serialize(this, Json.Indented) + "\n";

    public Conv2dCuts this[Conv2dGeometry geometry, string precision]
    {
        get
        {
            return new(CutOf(Conv2dPass.Forward), CutOf(Conv2dPass.BackwardData), CutOf(Conv2dPass.BackwardWeight));

            Conv2dCut? CutOf(Conv2dPass pass) => Rows.LastOrDefault(row => (row.Pass, row.Precision, row.Geometry) == (pass, precision, geometry))?.Cut;
        }
    }
}
