using System.Globalization;
using Avedis.Engine;
using NUnit.Framework;

namespace Avedis.Tests.Ops;

/// <summary>A backend that the operation tests may open. Absence says in one line why this machine lacks it, null if it does not.</summary>
public sealed record BackendCase(string Name, Func<IBackend> Open, Func<string?> Absence)
{
    /// <summary>Whether F32 convolutions multiply in TF32.</summary>
    public bool Tf32 { get; init; }

    /// <summary>Skips the test where the backend is absent; fails it if the backend was asked for by name.</summary>
    public void Require()
    {
        if (Absence() is not { } absence)
            return;
        if (Backends.Forced is not null)
            Assert.Fail(absence);
        Assert.Ignore($"{Name}: {absence}");
    }

    /// <summary>Whether the emulated GPU is older than Hopper, so that BF16 convolutions run on the kernels for all GPUs.</summary>
    public bool BeforeHopper { get; init; }

    /// <summary>Whether anything is computed otherwise here, with activations of this type, than on the same backend without its mode.</summary>
    public bool Concerns(DType act) => (!Tf32 || act == DType.F32) && (!BeforeHopper || act == DType.BF16);

    public override string ToString() => Tf32 ? $"{Name} tf32" : BeforeHopper ? $"{Name} sm_80" : Name;
}

/// <summary>
/// The source of backends for every operation test: the processor's and the GPU's kernels under emulation, or what the environment variable
/// AVEDIS_TEST_BACKEND names; cuda, the kernels on a real GPU, runs only if it is named, since a process loads one driver. A backend that this machine lacks
/// is skipped with its reason; if it was asked for by name, it fails.
/// </summary>
public static class Backends
{
    public const string Variable = "AVEDIS_TEST_BACKEND";

    private static readonly BackendCase[] known =
    [
        new("cpu", () => new CpuBackend(), () => null),
        new("emulated", () => Emulation.Open(tf32: false), () => Emulation.Absence),
        new("cuda", () => new CudaBackend(KernelImage.Read()), () => null),
    ];

    // with F32 convolutions on the matrix units: nothing else differs
    private static readonly BackendCase[] knownTf32 =
    [
        new("emulated", () => Emulation.Open(tf32: true), () => Emulation.Absence) { Tf32 = true },
        new("cuda", () => new CudaBackend(KernelImage.Read(), tf32: true), () => null) { Tf32 = true },
    ];

    // with a GPU that lacks Hopper's instructions: a real one is what it is
    private static readonly BackendCase[] knownBeforeHopper =
    [
        new("emulated", () => Emulation.Open(tf32: false, capability: 80), () => Emulation.Absence) { BeforeHopper = true },
    ];

    public static string? Forced { get; } = Environment.GetEnvironmentVariable(Variable) is { Length: > 0 } name ? name : null;

    public static IEnumerable<BackendCase> All() => Choose(known);

    /// <summary>For the operations that the mode concerns, besides <see cref="All"/>.</summary>
    public static IEnumerable<BackendCase> Tf32() => Choose(knownTf32);

    /// <summary>For the operations that have kernels of their own for Hopper, besides <see cref="All"/>.</summary>
    public static IEnumerable<BackendCase> BeforeHopper() => Choose(knownBeforeHopper);

    private static IEnumerable<BackendCase> Choose(BackendCase[] cases)
    {
        if (Forced is null)
            return cases.Where(backend => backend.Name != "cuda");
        string unknown = $"{Variable}={Forced} names no backend; known: {string.Join(", ", known.Select(backend => backend.Name))}";
        return known.Any(backend => backend.Name == Forced)
            ? cases.Where(backend => backend.Name == Forced)
            : [new(Forced, () => throw new NotSupportedException(unknown), () => unknown)];
    }
}

/// <summary>Base of the operation tests: opens its backend once and gives every test its own memory.</summary>
[TestFixtureSource(typeof(Backends), nameof(Backends.All))]
public abstract class OpTests(BackendCase backendCase)
{
    private protected static readonly DType[] Activations = [DType.F32, DType.BF16];

    private static readonly int seeds = Environment.GetEnvironmentVariable("AVEDIS_TEST_SEED") is { Length: > 0 } given
        ? int.Parse(given, CultureInfo.InvariantCulture)
        : 0;

    private CountingBackend? opened;
    private OpHarness? harness;

    private protected IBackend Backend => opened!;

    private protected bool Tf32 => backendCase.Tf32;

    /// <summary>Whether sums of products come from a GPU's matrix units, which round them in a way of their own.</summary>
    private protected bool MatrixUnits => backendCase.Name == "cuda";

    private protected OpHarness Op => harness!;

    [OneTimeSetUp]
    public void Open()
    {
        backendCase.Require();
        opened = new CountingBackend(backendCase.Open(), backendCase.ToString());
    }

    [OneTimeTearDown]
    public void Close() => opened?.Dispose();

    [SetUp]
    public void Begin() => harness = new OpHarness(Backend);

    [TearDown]
    public void End() => harness?.Dispose();

    private const int Shapes = 200, ShapesOfTheFastTier = 25;

    /// <summary>Runs tests on shapes that are drawn, each in memory of its own.</summary>
    /// <param name="draw">Draws a shape and says what to run on it.</param>
    private protected void OnRandomShapes(Func<Random, Action[]> draw)
    {
        for (int i = 0; i < (Tier.Fast ? ShapesOfTheFastTier : Shapes); i++)
            foreach (var test in draw(new Random(i)))
            {
                End();
                Begin();
                try
                {
                    test();
                }
                catch (Exception failure) when (failure is not ResultStateException)
                {
                    Assert.Fail($"shape {i}: {failure}");
                }
            }
    }

    /// <summary>An extent of 1 to <paramref name="most"/>: one in four is 1, others often small.</summary>
    private protected static int Extent(Random random, int most) =>
        random.Next(4) == 0 ? 1 : 1 + (int)(most * random.NextDouble() * random.NextDouble());

    private protected DType Activation(Random random)
    {
        DType[] types = [.. Activations.Where(backendCase.Concerns)];
        return types[random.Next(types.Length)];
    }

    /// <summary>The numbers of a test: the same in every run, and others for each whole number in the environment variable AVEDIS_TEST_SEED.</summary>
    private protected static Random Seeded(int seed) => new(seed + 1000 * seeds);
}
