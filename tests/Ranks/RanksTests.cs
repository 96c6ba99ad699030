using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;
using Avedis.Bindings.Mpi;
using Avedis.Engine;
using Avedis.Trainer;
using Avedis.Trainer.Data;
using NUnit.Framework;

namespace Avedis.Tests.Ranks;

/// <summary>Trainings over several processes, by mpirun on this machine: what one process trains, two to four train too.</summary>
[NonParallelizable]
public sealed class RanksTests
{
    private static readonly string[] Common = ["--set", "training.precision=fp32", "--set", "training.batchSize=12", "--set", "training.threads=1", "--set", "training.selection.probeEvery=0", "--set", "training.ranks.compareEvery=1"];
    private static readonly string[] FourSlices = [.. Common, "--set", "training.ranks.reduction=fixedOrder", "--set", "training.ranks.slices=4"];

    private readonly List<Disturbed> all = [];

    [OneTimeSetUp]
    public void RequireMpi() => RankedProgram.Require();

    [OneTimeTearDown]
    public void TearDown() => all.ForEach(runs => runs.Dispose());

    private Disturbed Runs(string[] settings, int epochs = 6)
    {
        var runs = new Disturbed(settings) { Epochs = epochs };
        all.Add(runs);
        return runs;
    }

    internal static Process Start(int processes, ProcessStartInfo command, params (string Name, string Value)[] variables)
    {
        // mpirun waits so many seconds for ranks that it has told to end; those that save take some
        string patience = Tier.Fast ? "1" : "5";
        var start = new ProcessStartInfo("mpirun", ["--allow-run-as-root", "--oversubscribe", "--mca", "odls_base_sigkill_timeout", patience, "-n", processes.ToString(CultureInfo.InvariantCulture), command.FileName, .. command.ArgumentList])
        {
            RedirectStandardOutput = true, RedirectStandardError = true, RedirectStandardInput = true,
        };
        foreach (var (name, value) in variables)
            start.Environment[name] = value; // Open MPI passes its own machine's on
        return Process.Start(start)!;
    }

    private static Ended Train(int processes, Disturbed runs, string run, bool resume = false, params string[] more) => Disturbed.Finish(Start(processes, runs.Command(run, resume, more)));

    /// <summary>Mean losses of ten steps, all in a row.</summary>
    private static double[] Losses(Disturbed runs, string run) =>
        [.. File.ReadLines(Path.Combine(runs.PathOf(run), "metrics.jsonl")).Select(line => JsonNode.Parse(line)!["losses"]).OfType<JsonObject>().SelectMany(losses => losses.Select(loss => loss.Value!.GetValue<double>()))];

    [TestCase("stl", "--task", "emotion", Category = Tier.Long)]
    [TestCase("baseline", Category = Tier.Long)]
    [TestCase("gr", Category = Tier.Long)]
    [TestCase("gr", "--set", "training.precision=bf16", Category = Tier.Long)]
    [TestCase("alt", Category = Tier.Long)]
    [TestCase("conf")]
    [TestCase("projected", Category = Tier.Long)]
    public void Any_number_of_processes_trains_the_same_to_the_bit_in_fixed_order(string strategy, params string[] more)
    {
        var runs = Runs([.. FourSlices, "--strategy", strategy, .. more], epochs: 3);
        foreach (int processes in Tier.Fast ? [3] : new[] { 2, 3, 4 })
        {
            var ended = Train(processes, runs, $"of-{processes}");
            Assert.That(ended.Code, Is.EqualTo(ExitCode.Ok), ended.Text);
            Assert.That(ended.Text, Does.Contain($"{processes} processes on"));
            Assert.That(runs.Outcome($"of-{processes}"), Is.EqualTo(runs.Reference), $"{processes} processes");
        }
    }

    /// <summary>MPI's sums have another order: the mean losses of ten steps, each over the weights that the steps before it left.</summary>
    [TestCase("baseline", 2, Category = Tier.Long)]
    [TestCase("gr", 3)]
    [TestCase("alt", 4, Category = Tier.Long)]
    [TestCase("conf", 2, Category = Tier.Long)]
    [TestCase("projected", 3, Category = Tier.Long)]
    public void Sums_by_MPI_give_the_same_losses(string strategy, int processes)
    {
        const double Tolerance = 1e-5; // relative, FP32: what some hundred roundings in another order come to
        string[] settings = [.. Common, "--strategy", strategy];
        var runs = Runs([.. settings, "--set", "training.ranks.reduction=fixedOrder", "--set", $"training.ranks.slices={processes}"]);
        Assert.That(runs.Train("one").Code, Is.EqualTo(ExitCode.Ok));
        var mpi = Runs(settings);
        var ended = Train(processes, mpi, "several");
        Assert.That(ended.Code, Is.EqualTo(ExitCode.Ok), ended.Text);
        double[] expected = Losses(runs, "one"), found = Losses(mpi, "several");
        Assert.That(expected, Has.Length.GreaterThanOrEqualTo(2));
        foreach (var (one, several) in expected.Zip(found))
            Assert.That(several, Is.EqualTo(one).Within(Tolerance * one));
    }

    /// <summary>
    /// Batch norms over all ranks give the training of one process on the whole batch, which computes its first blocks in another way.
    /// Where two values of a pooling window are nearly equal, a rounding decides which wins, and the trainings part from there on. That
    /// happens with some seeds; a fault parts all.
    /// </summary>
    [TestCase("baseline", 2)]
    [TestCase("gr", 3, Category = Tier.Long)]
    [TestCase("alt", 4, Category = Tier.Long)]
    [TestCase("conf", 2, "--set", "network.auxiliary.normalise=true", Category = Tier.Long)]
    [TestCase("projected", 2, Category = Tier.Long)]
    public void Batch_norms_over_all_ranks_give_the_losses_of_one_process(string strategy, int processes, params string[] more)
    {
        const double Tolerance = 1e-5; // relative, FP32: what some hundred roundings in another order come to
        double nearest = double.PositiveInfinity;
        for (int seed = 1; seed <= 3 && nearest >= Tolerance; seed++)
        {
            string[] settings = [.. Common, "--strategy", strategy, "--seed", $"{seed}", .. more];
            var runs = Runs(settings);
            Assert.That(runs.Train("one").Code, Is.EqualTo(ExitCode.Ok));
            double[] expected = Losses(runs, "one");
            Assert.That(expected, Is.Not.Empty);
            double Distance(Disturbed others, string run)
            {
                var ended = Train(processes, others, run);
                Assert.That(ended.Code, Is.EqualTo(ExitCode.Ok), ended.Text);
                return expected.Zip(Losses(others, run)).Max(pair => Math.Abs(pair.Second - pair.First) / pair.First);
            }
            nearest = Math.Min(nearest, Distance(Runs([.. settings, "--set", "training.ranks.batchNorm=global"]), "several"));
            if (strategy == "gr")
                Assert.That(Distance(runs, "local"), Is.GreaterThan(100 * Tolerance), "each part normalised by itself");
        }
        Assert.That(nearest, Is.LessThan(Tolerance));
    }

    [Test, Category(Tier.Long)]
    public void Batch_norms_over_all_ranks_keep_the_bits_in_fixed_order()
    {
        var runs = Runs([.. FourSlices, "--strategy", "gr", "--set", "training.ranks.batchNorm=global"], epochs: 3);
        foreach (int processes in new[] { 2, 3 })
        {
            var ended = Train(processes, runs, $"of-{processes}");
            Assert.That(ended.Code, Is.EqualTo(ExitCode.Ok), ended.Text);
            Assert.That(runs.Outcome($"of-{processes}"), Is.EqualTo(runs.Reference), $"{processes} processes");
        }
    }

    [Test, Category(Tier.Long)]
    public void A_run_goes_on_with_another_number_of_processes()
    {
        var runs = Runs([.. FourSlices, "--strategy", "alt", "--set", "training.adversary.renewEvery=3"]);
        string[] parts = ["3", "5", "8", "0"]; // steps; 0: to the end
        foreach (var (steps, i) in parts.Select((steps, i) => (steps, i)))
        {
            var ended = Train(new[] { 2, 4, 1, 3 }[i], runs, "parts", resume: i > 0, "--set", $"training.maxSteps={steps}");
            Assert.That(ended.Code, Is.EqualTo(ExitCode.Ok), ended.Text);
        }
        Assert.That(runs.Outcome("parts"), Is.EqualTo(runs.Reference));
    }

    /// <summary>Rates that make a step's losses infinite: all ranks go back together.</summary>
    [Test, Category(Tier.Long)]
    public void Ranks_go_back_together_from_a_step_that_is_not_finite()
    {
        var runs = Runs([.. FourSlices, "--set", "training.learningRate=1e30", "--set", "training.guard.onNonFinite=rollBack", "--set", "training.guard.limit=2"]);
        var (one, several) = (runs.Train("one"), Train(2, runs, "several"));
        Assert.That((one.Code, several.Code), Is.EqualTo((ExitCode.Diverged, ExitCode.Diverged)), several.Text);
        Assert.That(several.Text, Does.Contain("(2 of 2 times)").And.Contain("diverged"));
        Assert.That(several.Text.Split("avedis: training diverged"), Has.Length.EqualTo(2), "one rank says it");
    }

    [Test, Category(Soak.Category), Category(Tier.Long)]
    public void A_killed_rank_ends_all_and_the_run_goes_on_to_the_same_bits()
    {
        var limit = TimeSpan.FromSeconds(30);
        var runs = Runs([.. FourSlices, "--strategy", "gr"], epochs: 30);
        _ = runs.Reference;
        int kills = Soak.Count(3, 50), early = 0;
        var random = new Random(1);
        double slowest = 0;
        for (int i = 0; i < kills; i++)
        {
            int processes = 2 + (i % 3), rank = random.Next(processes);
            string run = $"killed-{i}";
            using var mpirun = Start(processes, runs.Command(run, resume: false));
            var ended = Task.Run(() => Disturbed.Finish(mpirun));
            // a random step behind the first checkpoint
            var clock = Stopwatch.StartNew();
            while (Checkpoint.Latest(runs.CheckpointsOf(run)) is null && !ended.IsCompleted && clock.Elapsed < limit)
                Thread.Sleep(5);
            Thread.Sleep(random.Next(600));
            int victim = Processes(runs.PathOf(run)).FirstOrDefault(id => Variable(id, "OMPI_COMM_WORLD_RANK") == $"{rank}");
            if (victim == 0 || ended.IsCompleted)
            {
                early++; // too late, in fact
                continue;
            }
            var killed = Stopwatch.StartNew();
            Process.GetProcessById(victim).Kill();
            Assert.That(ended.Wait(limit), $"rank {rank} of {processes} was killed, and mpirun still runs");
            slowest = Math.Max(slowest, killed.Elapsed.TotalSeconds);
            Assert.That(ended.Result.Code, Is.Not.Zero);
            Assert.That(Processes(runs.PathOf(run)), Is.Empty);
            Assert.That(runs.Unreadable(run), Is.Null);
            var resumed = Train(2 + ((i + 1) % 3), runs, run, resume: true);
            Assert.That(resumed.Code, Is.EqualTo(ExitCode.Ok), resumed.Text);
            Assert.That(runs.Outcome(run), Is.EqualTo(runs.Reference), $"kill {i}");
            runs.Forget(run);
        }
        Soak.Say($"kill -9 of a rank of 2 to 4 at {kills - early} random moments: every job ended, after {slowest:F1} s at most, and went on, with another number of ranks, to the bits of an undisturbed run");
        Assert.That(early, Is.LessThan(kills));
    }

    [Test]
    public void A_rank_with_another_setting_is_refused_by_name() =>
        ExpectRefusal(command => [.. command, "--set", "training.learningRate=0.5"], "another setting training.learningRate than rank 0: 0.5, not");

    [Test]
    public void A_rank_with_other_data_is_refused_by_name()
    {
        string other = Directory.CreateTempSubdirectory("avedis-other-data").FullName;
        try
        {
            foreach (string file in Directory.GetFiles(TinyCorpus.Prepared))
                File.Copy(file, Path.Combine(other, Path.GetFileName(file)));
            // the same clips, but for one label
            string index = Path.Combine(other, DatasetIndex.FileName), text = File.ReadAllText(index);
            int at = text.IndexOf("\"emotion\": 0", StringComparison.Ordinal);
            File.WriteAllText(index, text[..at] + "\"emotion\": 1" + text[(at + "\"emotion\": 0".Length)..]);
            ExpectRefusal(command => [.. command.Select(argument => argument == TinyCorpus.Prepared ? other : argument)], "another data set than rank 0");
        }
        finally
        {
            Directory.Delete(other, recursive: true);
        }
    }

    /// <summary>Two ranks, of which the second's command is another.</summary>
    private void ExpectRefusal(Func<IEnumerable<string>, string[]> other, string difference)
    {
        var command = Runs(Common).Command("other", resume: false).ArgumentList.Skip(1); // behind the program
        using var program = RankedProgram.StartUnlike([.. command], other(command));
        var ended = program.Finish();
        Assert.That(ended.Code, Is.EqualTo(ExitCode.Usage), ended.Text);
        Assert.That(ended.Text, Does.Contain("rank 1 on").And.Contain(difference));
    }

    [Test]
    public void A_batch_that_has_no_equal_parts_is_refused()
    {
        var ended = Train(2, Runs([.. Common, "--batch-size", "5"]), "odd");
        Assert.That(ended.Code, Is.EqualTo(ExitCode.Usage));
        Assert.That(ended.Text, Does.Contain("a batch of 5 clips has no 2 equal parts"));
    }

    [Test]
    public void What_needs_a_launcher_says_so()
    {
        var (code, _, error) = TinyCorpus.Run("train", TinyCorpus.Prepared, "--run", TestFolders.New(), "--set", "training.ranks.reduction=mpi");
        Assert.That(code, Is.EqualTo(ExitCode.Usage));
        Assert.That(error, Does.Contain("mpirun"));
    }

    /// <summary>Kernels and graphs of the GPU under the emulated driver, and NCCL's part by its double: gradients on a stream beside the computing one, in a recorded step.</summary>
    [TestCase("projected", "local", Category = Tier.Long)]
    [TestCase("gr", "global", Category = Tier.Long)]
    public void Sums_by_NCCL_are_those_of_MPI_to_the_bit(string strategy, string batchNorm)
    {
        NcclDouble.Require();
        var runs = Runs([.. Common, "--device", "cuda", "--strategy", strategy, "--set", "training.ranks.bucketBytes=2048", "--set", $"training.ranks.batchNorm={batchNorm}"], epochs: 2);
        foreach (string reduction in new[] { "mpi", "nccl" })
        {
            var command = runs.Command(reduction, resume: false, "--set", $"training.ranks.reduction={reduction}");
            using var mpirun = Start(2, command, NcclDouble.Variables());
            var ended = Disturbed.Finish(mpirun);
            Assert.That(ended.Code, Is.EqualTo(ExitCode.Ok), ended.Text);
            Assert.That(ended.Text.Contains("NCCL 2."), Is.EqualTo(reduction == "nccl"));
        }
        Assert.That(runs.Weights("nccl"), Is.EqualTo(runs.Weights("mpi")));
    }

    [Test]
    public void Without_NCCL_who_asks_for_it_is_told()
    {
        var ended = Train(2, Runs([.. Common, "--set", "training.ranks.reduction=nccl"]), "none");
        Assert.That(ended.Code, Is.EqualTo(ExitCode.DeviceUnavailable));
        Assert.That(ended.Text, Does.Contain("NCCL was not found").And.Contain("AVEDIS_NCCL_LIBRARY"));
    }

    /// <summary>As schedulers send them ahead of time, to mpirun, which passes them on.</summary>
    [Test, Category(Tier.Long)]
    public void Signals_to_mpirun_save_and_stop()
    {
        var runs = Runs(FourSlices, epochs: 100_000);
        using var mpirun = Start(2, runs.Command("signalled", resume: false, "--set", "training.keepCheckpoints=1000000"));
        var ended = Task.Run(() => Disturbed.Finish(mpirun));
        var clock = Stopwatch.StartNew();
        while (Checkpoint.Latest(runs.CheckpointsOf("signalled")) is null && !ended.IsCompleted && clock.Elapsed < TimeSpan.FromSeconds(30))
            Thread.Sleep(5);
        // epochs of two steps save at even ones by themselves
        bool SavedWithin() => Checkpoint.All(runs.CheckpointsOf("signalled")).Any(path => int.TryParse(Path.GetFileName(path).Split('-')[^1], out int step) && step % 2 == 1);
        for (int i = 0; i < 100 && !SavedWithin(); i++)
        {
            TinyCorpus.Signal(mpirun.Id, "USR1");
            Thread.Sleep(50);
        }
        Assert.That(SavedWithin(), "SIGUSR1 saves within an epoch");
        TinyCorpus.Signal(mpirun.Id, "TERM");
        // what ranks print at their end, mpirun may no longer pass on
        Assert.That(ended.Wait(TimeSpan.FromSeconds(60)));
        Assert.That(runs.Unreadable("signalled"), Is.Null);
        var resumed = Train(3, runs, "signalled", resume: true, "--set", "training.maxSteps=1", "--set", "training.keepCheckpoints=1");
        Assert.That(resumed.Code, Is.EqualTo(ExitCode.Ok), resumed.Text);
    }

    /// <summary>Two machines, as far as networks and names go, whose line is cut: neither waits for ever, and the run goes on.</summary>
    [Test, Category(Tier.Long)]
    public void A_line_that_is_cut_ends_both_sides_with_the_culprit_named()
    {
        string script = Path.Combine(Repository.Root, "tests", "Ranks", "two-hosts");
        var runs = Runs([.. FourSlices, "--strategy", "conf"], epochs: 400);
        string cut = runs.PathOf("cut");
        var command = runs.Command("two", resume: false);
        using var process = Process.Start(new ProcessStartInfo(script, ["--cut", cut, command.FileName, .. command.ArgumentList]) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        var ended = Task.Run(() => Disturbed.Finish(process));
        var clock = Stopwatch.StartNew();
        while (Checkpoint.Latest(runs.CheckpointsOf("two")) is null && !ended.IsCompleted && clock.Elapsed < TimeSpan.FromSeconds(60))
            Thread.Sleep(5);
        File.WriteAllText(cut, "");
        var since = Stopwatch.StartNew();
        Assert.That(ended.Wait(TimeSpan.FromSeconds(60)));
        if (ended.Result.Code == NoNetworks)
            Assert.Ignore($"no two hosts: {ended.Result.Text.Trim()}");
        double seconds = since.Elapsed.TotalSeconds;
        Assert.That(ended.Result.Text, Does.Contain("2 processes on left, right"));
        Assert.That(ended.Result.Text, Does.Contain("rank 1 on right has given no sign of life"));
        Assert.That(ended.Result.Text, Does.Contain("rank 0 on left has given no sign of life"));
        Assert.That(seconds, Is.LessThan(30), "seconds until both sides had ended");
        Soak.Say($"two hosts, the line between them cut: both had ended after {seconds:F1} s and named the other");
        Assert.That(runs.Unreadable("two"), Is.Null);
        var resumed = Train(2, runs, "two", resume: true, "--set", "training.maxSteps=100");
        Assert.That(resumed.Code, Is.EqualTo(ExitCode.Ok), resumed.Text);
    }

    /// <summary>Exit code of two-hosts.</summary>
    private const int NoNetworks = 200;

    // those whose command line names a run
    private static int[] Processes(string run) =>
        [.. Directory.GetDirectories("/proc").Select(Path.GetFileName).Where(name => int.TryParse(name, out _)).Select(name => int.Parse(name!, CultureInfo.InvariantCulture)).Where(id => Words(id, "cmdline").Contains(run))];

    private static string? Variable(int process, string name) => Words(process, "environ").FirstOrDefault(line => line.StartsWith(name + "=", StringComparison.Ordinal))?[(name.Length + 1)..];

    private static string[] Words(int process, string file)
    {
        try
        {
            return File.ReadAllText($"/proc/{process}/{file}").Split('\0');
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return []; // it ended meanwhile
        }
    }
}
