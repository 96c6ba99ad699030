using System.Globalization;

namespace Avedis.Peers;

/// <param name="Cases">Cases to draw, besides the fixed ones.</param>
/// <param name="Emulated">How many of all also run under the emulated driver, evenly spread.</param>
/// <param name="Only">One case alone, on every backend.</param>
internal sealed record Options(int Cases = 2000, int Seed = 1, int Emulated = 300, int? Only = null, bool Control = false)
{
    public const string Usage = "tests/peers [--cases N] [--seed S] [--emulated N] [--only N] [--control]";

    /// <summary>Null with what is wrong.</summary>
    public static Options? Parse(string[] arguments, out string error)
    {
        var options = new Options();
        error = "";
        for (int i = 0; i < arguments.Length; i++)
        {
            if (arguments[i] == "--control")
            {
                options = options with { Control = true };
                continue;
            }
            string name = arguments[i];
            if (name is not ("--cases" or "--seed" or "--emulated" or "--only"))
                error = $"{name} is no option";
            else if (++i == arguments.Length || !int.TryParse(arguments[i], NumberStyles.None, CultureInfo.InvariantCulture, out int value) || (name == "--only" && value == 0))
                error = $"{name} takes a whole number{(name == "--only" ? " from 1" : "")}";
            else
                options = name switch
                {
                    "--cases" => options with { Cases = value },
                    "--seed" => options with { Seed = value },
                    "--emulated" => options with { Emulated = value },
                    _ => options with { Only = value },
                };
            if (error != "")
                return null;
        }
        return options;
    }

    /// <summary>Numbers of the cases to run, and whether each also runs under emulation.</summary>
    public IReadOnlyList<(int Number, bool Emulate)> Numbers()
    {
        if (Only is { } only)
            return [(only, Emulated > 0)];
        int count = Peers.Cases.Fixed.Count + Cases;
        // the n-th of so many: where the line to Emulated crosses a whole number
        return [.. Enumerable.Range(1, count).Select(n => (n, n <= Peers.Cases.Fixed.Count ? Emulated > 0 : (long)n * Emulated / count != (n - 1L) * Emulated / count))];
    }
}
