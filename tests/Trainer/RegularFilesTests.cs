using Avedis.Bindings;
using Avedis.Engine;
using Avedis.Trainer;
using Avedis.Trainer.Corpora;
using Avedis.Trainer.Data;
using Avedis.Trainer.Training;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>Named pipes and devices where files are expected, by themselves or behind a link: refused in one line, never waited for.</summary>
public sealed class RegularFilesTests
{
    private string folder = "", pipe = "";

    [SetUp]
    public void MakePipe()
    {
        folder = TestFolders.New();
        pipe = Path.Combine(folder, "pipe");
        Assert.That(ChildProgram.Run("mkfifo", [pipe], TimeSpan.FromMinutes(1)).Succeeded);
    }

    private static string Message(Action read)
    {
        var reading = Task.Run(() => Assert.Catch(() => read())!);
        Assert.That(reading.Wait(TimeSpan.FromMinutes(2)), Is.True, "it waits for the other end");
        Assert.That(reading.Result, Is.InstanceOf<UserException>().Or.InstanceOf<InvalidDataException>().Or.InstanceOf<IOException>());
        return reading.Result.Message;
    }

    [TestCase("pipe")]
    [TestCase("link to a pipe")]
    [TestCase("link to a device")]
    public void No_reader_waits(string what)
    {
        string At(string name)
        {
            string path = Path.Combine(folder, name);
            if (what == "pipe")
                File.Move(pipe, path);
            else
                File.CreateSymbolicLink(path, what == "link to a pipe" ? pipe : "/dev/zero");
            return path;
        }

        void Refuses(string name, Action<string> read)
        {
            string path = At(name);
            Assert.That(Message(() => read(path)), Does.Contain("named pipe"), name);
            if (what == "pipe")
                File.Move(path, pipe);
            else
                File.Delete(path);
        }
        Refuses("a.safetensors", path => Safetensors.Read(path));
        Refuses("manifest.json", _ => Checkpoint.Verify(folder));
        Refuses("LATEST", _ => Checkpoint.Latest(folder));
        Refuses("state.json", _ => TrainingState.Load(folder));
        Refuses("config.json", path => Config.Load(null, path, []));
        Refuses("dataset.json", _ => PreparedDataset.Open(folder));
        Refuses("shard-00000.bin", path => Shard.OpenRead(path, Trainer.Features.FeatureOptions.Demo, ""));
        Refuses("manifest.csv", path => Manifest.Read(path, null, new DataOptions()));
        Refuses("a.mat", path => MatFile.Read(path));
        Refuses("a.wav", path => WavHeader.Seconds(path));
        Refuses("table.csv", path => new CorpusFolder(folder).Read(Path.GetFileName(path)));
    }

    [Test]
    public void Predict_says_of_a_link_to_a_pipe_what_it_is()
    {
        string film = Path.Combine(folder, "film.mp4"), run = Path.Combine(folder, "run");
        File.CreateSymbolicLink(film, pipe);
        Assert.That(TinyCorpus.Run(["train", TinyCorpus.Prepared, "--run", run, .. TinyCorpus.SmallNetwork, "--epochs", "1"]).Code, Is.EqualTo(ExitCode.Ok));
        foreach (string path in (string[])[film, pipe, "/dev/zero"])
            foreach (string[] more in (string[][])[[], ["--timeline"]])
            {
                var predicting = Task.Run(() => TinyCorpus.Run(["predict", "--run", run, .. more, path]));
                Assert.That(predicting.Wait(TimeSpan.FromMinutes(2)), Is.True, "it waits for the other end");
                Assert.That(predicting.Result.Code, Is.EqualTo(ExitCode.BadInput));
                Assert.That(predicting.Result.Error.TrimEnd(), Is.EqualTo($"avedis: {path}: unreadable file: it is a named pipe, socket or device, not a file"));
            }
    }

    [Test]
    public void A_file_that_is_longer_than_its_limit_is_refused_before_it_is_read()
    {
        string path = Path.Combine(folder, "long");
        using (var file = File.Create(path))
            file.SetLength(1L << 40); // a hole: it takes no room
        Assert.That(() => RegularFiles.ReadAllBytes(path, 1 << 20), Throws.TypeOf<IOException>().With.Message.Contains("1048576"));
        Assert.That(() => Config.Load(null, path, []), Throws.TypeOf<UserException>().With.Message.Contains("1099511627776 bytes"));
    }
}
