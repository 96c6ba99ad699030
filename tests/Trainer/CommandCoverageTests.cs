using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Avedis.Trainer;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>Every command, option and setting of avedis is named by a test.</summary>
public sealed class CommandCoverageTests
{
    private static readonly Lazy<string> sources = new(() => string.Concat(
        Directory.EnumerateFiles(Path.Combine(Repository.Root, "tests"), "*.cs", SearchOption.AllDirectories)
            .Where(file => Path.GetFileNameWithoutExtension(file) != nameof(CommandCoverageTests)).Order(StringComparer.Ordinal).Select(File.ReadAllText)));

    [Test]
    public void Every_command_is_started_by_a_test() =>
        Assert.That(Commands().Where(command => !Regex.IsMatch(sources.Value, $"\"{command}\"[,\\]) ]")), Is.Empty);

    [Test]
    public void Every_option_is_given_by_a_test()
    {
        // the commands of README and the pages are run as they stand
        string given = sources.Value + string.Concat(Directory.GetFiles(Path.Combine(Repository.Root, "docs"), "*.md")
            .Append(Path.Combine(Repository.Root, "README.md")).Select(File.ReadAllText));
        var options = Commands().SelectMany(command => Regex.Matches(Help(command), @"^ +(?:-\w, )?(--[\w-]+)", RegexOptions.Multiline).Select(match => match.Groups[1].Value)).Distinct();
        Assert.That(string.Join(", ", options.Where(option => !Regex.IsMatch(given, $@"{option}(?![\w-])"))), Is.Empty);
    }

    /// <summary>By its path, as --set and files have it, or by its property.</summary>
    [Test]
    public void Every_setting_is_set_by_a_test()
    {
        var settings = Leaves("", JsonNode.Parse(Config.Load(null, null, []).ToJson())!).Where(path => path != "network.built");
        Assert.That(string.Join(", ", settings.Where(path => !IsSet(path))), Is.Empty);

        static bool IsSet(string path)
        {
            string name = path.Split('.')[^1];
            return sources.Value.Contains(path, StringComparison.Ordinal) || Regex.IsMatch(sources.Value, $@"\b{char.ToUpperInvariant(name[0])}{name[1..]} = ");
        }
    }

    private static IEnumerable<string> Commands() =>
        Regex.Matches(TinyCorpus.Run("--help").Output.Split("Commands:")[1], @"^  ([\w-]+)", RegexOptions.Multiline).Select(match => match.Groups[1].Value);

    private static string Help(string command) => TinyCorpus.Run(command, "--help").Output;

    // what a dictionary of labels holds is data; network.built is recorded, not set
    private static IEnumerable<string> Leaves(string path, JsonNode? node) => node is JsonObject inner && path != "data.labels"
        ? inner.SelectMany(property => Leaves(path.Length == 0 ? property.Key : $"{path}.{property.Key}", property.Value))
        : [path];
}
