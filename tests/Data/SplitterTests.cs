using Avedis.Trainer.Data;
using Avedis.Trainer.Media;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>Held-out clips and rare speakers.</summary>
public sealed class SplitterTests
{
    private static readonly string[] Emotions = ["neutral", "neutral", "neutral", "happiness", "anger"];

    [Test]
    public void Every_speaker_is_divided_by_the_fractions()
    {
        var rows = Rows(speakers: 20, clips: 40);
        var splits = Splitter.Assign(rows, new DataOptions());
        Assert.That(splits.Count(split => split == Split.Validation), Is.EqualTo(80).Within(1));
        Assert.That(splits.Count(split => split == Split.Test), Is.EqualTo(80).Within(1));
        foreach (var speaker in rows.Zip(splits).GroupBy(pair => pair.First.Speaker))
        {
            Assert.That(speaker.Count(pair => pair.Second == Split.Validation), Is.EqualTo(4).Within(1));
            Assert.That(speaker.Count(pair => pair.Second == Split.Test), Is.EqualTo(4).Within(1));
        }
        foreach (var emotion in rows.Zip(splits).GroupBy(pair => pair.First.Emotion))
            Assert.That(emotion.Count(pair => pair.Second == Split.Test) / (double)emotion.Count(), Is.EqualTo(0.1).Within(0.06));
    }

    [Test]
    public void Held_out_clips_exist_even_if_no_speaker_has_ten()
    {
        var splits = Splitter.Assign(Rows(speakers: 30, clips: 4), new DataOptions());
        Assert.That(splits.Count(split => split == Split.Validation), Is.EqualTo(12).Within(1));
        Assert.That(splits.Count(split => split == Split.Test), Is.EqualTo(12).Within(1));
    }

    [Test]
    public void Everyone_keeps_a_clip_to_train_on()
    {
        var rows = Rows(speakers: 40, clips: 1);
        Assert.That(Splitter.Assign(rows, new DataOptions()), Is.All.EqualTo(Split.Train));
    }

    [Test]
    public void The_split_follows_the_seed_and_not_the_order_of_the_table()
    {
        var rows = Rows(speakers: 5, clips: 20);
        var reversed = rows.Reverse().ToArray();
        var first = rows.Zip(Splitter.Assign(rows, new DataOptions())).ToDictionary(pair => pair.First.Id, pair => pair.Second);
        var again = reversed.Zip(Splitter.Assign(reversed, new DataOptions())).ToDictionary(pair => pair.First.Id, pair => pair.Second);
        var other = rows.Zip(Splitter.Assign(rows, new DataOptions { SplitSeed = 2 })).ToDictionary(pair => pair.First.Id, pair => pair.Second);
        Assert.That(again, Is.EquivalentTo(first));
        Assert.That(other, Is.Not.EquivalentTo(first));
    }

    [Test]
    public void A_split_column_is_obeyed()
    {
        var rows = Rows(speakers: 2, clips: 3).Select((row, i) => row with { Split = (Split)(i % 4) }).ToArray();
        Assert.That(Splitter.Assign(rows, new DataOptions()), Is.EqualTo(rows.Select(row => row.Split!.Value)));
    }

    /// <summary>Counts 1 .. 21: the 5th percentile is 2, the 50th 11.</summary>
    [TestCase(0, 0)]
    [TestCase(4.9, 0)]
    [TestCase(5, 1)]
    [TestCase(9.9, 1)]
    [TestCase(50, 10)]
    public void Speakers_under_the_percentile_are_dropped(double percentile, int dropped)
    {
        var rows = Enumerable.Range(1, 21).SelectMany(speaker => Rows(1, speaker).Select(row => row with { Speaker = $"s{speaker:D2}" })).ToArray();
        Assert.That(Splitter.RareSpeakers(rows, percentile), Is.EqualTo(Enumerable.Range(1, dropped).Select(speaker => $"s{speaker:D2}")));
    }

    private static ManifestRow[] Rows(int speakers, int clips) =>
    [
        .. from speaker in Enumerable.Range(0, speakers)
           from clip in Enumerable.Range(0, clips)
           select new ManifestRow(0, $"s{speaker}/{clip}.mp4", new(""), $"s{speaker}", Emotions[clip % Emotions.Length], null, []),
    ];
}
