using System.Diagnostics;
using System.Text.Json;
using System.Text.RegularExpressions;
using Avedis.Bench;
using Avedis.Trainer;
using Avedis.Trainer.Benchmark;

namespace Avedis.Tests.Runner;

/// <summary>
/// The tests as a program of their own, which ./test runs, and which runs on machines without the .NET SDK. "dotnet test" brings its own host and does not
/// come here.
/// </summary>
public static class TestProgram
{
    private const int Ok = 0, Failed = 1, Usage = 2;

    private const string Help =
        """
        Avedis.Tests [--all] [--filter REGEX | --tests FILE] [--jobs N] [--limit SECONDS] [--out FILE.json] [--coverage] [--list]
                     [--apart] [--order LIST] [--log FILE.jsonl]

        --all            all tests; without it the fast tier, which takes some minutes
        --filter REGEX   only tests whose full name it matches
        --tests FILE     only tests whose full names stand in the file, one a line
        --jobs N         processes side by side; one for each core unless told
        --limit SECONDS  a test that takes longer hangs: its process is ended, the rest of its fixture is not tried; 1200 unless told
        --apart          a process for each fixture: on a GPU, a kernel that fails takes its process along
        --order LIST     names of fixtures, by commas: these first and in this order, the others behind
        --log FILE.jsonl appends a line when a test begins, with its name, and one when it ends
        --out FILE.json  what passed and failed, and how long each method took
        --coverage       the table of what the tests ran: operations, kernels, native functions
        --list           print the names of the tests and run none
        Exit code 0: all passed; 1: one failed, or none ran; 2: usage.
        """;

    /// <summary>This program as another process, whatever host runs the tests of this one.</summary>
    internal static ProcessStartInfo Again(params string[] arguments)
    {
        var (program, all) = OwnProgram.Command(typeof(TestProgram).Assembly, arguments);
        return new(program, all);
    }

    public static int Main(string[] arguments)
    {
        switch (arguments)
        {
            case [Hdf5FuzzTests.PartOption, var part]:
                Hdf5FuzzTests.ReadPart(part);
                return Ok;
            case [TestWorker.Option, var pattern]:
                return TestWorker.Serve(pattern);
            case ["--help" or "-h"]:
                Console.WriteLine(Help);
                return Ok;
        }
        if (TestOptions.Parse(arguments, out string? mistake) is not { } options)
        {
            Console.Error.WriteLine($"{mistake}\n\n{Help}");
            return Usage;
        }
        Environment.SetEnvironmentVariable(Tier.Variable, options.All ? null : "fast");
        if (options.List)
        {
            foreach (string name in new TestTree(options.Filter).Units.SelectMany(unit => unit.Tests))
                Console.WriteLine(name);
            return Ok;
        }
        using var pool = new TestPool(options, Console.Out);
        var report = pool.Run();
        if (options.Out is { } file)
            File.WriteAllText(file, JsonSerializer.Serialize(report, BenchJson.Indented) + "\n");
        return report.Failed == 0 && report.Passed > 0 ? Ok : Failed;
    }
}

/// <summary>What the command line asks for.</summary>
internal sealed record TestOptions(bool All, string Filter, int Jobs, string? Out, bool Coverage, bool List)
{
    /// <summary>A test that takes longer hangs.</summary>
    public TimeSpan Limit { get; init; } = TimeSpan.FromMinutes(20);

    /// <summary>A process for each fixture.</summary>
    public bool Apart { get; init; }

    /// <summary>Names that fixtures contain: these come first.</summary>
    public string[] Order { get; init; } = [];

    /// <summary>File of <see cref="TestEvent"/> lines.</summary>
    public string? Log { get; init; }

    public static TestOptions? Parse(string[] arguments, out string? mistake)
    {
        var options = new TestOptions(false, "", Environment.ProcessorCount, null, false, false);
        mistake = null;
        for (int i = 0; i < arguments.Length && mistake is null; i++)
        {
            string? value = i + 1 < arguments.Length ? arguments[i + 1] : null;
            switch (arguments[i])
            {
                case "--all":
                    options = options with { All = true };
                    break;
                case "--coverage":
                    options = options with { Coverage = true };
                    break;
                case "--list":
                    options = options with { List = true };
                    break;
                case "--apart":
                    options = options with { Apart = true };
                    break;
                case "--order" when value is not null:
                    options = options with { Order = value.Split(',', StringSplitOptions.RemoveEmptyEntries) };
                    i++;
                    break;
                case "--log" when value is not null:
                    options = options with { Log = value };
                    i++;
                    break;
                case "--limit" when value is not null:
                    mistake = int.TryParse(value, out int seconds) && seconds > 0 ? null
                        : $"--limit takes a number of seconds, not {value}";
                    options = options with { Limit = TimeSpan.FromSeconds(seconds) };
                    i++;
                    break;
                case "--filter" when value is not null:
                    options = options with { Filter = value };
                    mistake = RegexMistake(value);
                    i++;
                    break;
                case "--tests" when value is not null:
                    if (!File.Exists(value))
                        mistake = $"--tests: {value} does not exist";
                    else
                        options = options with { Filter = $"^({string.Join('|', File.ReadLines(value).Select(Regex.Escape))})$" };
                    i++;
                    break;
                case "--out" when value is not null:
                    options = options with { Out = value };
                    i++;
                    break;
                case "--jobs" or "-j" when value is not null:
                    mistake = int.TryParse(value, out int jobs) && jobs is > 0 and <= 1024 ? null : $"--jobs takes a number from 1 to 1024, not {value}";
                    options = options with { Jobs = jobs };
                    i++;
                    break;
                case "--filter" or "--tests" or "--out" or "--jobs" or "-j" or "--order" or "--log" or "--limit":
                    mistake = $"{arguments[i]} needs a value";
                    break;
                default:
                    mistake = $"there is no option {arguments[i]}";
                    break;
            }
        }
        return mistake is null ? options : null;
    }

    private static string? RegexMistake(string pattern)
    {
        try
        {
            _ = new Regex(pattern);
            return null;
        }
        catch (ArgumentException error)
        {
            return $"--filter: {error.Message}";
        }
    }
}
