using System.Diagnostics;
using System.Text.RegularExpressions;
using NUnit.Framework;

namespace Avedis.Tests.Kernels;

/// <summary>What NVIDIA's compiler made of the kernels: avedis_kernels.fatbin beside the tests, its PTX, and what ptxas said of each kernel.</summary>
internal static partial class CompiledKernels
{
    /// <summary>A parameter list as PTX has it: "u64", "u32", "f32", or "s" and the bytes of a struct.</summary>
    public sealed record Entry(string[] Parameters, int Threads, int BlocksPerMultiprocessor);

    /// <summary>What a kernel takes on one architecture.</summary>
    public sealed record Resources(string Kernel, string Architecture)
    {
        public int StackFrame { get; init; } = -1;

        public int SpillBytes { get; init; } = -1;

        public int Registers { get; init; } = -1;

        public int SharedBytes { get; init; } = -1;
    }

    private static readonly Lazy<Dictionary<string, Entry>> entries = new(ReadEntries);
    private static readonly Lazy<List<Resources>> resources = new(ReadResources);
    /// <summary>
    /// What ptxas files as information and is a loss: products that it runs one by one, register counts that it does not change, ...
    /// </summary>
    public static IEnumerable<string> PerformanceLosses =>
        File.ReadLines(Beside("resources.txt")).Where(line => PerformanceLossPattern().IsMatch(line));

    private static readonly Lazy<Dictionary<(string Kernel, string Architecture), Dictionary<string, int>>> instructions = new(Disassemble);

    /// <summary>By kernel.</summary>
    public static Dictionary<string, Entry> Entries => entries.Value;

    public static List<Resources> AllResources => resources.Value;

    /// <summary>How often instructions occur in a kernel, by their names with modifiers (LDG.E.128.CONSTANT) and without (LDG).</summary>
    public static Dictionary<(string Kernel, string Architecture), Dictionary<string, int>> Instructions => instructions.Value;

    /// <summary>Skips the test where there was no compiler.</summary>
    public static void Require()
    {
        if (!File.Exists(Beside("ptx")))
            Assert.Ignore($"no CUDA compiler: {Beside("ptx")} has not been made (kernels/get-cuda-toolkit)");
    }

    /// <summary>Skips the test where there is no disassembler either.</summary>
    public static void RequireDisassembler()
    {
        Require();
        if (Disassembler is null)
            Assert.Ignore("no CUDA compiler: cuobjdump is neither in artifacts/cuda/bin nor on the PATH (kernels/get-cuda-toolkit)");
    }

    private static string? Disassembler =>
        (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':').Prepend(Path.Combine(Repository.Root, "artifacts", "cuda", "bin"))
            .Select(folder => Path.Combine(folder, "cuobjdump")).FirstOrDefault(File.Exists);

    private static string Beside(string extension) => Path.Combine(AppContext.BaseDirectory, $"avedis_kernels.{extension}");

    private static Dictionary<string, Entry> ReadEntries()
    {
        var found = new Dictionary<string, Entry>();
        foreach (Match entry in EntryPattern().Matches(File.ReadAllText(Beside("ptx"))))
        {
            string[] parameters =
            [
                .. ParameterPattern().Matches(entry.Groups["parameters"].Value)
                    .Select(p => p.Groups["bytes"].Success ? $"s{p.Groups["bytes"].Value}" : p.Groups["type"].Value.Replace('s', 'u')),
            ];
            int Directive(string name, int otherwise) =>
                Regex.Match(entry.Groups["directives"].Value, $@"\.{name} (\d+)") is { Success: true } match ? int.Parse(match.Groups[1].Value) : otherwise;
            found.Add(entry.Groups["name"].Value, new(parameters, Directive("maxntid", 0), Directive("minnctapersm", 1)));
        }
        return found;
    }

    private static List<Resources> ReadResources()
    {
        var found = new List<Resources>();
        foreach (string line in File.ReadLines(Beside("resources.txt")))
        {
            if (CompilingPattern().Match(line) is { Success: true } compiling)
                found.Add(new(compiling.Groups[1].Value, compiling.Groups[2].Value));
            else if (StackPattern().Match(line) is { Success: true } stack)
                found[^1] = found[^1] with
                {
                    StackFrame = int.Parse(stack.Groups[1].Value),
                    SpillBytes = int.Parse(stack.Groups[2].Value) + int.Parse(stack.Groups[3].Value),
                };
            else if (UsedPattern().Match(line) is { Success: true } used)
                found[^1] = found[^1] with
                {
                    Registers = int.Parse(used.Groups[1].Value),
                    SharedBytes = SharedPattern().Match(line) is { Success: true } shared ? int.Parse(shared.Groups[1].Value) : 0,
                };
        }
        return found;
    }

    private static Dictionary<(string, string), Dictionary<string, int>> Disassemble()
    {
        using var process = Process.Start(new ProcessStartInfo(Disassembler!, ["-sass", Beside("fatbin")]) { RedirectStandardOutput = true })!;
        var found = new Dictionary<(string, string), Dictionary<string, int>>();
        string architecture = "";
        Dictionary<string, int>? current = null;
        while (process.StandardOutput.ReadLine() is { } line)
        {
            if (FunctionPattern().Match(line) is { Success: true } function)
                found.Add((function.Groups[1].Value, architecture), current = []);
            else if (ArchitecturePattern().Match(line) is { Success: true } code)
                architecture = code.Groups[1].Value;
            else if (InstructionPattern().Match(line) is { Success: true } instruction)
                foreach (string name in new[] { instruction.Groups[1].Value, instruction.Groups[1].Value.Split('.')[0] }.Distinct())
                    current![name] = current.GetValueOrDefault(name) + 1;
        }
        process.WaitForExit();
        Assert.That(process.ExitCode, Is.Zero, "cuobjdump");
        return found;
    }

    [GeneratedRegex(@"\.visible \.entry (?<name>\w+)\((?<parameters>[^)]*)\)(?<directives>[^{]*)\{")]
    private static partial Regex EntryPattern();

    [GeneratedRegex(@"\.param (\.align \d+ )?\.(?<type>\w+)( \.ptr( \.\w+)*( \.align \d+)?)? \w+(\[(?<bytes>\d+)\])?")]
    private static partial Regex ParameterPattern();

    [GeneratedRegex(@"Compiling entry function '(\w+)' for '(\w+)'")]
    private static partial Regex CompilingPattern();

    [GeneratedRegex(@"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")]
    private static partial Regex StackPattern();

    [GeneratedRegex(@"\(C75\d\d\)|Performance Loss|setmaxnreg", RegexOptions.IgnoreCase)]
    private static partial Regex PerformanceLossPattern();

    [GeneratedRegex(@"Used (\d+) registers")]
    private static partial Regex UsedPattern();

    [GeneratedRegex(@"(\d+) bytes smem")]
    private static partial Regex SharedPattern();

    [GeneratedRegex(@"^\s*Function : (\w+)")]
    private static partial Regex FunctionPattern();

    [GeneratedRegex(@"code for (\w+)")]
    private static partial Regex ArchitecturePattern();

    // /*0040*/  @P0 HMMA.1688.F32.TF32 R4, ...
    [GeneratedRegex(@"^\s*/\*[0-9a-f]+\*/\s+(?:@!?U?P\w+ )?([\w.]+)")]
    private static partial Regex InstructionPattern();
}
