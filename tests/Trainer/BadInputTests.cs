using Avedis.Engine;
using Avedis.Trainer;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>What a user may get wrong: each ends in one line that says what, where and what to do, and in its exit code.</summary>
[NonParallelizable]
public sealed class BadInputTests
{
    private string folder = "";

    [SetUp]
    public void SetUp() => folder = Directory.CreateTempSubdirectory("avedis-bad").FullName;

    [TearDown]
    public void TearDown() => Directory.Delete(folder, recursive: true);

    private static void Refuses(int code, string[] says, params string[] arguments)
    {
        var (actual, output, error) = TinyCorpus.Run(arguments);
        Assert.Multiple(() =>
        {
            Assert.That(actual, Is.EqualTo(code), output + error);
            Assert.That(error.TrimEnd(), Does.StartWith("avedis: ").And.Not.Contain("\n"), "one line");
            foreach (string part in says)
                Assert.That(error, Does.Contain(part));
        });
    }

    private string Train(params string[] more)
    {
        string run = Path.Combine(folder, "run");
        var (code, _, error) = TinyCorpus.Run(["train", TinyCorpus.Prepared, "--run", run, .. TinyCorpus.SmallNetwork, "--epochs", "1", .. more]);
        Assert.That(code, Is.EqualTo(ExitCode.Ok), error);
        return run;
    }

    [Test]
    public void No_ffmpeg() => Refuses(ExitCode.DeviceUnavailable, ["ffmpeg", "--ffmpeg", "AVEDIS_FFMPEG"],
        "prepare", Path.Combine(TinyCorpus.Corpus, "manifest.csv"), "--out", Path.Combine(folder, "out"), "--ffmpeg", "/nowhere");

    [Test]
    public void Unknown_command_and_option()
    {
        Refuses(ExitCode.Usage, ["trian"], "trian");
        Refuses(ExitCode.Usage, ["--epoch"], "train", "data", "--run", "x", "--epoch", "3");
    }

    [Test]
    public void A_precision_that_only_a_gpu_has()
    {
        Refuses(ExitCode.DeviceUnavailable, ["tf32", "device cuda", "fp32"],
            "train", TinyCorpus.Prepared, "--run", Path.Combine(folder, "run"), "--device", "cpu", "--precision", "tf32");
        Refuses(ExitCode.Usage, ["training.precision"], "train", TinyCorpus.Prepared, "--run", Path.Combine(folder, "run"), "--precision", "fp8");
    }

    [Test]
    public void Misspelt_settings()
    {
        string config = Path.Combine(folder, "config.json");
        File.WriteAllText(config, """{ "training": { "batchsize": 8 } }""");
        Refuses(ExitCode.Usage, ["training.batchsize", "did you mean 'batchSize'?", config],
            "train", TinyCorpus.Prepared, "--run", Path.Combine(folder, "run"), "--config", config);
        Refuses(ExitCode.Usage, ["training.strategy", "baseline"], "train", TinyCorpus.Prepared, "--run", Path.Combine(folder, "run"), "--strategy", "magic");
        Refuses(ExitCode.Usage, ["855", "--batch-size"], "bench", "--preset", "paper", "--batch-size", "4096", "--device", "cpu");
        Refuses(ExitCode.Usage, ["training.freeze", "--start"],
            "train", TinyCorpus.Prepared, "--run", Path.Combine(folder, "run"), "--set", "training.freeze=[\"trunk\"]");
        foreach (var (setting, says) in new[] { ("gain=6", "features.normalisation clip"), ("cropJitter=64", "64 pixels") })
            Refuses(ExitCode.Usage, ["training.augment.", says], "train", TinyCorpus.Prepared, "--run", Path.Combine(folder, "run"), "--set", $"training.augment.{setting}");
        Refuses(ExitCode.Usage, ["stl", "network.tasks"], "train", TinyCorpus.Prepared, "--run", Path.Combine(folder, "run"), "--strategy", "stl");
        Refuses(ExitCode.Usage, ["--protect", "emotion"], "train", TinyCorpus.Prepared, "--run", Path.Combine(folder, "run"), "--protect", "gender");
        Refuses(ExitCode.BadInput, ["'hat'", "speaker"],
            "train", TinyCorpus.Prepared, "--run", Path.Combine(folder, "run"), "--set", "network.factors.hat.embedding=4");
    }

    [Test]
    public void A_folder_that_is_not_prepared_data() =>
        Refuses(ExitCode.BadInput, [folder, "prepare"], "train", folder, "--run", Path.Combine(folder, "run"));

    [Test]
    public void A_folder_that_is_not_a_run() =>
        Refuses(ExitCode.BadCheckpoint, [folder, "avedis train"], "evaluate", TinyCorpus.Prepared, "--run", folder);

    [Test]
    public void A_run_that_is_there_already()
    {
        string run = Train();
        Refuses(ExitCode.Usage, ["--resume"], "train", TinyCorpus.Prepared, "--run", run);
    }

    [Test]
    public void A_checkpoint_cut_short()
    {
        string run = Train();
        string file = Path.Combine(run, "checkpoints", "best", "model.safetensors");
        File.WriteAllBytes(file, File.ReadAllBytes(file)[..^100]);
        Refuses(ExitCode.BadCheckpoint, [file, "manifest"], "evaluate", TinyCorpus.Prepared, "--run", run);
        Assert.That(TinyCorpus.Run("evaluate", TinyCorpus.Prepared, "--run", run, "--checkpoint", "latest").Code, Is.EqualTo(ExitCode.Ok), "the other one still serves");
    }

    [Test]
    public void A_checkpoint_of_another_configuration()
    {
        string run = Train();
        Refuses(ExitCode.BadCheckpoint, ["network.factors.speaker.embedding was 8, is 16", "--run"],
            "train", TinyCorpus.Prepared, "--run", run, "--resume", "--epochs", "2", "--set", "network.factors.speaker.embedding=16");
    }

    [Test]
    public void A_model_file_of_another_network()
    {
        string run = Train();
        string best = Path.Combine(run, "checkpoints", "best");
        var tensors = Safetensors.Read(Path.Combine(best, "model.safetensors"));
        tensors.Remove("speaker.head.bias");
        Checkpoint.Save(Path.Combine(run, "checkpoints"), "odd", target =>
        {
            foreach (string file in Directory.GetFiles(best))
                File.Copy(file, Path.Combine(target, Path.GetFileName(file)));
            File.Delete(Path.Combine(target, "manifest.json"));
            Safetensors.Write(Path.Combine(target, "model.safetensors"), tensors);
        }, latest: false);
        Refuses(ExitCode.BadCheckpoint, ["speaker.head.bias", "another configuration"],
            "evaluate", TinyCorpus.Prepared, "--run", run, "--checkpoint", Path.Combine(run, "checkpoints", "odd"));
    }

    [Test]
    public void A_clip_that_cannot_be_read_does_not_stop_the_others()
    {
        string run = Train();
        string bad = Path.Combine(folder, "notes.mp4");
        File.WriteAllText(bad, "not a video");
        var (code, output, error) = TinyCorpus.Run("predict", "--run", run, bad, TinyCorpus.Clip);
        Assert.Multiple(() =>
        {
            Assert.That(code, Is.EqualTo(ExitCode.BadInput));
            Assert.That(error, Does.Contain(bad));
            Assert.That(output, Does.Contain(TinyCorpus.Clip));
        });
    }

    [Test]
    [Category(Tier.Long)]
    public void Data_of_other_speakers_is_refused()
    {
        string run = Train();
        string other = Path.Combine(folder, "other");
        string manifest = Path.Combine(TinyCorpus.Corpus, "two-speakers.csv");
        try
        {
            string[] lines = File.ReadAllLines(Path.Combine(TinyCorpus.Corpus, "manifest.csv"));
            string drop = lines[^1].Split(',')[1];
            File.WriteAllLines(manifest, lines.Where(l => l.Split(',')[1] != drop));
            Assert.That(TinyCorpus.Run("prepare", manifest, "--out", other, "--set", "features.clipSeconds=1", "--set", "features.faceFrames=2").Code, Is.EqualTo(ExitCode.Ok));
        }
        finally
        {
            File.Delete(manifest);
        }
        Refuses(ExitCode.BadInput, ["other classes of speaker"], "evaluate", other, "--run", run);
        Refuses(ExitCode.BadCheckpoint, ["other data"], "train", other, "--run", run, "--resume", "--epochs", "2");
    }

    [Test]
    public void Faces_too_small_for_the_stack()
    {
        string small = Path.Combine(folder, "small");
        string[] prepare = [.. TinyCorpus.PrepareQuarter(folder), "--out", small, "--set", "features.faceSize=32"];
        Assert.That(TinyCorpus.Run(prepare).Code, Is.EqualTo(ExitCode.Ok));
        Refuses(ExitCode.Usage, ["face input of 32 x 32 is too small", "features.faceSize"], "train", small, "--run", Path.Combine(folder, "run"));
    }
}
