using Avedis.Trainer;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>The commands that README tells a stranger to type, run as they stand but for the paths and the size of the network.</summary>
[NonParallelizable]
public sealed class ReadMeTests
{
    [Test]
    [Category(Tier.Long)]
    public void Your_own_data_in_a_few_lines()
    {
        string folder = Directory.CreateTempSubdirectory("avedis-readme").FullName;
        try
        {
            string[] commands = [.. File.ReadLines(Path.Combine(Repository.Root, "README.md")).Where(l => l.StartsWith("$avedis ", StringComparison.Ordinal))
                .Select(l => l[8..].Split(" # ")[0].Trim())];
            Assert.That(commands.Select(c => c.Split(' ')[0]), Is.EqualTo(new[] { "prepare", "train", "evaluate", "predict", "predict", "predict", "embed", "export", "export", "train", "probe", "reproduce" }));
            foreach (string command in commands)
            {
                var words = command
                    .Replace("my-corpus", TinyCorpus.Corpus, StringComparison.Ordinal)
                    .Replace("some-clip.mp4", TinyCorpus.Clip, StringComparison.Ordinal)
                    .Replace("talk.svg", Path.Combine(folder, "talk.svg"), StringComparison.Ordinal)
                    .Replace("found.csv", Path.Combine(folder, "found.csv"), StringComparison.Ordinal)
                    .Replace("data/mine", Path.Combine(folder, "data"), StringComparison.Ordinal)
                    .Replace("runs/", folder + "/", StringComparison.Ordinal)
                    .Replace("--epochs 30", "--epochs 1", StringComparison.Ordinal)
                    .Split(' ', StringSplitOptions.RemoveEmptyEntries).ToList();
                if (words[0] is "train" or "reproduce")
                    words.AddRange(TinyCorpus.SmallNetwork);
                if (words[0] == "reproduce")
                    words.AddRange("--methods", "baseline,gr"); // GridTests has them all
                var (code, _, error) = TinyCorpus.Run([.. words]);
                Assert.That(code, Is.EqualTo(ExitCode.Ok), $"avedis {command}: {error}");
            }
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Test]
    public void Every_command_explains_itself()
    {
        foreach (string command in new[] { "synth", "import", "prepare", "contact-sheet", "train", "evaluate", "predict", "embed", "export", "bench", "doctor" })
        {
            var (code, help, _) = TinyCorpus.Run(command, "--help");
            Assert.That(code, Is.EqualTo(ExitCode.Ok), command);
            Assert.That(help, Does.Contain("Usage:").And.Contain("Options:"), command);
        }
        Assert.That(TinyCorpus.Run("doctor").Output, Does.Contain("ffmpeg").And.Contain("cpu").And.Contain("cuda").And.Contain("faces"));
    }

    [Test]
    public void Pictures_and_files_that_readme_names_are_there()
    {
        string text = File.ReadAllText(Path.Combine(Repository.Root, "README.md"));
        var links = System.Text.RegularExpressions.Regex.Matches(text, @"\]\(([^)]+)\)").Select(m => m.Groups[1].Value).Where(l => !l.Contains("://")).ToList();
        Assert.That(links, Is.Not.Empty);
        foreach (string link in links)
            Assert.That(File.Exists(Path.Combine(Repository.Root, link)), Is.True, link);
    }
}
