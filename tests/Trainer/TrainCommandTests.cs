using System.Diagnostics;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Avedis.Engine;
using Avedis.Trainer;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>The program from prepared data to scores: what it writes, that it repeats and resumes bit for bit, and how it stops.</summary>
[NonParallelizable]
public sealed class TrainCommandTests
{
    private string folder = "";

    [SetUp]
    public void SetUp() => folder = Directory.CreateTempSubdirectory("avedis-train").FullName;

    [TearDown]
    public void TearDown() => Directory.Delete(folder, recursive: true);

    private string RunPath(string name = "run") => Path.Combine(folder, name);

    private string[] Arguments(string run, params string[] more) =>
    [
        "train", TinyCorpus.Prepared, "--run", RunPath(run), .. TinyCorpus.SmallNetwork, "--set", "training.precision=fp32", .. more,
    ];

    private void Train(string run, params string[] more)
    {
        var (code, _, error) = TinyCorpus.Run(Arguments(run, more));
        Assert.That(code, Is.EqualTo(ExitCode.Ok), error);
    }

    private string Latest(string run) => Checkpoint.Latest(Path.Combine(RunPath(run), "checkpoints"))!;

    private static string Hash(string file) => Convert.ToHexString(SHA256.HashData(File.ReadAllBytes(file)));

    private void AssertSameState(string a, string b)
    {
        foreach (string file in new[] { "model.safetensors", "optim.safetensors" })
            Assert.That(Hash(Path.Combine(Latest(b), file)), Is.EqualTo(Hash(Path.Combine(Latest(a), file))), file);
    }

    [Test]
    public void Trains_evaluates_and_predicts()
    {
        Train("run", "--epochs", "2");
        var (code, table, error) = TinyCorpus.Run("evaluate", TinyCorpus.Prepared, "--run", RunPath());
        Assert.That(code, Is.EqualTo(ExitCode.Ok), error);
        using var summary = JsonDocument.Parse(File.ReadAllText(Path.Combine(RunPath(), "summary.json")));
        string[] predictions = File.ReadAllLines(Path.Combine(RunPath(), "evaluation", "test", "predictions.csv"));
        string report = File.ReadAllText(Path.Combine(RunPath(), "report.html"));
        Assert.Multiple(() =>
        {
            Assert.That(table, Does.Contain("emotion macro-F").And.Contain("speaker accuracy").And.Contain("chance").And.Contain("clips/s"));
            foreach (string key in new[] { "emotion_macro_f1", "speaker_accuracy", "train_clips_per_second", "peak_rss_bytes" })
                Assert.That(summary.RootElement.GetProperty(key).GetDouble(), Is.GreaterThanOrEqualTo(0), key);
            Assert.That(predictions, Has.Length.EqualTo(1 + summary.RootElement.GetProperty("clips").GetInt32()));
            Assert.That(predictions[0], Does.StartWith("path,emotion,predicted_emotion,p_neutral"));
            Assert.That(report, Does.Contain("<svg").And.Contain("polyline").And.Not.Contain("<script"));
            Assert.That(File.ReadLines(Path.Combine(RunPath(), "metrics.jsonl")).Count(l => l.Contains("\"validation\"")), Is.EqualTo(2));
        });

        var (predicted, text, problem) = TinyCorpus.Run("predict", "--run", RunPath(), "--json", TinyCorpus.Clip);
        Assert.That(predicted, Is.EqualTo(ExitCode.Ok), problem);
        using var prediction = JsonDocument.Parse(text);
        Assert.That(prediction.RootElement.GetProperty("emotions").EnumerateObject().Sum(e => e.Value.GetDouble()), Is.EqualTo(1).Within(1e-5));
    }

    [TestCase("fp32")]
    [TestCase("bf16")]
    public void The_same_seed_gives_the_same_bits_and_another_seed_does_not(string precision)
    {
        Train("a", "--epochs", "1", "--precision", precision);
        Train("b", "--epochs", "1", "--precision", precision);
        Train("c", "--epochs", "1", "--precision", precision, "--seed", "2");
        AssertSameState("a", "b");
        Assert.That(Hash(Path.Combine(Latest("c"), "model.safetensors")), Is.Not.EqualTo(Hash(Path.Combine(Latest("a"), "model.safetensors"))));
    }

    private static readonly string[] strongConfusion =
    [
        "--strategy", "conf", "--set", "network.auxiliary.heads=2", "--set", "network.auxiliary.hidden=6", "--set", "network.auxiliary.normalise=true",
        "--set", "network.auxiliary.noise=0.5", "--set", "training.adversary.updates=2", "--set", "training.adversary.renewEvery=2",
        "--set", "training.adversary.schedule=ramp",
    ];

    private static readonly string[] augmented =
    [
        "--set", "training.augment.flip=true", "--set", "training.augment.cropJitter=4", "--set", "training.augment.timeShift=0.3",
        "--set", "training.augment.frequencyMasks=2", "--set", "training.augment.frequencyMaskBins=8",
        "--set", "training.augment.timeMasks=2", "--set", "training.augment.timeMaskFrames=10",
    ];

    private static readonly string[][] strategies =
    [
        ["--strategy", "baseline"], ["--strategy", "gr"], ["--strategy", "alt", "--set", "training.adversary.cap=true"], strongConfusion,
        ["--strategy", "projected", "--set", "training.adversary.schedule=ramp"], ["--strategy", "baseline", "--set", "training.annealing=cosine", .. augmented],
    ];

    /// <summary>The fast tier takes the strategies with the most state, and every fifth step.</summary>
    private static string[][] Resumed() => Tier.Fast ? [strongConfusion, strategies[2]] : strategies;

    [TestCaseSource(nameof(Resumed))]
    public void A_run_stopped_at_any_step_and_resumed_ends_as_one_that_never_stopped(params string[] strategy)
    {
        Train("whole", ["--epochs", "2", .. strategy]);
        long steps = JsonDocument.Parse(File.ReadAllText(Path.Combine(Latest("whole"), "state.json"))).RootElement.GetProperty("step").GetInt64();
        for (long stop = 1; stop < steps; stop += Tier.Fast ? 5 : 1)
        {
            string run = $"stopped-{stop}";
            Train(run, ["--epochs", "2", "--set", $"training.maxSteps={stop}", .. strategy]);
            Assert.That(Path.GetFileName(Latest(run)), Is.EqualTo($"step-{stop:D8}"));
            Train(run, "--resume", "--set", "training.maxSteps=0");
            AssertSameState("whole", run);
            Assert.That(Metrics(run), Is.EqualTo(Metrics("whole")));
        }
    }

    [Test]
    public void Augmentation_changes_what_is_learnt()
    {
        Train("plain", "--epochs", "1");
        Train("augmented", ["--epochs", "1", .. augmented]);
        Assert.That(Hash(Path.Combine(Latest("augmented"), "model.safetensors")), Is.Not.EqualTo(Hash(Path.Combine(Latest("plain"), "model.safetensors"))));
    }

    /// <summary>Channels enough for Winograd's convolutions: the bits are those of the setting, whatever the number of threads.</summary>
    [Test]
    public void Convolutions_are_direct_when_told_so()
    {
        void Convolve(string run, string how, int threads) => Train(
            run, "--epochs", "1", "--device", "cpu", "--precision", "fp32", "--set", "training.maxSteps=2",
            "--set", $"training.convolutions={how}", "--set", $"training.threads={threads}",
            "--set", "network.faceChannels=[4,16,16,16,16,16]",
            "--set", "network.voiceChannels=[4,16,16,16,16,16]");
        Convolve("auto", "auto", 1);
        Convolve("two threads", "auto", 2);
        Convolve("direct", "direct", 1);
        AssertSameState("auto", "two threads");
        string Model(string run) => Hash(Path.Combine(Latest(run), "model.safetensors"));
        Assert.That(Model("direct"), Is.Not.EqualTo(Model("auto")));
        var (code, _, error) = TinyCorpus.Run(
            "train", TinyCorpus.Prepared, "--run", RunPath("auto"), "--resume", "--set", "training.convolutions=direct");
        Assert.That((code, error), Is.EqualTo((ExitCode.BadCheckpoint, error)));
        Assert.That(error, Does.Contain("training.convolutions was \"auto\", is \"direct\""));
    }

    // all but what depends on the clock
    private List<string> Metrics(string run) =>
        [.. File.ReadLines(Path.Combine(RunPath(run), "metrics.jsonl")).Select(line =>
        {
            var record = JsonSerializer.Deserialize<Dictionary<string, JsonElement>>(line)!;
            return string.Join(" ", record.Where(r => r.Key is not ("time" or "clipsPerSecond" or "waitShare" or "peakRssBytes")).Select(r => $"{r.Key}={r.Value}"));
        })];

    /// <summary>The weights are F32 whatever multiplied them.</summary>
    [Test]
    public void A_run_trained_in_tf32_on_a_gpu_is_evaluated_in_fp32_on_the_processor()
    {
        Train("run", "--epochs", "1", "--precision", "fp32");
        Checkpoint.Save(Path.Combine(RunPath(), "checkpoints"), "gpu", target =>
        {
            foreach (string file in Directory.GetFiles(Latest("run")).Where(file => Path.GetFileName(file) != "manifest.json"))
                File.Copy(file, Path.Combine(target, Path.GetFileName(file)));
            string state = Path.Combine(target, "state.json");
            File.WriteAllText(state, File.ReadAllText(state).Replace("\"fp32\"", "\"tf32\"", StringComparison.Ordinal));
        }, latest: false);
        string[] evaluate = ["evaluate", TinyCorpus.Prepared, "--run", RunPath(), "--device", "cpu", "--checkpoint"];
        string Scores(string checkpoint, params string[] more)
        {
            var (code, table, error) = TinyCorpus.Run([.. evaluate, checkpoint, "--json", .. more]);
            Assert.That(code, Is.EqualTo(ExitCode.Ok), error);
            return JsonDocument.Parse(table).RootElement.GetProperty("emotion_macro_f1").GetRawText();
        }
        string gpu = Path.Combine(RunPath(), "checkpoints", "gpu");
        Assert.That(Scores(gpu), Is.EqualTo(Scores("latest")));
        Assert.That(TinyCorpus.Run([.. evaluate, gpu, "--precision", "tf32"]).Code, Is.EqualTo(ExitCode.DeviceUnavailable), "asked for by name");
    }

    [Test]
    public void Single_task_training_has_one_branch()
    {
        Train("run", "--epochs", "1", "--strategy", "stl", "--task", "speaker");
        var names = Safetensors.Read(Path.Combine(Latest("run"), "model.safetensors")).Keys;
        Assert.That(names, Has.Some.StartsWith("speaker.").And.None.StartsWith("emotion."));
        var (code, table, _) = TinyCorpus.Run("evaluate", TinyCorpus.Prepared, "--run", RunPath());
        Assert.That(code, Is.EqualTo(ExitCode.Ok));
        Assert.That(table, Does.Contain("speaker accuracy").And.Not.Contain("emotion macro-F"));
    }

    [TestCase("SIGINT", ExitCode.Interrupted)]
    [TestCase("SIGTERM", ExitCode.Terminated, Category = Tier.Long)]
    public void A_signal_to_synth_keeps_the_finished_clips(string signal, int expected)
    {
        var text = new StringBuilder();
        string corpus = Path.Combine(folder, "corpus");
        using var process = TinyCorpus.Start(text, "dotnet", TinyCorpus.ProgramPath, "synth", "--out", corpus, "--clips", "2000", "--seconds", "1");
        var clock = Stopwatch.StartNew();
        while (!Directory.Exists(corpus) || !Directory.EnumerateFiles(corpus, "*.mp4", SearchOption.AllDirectories).Any())
        {
            Assert.That(process.HasExited, Is.False, text.ToString());
            Assert.That(clock.Elapsed, Is.LessThan(TimeSpan.FromMinutes(2)), "no clip: " + text);
            Thread.Sleep(20);
        }
        TinyCorpus.Signal(process.Id, signal);
        Assert.That(process.WaitForExit(60_000), Is.True, "it should stop within a clip");
        process.WaitForExit();
        Assert.Multiple(() =>
        {
            Assert.That(process.ExitCode, Is.EqualTo(expected), text.ToString());
            Assert.That(text.ToString(), Does.Contain("finished clips are kept"));
            Assert.That(File.Exists(Path.Combine(corpus, "manifest.csv")), Is.False);
        });
    }

    [TestCase("SIGINT", ExitCode.Interrupted)]
    [TestCase("SIGTERM", ExitCode.Terminated)]
    public void A_signal_ends_in_a_checkpoint_that_resumes(string signal, int expected)
    {
        var text = new StringBuilder();
        using var process = TinyCorpus.Start(text, "dotnet", [TinyCorpus.ProgramPath, .. Arguments("run", "--epochs", "100000")]);
        WaitForCheckpoint(process, text);
        TinyCorpus.Signal(process.Id, signal);
        Assert.That(process.WaitForExit(60_000), Is.True, "it should stop after the current step");
        process.WaitForExit();
        Assert.That(process.ExitCode, Is.EqualTo(expected), text.ToString());
        Checkpoint.Verify(Latest("run"));
        using var state = JsonDocument.Parse(File.ReadAllText(Path.Combine(Latest("run"), "state.json")));
        int epochs = state.RootElement.GetProperty("epoch").GetInt32() + 1;
        Train("run", "--resume", "--epochs", epochs.ToString());
    }

    private void WaitForCheckpoint(Process process, StringBuilder text)
    {
        var clock = Stopwatch.StartNew();
        while (!File.Exists(Path.Combine(RunPath(), "checkpoints", "LATEST")))
        {
            Assert.That(process.HasExited, Is.False, text.ToString());
            Assert.That(clock.Elapsed, Is.LessThan(TimeSpan.FromMinutes(2)), "no checkpoint: " + text);
            Thread.Sleep(20);
        }
    }

    [Test]
    [Category(Tier.Long)]
    public void A_full_disk_keeps_the_last_good_checkpoint()
    {
        // a file system of its own, so that it can be really full; the first checkpoints fit, later ones do not
        string script = $"mount -t tmpfs -o size=700k none '{folder}' && "
            + $"{{ dotnet '{TinyCorpus.ProgramPath}' {string.Join(' ', Arguments("run", "--epochs", "50", "--set", "training.keepCheckpoints=50").Select(a => $"'{a}'"))}; code=$?; "
            + $"cat '{RunPath()}/checkpoints/LATEST'; echo; ls '{RunPath()}/checkpoints'; "
            + $"cd '{RunPath()}/checkpoints' && cp -r \"$(cat LATEST)\" '{folder}-kept'; exit $code; }}";
        var text = new StringBuilder();
        using var process = TinyCorpus.Start(text, "unshare", "-rm", "sh", "-c", script);
        process.WaitForExit();
        string output = text.ToString();
        if (output.Contains("unshare failed", StringComparison.Ordinal) || output.Contains("mount:", StringComparison.Ordinal))
            Assert.Ignore($"this machine does not allow a file system of one's own: {output}");
        try
        {
            Assert.Multiple(() =>
            {
                Assert.That(process.ExitCode, Is.EqualTo(ExitCode.DiskOrIo), output);
                Assert.That(output, Does.Contain("No space left on device").And.Contain("--resume"));
                Assert.That(output.Split('\n').Select(l => l.TrimEnd()), Has.None.EndsWith(".tmp"), "nothing half written is left");
            });
            Checkpoint.Verify(folder + "-kept");
        }
        finally
        {
            Directory.Delete(folder + "-kept", recursive: true);
        }
    }
}
