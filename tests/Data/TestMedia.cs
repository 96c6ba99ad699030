using Avedis.Tests.Runner;
using Avedis.Trainer.Media;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>Tiny real media, made once per test run by ffmpeg itself, and folders that vanish with their test.</summary>
internal static class TestMedia
{
    private static readonly Lazy<string> Shared = new(TestFolders.New);
    private static readonly Lock Gate = new();

    public static FfmpegTool Tool { get; } = FfmpegTool.Find();

    /// <summary>A clip with a moving picture and a tone, copied to <paramref name="path"/>.</summary>
    public static string Clip(string path, double seconds = 1, int width = 64, int height = 48, bool sound = true, bool picture = true, int tone = 440)
    {
        string cached = Path.Combine(Shared.Value, $"{seconds}-{width}-{height}-{sound}-{picture}-{tone}.mp4");
        lock (Gate)
            if (!File.Exists(cached))
            {
                List<string> arguments = [];
                if (picture)
                    arguments.AddRange(["-f", "lavfi", "-i", $"testsrc=size={width}x{height}:rate=25:duration={seconds}"]);
                if (sound)
                    arguments.AddRange(["-f", "lavfi", "-i", $"sine=frequency={tone}:sample_rate=16000:duration={seconds}"]);
                if (picture)
                    arguments.AddRange(["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"]);
                arguments.AddRange(["-movflags", "+faststart", cached]);
                Run(arguments);
            }
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.Copy(cached, path, overwrite: true);
        return path;
    }

    /// <summary>A folder of pictures, 1.png and so on.</summary>
    public static string Pictures(string path, int count)
    {
        Directory.CreateDirectory(path);
        Run(["-f", "lavfi", "-i", $"testsrc=size=64x48:rate=25:duration={count / 25.0}", Path.Combine(path, "%d.png")]);
        return path;
    }

    public static void Run(IEnumerable<string> arguments) => Write(arguments, []);

    /// <summary>Runs ffmpeg with bytes for its standard input.</summary>
    public static void Write(IEnumerable<string> arguments, byte[] input)
    {
        var result = Tool.RunFfmpeg(arguments, TimeSpan.FromMinutes(1), writeInput: input.Length == 0 ? null : stream => stream.Write(input));
        Assert.That(result.Succeeded, result.Errors);
    }
}

[SetUpFixture]
internal sealed class TestFolders
{
    private static readonly List<string> Made = [];

    /// <summary>A new folder. It is removed with all others behind the last test, or with the folder of the whole run.</summary>
    public static string New()
    {
        if (SharedFolder.Current is { } shared)
            return Directory.CreateDirectory(Path.Combine(shared, Path.GetRandomFileName())).FullName;
        string folder = Directory.CreateTempSubdirectory("avedis-test-").FullName;
        lock (Made)
            Made.Add(folder);
        return folder;
    }

    [OneTimeTearDown]
    public void Remove()
    {
        lock (Made)
            foreach (string folder in Made)
                Directory.Delete(folder, recursive: true);
    }
}
