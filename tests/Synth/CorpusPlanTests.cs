using Avedis.Trainer.Synth;
using NUnit.Framework;

namespace Avedis.Tests;

public class CorpusPlanTests
{
    [Test]
    public void Counts_are_the_shares_rounded_by_largest_remainder()
    {
        Assert.That(CorpusPlan.LargestRemainder(10, [0.77, 0.115, 0.115]), Is.EqualTo(new[] { 8, 1, 1 }));
        Assert.That(CorpusPlan.LargestRemainder(7, [0.5, 0.25, 0.25]), Is.EqualTo(new[] { 3, 2, 2 }));
        Assert.That(CorpusPlan.LargestRemainder(2, [0.25, 0.25, 0.25, 0.25]), Is.EqualTo(new[] { 1, 1, 0, 0 }));
    }

    [Test]
    public void Emotions_speakers_and_splits_have_exactly_their_share([Values(0, 1.5)] double affinity)
    {
        var plan = CorpusPlan.Make(new SynthOptions { Speakers = 12, Clips = 600, NeutralShare = 0.77, Affinity = affinity });
        Assert.That(plan, Has.Length.EqualTo(600));
        // 0.77 of 600 is 462; 138 / 7 is 19.71: five emotions get 20 and two get 19
        Assert.That(plan.Count(clip => clip.Emotion == Emotion.Neutral), Is.EqualTo(462));
        var others = plan.Where(clip => clip.Emotion != Emotion.Neutral).GroupBy(clip => clip.Emotion);
        Assert.That(others.Select(group => group.Count()).Order(),
            Is.EqualTo(new[] { 19, 19, 20, 20, 20, 20, 20 }));
        Assert.That(plan.GroupBy(clip => clip.Speaker.Name).Select(group => group.Count()), Is.All.EqualTo(50));
        foreach (var (split, count) in new[] { ("train", 420), ("validation", 90), ("test", 90) })
        {
            var part = plan.Where(clip => clip.Split == split).ToArray();
            Assert.That(part, Has.Length.EqualTo(count));
            Assert.That(part.Count(clip => clip.Emotion == Emotion.Neutral), Is.EqualTo(0.77 * count).Within(1));
            Assert.That(part.Select(clip => clip.Emotion).Distinct().Count(), Is.EqualTo(8), split);
            Assert.That(part.GroupBy(clip => clip.Speaker.Name).Select(group => group.Count()),
                Has.Exactly(12).EqualTo(count / 12.0).Within(2), split);
        }
    }

    [Test]
    public void Uneven_numbers_still_add_up()
    {
        var plan = CorpusPlan.Make(new SynthOptions { Speakers = 7, Clips = 100, NeutralShare = 0.3 });
        Assert.That(plan, Has.Length.EqualTo(100));
        Assert.That(plan.Count(clip => clip.Emotion == Emotion.Neutral), Is.EqualTo(30));
        Assert.That(plan.GroupBy(clip => clip.Speaker.Name).Select(group => group.Count()), Is.All.InRange(14, 15).And.Exactly(7).Items);
        Assert.That(plan.Select(clip => clip.Path).Distinct().Count(), Is.EqualTo(100));
        Assert.That(plan.Select(clip => clip.Index), Is.EqualTo(Enumerable.Range(0, 100)));
        Assert.That(plan[15].Path, Is.EqualTo("clips/spk01/0000.mp4"));
    }

    [Test]
    public void Affinity_ties_emotions_to_speakers()
    {
        double Spread(double affinity)
        {
            var plan = CorpusPlan.Make(new SynthOptions { Speakers = 10, Clips = 1000, NeutralShare = 0.125, Affinity = affinity });
            return plan.GroupBy(clip => (clip.Speaker.Name, clip.Emotion)).Sum(group => Math.Pow(group.Count() - 12.5, 2));
        }
        Assert.That(Spread(0), Is.LessThan(80 * 1.01), "independent: every cell is within one of 12.5");
        Assert.That(Spread(1), Is.GreaterThan(10 * Spread(0)));
    }

    [Test]
    public void The_seed_decides_the_order_and_nothing_else_does()
    {
        var options = new SynthOptions { Speakers = 3, Clips = 60 };
        string Labels(SynthOptions chosen) => string.Join(' ', CorpusPlan.Make(chosen).Select(clip => $"{clip.Emotion}/{clip.Split}"));
        string labels = Labels(options);
        Assert.That(Labels(options with { Seconds = 9 }), Is.EqualTo(labels));
        Assert.That(Labels(options with { Seed = 2 }), Is.Not.EqualTo(labels));
    }
}
