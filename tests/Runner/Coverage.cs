using System.Globalization;
using System.Text;
using Avedis.Engine;
using Avedis.Tests.Ops;

namespace Avedis.Tests.Runner;

/// <summary>
/// What the tests ran, counted while they ran: operations by backend and activation type, launches of kernels under emulation, native functions. A process
/// counts for itself; <see cref="TestPool"/> adds up.
/// </summary>
internal sealed class Coverage
{
    /// <summary>The table of the whole suite, as committed.</summary>
    public static string CommittedFile => Path.Combine(Repository.Root, "tests", "coverage.md");

    /// <summary>An operation: the method of <see cref="IBackend"/>, its name in <see cref="ObservedBackend"/>, and what it has variants for.</summary>
    /// <param name="Bf16">Activations may be BF16.</param>
    /// <param name="Tf32">F32 activations are multiplied in TF32 where a GPU is told so.</param>
    /// <param name="Hopper">A Hopper has kernels of its own, so that others (sm_80) are tested besides.</param>
    /// <param name="Cpu">The processor has it: false for what only a GPU has a use for.</param>
    public sealed record Operation(string Method, string Name, bool Bf16 = true, bool Tf32 = false, bool Hopper = false, bool Cpu = true);

    public static IReadOnlyList<Operation> Operations { get; } =
    [
        new("Zero", "zero"),
        new("Copy", "copy"),
        new("Add", "add", Bf16: false),
        new("Normalise", "normalise"),
        new("AugmentFaces", "augment faces"),
        new("AugmentMels", "augment mels"),
        new("ReluForward", "relu forward"),
        new("ReluBackward", "relu backward"),
        new("GradientReversalBackward", "gradient_reversal backward"),
        new("GradientReversalAdd", "gradient_reversal add", Bf16: false),
        new("ConcatForward", "concat forward", Bf16: false),
        new("ConcatBackward", "concat backward", Bf16: false),
        new("CountNonFinite", "count_non_finite"),
        new("Conv2dPrepare", "conv2d prepare", Tf32: true, Hopper: true, Cpu: false),
        new("Conv2dForward", "conv2d forward", Tf32: true, Hopper: true),
        new("Conv2dBackwardData", "conv2d backward data", Tf32: true, Hopper: true),
        new("Conv2dBackwardWeight", "conv2d backward weight", Tf32: true, Hopper: true),
        new("BatchNormForward", "batch_norm forward"),
        new("BatchNormMoments", "batch_norm moments"),
        new("BatchNormApply", "batch_norm apply"),
        new("BatchNormInference", "batch_norm inference"),
        new("BatchNormBackward", "batch_norm backward"),
        new("BatchNormBackwardMeans", "batch_norm backward means"),
        new("BatchNormBackwardData", "batch_norm backward data"),
        new("StemForward", "stem forward", Tf32: true),
        new("StemInference", "stem inference", Tf32: true),
        new("StemBackward", "stem backward", Tf32: true),
        new("MaxPoolForward", "max_pool forward"),
        new("MaxPoolBackward", "max_pool backward"),
        new("MaskedMeanForward", "masked_mean forward"),
        new("MaskedMeanBackward", "masked_mean backward"),
        new("LinearForward", "linear forward"),
        new("LinearBackwardData", "linear backward data"),
        new("LinearBackwardWeight", "linear backward weight", Bf16: false),
        new("SoftmaxCrossEntropy", "softmax_cross_entropy", Bf16: false),
        new("UniformConfusion", "uniform_confusion", Bf16: false),
        new("LogMel", "log_mel", Bf16: false),
        new("GradientProjection", "gradient_projection", Bf16: false),
        new("Adam", "adam", Bf16: false),
    ];

    /// <summary>A column of the table: a backend of the tests in one activation type, and the operations that must be met there.</summary>
    private sealed record Column(string Backend, DType Act, Func<Operation, bool> Wanted)
    {
        public string Title => $"{Backend} {Act}";
    }

    private static readonly Column[] columns =
    [
        new("cpu", DType.F32, operation => operation.Cpu),
        new("cpu", DType.BF16, operation => operation.Cpu && operation.Bf16),
        new("emulated", DType.F32, _ => true),
        new("emulated", DType.BF16, operation => operation.Bf16),
        new("emulated sm_80", DType.BF16, operation => operation.Hopper),
        new("emulated tf32", DType.F32, operation => operation.Tf32),
    ];

    private static readonly Coverage ofThisProcess = new();

    /// <summary>Hashes of the shapes of an operation's tensors, by "name|backend|type".</summary>
    public Dictionary<string, HashSet<ulong>> Shapes { get; init; } = [];

    /// <summary>Launches of every kernel under emulation.</summary>
    public Dictionary<string, long> Launches { get; init; } = [];

    /// <summary>Native functions of Avedis that were called.</summary>
    public HashSet<string> NativeCalls { get; init; } = [];

    /// <summary>Notes that a test ran an operation of this process.</summary>
    public static void Count(string operation, string backend, ReadOnlySpan<Tensor?> tensors)
    {
        var act = DType.F32;
        var shapes = new StringBuilder();
        foreach (var tensor in tensors)
        {
            shapes.Append(CultureInfo.InvariantCulture, $"{tensor?.Shape};");
            if (tensor?.Type == DType.BF16)
                act = DType.BF16;
        }
        string key = Key(operation, backend, act);
        lock (ofThisProcess)
        {
            if (!ofThisProcess.Shapes.TryGetValue(key, out var hashes))
                ofThisProcess.Shapes.Add(key, hashes = []);
            hashes.Add(StableHash.Of(shapes.ToString()));
        }
    }

    /// <summary>What this process ran.</summary>
    public static Coverage Take()
    {
        lock (ofThisProcess)
            return new() { Shapes = ofThisProcess.Shapes, Launches = Emulation.Used ? Emulation.Launches() : [] };
    }

    public void Add(Coverage other)
    {
        foreach (var (key, shapes) in other.Shapes)
            if (!Shapes.TryAdd(key, shapes))
                Shapes[key].UnionWith(shapes);
        foreach (var (kernel, launches) in other.Launches)
            Launches[kernel] = Launches.GetValueOrDefault(kernel) + launches;
        NativeCalls.UnionWith(other.NativeCalls);
    }

    /// <summary>What no test ran though one should have, a line each. The fast tier leaves whole programs out, and with them native functions.</summary>
    public IEnumerable<string> Gaps()
    {
        foreach (var operation in Operations)
            foreach (var column in columns)
                if (column.Wanted(operation) && Count(operation, column) == 0)
                    yield return $"no test ran {operation.Name} on {column.Title}";
        foreach (string name in Shapes.Keys.Select(key => key.Split('|')[0]).Distinct().Except(Operations.Select(operation => operation.Name)))
            yield return $"Coverage.Operations lacks {name}";
        foreach (var (kernel, _) in Launches.Where(kernel => kernel.Value == 0))
            yield return $"no test launched the kernel {kernel} under emulation";
        foreach (string function in NativeFunctions.All().Except(NativeCalls).Where(_ => !Tier.Fast))
            yield return $"no test called {function}";
    }

    /// <summary>That a table and that of a file do not have the same empty cells; null if they do.</summary>
    public static string? Difference(string table, string file)
    {
        string[] Cells(string text) =>
        [
            .. text.Split('\n').Where(line => line.StartsWith("| ", StringComparison.Ordinal))
                .Select(line => string.Join('|', line.Split('|', StringSplitOptions.TrimEntries).Select((cell, i) => i < 2 || cell is "" or "0" ? cell : "n"))),
        ];
        return Cells(File.ReadAllText(file)).SequenceEqual(Cells(table))
            ? null
            : $"{file} has other empty cells than this run: look at what ./test --all --coverage prints, then copy artifacts/coverage.md there";
    }

    /// <summary>The table. A cell is the number of different shapes; it is empty where the operation has no such variant.</summary>
    public string Markdown()
    {
        var text = new StringBuilder(
            """
            # What the tests run

            Counted while they ran: different shapes for which a test ran an operation, by backend and activation type. A cell is empty where the operation has no such
            form. sm_80 and TF32 have columns of their own for the operations that have other kernels there. `./test --all --coverage` makes this page anew.

            | operation |
            """);
        foreach (var column in columns)
            text.Append(CultureInfo.InvariantCulture, $" {column.Title} |");
        text.Append("\n|---|").AppendJoin("", columns.Select(_ => "--:|")).Append('\n');
        foreach (var operation in Operations)
        {
            text.Append(CultureInfo.InvariantCulture, $"| {operation.Name} |");
            foreach (var column in columns)
                text.Append(column.Wanted(operation) ? $" {Count(operation, column)} |" : " |");
            text.Append('\n');
        }
        string[] functions = [.. NativeFunctions.All()];
        text.Append(CultureInfo.InvariantCulture, $"\nKernels launched under emulation: {Launches.Count(kernel => kernel.Value > 0)} of {Launches.Count}.\n");
        text.Append(CultureInfo.InvariantCulture, $"Native functions called: {functions.Count(NativeCalls.Contains)} of {functions.Length}.\n");
        return text.ToString();
    }

    private int Count(Operation operation, Column column) => Shapes.GetValueOrDefault(Key(operation.Name, column.Backend, column.Act))?.Count ?? 0;

    private static string Key(string operation, string backend, DType act) => $"{operation}|{backend}|{act}";
}
