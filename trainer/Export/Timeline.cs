using Avedis.Trainer.Features;
using Avedis.Trainer.Media;

namespace Avedis.Trainer.Export;

/// <summary>Cuts long videos into overlapping windows of the network's clip length.</summary>
public static class Timeline
{
    private const int MostWindows = 1_000_000;

    /// <summary>A window every <paramref name="hop"/> seconds, up to the one that reaches the end.</summary>
    /// <exception cref="MediaException">The file cannot be read, or there is nothing in it.</exception>
    public static IReadOnlyList<ClipWindow> Windows(FfmpegTool tool, string path, FeatureOptions features, double hop, CancellationToken stop = default)
        => Windows(path, MediaInfo.LengthOf(tool, path, stop), features, hop);

    internal static IReadOnlyList<ClipWindow> Windows(string path, double seconds, FeatureOptions features, double hop)
    {
        var windows = new List<ClipWindow>();
        // a rest that is too short for the network lies within the window before it, or is left out
        for (double start = 0; start == 0 || seconds - start >= features.MinimumSeconds; start = windows.Count * hop)
        {
            windows.Add(new ClipWindow(path, start, Math.Min(seconds, start + features.ClipSeconds)));
            if (windows.Count > MostWindows)
                throw new UserException(ExitCode.Usage, $"{path} is {seconds:0} s long: --hop {hop} makes more than {MostWindows:N0} windows");
            if (start + features.ClipSeconds >= seconds)
                break;
        }
        return windows;
    }
}
