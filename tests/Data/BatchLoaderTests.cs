using Avedis.Engine;
using Avedis.Trainer;
using Avedis.Trainer.Data;
using Avedis.Trainer.Features;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>Batches: what they hold, in which order, and how the background thread ends. On made-up shards, no media.</summary>
public sealed class BatchLoaderTests
{
    private static readonly FeatureOptions Features = new() { ClipSeconds = 0.5, FaceSize = 8, FaceFrames = 2, MelBins = 3 };

    [Test]
    public void A_batch_holds_what_reading_its_clips_gives([Values(1, 2, 5)] int workers)
    {
        using var data = Make(train: 7, test: 0);
        using var loader = BatchLoader.ForTraining(data, batchSize: 3, seed: 5, workers: workers);
        var (faces, mels) = (new byte[Features.FaceBytes], new float[Features.MelCount]);
        for (int i = 0; i < 6; i++)
        {
            Assert.That(loader.TryNext(out var batch), Is.True);
            Assert.That((batch!.Count, batch.Epoch, batch.Position), Is.EqualTo((3, i / 2, i % 2)));
            for (int row = 0; row < 3; row++)
            {
                var clip = data.Clips(Split.Train)[batch.ClipIndices[row]];
                data.Read(clip, faces, mels);
                Assert.That(batch.Faces[(row * faces.Length)..((row + 1) * faces.Length)], Is.EqualTo(faces));
                Assert.That(batch.Mels[(row * mels.Length)..((row + 1) * mels.Length)], Is.EqualTo(mels));
                Assert.That((batch.Ids[row], batch.Labels[0][row], batch.Labels[1][row], batch.FaceLengths[row], batch.MelLengths[row], batch.Weights[row]),
                    Is.EqualTo((clip.Id, clip.Emotion, clip.Speaker, clip.Faces, clip.Mels, 1f)));
            }
            loader.Return(batch);
        }
    }

    [Test]
    public void Training_order_is_the_same_from_wherever_it_starts()
    {
        using var data = Make(train: 11, test: 0);
        var all = Take(data, batches: 12, epoch: 0, position: 0);
        for (int start = 0; start < 9; start++)
            Assert.That(Take(data, batches: 3, epoch: start / 3, position: start % 3), Is.EqualTo(all.Skip(start).Take(3)));
        Assert.That(Take(data, batches: 3, epoch: 0, position: 3), Is.EqualTo(all.Skip(3).Take(3)), "the end of an epoch is the start of the next");
    }

    [Test]
    public void An_epoch_takes_no_clip_twice_and_differs_from_the_next_and_from_another_seed()
    {
        using var data = Make(train: 40, test: 0);
        var first = Take(data, batches: 13, epoch: 0, position: 0).SelectMany(clips => clips).ToArray();
        var second = Take(data, batches: 13, epoch: 1, position: 0).SelectMany(clips => clips).ToArray();
        var other = Take(data, batches: 13, epoch: 0, position: 0, seed: 8).SelectMany(clips => clips).ToArray();
        Assert.That(first, Is.Unique.And.Length.EqualTo(39));
        Assert.That(second, Is.Not.EqualTo(first));
        Assert.That(other, Is.Not.EqualTo(first));
    }

    [Test]
    public void Fewer_clips_than_a_batch_are_taken_again()
    {
        using var data = Make(train: 2, test: 0);
        using var loader = BatchLoader.ForTraining(data, batchSize: 5, seed: 1);
        Assert.That(loader.BatchesPerEpoch, Is.EqualTo(1));
        Assert.That(loader.TryNext(out var batch), Is.True);
        Assert.That(batch!.Count, Is.EqualTo(5));
        Assert.That(batch.ClipIndices[..2], Is.EquivalentTo((int[])[0, 1]));
        Assert.That(batch.ClipIndices[2..], Is.EqualTo((int[])[batch.ClipIndices[0], batch.ClipIndices[1], batch.ClipIndices[0]]));
        Assert.That(batch.Weights, Is.All.EqualTo(1f));
    }

    [TestCase(6, 3)]
    [TestCase(7, 3)]
    [TestCase(2, 5)]
    public void Evaluation_takes_every_clip_once_in_order_and_pads_without_weight(int clips, int batchSize)
    {
        using var data = Make(train: 4, test: clips);
        using var loader = BatchLoader.ForEvaluation(data, Split.Test, batchSize);
        var seen = new List<string>();
        int batches = 0;
        while (loader.TryNext(out var batch))
        {
            batches++;
            seen.AddRange(batch.Ids.Take(batch.Count));
            Assert.That(batch.Weights.Take(batch.Count), Is.All.EqualTo(1f));
            for (int row = batch.Count; row < batchSize; row++)
                Assert.That((batch.Weights[row], batch.Labels[0][row], batch.Labels[1][row], batch.ClipIndices[row], batch.Ids[row]), Is.EqualTo((0f, -1, -1, -1, "")));
            Assert.That(batch.Faces[(batch.Count * Features.FaceBytes)..], Is.All.Zero);
            Assert.That(batch.Mels[(batch.Count * Features.MelCount)..], Is.All.Zero);
            loader.Return(batch);
        }
        Assert.That(batches, Is.EqualTo(loader.BatchesPerEpoch));
        Assert.That(seen, Is.EqualTo(data.Clips(Split.Test).Select(clip => clip.Id)));
        Assert.That(loader.TryNext(out _), Is.False);
    }

    [Test]
    public void An_empty_split_has_no_batches_and_empty_training_is_refused()
    {
        using var data = Make(train: 0, test: 1);
        using var loader = BatchLoader.ForEvaluation(data, Split.Validation, 4);
        Assert.That(loader.BatchesPerEpoch, Is.Zero);
        Assert.That(loader.TryNext(out _), Is.False);
        Assert.That(() => BatchLoader.ForTraining(data, 4, 1), Throws.TypeOf<UserException>().With.Property("Code").EqualTo(ExitCode.BadInput));
    }

    [Test]
    public void Training_is_planned_from_wherever_it_starts_and_evaluation_never()
    {
        using var data = Make(train: 11, test: 5);
        var all = Plans(epoch: 0, position: 0, batches: 6);
        for (int start = 0; start < 5; start++)
            Assert.That(Plans(start / 3, start % 3, batches: 1)[0], Is.EqualTo(all[start]));
        Assert.That(all.SelectMany(batch => batch).Distinct().Count(), Is.EqualTo(18));
        using var evaluation = BatchLoader.ForEvaluation(data, Split.Test, 3);
        while (evaluation.TryNext(out var batch))
        {
            Assert.That(batch.Augmentation, Is.All.EqualTo(default(AugmentPlan)));
            evaluation.Return(batch);
        }

        List<(AugmentPlan Plan, int Faces, int Mels)[]> Plans(int epoch, int position, int batches)
        {
            using var loader = BatchLoader.ForTraining(data, batchSize: 3, seed: 5, epoch, position, augmentation: NewAugmentation());
            var taken = new List<(AugmentPlan, int, int)[]>();
            for (int i = 0; i < batches && loader.TryNext(out var batch); i++)
            {
                var clips = batch.ClipIndices.Select(index => data.Clips(Split.Train)[index]).ToArray();
                for (int row = 0; row < 3; row++)
                    Assert.That(batch.MelLengths[row] + (int)batch.Augmentation[row].MelShift, Is.EqualTo(clips[row].Mels));
                taken.Add([.. batch.Augmentation.Zip(batch.FaceLengths, batch.MelLengths)]);
                loader.Return(batch);
            }
            return taken;
        }
    }

    [Test]
    public void What_goes_wrong_in_the_background_is_thrown_to_the_reader([Values(1, 3)] int workers)
    {
        using var data = Make(train: 12, test: 0);
        using (var file = new FileStream(Path.Combine(data.Folder, "shard-00000.bin"), FileMode.Open, FileAccess.ReadWrite))
            file.SetLength(file.Length / 2);
        using var loader = BatchLoader.ForTraining(data, batchSize: 4, seed: 1, workers: workers);
        Assert.That(() => { while (loader.TryNext(out var batch)) loader.Return(batch); }, Throws.TypeOf<UserException>().With.Message.Contains("damaged at byte"));
    }

    [Test]
    public void Dispose_ends_the_threads_whatever_they_wait_for([Values(1, 3)] int workers)
    {
        using var data = Make(train: 12, test: 0);
        var untouched = BatchLoader.ForTraining(data, 2, 1, workers: workers);
        untouched.Dispose();
        var held = BatchLoader.ForTraining(data, 2, 1, workers: workers);
        for (int i = 0; i < 3; i++)
            Assert.That(held.TryNext(out _), Is.True, "all buffers are out, the thread waits for one");
        held.Dispose();
        Assert.That(held.TryNext(out _), Is.False);
    }

    [Test]
    public void Batches_allocate_nothing_once_the_ring_is_full([Values] bool augmented, [Values(1, 3)] int workers)
    {
        using var data = Make(train: 64, test: 0);
        using var loader = BatchLoader.ForTraining(data, batchSize: 2, seed: 1, augmentation: augmented ? NewAugmentation() : null, workers: workers);
        Run(40);
        long before = GC.GetTotalAllocatedBytes(precise: true);
        Run(640);
        long perBatch = (GC.GetTotalAllocatedBytes(precise: true) - before) / 640;
        Assert.That(perBatch, Is.LessThan(8), "bytes; one small object per epoch of 32 batches is allowed");

        void Run(int batches)
        {
            for (int i = 0; i < batches; i++)
            {
                loader.TryNext(out var batch);
                loader.Return(batch!);
            }
        }
    }

    [Test]
    public void Crc32C_is_the_published_one()
    {
        Assert.That(Crc32C.Compute("123456789"u8), Is.EqualTo(0xE3069283));
        for (int cut = 0; cut <= 8; cut += 8)
            Assert.That(Crc32C.Compute("123456789"u8[..cut], "123456789"u8[cut..]), Is.EqualTo(0xE3069283));
    }

    private static Augmentation NewAugmentation() => new(new() { Flip = true, CropJitter = 7, TimeShift = 0.25, TimeMasks = 1, TimeMaskFrames = 9 }, Features, seed: 5);

    private static List<int[]> Take(PreparedDataset data, int batches, int epoch, int position, ulong seed = 7)
    {
        using var loader = BatchLoader.ForTraining(data, batchSize: 3, seed, epoch, position);
        var taken = new List<int[]>();
        for (int i = 0; i < batches && loader.TryNext(out var batch); i++)
        {
            taken.Add([.. batch.ClipIndices]);
            loader.Return(batch);
        }
        return taken;
    }

    private static PreparedDataset Make(int train, int test)
    {
        string folder = TestFolders.New(), definition = Preparer.DefinitionOf(Features);
        var clips = new List<ClipInfo>();
        var random = new Random(1);
        var (faces, mels) = (new byte[Features.FaceBytes], new float[Features.MelCount]);
        using (var shard = Shard.Create(Path.Combine(folder, "shard-00000.bin"), Features, definition))
            for (int i = 0; i < train + test; i++)
            {
                random.NextBytes(faces);
                for (int k = 0; k < mels.Length; k++)
                    mels[k] = random.NextSingle();
                var (id, faceCount, melCount) = ($"clip{i}.mp4", 1 + (i % Features.FaceFrames), 1 + (i % Features.MelFrames));
                long offset = shard.Append(new ShardClip(id, i, i, faceCount, melCount), faces, mels);
                clips.Add(new ClipInfo(id, i % 2, i % 5, i < train ? Split.Train : Split.Test, faceCount, melCount, [], 0, offset));
            }
        var index = new DatasetIndex
        {
            Format = DatasetIndex.CurrentFormat, Definition = definition, Features = Features, Data = new DataOptions(), LogMel = "", ManifestSha256 = "",
            Emotions = new DataOptions().Emotions, Speakers = ["ann", "bob"], Factors = [], Counts = new Dictionary<Split, int>(),
            Rejected = new Dictionary<string, int>(), Shards = ["shard-00000.bin"], Clips = clips,
        };
        File.WriteAllText(Path.Combine(folder, DatasetIndex.FileName), System.Text.Json.JsonSerializer.Serialize(index, DatasetIndex.Json));
        return PreparedDataset.Open(folder);
    }
}
