using Avedis.Trainer;
using NUnit.Framework;

namespace Avedis.Tests;

public sealed class SpellingTests
{
    [TestCase("", "", 0)]
    [TestCase("", "abc", 3)]
    [TestCase("kitten", "sitting", 3)]
    [TestCase("gird", "grid", 1)] // two letters that changed places
    [TestCase("RUN", "run", 0)]
    [TestCase("ca", "abc", 3)] // a swapped pair stays as it is
    [TestCase("flaw", "lawn", 2)]
    public void Counts_slips(string a, string b, int slips)
    {
        Assert.That(Spelling.EditDistance(a, b), Is.EqualTo(slips));
        Assert.That(Spelling.EditDistance(b, a), Is.EqualTo(slips));
    }

    [TestCase("rnu", "run")]
    [TestCase("prep", "prepare")] // its begin
    [TestCase("x", null)]
    [TestCase("ru", "run")]
    [TestCase("re", null)] // two begin so
    [TestCase("evaluated", "evaluate")]
    [TestCase("something", null)]
    public void The_nearest_word_is_named_if_it_is_near(string word, string? nearest) =>
        Assert.That(Spelling.Nearest(word, ["run", "resume", "reproduce", "prepare", "evaluate"]), Is.EqualTo(nearest));
}
