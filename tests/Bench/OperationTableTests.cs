using Avedis.Bench;
using Avedis.Trainer;
using NUnit.Framework;

namespace Avedis.Tests;

public sealed class OperationTableTests
{
    private static readonly OperationRow[] rows =
    [
        new("demo", 32, "convolution forward", "face.conv2", "[1, 2]", 0.5e-3, 1e-3, "NCHW, a direct call", 10 << 20, 25 << 20),
        new("demo", 32, "Adam", "all parameters", "[9]", 3e-3, 2e-3, "a direct call", 12, null),
        new("paper", 1, "Adam", "all parameters", "[9]", 1, 1, "a direct call", null, null),
    ];

    [Test]
    public void Each_preset_has_a_table_of_times_ratios_and_memory()
    {
        string text = OperationTable.Markdown("a machine", rows);
        Assert.That(text, Does.StartWith("a machine\n\nPreset `demo`, 32 clips:\n").And.Contain("\nPreset `paper`, 1 clips:\n"));
        Assert.That(text, Does.Contain("| convolution forward | face.conv2 | [1, 2] | 0.5 | 1 | 0.50 | 10 | 25 | NCHW, a direct call |"));
        Assert.That(text, Does.Contain("| Adam | all parameters | [9] | 3 | 2 | 1.50 | < 1 |  | a direct call |"));
    }

    [Test]
    public void Tables_go_between_the_marks_of_a_page_or_are_the_file()
    {
        string file = Path.GetTempFileName();
        try
        {
            OperationTable.Write(file, "tables\n");
            Assert.That(File.ReadAllText(file), Is.EqualTo("tables\n"));
            File.WriteAllText(file, $"before\n{OperationTable.Begin}\nold\n{OperationTable.End}\nafter\n");
            OperationTable.Write(file, "new\n");
            OperationTable.Write(file, "newer\n");
            Assert.That(File.ReadAllText(file), Is.EqualTo($"before\n{OperationTable.Begin}\n\nnewer\n\n{OperationTable.End}\nafter\n"));
            var failure = Assert.Throws<UserException>(() => OperationTable.Write(Path.Combine(file, "page.md"), "new"));
            Assert.That(failure!.Code, Is.EqualTo(ExitCode.DiskOrIo));
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Test]
    public void The_page_of_the_repository_has_the_marks()
    {
        string page = File.ReadAllText(Path.Combine(Repository.Root, "docs", "performance.md"));
        Assert.That(page, Does.Match($"(?s)\n{OperationTable.Begin}\n.*\n{OperationTable.End}\n"));
    }

    [Test]
    public void A_filter_that_is_no_expression_is_refused()
    {
        using StringWriter output = new(), error = new();
        Assert.That(Commands.Run(["operations", "--filter", "("], output, error), Is.EqualTo(ExitCode.Usage));
        Assert.That(error.ToString(), Does.StartWith("bench: --filter: '(' is no regular expression."));
    }
}
