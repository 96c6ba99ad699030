using Avedis.Trainer;
using Avedis.Trainer.Data;
using Avedis.Trainer.Features;
using Avedis.Trainer.Media;
using CsvHelper;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>
/// The program over some three hundred damaged and odd files, once, watched by strace where that is possible: each file is accepted or rejected with a
/// reason, nothing hangs, nothing is left running, and nothing outside the data root is opened.
/// </summary>
[NonParallelizable]
[Category(Tier.Long)]
public sealed class OddMediaTests
{
    /// <summary>Put into the environment of the program, and so of every process that it starts.</summary>
    private const string Marker = "AVEDIS_TEST_ODD_MEDIA";

    /// <summary>Ends a program that hangs; the files take a minute or two.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(20);

    /// <summary>Where programs read what belongs to the system.</summary>
    private static readonly string[] system = ["/usr/", "/lib", "/etc/ld.so", "/etc/localtime", "/etc/fonts/", "/proc/", "/sys/", "/dev/"];

    private readonly string mark = Guid.NewGuid().ToString();
    private readonly Dictionary<string, string> outcomes = new(StringComparer.Ordinal);
    private IReadOnlyList<OddFile> files = [];
    private string folder = "", errors = "";
    private int exitCode;

    private string Root => Path.Combine(folder, "root");

    private string Outside => Path.Combine(folder, "outside");

    private string Log => Path.Combine(folder, "opened.log");

    [OneTimeSetUp]
    public void Prepare()
    {
        folder = new DataRoot(TestFolders.New()).Folder;
        files = OddMedia.Make(Root, Outside);
        string manifest = Path.Combine(folder, "manifest.csv"), prepared = Path.Combine(folder, "prepared");
        File.WriteAllLines(manifest, ["path,speaker,emotion,split", .. files.Select(file => $"\"{file.Name.Replace("\"", "\"\"", StringComparison.Ordinal)}\",ann,neutral,train")]);
        string[] program =
        [
            "env", $"{Marker}={mark}", "dotnet", TinyCorpus.ProgramPath, "prepare", manifest, "--root", Root, "--out", prepared,
            "--set", "features.clipSeconds=1", "--set", "features.faceSize=16", "--set", "features.faceFrames=3",
        ];
        string[] command = OpenedFiles.Absence is null ? OpenedFiles.Command(Log, program) : program;
        var result = ChildProgram.Run(command[0], command[1..], Patience);
        (exitCode, errors) = (result.ExitCode, result.Errors);
        Assert.That(result.TimedOut, Is.False, $"no end after {Patience}");
        if (exitCode != ExitCode.Ok)
            return; // told by the tests
        using (var data = PreparedDataset.Open(prepared))
            foreach (var clip in data.Index.Clips)
                outcomes.Add(clip.Id, OddMedia.Accepted);
        using var rejected = CsvReader.FromText(File.ReadAllText(Path.Combine(prepared, Preparer.RejectedFileName)));
        rejected.ReadHeader();
        while (rejected.Read())
            outcomes.Add(rejected.GetString(0), rejected.GetString(1));
    }

    [Test]
    public void Every_file_is_accepted_or_rejected_with_a_reason()
    {
        Assert.That(exitCode, Is.EqualTo(ExitCode.Ok), errors);
        TestContext.Out.WriteLine($"{files.Count} files: {string.Join(", ", outcomes.Values.CountBy(outcome => outcome).OrderByDescending(pair => pair.Value).Select(pair => $"{pair.Value} {pair.Key}"))}");
        Assert.That(files, Has.Count.GreaterThan(300));
        Assert.That(outcomes.Keys, Is.EquivalentTo(files.Select(file => file.Name)));
        Assert.That(outcomes.Values, Has.All.Not.Empty);
        Assert.Multiple(() =>
        {
            foreach (var file in files.Where(file => file.Outcome is not null))
                Assert.That(outcomes[file.Name], Is.EqualTo(file.Outcome), file.Name);
        });
    }

    [Test]
    public void No_process_is_left_behind()
    {
        string marked = $"{Marker}={mark}";
        Assert.That(Directory.GetDirectories("/proc").Where(process => EnvironmentOf(process).Contains(marked, StringComparison.Ordinal)), Is.Empty);
    }

    [Test]
    public void No_decoder_opens_a_file_outside_the_data_root()
    {
        RequireWatch();
        var opened = OpenedFiles.OfDecoders(Log);
        Assert.That(opened, Has.Some.StartsWith(Root + "/"), "the decoders were seen");
        Assert.That(opened.Where(IsOutside), Is.Empty);
        Assert.That(File.ReadAllText(Log), Does.Not.Contain("canary"), "nobody tried");
    }

    /// <summary>What the test above looks for is seen where it happens.</summary>
    [Test]
    public void A_decoder_without_guards_is_caught()
    {
        RequireWatch();
        string log = Path.Combine(folder, "caught.log"), script = files.Select(file => file.Name).First(name => name.StartsWith("script-", StringComparison.Ordinal));
        string[] command = OpenedFiles.Command(log, TestMedia.Tool.Ffmpeg, "-nostdin", "-loglevel", "error", "-safe", "0", "-f", "concat", "-i", Path.Combine(Root, script), "-f", "null", "-");
        Assert.That(ChildProgram.Run(command[0], command[1..], Patience).Succeeded);
        Assert.That(OpenedFiles.OfDecoders(log).Where(IsOutside), Is.EqualTo((string[])[Path.Combine(Outside, "canary.ts")]));
    }

    /// <summary>A manifest cannot hold these names; predict may be given them.</summary>
    [TestCase("a\nb.mp4")]
    [TestCase("\n")]
    [TestCase("a\r\nfile '../outside/canary.ts'.mp4")]
    public void A_name_with_a_line_break_is_a_name(string name)
    {
        string path = Path.Combine(folder, name.Replace('/', '|'));
        File.Copy(Path.Combine(Root, files[0].Name), path);
        var decoder = new ClipDecoder(TestMedia.Tool, new FeatureOptions { ClipSeconds = 1, FaceSize = 16, FaceFrames = 3 });
        Assert.That(() => decoder.Decode(path), Throws.Nothing);
        Assert.That(decoder.FaceCount, Is.EqualTo(3));
    }

    /// <summary>Nobody but the user puts a link there; a table alone does not get out, not behind a link either.</summary>
    [TestCase("../../outside/canary.mp4")]
    [TestCase("link/../../../outside/canary.mp4")]
    [TestCase("..\\..\\outside\\canary.mp4")]
    [TestCase("file:///etc/hostname")]
    [TestCase("file://%2e%2e/%2e%2e/outside/canary.mp4")]
    [TestCase(" /etc/hostname")]
    public void A_table_does_not_lead_out_of_the_data_root(string path)
    {
        string root = Path.Combine(folder, "links", "root"), manifest = Path.Combine(root, "manifest.csv");
        Directory.CreateDirectory(root);
        if (!Path.Exists(Path.Combine(root, "link")))
            Directory.CreateSymbolicLink(Path.Combine(root, "link"), Outside);
        File.WriteAllText(manifest, $"path,speaker,emotion\n{path},ann,neutral\n");
        var (code, output, error) = TinyCorpus.Run("prepare", manifest, "--out", Path.Combine(root, "prepared"));
        Assert.That(code, Is.EqualTo(ExitCode.BadInput), output + error);
        Assert.That(error, Does.Contain("leads out of the data root"));
    }

    private static void RequireWatch()
    {
        if (OpenedFiles.Absence is { } absence)
            Assert.Ignore(absence);
    }

    private bool IsOutside(string path) => !path.StartsWith(Root + "/", StringComparison.Ordinal)
        && !path.StartsWith(Path.GetDirectoryName(TestMedia.Tool.Ffmpeg)! + "/", StringComparison.Ordinal)
        && !system.Any(place => path.StartsWith(place, StringComparison.Ordinal));

    /// <summary>Empty for a process that is gone, has ended, or is another user's.</summary>
    private static string EnvironmentOf(string process)
    {
        try
        {
            return File.ReadAllText(Path.Combine(process, "environ"));
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            return "";
        }
    }
}
