using Avedis.Bindings;
using Avedis.Engine;
using Avedis.Trainer;
using Avedis.Trainer.Data;
using Avedis.Trainer.Model;
using Avedis.Trainer.Training;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>The training loop on devices that fail, on weights that spoil, and in which order it gives a device its work.</summary>
[NonParallelizable]
public sealed class TrainingLoopTests
{
    private string folder = "";

    [SetUp]
    public void SetUp() => folder = Directory.CreateTempSubdirectory("avedis-loop").FullName;

    [TearDown]
    public void TearDown() => Directory.Delete(folder, recursive: true);

    /// <summary>A backend that writes a NaN into the first parameter behind one of the optimiser's steps.</summary>
    private static WatchedBackend Spoilt(CpuBackend inner, int step)
    {
        int steps = 0;
        return new WatchedBackend(inner)
        {
            After = (operation, tensors) =>
            {
                if (operation == "adam" && ++steps == step)
                    inner.Upload<float>(tensors[0]!.Part("first", new Shape(1), 0), [float.NaN]);
            },
        };
    }

    private sealed class SmallBackend(IBackend inner, long limit, long margin) : WatchedBackend(inner)
    {
        public override long FreeMemory => limit;

        public override long Margin(long largestUpload) => margin + 2 * largestUpload;

        public override nint Allocate(long bytes, long margin) =>
            bytes + margin <= limit ? base.Allocate(bytes, margin) : throw new OutOfDeviceMemoryException(bytes, "a small device");
    }

    private string[] Checkpoints() => [.. Directory.GetDirectories(Path.Combine(folder, "checkpoints")).Select(path => Path.GetFileName(path)!).Order(StringComparer.Ordinal)];

    private TrainingState Train(IBackend backend, bool resume = false, params string[] sets)
    {
        using var dataset = PreparedDataset.Open(TinyCorpus.Prepared);
        var config = Config.Load(null, null, [.. TinyCorpus.SmallNetwork.Where(word => word != "--set"), .. sets]) with { Features = dataset.Features };
        using var interrupt = new Interrupt();
        using var loop = new TrainingLoop(config, dataset, new RunFolder(folder), TextWriter.Null, interrupt, resume, _ => backend);
        return loop.Run();
    }

    private static int StepsPerEpoch()
    {
        using var dataset = PreparedDataset.Open(TinyCorpus.Prepared);
        using var loader = BatchLoader.ForTraining(dataset, batchSize: 4, seed: 1);
        return loader.BatchesPerEpoch;
    }

    [Test]
    public void Weights_that_are_not_finite_are_never_saved()
    {
        int steps = StepsPerEpoch();
        var failure = Assert.Throws<UserException>(() => Train(Spoilt(new CpuBackend(), step: 2 * steps), sets: "training.epochs=2"));
        Assert.Multiple(() =>
        {
            Assert.That(failure!.Code, Is.EqualTo(ExitCode.Diverged));
            Assert.That(failure.Message, Does.Contain($"diverged at step {2 * steps} (epoch 2)").And.Contain("1 of").And.Contain($"step-{steps:D8}"));
            Assert.That(Checkpoints(), Is.EqualTo(new[] { "best", $"step-{steps:D8}" }));
        });
    }

    [Test]
    public void A_device_that_fails_ends_in_its_exit_code_and_the_run_goes_on_from_the_checkpoint()
    {
        int steps = StepsPerEpoch(), adams = 0;
        var failing = new WatchedBackend(new CpuBackend())
        {
            Before = operation =>
            {
                if (operation == "adam" && ++adams == steps + 2)
                    throw new DeviceFailedException("the device fell off the bus in adam");
            },
        };
        var failure = Assert.Throws<UserException>(() => Train(failing, sets: "training.epochs=2"));
        Assert.Multiple(() =>
        {
            Assert.That(failure!.Code, Is.EqualTo(ExitCode.DeviceFailed));
            Assert.That(failure.Message, Is.EqualTo(
                "the device fell off the bus in adam; the last good checkpoint is " +
                $"{Path.Combine(folder, "checkpoints", $"step-{steps:D8}")}; go on with --resume"));
        });
        Assert.That(Train(new CpuBackend(), resume: true, sets: "training.epochs=2").Step, Is.EqualTo(2 * steps));
    }

    [TestCase(0)]
    [TestCase(3)]
    public void The_next_batch_is_sent_before_the_losses_are_read_but_none_that_is_not_trained_on(int maxSteps)
    {
        var operations = new List<string>();
        int steps = maxSteps > 0 ? maxSteps : StepsPerEpoch();
        Train(new WatchedBackend(new CpuBackend()) { Before = operations.Add }, sets: ["training.epochs=1", $"training.maxSteps={maxSteps}"]);
        // the plan looks on without the backend: every call is of a real step
        int[] starts = [.. operations.Select((operation, i) => (operation, i)).Where(o => o.operation == "replay train").Select(o => o.i)];
        Assert.That(starts, Has.Length.EqualTo(steps));
        int BatchesSent(int step) => operations.Skip(starts[step]).TakeWhile(operation => operation != "download").Count(operation => operation == "upload");
        for (int step = 0; step < steps; step++)
            Assert.That(BatchesSent(step), step < steps - 1 ? Is.GreaterThan(0) : Is.Zero, $"uploads between step {step + 1} of {steps} and its losses");
    }

    [Test]
    public void A_replayed_step_is_nothing_but_the_same_operations()
    {
        var steps = new List<List<string>>();
        var backend = new RecordingBackend(new CpuBackend(), steps);
        Train(backend, sets: "training.epochs=1");
        foreach (string name in new[] { "train", "predict" })
        {
            var named = steps.Where(step => step[0] == name).ToList();
            Assert.That(named, Has.Count.GreaterThan(1), name);
            Assert.That(named[0], Has.Count.GreaterThan(5).And.None.EqualTo("upload").And.None.EqualTo("download").And.None.EqualTo("synchronize"), name);
            Assert.That(named, Is.All.EqualTo(named[0]), name);
        }
    }

    [TestCase("fp32")]
    [TestCase("bf16")]
    public void Training_is_augmented_and_evaluation_is_not(string precision)
    {
        string[] preparing = ["normalise", "copy", "augment faces", "augment mels"];
        string[] Preparing(string name, params string[] sets)
        {
            var steps = new List<List<string>>();
            Train(new RecordingBackend(new CpuBackend(), steps), sets: ["training.epochs=1", "training.checkpointSeconds=0", $"training.precision={precision}", .. sets]);
            return [.. steps.First(step => step[0] == name).Intersect(preparing)];
        }
        string[] plain = precision == "fp32" ? ["normalise"] : ["normalise", "copy"];
        foreach (string name in new[] { "train", "predict" })
            Assert.That(Preparing(name), Is.EqualTo(plain), name);
        Assert.That(Preparing("train", "training.augment.flip=true"), Is.EqualTo(new[] { "augment faces", "augment mels" }));
        Assert.That(Preparing("predict", "training.augment.flip=true"), Is.EqualTo(new[] { "normalise", "copy" }), "the tensor that training augments into");
    }

    /// <summary>Notes what each replay is called and runs.</summary>
    private sealed class RecordingBackend : WatchedBackend
    {
        private readonly List<List<string>> steps;
        private bool inside;

        public RecordingBackend(IBackend inner, List<List<string>> steps)
            : base(inner)
        {
            this.steps = steps;
            Before = operation =>
            {
                if (inside)
                    steps[^1].Add(operation);
            };
        }

        public override void Replay(string name, Action work)
        {
            steps.Add([name]);
            inside = true;
            base.Replay(name, work);
            inside = false;
        }
    }

    [TestCase(0)]
    [TestCase(3 << 20)]
    public void A_batch_too_large_for_the_device_is_refused_with_one_that_fits(long margin)
    {
        const int Batch = 64;
        long Needs(int batch)
        {
            using var runtime = Build(Small(long.MaxValue), batch);
            return runtime.Memory.TotalBytes + runtime.Memory.MarginBytes;
        }

        long limit = Needs(20);
        SmallBackend Small(long free) => new(new CpuBackend(), free, margin);
        string message = Assert.Throws<OutOfDeviceMemoryException>(() => Build(Small(limit), Batch))!.Message;
        Assert.That(message, Does.Contain($"a batch of {Batch} needs {Needs(Batch) / 1048576.0:N0} MiB, the device has {limit / 1048576.0:N0} MiB free"));
        var fits = System.Text.RegularExpressions.Regex.Match(message, @"; (\d+) clips fit \(--batch-size \1\)");
        Assert.That(fits.Success, message);
        int clips = int.Parse(fits.Groups[1].Value);
        Assert.That(clips, Is.EqualTo(20));
        Build(Small(limit), clips).Dispose();

        message = Assert.Throws<OutOfDeviceMemoryException>(() => Build(Small(1000), Batch))!.Message;
        Assert.That(message, Does.EndWith("not one clip fits: the preset is too large for this device"));
    }

    private static Runtime Build(IBackend backend, int batch)
    {
        var config = Config.Load(null, null, TinyCorpus.SmallNetwork.Where(word => word != "--set"));
        var shape = new NetworkShape(batch, FaceFrames: 2, FaceSize: 64, MelBins: 40, MelFrames: 100,
            [Factor.Numbered(Factor.Emotion, 5), Factor.Numbered(Factor.Speaker, 3)], DType.F32);
        return new Runtime(backend, config.Network, shape, config.Training);
    }
}
