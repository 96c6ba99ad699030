using Avedis.Trainer;
using Avedis.Trainer.Ranks;
using NUnit.Framework;

namespace Avedis.Tests.Ranks;

public sealed class LauncherTests
{
    private static Launcher? Find(params string[] variables)
    {
        var set = variables.Select(text => text.Split('=')).ToDictionary(pair => pair[0], pair => pair[1]);
        return Launcher.Find(set.GetValueOrDefault);
    }

    [Test]
    public void Without_a_launcher_there_is_one_process() => Assert.That(Find(), Is.Null);

    [TestCase("mpirun", "OMPI_COMM_WORLD_RANK=2", "OMPI_COMM_WORLD_SIZE=4")]
    [TestCase("mpiexec", "PMI_RANK=2", "PMI_SIZE=4")]
    [TestCase("srun", "SLURM_PROCID=2", "SLURM_STEP_NUM_TASKS=4", "PMIX_NAMESPACE=slurm.pmix.4.0")]
    public void Every_launcher_is_known(string name, params string[] variables) =>
        Assert.That(Find(variables), Has.Property("Name").EqualTo(name).And.Property("Rank").EqualTo(2).And.Property("Size").EqualTo(4));

    [Test]
    public void The_script_of_a_job_is_no_step_of_srun() => Assert.That(Find("SLURM_PROCID=0", "SLURM_NTASKS=4"), Is.Null);

    [Test]
    public void Tasks_of_srun_without_a_process_manager_are_told_what_is_missing() => Assert.That(
        () => Find("SLURM_PROCID=1", "SLURM_STEP_NUM_TASKS=2"), Throws.TypeOf<UserException>().With.Property("Code").EqualTo(ExitCode.Usage).And.Message.Contains("--mpi=pmix"));

    [Test]
    public void A_single_task_of_srun_trains_alone() => Assert.That(Find("SLURM_PROCID=0", "SLURM_STEP_NUM_TASKS=1"), Is.Null);

    /// <summary>mpirun inside a job: the job's own variables are those of its first task.</summary>
    [Test]
    public void Mpirun_inside_a_step_of_srun_counts() =>
        Assert.That(Find("OMPI_COMM_WORLD_RANK=3", "OMPI_COMM_WORLD_SIZE=4", "SLURM_PROCID=0", "SLURM_STEP_NUM_TASKS=1"), Has.Property("Name").EqualTo("mpirun").And.Property("Rank").EqualTo(3));

    [TestCase("OMPI_COMM_WORLD_RANK=2")]
    [TestCase("OMPI_COMM_WORLD_SIZE=2")]
    [TestCase("OMPI_COMM_WORLD_RANK=2", "OMPI_COMM_WORLD_SIZE=2")]
    [TestCase("OMPI_COMM_WORLD_RANK=-1", "OMPI_COMM_WORLD_SIZE=2")]
    [TestCase("OMPI_COMM_WORLD_RANK=one", "OMPI_COMM_WORLD_SIZE=2")]
    [TestCase("OMPI_COMM_WORLD_RANK=1", "OMPI_COMM_WORLD_SIZE=2", "PMI_RANK=0", "PMI_SIZE=2")]
    [TestCase("OMPI_COMM_WORLD_RANK=1", "OMPI_COMM_WORLD_SIZE=2", "PMI_RANK=1", "PMI_SIZE=4")]
    public void Contradictions_are_errors_that_name_the_variables(params string[] variables) =>
        Assert.That(() => Find(variables), Throws.TypeOf<UserException>().With.Property("Code").EqualTo(ExitCode.Usage).And.Message.Contains("rank").IgnoreCase);
}
