using System.Globalization;

namespace Avedis.Peers;

/// <summary>What came out, by operation, backend and precision.</summary>
internal sealed class Table
{
    private readonly SortedDictionary<string, (int Cases, int Failures, double Worst)> rows = new(StringComparer.Ordinal);

    public void Add(PeerCase peerCase, Rig rig, Outcome outcome)
    {
        string key = Row(peerCase.Operation, rig.Backend, rig.Precision);
        var row = rows.GetValueOrDefault(key);
        rows[key] = (row.Cases + 1, row.Failures + (outcome.Failure is null ? 0 : 1), Math.Max(row.Worst, outcome.Worst));
    }

    public void Print(TextWriter output)
    {
        output.WriteLine($"{Row("operation", "backend", "precision")}{"cases",8}{"failures",10}{"worst error / bound",22}");
        foreach (var (key, (cases, failures, worst)) in rows)
            output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{key}{cases,8}{failures,10}{worst,22:0.000}"));
    }

    private static string Row(string operation, string backend, string precision) => $"{operation,-20}{backend,-16}{precision,-10}";
}
