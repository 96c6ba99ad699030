using Avedis.Engine;
using Avedis.Trainer.Data;
using Avedis.Trainer.Features;
using Avedis.Trainer.Training;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>How clips are to be varied: what a plan may hold, and of what it is a function.</summary>
public sealed class AugmentationTests
{
    private const int Rows = 400;
    private const ulong Seed = 3;

    /// <summary>8 pictures and 300 mel frames in 3 s.</summary>
    private static readonly FeatureOptions features = new() { Normalisation = MelNormalisation.None, PadPixel = 120 };

    private static readonly AugmentOptions everything = new()
    {
        Flip = true, CropJitter = 3, TimeShift = 1, Gain = 6, FrequencyMasks = 2, FrequencyMaskBins = 5, TimeMasks = 2, TimeMaskFrames = 20,
    };

    [Test]
    public void Every_choice_is_made_between_its_bounds_and_reaches_them()
    {
        var plans = Plans(everything);
        Assert.Multiple(() =>
        {
            // 400 fair coins: five standard deviations
            Assert.That(plans.Count(plan => plan.Flip == 1), Is.EqualTo(Rows / 2).Within(50));
            Assert.That(plans.Select(plan => plan.Flip), Is.All.EqualTo(0).Or.EqualTo(1));
            Reaches(plan => plan.CropY, -3, 3, within: 0);
            Reaches(plan => plan.CropX, -3, 3, within: 0);
            Reaches(plan => plan.FaceShift, 0, 3, within: 0); // 1 s is 2.7 pictures
            Reaches(plan => plan.MelShift, 0, 100, within: 2);
            Reaches(plan => plan.Gain, -0.6 * Math.Log(10), 0.6 * Math.Log(10), within: 0.05);
            foreach (var mask in new Func<AugmentPlan, AugmentMask>[] { plan => plan.Bins0, plan => plan.Bins1 })
            {
                Reaches(plan => mask(plan).Count, 0, 5, within: 0);
                Reaches(plan => mask(plan).First, 0, features.MelBins - 1, within: 2);
                Reaches(plan => mask(plan).First + mask(plan).Count, 0, features.MelBins, within: 0);
            }
            foreach (var mask in new Func<AugmentPlan, AugmentMask>[] { plan => plan.Frames0, plan => plan.Frames1 })
            {
                Reaches(plan => mask(plan).Count, 0, 20, within: 0);
                Reaches(plan => mask(plan).First + mask(plan).Count, 0, features.MelFrames, within: 15);
            }
            Assert.That(plans.Select(plan => plan.PadPixel), Is.All.EqualTo(120));
            Assert.That(plans.Select(plan => plan.Silence), Is.All.EqualTo((float)Math.Log(1e-6)));
        });

        void Reaches(Func<AugmentPlan, float> value, double low, double high, double within)
        {
            const double rounding = 1e-6;
            double[] values = [.. plans.Select(plan => (double)value(plan))];
            Assert.That(values.Min(), Is.InRange(low - rounding, low + within + rounding));
            Assert.That(values.Max(), Is.InRange(high - within - rounding, high + rounding));
        }
    }

    [TestCase(1, 1)]
    [TestCase(2, 3)]
    [TestCase(3, 300)]
    [TestCase(8, 41)]
    public void At_least_half_of_a_clip_stays_and_its_lengths_say_what(int faces, int mels)
    {
        var batch = NewBatch(faces, mels);
        var plans = Plans(everything with { TimeShift = 60, TimeMaskFrames = 1000 }, batch);
        for (int row = 0; row < Rows; row++)
        {
            var plan = plans[row];
            Assert.That((batch.FaceLengths[row], batch.MelLengths[row]), Is.EqualTo((faces - (int)plan.FaceShift, mels - (int)plan.MelShift)));
            Assert.That(2 * batch.FaceLengths[row], Is.AtLeast(faces));
            Assert.That(2 * batch.MelLengths[row], Is.AtLeast(mels));
            Assert.That(plan.MelFrames, Is.EqualTo(batch.MelLengths[row]));
            foreach (var mask in new[] { plan.Frames0, plan.Frames1 })
            {
                Assert.That(2 * mask.Count, Is.AtMost(batch.MelLengths[row]));
                Assert.That(mask.First + mask.Count, Is.AtMost(batch.MelLengths[row]));
            }
        }
    }

    /// <summary>Both streams begin as much later: to half a picture, the rounding of one, and half a mel frame.</summary>
    [Test]
    public void Pictures_and_sound_are_shifted_together()
    {
        double picture = features.ClipSeconds / features.FaceFrames, frame = features.HopMs / 1000;
        foreach (var plan in Plans(everything))
            Assert.That(plan.FaceShift * picture, Is.EqualTo(plan.MelShift * frame).Within((picture + frame) / 2 + 1e-9));
    }

    [Test]
    public void A_plan_depends_on_seed_epoch_position_and_row_alone()
    {
        var plans = Plans(everything);
        var backwards = NewBatch();
        for (int row = Rows - 1; row >= 0; row--)
            new Augmentation(everything, features, Seed).Apply(backwards, row);
        Assert.That(backwards.Augmentation, Is.EqualTo(plans));
        Assert.That(plans.Distinct().Count(), Is.EqualTo(Rows));
        var others = new[]
        {
            Plans(everything, NewBatch(epoch: 1)), Plans(everything, NewBatch(position: 1)), Plans(everything, seed: Seed + 1),
        };
        foreach (var other in others)
            Assert.That(other.Intersect(plans), Is.Empty);
    }

    [Test]
    public void One_choice_leaves_the_others_as_they_were()
    {
        foreach (var (with, without) in Plans(everything).Zip(Plans(everything with { Flip = false, TimeMasks = 0, TimeMaskFrames = 0 })))
            Assert.That(without, Is.EqualTo(with with { Flip = 0, Frames0 = default, Frames1 = default }));
    }

    [Test]
    public void Without_any_choice_a_clip_stays_as_it_is()
    {
        var batch = NewBatch();
        foreach (var plan in Plans(new AugmentOptions(), batch))
            Assert.That(plan, Is.EqualTo(new AugmentPlan { PadPixel = plan.PadPixel, MelFrames = features.MelFrames, Silence = plan.Silence }));
        Assert.That(batch.FaceLengths, Is.All.EqualTo(features.FaceFrames));
        Assert.That(batch.MelLengths, Is.All.EqualTo(features.MelFrames));
    }

    private static AugmentPlan[] Plans(AugmentOptions options, Batch? batch = null, ulong seed = Seed)
    {
        batch ??= NewBatch();
        var augmentation = new Augmentation(options, features, seed);
        for (int row = 0; row < Rows; row++)
            augmentation.Apply(batch, row);
        return batch.Augmentation;
    }

    private static Batch NewBatch(int faces = 8, int mels = 300, int epoch = 0, int position = 0)
    {
        var batch = new Batch(Rows, 0, 0, 0, 0, 0) { Epoch = epoch, Position = position };
        Array.Fill(batch.FaceLengths, faces);
        Array.Fill(batch.MelLengths, mels);
        return batch;
    }
}
