using Avedis.Engine;
using NUnit.Framework;

namespace Avedis.Tests.Ops;

/// <summary>A backend that the operation tests may open. Absence says in one line why this machine lacks it, null if it does not.</summary>
public sealed record BackendCase(string Name, Func<IBackend> Open, Func<string?> Absence)
{
    public override string ToString() => Name;
}

/// <summary>
/// The source of backends for every operation test: all that the engine has, or the one that the environment variable
/// AVEDIS_TEST_BACKEND names. A backend that this machine lacks is skipped with its reason; if it was asked for by name, it fails.
/// </summary>
public static class Backends
{
    private const string Variable = "AVEDIS_TEST_BACKEND";

    private static readonly BackendCase[] known =
    [
        new("cpu", () => new CpuBackend(), () => null),
    ];

    public static string? Forced { get; } = Environment.GetEnvironmentVariable(Variable) is { Length: > 0 } name ? name : null;

    public static IEnumerable<BackendCase> All()
    {
        if (Forced is null)
            return known;
        string unknown = $"{Variable}={Forced} names no backend; known: {string.Join(", ", known.Select(backend => backend.Name))}";
        var forced = known.FirstOrDefault(backend => backend.Name == Forced);
        return [forced ?? new(Forced, () => throw new NotSupportedException(unknown), () => unknown)];
    }
}

/// <summary>Base of the operation tests: opens its backend once and gives every test its own memory.</summary>
[TestFixtureSource(typeof(Backends), nameof(Backends.All))]
public abstract class OpTests(BackendCase backendCase)
{
    private protected static readonly DType[] Activations = [DType.F32, DType.BF16];

    private IBackend? opened;
    private OpHarness? harness;

    private protected IBackend Backend => opened!;

    private protected OpHarness Op => harness!;

    [OneTimeSetUp]
    public void Open()
    {
        string? absence = backendCase.Absence();
        if (absence is not null && Backends.Forced is not null)
            Assert.Fail(absence);
        if (absence is not null)
            Assert.Ignore($"{backendCase.Name}: {absence}");
        opened = backendCase.Open();
    }

    [OneTimeTearDown]
    public void Close() => opened?.Dispose();

    [SetUp]
    public void Begin() => harness = new OpHarness(Backend);

    [TearDown]
    public void End() => harness?.Dispose();
}
