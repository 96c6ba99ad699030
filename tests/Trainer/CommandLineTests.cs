using Avedis.Trainer;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>What a command line is taken for, and what is said of one that is wrong. A refused command leaves nothing behind.</summary>
public sealed class CommandLineTests
{
    private string folder = "", run = "";

    [OneTimeSetUp]
    public void SetUp()
    {
        folder = Directory.CreateTempSubdirectory("avedis-words").FullName;
        run = Path.Combine(folder, "run");
        Assert.That(TinyCorpus.Run(["train", TinyCorpus.Prepared, "--run", run, .. TinyCorpus.SmallNetwork, "--epochs", "1"]).Code,
            Is.EqualTo(ExitCode.Ok));
        File.Copy(TinyCorpus.Clip, Path.Combine(folder, "n.mp4"));
    }

    [OneTimeTearDown]
    public void TearDown() => Directory.Delete(folder, recursive: true);

    // RUN, DATA, CLIP and OUT stand for what is there, and for a folder that is not
    private string[] Words(string line) => [.. line.Split(' ').Select(word => word == "''" ? "" : word
        .Replace("RUN", run, StringComparison.Ordinal).Replace("DATA", TinyCorpus.Prepared, StringComparison.Ordinal)
        .Replace("MANIFEST", Path.Combine(TinyCorpus.Corpus, "manifest.csv"), StringComparison.Ordinal)
        .Replace("CLIP", Path.Combine(folder, "n.mp4"), StringComparison.Ordinal).Replace("OUT", Path.Combine(folder, "out"),
            StringComparison.Ordinal))];

    // an option that does not exist
    [TestCase("predict --run RUN --timelin CLIP",
        "'--timelin' is no option of predict; did you mean '--timeline'? try: avedis predict --help")]
    [TestCase("predict --run RUN -timeline CLIP", "did you mean '--timeline'?")]
    [TestCase("predict --run RUN \u2013timeline CLIP", "did you mean '--timeline'?")]
    [TestCase("predict --run RUN CLIP --hop2", "did you mean '--hop'?")]
    [TestCase("predict --run RUN -x", "'-x' is no option of predict; a file of such a name goes behind --")]
    [TestCase("predict --run RUN -clip.mp4", "behind --")]
    [TestCase("predict --run RUN CLIP --epochs 3", "'--epochs' is no option of predict; it is one of train;")]
    [TestCase("embed --run RUN --out OUT --frmat npy CLIP", "did you mean '--format'?")]
    [TestCase("train DATA --rnu OUT", "did you mean '--run'?")]
    [TestCase("train DATA --run OUT --batch_size=2", "did you mean '--batch-size'?")]
    [TestCase("doctor --josn", "'--josn' is no option of doctor")]
    [TestCase("check-hdf5 --x y 1", "'--x' is no option of check-hdf5")]
    // an option where a value belongs
    [TestCase("train DATA --run --resume", "--run has no value")]
    [TestCase("predict --run RUN CLIP --out --json", "--out has no value")]
    [TestCase("train DATA --run OUT --set --resume", "--set has no value")]
    // empty, doubled and wrong values
    [TestCase("train DATA --run=", "--run has no value")]
    [TestCase("train DATA --run ''", "--run has no value")]
    [TestCase("train DATA --run OUT --epochs=", "--epochs has no value")]
    [TestCase("train '' --run OUT", "data is an empty name")]
    [TestCase("predict --run RUN CLIP ''", "clip is an empty name")]
    [TestCase("train DATA --run OUT --epochs 1 --epochs 2", "--epochs is given 2 times")]
    [TestCase("train DATA --run OUT --epochs 1,5", "--epochs is '1,5', expected a whole number;")]
    [TestCase("train DATA --run OUT --seed -1", "--seed is '-1', expected a whole number, 0 or more")]
    [TestCase("predict --run RUN CLIP --timeline --hop 0,5", "--hop is '0,5', expected a number such as 0.5")]
    [TestCase("doctor --gpu-seconds nan", "--gpu-seconds is NaN")]
    [TestCase("doctor --gpu-seconds 1e300", "at most 86400")]
    [TestCase("evaluate DATA --run RUN more", "'more' is one word too many")]
    [TestCase("predict --run RUN --timeline=true CLIP", "--timeline takes no value")]
    // words near to others
    [TestCase("prepar", "'prepar' is no command; did you mean 'prepare'?")]
    [TestCase("Train DATA --run OUT", "did you mean 'train'?")]
    [TestCase("evalaute DATA --run RUN", "did you mean 'evaluate'?")]
    [TestCase("embed --run RUN --out OUT --split trian --data DATA",
        "--split is 'trian', expected test, train, unheard or validation; did you mean 'train'?")]
    [TestCase("import ravdes . --out OUT", "did you mean 'ravdess'?")]
    [TestCase("reproduce DATA --out OUT --methods grr", "not 'grr'; did you mean 'gr'?")]
    [TestCase("train DATA --run OUT --preset gird", "did you mean 'grid'?")]
    [TestCase("train DATA --run OUT --strategy basline", "did you mean 'baseline'?")]
    [TestCase("train DATA --run OUT --set trainnig.epochs=2", "did you mean 'training'?")]
    // the preset is no setting among others
    [TestCase("train DATA --run OUT --set preset=grid", "choose it with --preset")]
    [TestCase("prepare MANIFEST --out OUT --set preset=paper", "choose it with --preset")]
    // refused once the command is at work
    [TestCase("train DATA --run OUT/a/b --precision fp33", "training.precision")]
    [TestCase("reproduce DATA --out OUT --set training.batchSize=0", "training.batchSize")]
    public void Is_refused(string line, string says)
    {
        string[] before = Directory.GetFileSystemEntries(folder);
        var (code, output, error) = TinyCorpus.Run(Words(line));
        Assert.Multiple(() =>
        {
            Assert.That(code, Is.EqualTo(ExitCode.Usage), output + error);
            Assert.That(error.TrimEnd(), Does.StartWith("avedis: ").And.Contain(says).And.Not.Contain("\n"));
            Assert.That(Directory.GetFileSystemEntries(folder), Is.EquivalentTo(before));
            Assert.That(Directory.Exists("--resume") || File.Exists("--json"), Is.False);
        });
    }

    // by the device, the data or another run
    [TestCase("train DATA --run OUT/a/b --device cpu --precision tf32", ExitCode.DeviceUnavailable)]
    [TestCase("train DATA --run OUT --set network.factors.hat.embedding=4", ExitCode.BadInput)]
    [TestCase("train DATA --run OUT --start nowhere", ExitCode.BadCheckpoint)]
    [TestCase("train nowhere --run OUT", ExitCode.BadInput)]
    [TestCase("reproduce DATA --out OUT --set network.factors.hat.embedding=4", ExitCode.BadInput)]
    [TestCase("reproduce DATA --out OUT --device cpu --precision tf32", ExitCode.DeviceUnavailable)]
    [TestCase("embed --run nowhere --out OUT CLIP", ExitCode.BadCheckpoint)]
    [TestCase("export --run nowhere --format onnx --out OUT/a.onnx", ExitCode.BadCheckpoint)]
    [TestCase("contact-sheet nowhere --out OUT/a.png", ExitCode.BadInput)]
    [TestCase("import ravdess nowhere --out OUT/a.csv", ExitCode.BadInput)]
    [TestCase("predict --run RUN --out OUT/a.txt --timeline CLIPgone", ExitCode.BadInput)]
    [TestCase("synth --out OUT --clips 24 --speakers 2 --ffmpeg nowhere", ExitCode.DeviceUnavailable)]
    public void Is_refused_by_what_it_finds_and_leaves_nothing(string line, int code)
    {
        var (actual, output, error) = TinyCorpus.Run(Words(line));
        Assert.That(actual, Is.EqualTo(code), output + error);
        Assert.That(Directory.Exists(Path.Combine(folder, "out")), Is.False);
    }

    [Test]
    public void A_name_is_a_name()
    {
        string before = Environment.CurrentDirectory;
        Environment.CurrentDirectory = Directory.CreateDirectory(Path.Combine(folder, "names")).FullName;
        try
        {
            foreach (string name in (string[])["@clip.mp4", "-clip.mp4", "--timeline", "true", "[diagram]", "/h", "a=b:c.mp4"])
                File.Copy(TinyCorpus.Clip, name.TrimStart('/'));
            File.WriteAllText("@notes", "--timeline\n");
            string[] predict = ["predict", "--run", run, "--format", "csv"];
            Assert.That(TinyCorpus.Run([.. predict, "@clip.mp4", "true", "[diagram]", "a=b:c.mp4"]).Code, Is.EqualTo(ExitCode.Ok));
            Assert.That(TinyCorpus.Run([.. predict, "--timeline", "true"]).Output, Does.Contain("true"), "a file that is called true");
            Assert.That(TinyCorpus.Run([.. predict, "--", "-clip.mp4", "--timeline"]).Code, Is.EqualTo(ExitCode.Ok), "behind --");
            Assert.That(TinyCorpus.Run([.. predict, "@notes", "@clip.mp4"]).Error, Does.Contain("@notes: "), "no options from a file");
            Assert.That(TinyCorpus.Run("predict", "--run", "@gone", "true").Error, Does.Contain("@gone is not a run"));
            Assert.That(TinyCorpus.Run("prepare", "@gone.csv", "--out", "x").Error, Does.Contain("@gone.csv"));
            Assert.That(TinyCorpus.Run([.. predict, "/h"]).Code, Is.EqualTo(ExitCode.BadInput), "a folder of the root, not help");
            Assert.That(TinyCorpus.Run("export", "--run", run, "--format", "onnx", "--out", "@net").Code, Is.EqualTo(ExitCode.Ok));
            Assert.That(File.Exists("@net"), Is.True);
        }
        finally
        {
            Environment.CurrentDirectory = before;
        }
    }

    [Test]
    public void Help_and_version_are_there()
    {
        foreach (string word in (string[])["-h", "--help", "-?"])
        {
            Assert.That(TinyCorpus.Run(word).Output, Does.Contain("Usage:"), word);
            Assert.That(TinyCorpus.Run("train", word).Output, Does.Contain("--epochs"), word);
        }
        Assert.That(TinyCorpus.Run("--version").Output, Does.Match(@"^\d+\.\d+"));
        Assert.That(TinyCorpus.Run().Error, Does.Contain("command"));
    }

    /// <summary>Of every command: the folders above a file are made, and what cannot be written is refused before the work.</summary>
    [TestCase("embed --run RUN CLIP --format safetensors --out", "e.safetensors")]
    [TestCase("embed --run RUN CLIP --out", "npy")]
    [TestCase("export --run RUN --format onnx --out", "n.onnx")]
    [TestCase("export --run RUN --format pytorch --out", "pt")]
    [TestCase("predict --run RUN CLIP --out", "p.txt")]
    [TestCase("predict --run RUN CLIP --timeline --plot", "p.svg")]
    [TestCase("contact-sheet DATA --clips 2 --out", "s.png")]
    public void Results_have_their_folders(string line, string name)
    {
        string[] words = Words(line);
        string there = Path.Combine(folder, "deep", words[0], "er", name), file = Path.Combine(folder, "file");
        Assert.That(TinyCorpus.Run([.. words, there]).Code, Is.EqualTo(ExitCode.Ok));
        Assert.That(Path.Exists(there), Is.True);

        File.WriteAllText(file, "in the way");
        var (code, output, error) = TinyCorpus.Run([.. words, Path.Combine(file, name)]);
        Assert.That(code, Is.EqualTo(ExitCode.DiskOrIo), output + error);
        Assert.That(error, Does.StartWith($"avedis: {words[^1]} ").And.Contain("cannot be written"), "before the work");
        Assert.That(output, Is.Empty);
    }
}
