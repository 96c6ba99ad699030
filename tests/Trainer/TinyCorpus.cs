using System.Diagnostics;
using System.Globalization;
using System.Text;
using Avedis.Tests.Runner;
using Avedis.Trainer;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>
/// A few real clips of one second, prepared once for all tests that need a corpus, and a network small enough to train on them in seconds. The processes of
/// one run of the tests share them.
/// </summary>
[SetUpFixture]
public sealed class TinyCorpus
{
    private static readonly Lazy<string> Made = new(Make);
    private static readonly Stopwatch making = new();
    private static string? root;

    /// <summary>Settings of a network that trains on the corpus in seconds.</summary>
    public static string[] SmallNetwork { get; } =
    [
        "--set", "network.faceChannels=[4,4,4,4,4,8]", "--set", "network.voiceChannels=[4,4,4,4,4,8]",
        "--set", "network.factors.emotion.embedding=8", "--set", "network.factors.speaker.embedding=8", "--set", "training.batchSize=4",
    ];

    /// <summary>Folder with manifest.csv and the clips.</summary>
    public static string Corpus => Path.Combine(Made.Value, "corpus");

    /// <summary>Folder that prepare wrote: 48 clips of 3 speakers.</summary>
    public static string Prepared => Path.Combine(Made.Value, "prepared");

    /// <summary>
    /// Arguments that prepare every fourth clip, for tests that need the corpus prepared in another way; writes the manifest into a folder.
    /// </summary>
    public static string[] PrepareQuarter(string folder)
    {
        string[] lines = File.ReadAllLines(Path.Combine(Corpus, "manifest.csv"));
        string manifest = Path.Combine(folder, "quarter.csv");
        File.WriteAllLines(manifest, [lines[0], .. lines.Skip(1).Where((_, i) => i % 4 == 0)]);
        return ["prepare", manifest, "--root", Corpus, "--set", "features.clipSeconds=1", "--set", "features.faceFrames=1"];
    }

    /// <summary>Any one clip of the corpus.</summary>
    public static string Clip => Directory.GetFiles(Corpus, "*.mp4", SearchOption.AllDirectories).Order(StringComparer.Ordinal).First();

    /// <summary>The built program.</summary>
    public static string ProgramPath => Path.GetFullPath(Path.Combine(AppContext.BaseDirectory, "..", "..", "Trainer", "release", "avedis.dll"));

    /// <summary>Runs the program in this process.</summary>
    public static (int Code, string Output, string Error) Run(params string[] arguments)
    {
        var (output, error) = (new StringWriter(), new StringWriter());
        int code = Trainer.Program.Run(arguments, output, error);
        return (code, output.ToString(), error.ToString());
    }

    /// <summary>
    /// Starts a program as a process of its own, for tests that stop or starve it. If a test ends first, it is killed with its children.
    /// It obeys SIGINT also where the tests themselves ignore it, as a script's background jobs do.
    /// </summary>
    public static Process Start(StringBuilder text, string program, params string[] arguments)
    {
        var start = new ProcessStartInfo("env") { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (string argument in (string[])["--default-signal=INT", program, .. arguments])
            start.ArgumentList.Add(argument);
        var process = new Child { StartInfo = start };
        void Append(object _, DataReceivedEventArgs line)
        {
            lock (text)
                text.AppendLine(line.Data);
        }
        process.OutputDataReceived += Append;
        process.ErrorDataReceived += Append;
        process.Start();
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        return process;
    }

    /// <summary>Sends a process a signal, by its name without SIG.</summary>
    public static void Signal(int process, string name)
    {
        using var kill = Process.Start("kill", ["-s", name, process.ToString(CultureInfo.InvariantCulture)]);
        kill.WaitForExit();
    }

    private sealed class Child : Process
    {
        protected override void Dispose(bool disposing)
        {
            if (disposing && !HasExited)
                Kill(entireProcessTree: true);
            base.Dispose(disposing);
        }
    }

    [OneTimeTearDown]
    public void TearDown()
    {
        if (root is not null)
            Directory.Delete(root, recursive: true);
    }

    /// <summary>
    /// Seconds spent on making the corpus, or on waiting for another process to make it, since this was last asked. They are not the fault
    /// of the test that happened to need it first.
    /// </summary>
    internal static double TakeSeconds()
    {
        double seconds = making.Elapsed.TotalSeconds;
        making.Reset();
        return seconds;
    }

    private static string Make()
    {
        making.Start();
        try
        {
            return MadeOrShared();
        }
        finally
        {
            making.Stop();
        }
    }

    private static string MadeOrShared()
    {
        if (SharedFolder.Current is not { } shared)
            return MakeIn(root = Directory.CreateTempSubdirectory("avedis-tests").FullName);
        string made = Path.Combine(shared, "tiny-corpus");
        using (SharedFolder.Lock(made + ".lock")) // the first that comes makes it
            return Directory.Exists(Path.Combine(made, "prepared")) ? made : MakeIn(Directory.CreateDirectory(made).FullName);
    }

    private static string MakeIn(string root)
    {
        string corpus = Path.Combine(root, "corpus"), prepared = Path.Combine(root, "prepared");
        Expect(Run("synth", "--out", corpus, "--speakers", "3", "--clips", "48", "--seconds", "1", "--neutral-share", "0.5"));
        Expect(Run("prepare", Path.Combine(corpus, "manifest.csv"), "--out", prepared, "--set", "features.clipSeconds=1", "--set", "features.faceFrames=2"));
        return root;
    }

    private static void Expect((int Code, string Output, string Error) result)
    {
        if (result.Code != ExitCode.Ok)
            throw new InvalidOperationException($"the corpus for the tests could not be made: {result.Error}");
    }
}
