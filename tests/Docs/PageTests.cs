using System.Text.RegularExpressions;
using Avedis.Trainer;
using NUnit.Framework;

namespace Avedis.Tests.Docs;

/// <summary>What README and the pages in docs/ tell a reader: their commands run, their links lead somewhere.</summary>
[NonParallelizable]
public sealed partial class PageTests
{
    private const string ReadMe = "README.md", Program = "./avedis ";

    /// <summary>A launcher starts the program several times; a process without one trains alone, which is what is run here.</summary>
    private static readonly string[] launchers = ["mpirun -n 4 ", "srun --mpi=pmix "];

    /// <summary>Commands for another machine, or that take too long: other tests and continuous integration run them.</summary>
    private static readonly string[] runElsewhere =
    [
        "./demo", "./test", "kernels/get-cuda-toolkit", "bench/bundle", "tar xf avedis-0.1.0-linux-x64.tar.gz", "./check-gpu",
        "./check-gpu --quick",
    ];

    private static string[] Pages =>
        [ReadMe, .. Directory.GetFiles(Path.Combine(Repository.Root, "docs"), "*.md").Order(StringComparer.Ordinal).Select(Relative)];

    private static IEnumerable<string> LinkedPages =>
        Pages.Concat(["CONTRIBUTING.md", "LICENCES.md", "kernels/README.md", "tests/RELIABILITY.md", "tests/coverage.md"])
            .Concat(Directory.GetFiles(Path.Combine(Repository.Root, "bench"), "*.md").Select(Relative));

    private static IEnumerable<string> PagesWithCommands => Pages.Where(page => Own(page).Any());

    [TestCaseSource(nameof(PagesWithCommands))]
    [Category(Tier.Long)]
    public void Commands_run_as_they_stand(string page)
    {
        string folder = Directory.CreateTempSubdirectory("avedis-page").FullName;
        try
        {
            foreach (string command in page == ReadMe ? Own(page) : Own(ReadMe).Take(2).Concat(Own(page)))
            {
                string[] arguments = Arguments(command, folder);
                string run = Path.Combine(folder, "mine");
                if (arguments[0] == "train" && !arguments.Contains("--resume") && Directory.Exists(run))
                    Directory.Delete(run, recursive: true); // pages train it in several ways
                var (code, _, error) = TinyCorpus.Run(arguments);
                Assert.That(code, Is.EqualTo(ExitCode.Ok), $"{page}: ./avedis {command}: {error}");
            }
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    /// <summary>Every line of every block of commands is run here, is a bench that knows its options, or is run elsewhere.</summary>
    [TestCaseSource(nameof(Pages))]
    public void Every_command_is_known(string page)
    {
        const string Bench = "dotnet run -c Release --project bench -- ";
        foreach (string line in Lines(page).Where(line => Command().IsMatch(line)))
        {
            if (line.StartsWith(Program, StringComparison.Ordinal) || launchers.Any(line.StartsWith))
                continue;
            if (line.StartsWith(Bench, StringComparison.Ordinal))
            {
                string[] words = line[Bench.Length..].Split(' ');
                var help = new StringWriter();
                Assert.That(Avedis.Bench.Commands.Run([words[0], "--help"], help, TextWriter.Null), Is.EqualTo(ExitCode.Ok), line);
                foreach (string option in words.Where(word => word.StartsWith("--", StringComparison.Ordinal)))
                    Assert.That(help.ToString(), Does.Contain(option), line);
            }
            else
                foreach (string part in line.Split(" && ").Where(part => !part.StartsWith("cd ", StringComparison.Ordinal)))
                    Assert.That(runElsewhere, Does.Contain(part), page);
        }
    }

    [TestCaseSource(nameof(LinkedPages))]
    public void Links_lead_somewhere(string page)
    {
        string folder = Path.GetDirectoryName(Path.Combine(Repository.Root, page))!;
        string text = File.ReadAllText(Path.Combine(Repository.Root, page));
        foreach (string link in Link().Matches(text).Select(match => match.Groups[1].Value))
            if (!link.Contains("://", StringComparison.Ordinal) && link[0] != '#')
                Assert.That(Path.Exists(Path.Combine(folder, link.Split('#')[0])), Is.True, $"{page}: {link}");
    }

    [Test]
    public void Every_page_is_in_the_index()
    {
        string index = File.ReadAllText(Path.Combine(Repository.Root, "docs", "index.md"));
        foreach (string page in Pages.Where(page => page is not (ReadMe or "docs/index.md")))
            Assert.That(index, Does.Contain($"]({Path.GetFileName(page)})"));
    }

    [Test]
    public void Readme_is_short()
    {
        string[] lines = File.ReadAllLines(Path.Combine(Repository.Root, ReadMe));
        Assert.That(lines, Has.Length.LessThanOrEqualTo(120));
        Assert.That(lines.Where(line => line.Length > 120), Is.Empty);
    }

    [Test]
    public void Settings_are_what_the_records_say()
    {
        string made = SettingsPage.Write(), page = Path.Combine(Repository.Root, "docs", "settings.md");
        string now = File.Exists(page) ? File.ReadAllText(page) : "";
        if (made != now)
            File.WriteAllText(Path.Combine(Repository.Root, "artifacts", "settings.md"), made);
        Assert.That(now, Is.EqualTo(made), "copy artifacts/settings.md to docs/settings.md");
    }

    [Test]
    public void Every_command_explains_itself()
    {
        string[] commands =
            ["synth", "import", "prepare", "contact-sheet", "train", "evaluate", "predict", "embed", "export", "bench", "doctor"];
        foreach (string command in commands)
        {
            var (code, help, _) = TinyCorpus.Run(command, "--help");
            Assert.That(code, Is.EqualTo(ExitCode.Ok), command);
            Assert.That(help, Does.Contain("Usage:").And.Contain("Options:"), command);
        }
        Assert.That(TinyCorpus.Run("doctor").Output, Does.Contain("ffmpeg").And.Contain("cpu").And.Contain("cuda").And.Contain("faces"));
    }

    private static string Relative(string path) => Path.GetRelativePath(Repository.Root, path);

    /// <summary>Lines of the blocks of commands on a page: those without a language. A line that ends in \ goes on in the next.</summary>
    private static IEnumerable<string> Lines(string page)
    {
        bool inside = false;
        string begun = "";
        foreach (string line in File.ReadLines(Path.Combine(Repository.Root, page)))
        {
            if (line.StartsWith("```", StringComparison.Ordinal))
                inside = !inside && line == "```";
            else if (inside && line.EndsWith('\\'))
                begun += line[..^1];
            else if (inside)
            {
                yield return Spaces().Replace(begun + line.Split(" # ")[0], " ").Trim();
                begun = "";
            }
        }
    }

    /// <summary>Arguments of the program on a page, in order.</summary>
    private static IEnumerable<string> Own(string page) => Lines(page)
        .Select(line => launchers.Where(line.StartsWith).Select(launcher => line[launcher.Length..]).FirstOrDefault(line))
        .Where(line => line.StartsWith(Program, StringComparison.Ordinal)).Select(line => line[Program.Length..]);

    // the tiny corpus in place of the reader's, a small network, one epoch
    private static string[] Arguments(string command, string folder)
    {
        var words = command
            .Replace("my-corpus", TinyCorpus.Corpus, StringComparison.Ordinal)
            .Replace("some-clip.mp4", TinyCorpus.Clip, StringComparison.Ordinal)
            .Replace("data/mine", Path.Combine(folder, "data"), StringComparison.Ordinal)
            .Replace("runs/", folder + "/", StringComparison.Ordinal)
            .Replace("--epochs 30", "--epochs 1", StringComparison.Ordinal)
            .Split(' ').Select(word => IsOutput(word) ? Path.Combine(folder, word) : word).ToList();
        if (words[0] is "train" or "reproduce" or "bench")
            words.AddRange(TinyCorpus.SmallNetwork);
        if (words[0] == "train" && !words.Contains("--epochs") && !words.Contains("--resume"))
            words.AddRange("--epochs", "1");
        if (words[0] == "reproduce")
            words.AddRange("--methods", "baseline,gr"); // GridTests has them all
        return [.. words];
    }

    private static bool IsOutput(string word) => Path.GetExtension(word) is ".csv" or ".svg" or ".png" && !word.Contains('/');

    [GeneratedRegex(@"^(\./|[a-z]+/|mpirun|srun|dotnet |tar )[A-Za-z]*")]
    private static partial Regex Command();

    [GeneratedRegex(@"\]\(([^)\s]+)\)")]
    private static partial Regex Link();

    [GeneratedRegex(" +")]
    private static partial Regex Spaces();
}
