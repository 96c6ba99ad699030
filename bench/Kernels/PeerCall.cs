using Avedis.Engine;

namespace Avedis.Bench.Kernels;

/// <summary>One operation of a library, on the tensors of ours.</summary>
/// <param name="Prepare">Before the first run: makes what it needs, and says which algorithm it took. <exception cref="PeerException"/></param>
/// <param name="Result">Where it leaves its result, apart from ours.</param>
/// <param name="Check">Of a result that is there; see <see cref="ResultCheck.Sampled"/>.</param>
/// <param name="Release">After the last run; what <paramref name="Prepare"/> made.</param>
internal sealed record PeerCall(
    string Library, string Version, Func<string> Prepare, Action Run, Tensor Result, Func<double> Check, Action? Release = null);
