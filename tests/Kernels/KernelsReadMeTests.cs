using System.Text.RegularExpressions;
using Avedis.Tests.Ops;
using NUnit.Framework;

namespace Avedis.Tests.Kernels;

/// <summary>kernels/README.md teaches with lines of the code: they must be in the code, and its table must list every kernel.</summary>
public sealed partial class KernelsReadMeTests
{
    private static readonly string folder = Path.Combine(Repository.Root, "kernels");
    private static readonly string text = File.ReadAllText(Path.Combine(folder, "README.md"));

    [Test]
    public void Every_link_leads_somewhere()
    {
        string[] links = [.. Links().Matches(text).Select(match => match.Groups[1].Value)];
        Assert.That(links, Is.Not.Empty);
        Assert.That(links.Where(link => !Path.Exists(Path.Combine(folder, link))), Is.Empty);
    }

    /// <summary>A row of a loss's table names a file and, behind it, quotes it; a row without a file goes on with the one before.</summary>
    [Test]
    public void Every_quoted_line_is_in_the_file_that_it_is_quoted_from()
    {
        string file = "";
        int quotes = 0;
        foreach (string row in text.Split('\n').SkipWhile(line => !line.StartsWith("## The losses", StringComparison.Ordinal)).TakeWhile(line => !line.StartsWith("## Convolution", StringComparison.Ordinal)))
        {
            if (Links().Match(row) is { Success: true } link && row.StartsWith('|'))
                file = File.ReadAllText(Path.Combine(folder, link.Groups[1].Value));
            if (!row.StartsWith('|'))
                continue;
            foreach (Match quote in Quotes().Matches(row[(row.LastIndexOf("](", StringComparison.Ordinal) + 1)..]))
            {
                quotes++;
                Assert.That(file, Does.Contain(quote.Groups[1].Value));
            }
        }
        Assert.That(quotes, Is.GreaterThan(10));
    }

    [Test]
    public void The_table_lists_every_kernel()
    {
        if (Emulation.Absence is { } absence)
            Assert.Ignore(absence);
        var listed = new HashSet<string>();
        foreach (string row in text[text.IndexOf("## All kernels", StringComparison.Ordinal)..].Split('\n').Where(line => line.StartsWith("| `", StringComparison.Ordinal)))
        {
            string cell = row.Split('|')[1];
            string[] widths = cell.Contains("; w ", StringComparison.Ordinal) ? cell[(cell.IndexOf("; w ", StringComparison.Ordinal) + 4)..].Trim().Split(", ") : [""];
            foreach (Match name in Quotes().Matches(cell))
                if (!name.Groups[1].Value.StartsWith("...", StringComparison.Ordinal))
                    foreach (string precision in (string[])["f32", "tf32", "bf16"])
                        foreach (string width in widths)
                        {
                            string kernel = name.Groups[1].Value.Replace("<t>", precision).Replace("<p>", precision).Replace("<w>", width);
                            listed.Add(kernel);
                            if (cell.Contains("_general", StringComparison.Ordinal))
                                listed.Add(kernel + "_general");
                        }
        }
        Assert.That(Emulation.Kernels().Keys.Where(name => !name.StartsWith("probe_", StringComparison.Ordinal)).Except(listed), Is.Empty);
    }

    [GeneratedRegex(@"\]\(([^)#]+)\)")]
    private static partial Regex Links();

    [GeneratedRegex("`([^`]+)`")]
    private static partial Regex Quotes();
}
