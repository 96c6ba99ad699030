using System.ComponentModel;
using System.Diagnostics;

namespace Avedis.Bench;

/// <summary>An engine to compare with, in one of its modes: how it is started, but for preset, precision, batch and threads.</summary>
public sealed record Peer(string Name, string Program, string[] Arguments, IReadOnlyDictionary<string, string> Environment)
{
    /// <summary>Its process takes all but the first argument again, for another setting, and reads its batches from a file
    /// (--batches).</summary>
    public bool Switches { get; init; }

    /// <summary>Number formats that it has; null for all.</summary>
    public IReadOnlyList<string>? Precisions { get; init; }

    public bool Takes(string precision) => Precisions?.Contains(precision) ?? true;

    /// <summary>The same with more variables in its environment.</summary>
    public Peer With(IEnumerable<KeyValuePair<string, string>> variables) =>
        this with { Environment = new Dictionary<string, string>(Environment.Concat(variables)) };
}

/// <summary>Variables of a peer's environment that may make it faster, none of which it sets by itself.</summary>
public static class PeerSettings
{
    /// <summary>glibc keeps large blocks, instead of mapping and clearing them anew in every step.</summary>
    public static IReadOnlyDictionary<string, string> KeepBlocks { get; } = new Dictionary<string, string>
    {
        ["MALLOC_MMAP_MAX_"] = "0", ["MALLOC_TRIM_THRESHOLD_"] = "68719476736",
    };

    /// <summary>OpenMP's threads wait as those of Avedis (bindings/Cpu/CpuLibrary.cs): which is faster depends on the machine and on what
    /// else it does.</summary>
    public static IReadOnlyDictionary<string, string> SpinBriefly { get; } = new Dictionary<string, string> { ["GOMP_SPINCOUNT"] = "1000" };

    /// <summary>What is tried, beside no variables at all.</summary>
    public static IReadOnlyList<IReadOnlyDictionary<string, string>> All { get; } =
        [KeepBlocks, new Dictionary<string, string>(KeepBlocks.Concat(SpinBriefly)), SpinBriefly];

    public static string Describe(IReadOnlyDictionary<string, string> setting) =>
        string.Join(' ', setting.Select(variable => $"{variable.Key}={variable.Value}"));
}

/// <summary>PyTorch in the modes that the installed version has, by bench/peers/pytorch/step.py.</summary>
public static class PyTorchPeers
{
    /// <summary>cuda-graph is channels-last recorded once and replayed.</summary>
    public static string[] Modes { get; } = ["eager-nchw", "channels-last", "compile", "cuda-graph"];

    /// <param name="interpreters">To look for PyTorch in; the first that has it is taken.</param>
    /// <param name="modes">Of <see cref="Modes"/>; empty for all that there are.</param>
    /// <exception cref="EngineAbsentException"/>
    public static IEnumerable<Peer> Find(IReadOnlyList<string> interpreters, IReadOnlyList<string> modes, string device)
    {
        foreach (string python in interpreters)
            if (Answer(python) is { } answer)
            {
                string script = Path.Combine(AppContext.BaseDirectory, "peers", "pytorch", "step.py");
                string[] Serve(string mode) => [script, "--serve", "--device", device, "--mode", mode];
                var there = Modes.Where(mode => mode switch { "compile" => answer.Contains("compile", StringComparison.Ordinal), "cuda-graph" => device == "cuda", _ => true });
                return
                [
                    .. (modes.Count > 0 ? modes : there).Select(mode => new Peer($"pytorch-{mode}", python, Serve(mode), NoVariables)
                    {
                        Switches = true,
                    }),
                ];
            }
        throw new EngineAbsentException(
            $"pytorch: no interpreter of {string.Join(", ", interpreters)} can import torch (--python names another; Debian: python3-torch)");
    }

    private static readonly Dictionary<string, string> NoVariables = [];

    // by its files: importing it takes many seconds where the disk is cold. torch.compile came with version 2
    private const string Question =
        """
        import importlib.util, pathlib, re
        version = pathlib.Path(importlib.util.find_spec('torch').origin).with_name('version.py').read_text()
        print('compile' if int(re.search(r"__version__[^=]*= *['\"](\d+)", version)[1]) >= 2 else 'eager')
        """;

    /// <summary>What else than eager execution this PyTorch has; null without PyTorch.</summary>
    private static string? Answer(string python)
    {
        try
        {
            var (code, output, _) = Tool.Run(python, ["-c", Question]);
            return code == 0 ? output : null;
        }
        catch (Win32Exception)
        {
            return null; // no such program
        }
    }
}

/// <summary>TorchSharp, by the program in bench/peers/torchsharp, which is built when it is needed: its packages are large.</summary>
public static class TorchSharpPeers
{
    private const string Project = "bench/peers/torchsharp/TorchSharpPeer.csproj";

    /// <summary>channels-last by the strides of tensors, bf16-cast by casting what convolutions take: TorchSharp names neither.</summary>
    public static string[] Modes { get; } = ["eager-nchw", "channels-last", "bf16-cast"];

    /// <param name="modes">Of <see cref="Modes"/>; empty for all.</param>
    /// <exception cref="EngineAbsentException"/>
    public static IEnumerable<Peer> Build(IReadOnlyList<string> modes, string device)
    {
        string program = Build(device == "cuda" ? ["-p:TorchDevice=cuda"] : []);
        return [.. (modes.Count > 0 ? modes : Modes).Select(mode => Start(program, mode, device))];
    }

    internal static Peer Start(string program, string mode, string device) =>
        new($"torchsharp-{mode}", "dotnet", [program, "step", "--device", device, "--mode", mode], new Dictionary<string, string>())
        {
            Precisions = mode == "bf16-cast" ? ["bf16"] : ["fp32", "tf32"],
        };

    /// <summary>Restores and builds the program.</summary>
    /// <param name="properties">For the build, as -p:NAME=VALUE.</param>
    /// <returns>Its file.</returns>
    /// <exception cref="EngineAbsentException"/>
    public static string Build(string[] properties)
    {
        string project = Find() ?? throw new EngineAbsentException($"torchsharp: {Project} is not above {AppContext.BaseDirectory}");
        string[] settings = ["-p:Configuration=Release", "-nologo", "-verbosity:quiet", .. properties];
        // the committed lock file is that of the packages for the processor
        string[] locked = properties.Length == 0 ? ["-p:RestoreLockedMode=true"] : [];
        Build("does not restore", ["msbuild", project, "-t:Restore", .. locked, .. settings]);
        return Build("does not build", ["msbuild", project, "-t:Build", "-getProperty:TargetPath", .. settings]);
    }

    private static string Build(string failure, string[] arguments)
    {
        try
        {
            var (code, output, errors) = Tool.Run("dotnet", arguments);
            return code == 0 ? output.Trim() : throw new EngineAbsentException($"torchsharp: {failure}: {Tool.FirstError(output + errors)}");
        }
        catch (Win32Exception)
        {
            throw new EngineAbsentException("torchsharp: there is no .NET SDK to build it with");
        }
    }

    private static string? Find()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
            if (File.Exists(Path.Combine(folder.FullName, Project)))
                return Path.Combine(folder.FullName, Project);
        return null;
    }
}

/// <summary>A program that is run to its end.</summary>
public static class Tool
{
    /// <param name="environment">Variables to set; the others are this process's.</param>
    /// <exception cref="Win32Exception">There is no such program.</exception>
    public static (int Code, string Output, string Errors) Run(
        string program, IEnumerable<string> arguments, IReadOnlyDictionary<string, string>? environment = null)
    {
        var start = new ProcessStartInfo(program, arguments) { RedirectStandardError = true, RedirectStandardOutput = true };
        foreach (var (variable, value) in environment ?? new Dictionary<string, string>())
            start.Environment[variable] = value;
        using var process = Process.Start(start)!;
        var errors = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, output, errors.Result);
    }

    /// <summary>Of what a build said the first line with an error, without the file that it is about.</summary>
    public static string FirstError(string output)
    {
        const string Mark = ": error ";
        string line = output.Split('\n').FirstOrDefault(line => line.Contains(Mark, StringComparison.Ordinal)) ?? "without a word";
        return line[(line.IndexOf(Mark, StringComparison.Ordinal) is var at and >= 0 ? at + Mark.Length : 0)..].Trim();
    }
}
