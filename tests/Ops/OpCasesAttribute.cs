using Avedis.Engine;
using NUnit.Framework;
using NUnit.Framework.Interfaces;
using NUnit.Framework.Internal;

namespace Avedis.Tests.Ops;

/// <summary>
/// A source of cases, of which a fixture takes those that are not the same in another fixture: TF32 is for F32 activations, and before Hopper only BF16
/// has other kernels. A case says its activation type by a <see cref="DType"/> among its arguments.
/// </summary>
[AttributeUsage(AttributeTargets.Method, AllowMultiple = true)]
internal sealed class OpCasesAttribute(string source) : NUnitAttribute, ITestBuilder
{
    /// <summary>The only backend on which the fast tier takes these cases; null for all.</summary>
    public string? FastOn { get; init; }

    /// <summary>A backend on which these cases tell nothing that faster ones do not; null for none.</summary>
    public string? NotOn { get; init; }

    public IEnumerable<TestMethod> BuildFrom(IMethodInfo method, Test? suite)
    {
        var backend = suite?.Arguments.OfType<BackendCase>().SingleOrDefault();
        if ((Tier.Fast && FastOn is not null && backend?.ToString() != FastOn) || (NotOn is not null && backend?.ToString() == NotOn))
            return [];
        return new TestCaseSourceAttribute(source).BuildFrom(method, suite)
            .Where(test => backend is null || test.Arguments.OfType<DType>().All(backend.Concerns));
    }
}
