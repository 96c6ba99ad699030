using System.Diagnostics;
using Avedis.Engine;
using Avedis.Tests.Ops;
using Avedis.Trainer;
using NUnit.Framework;

namespace Avedis.Tests.Ranks;

/// <summary>Steps and jobs of a Slurm of its own on this machine, where it is installed.</summary>
[NonParallelizable]
[Category(Soak.Category)]
public sealed class SlurmTests
{
    private const int NotThere = 200; // exit code of the script

    private static readonly string repository = Repository.Root;

    private readonly Disturbed runs = new(
        "--set", "training.precision=fp32", "--set", "training.batchSize=12", "--set", "training.threads=1", "--set", "training.selection.probeEvery=0",
        "--set", "training.ranks.reduction=fixedOrder", "--set", "training.ranks.slices=2") { Epochs = 100 };

    [OneTimeTearDown]
    public void TearDown() => runs.Dispose();

    [Test]
    public void Tasks_of_srun_train_together()
    {
        var ended = WithSlurm("""srun -n 2 --mpi=pmix "$@" """, "srun");
        Assert.That(ended.Code, Is.EqualTo(ExitCode.Ok), ended.Text);
        Assert.That(ended.Text, Does.Contain("2 processes on"));
        Assert.That(runs.Outcome("srun"), Is.EqualTo(runs.Reference));
    }

    [Test]
    public void Tasks_of_srun_without_a_process_manager_are_told_what_is_missing()
    {
        var ended = WithSlurm("""srun -n 2 --mpi=none "$@" """, "none");
        Assert.That(ended.Code, Is.EqualTo(ExitCode.Usage), ended.Text);
        Assert.That(ended.Text, Does.Contain("avedis: srun started 2 tasks that cannot meet: start with srun --mpi=pmix"));
    }

    /// <summary>USR1 saves and goes on, cancelling saves and stops, and the same job sent again goes on from there.</summary>
    [Test]
    public void A_job_that_is_cancelled_goes_on_when_it_is_sent_again()
    {
        const string Script = """
            shift 3                          # dotnet avedis.dll train
            data=$1 run=$3
            shift 3
            send() { sbatch --parsable --ntasks=2 --output="$run.out" trainer/jobs/slurm.sh "$data" "$run" "$@"; }
            wait_for() { for _ in $(seq 600); do eval "$1" && return; sleep 0.1; done; echo "never: $1"; cat "$run.out"; exit 1; }
            job=$(send "$@")
            wait_for '[ -e "$run/checkpoints/LATEST" ]'
            scancel --signal=USR1 "$job"
            sleep 1
            scancel "$job"
            wait_for '[ -z "$(squeue -h -j "$job" 2>/dev/null)" ]'
            cp "$run.out" "$run.first"
            job=$(send "$@")
            wait_for '[ -z "$(squeue -h -j "$job" 2>/dev/null)" ]'
            cat "$run.out"
            """;
        string program = Path.ChangeExtension(TinyCorpus.ProgramPath, null);
        var ended = WithSlurm(Script, "job", ("AVEDIS", program));
        Assert.That(ended.Code, Is.EqualTo(ExitCode.Ok), ended.Text);
        string first = File.ReadAllText(runs.PathOf("job") + ".first");
        Assert.That(first, Does.Not.Contain($"epoch {runs.Epochs}/{runs.Epochs}"), "cancelled before its end");
        Assert.That(ended.Text, Does.Contain("resumed from").And.Contain($"epoch {runs.Epochs}/{runs.Epochs}"));
        Assert.That(runs.Outcome("job"), Is.EqualTo(runs.Reference));
    }

    /// <summary>Runs a script of bash with the training's command as its arguments.</summary>
    private Ended WithSlurm(string script, string run, params (string Name, string Value)[] variables)
    {
        var command = runs.Command(run, resume: false);
        var start = new ProcessStartInfo(Path.Combine(repository, "tests", "Ranks", "one-node-slurm"), ["bash", "-euo", "pipefail", "-c", script, "bash", command.FileName, .. command.ArgumentList])
        {
            RedirectStandardOutput = true, RedirectStandardError = true, WorkingDirectory = repository,
        };
        foreach (var (name, value) in variables)
            start.Environment[name] = value;
        var ended = Disturbed.Finish(Process.Start(start)!);
        if (ended.Code == NotThere)
            Assert.Ignore($"no Slurm: {ended.Text.Trim()}");
        return ended;
    }
}
