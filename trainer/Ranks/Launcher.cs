namespace Avedis.Trainer.Ranks;

/// <summary>What a launcher has told this process of its place among several: mpirun of Open MPI or MPICH, or srun.</summary>
/// <param name="Name">mpirun or srun, for people.</param>
/// <param name="Hint">What to do if MPI itself does not see the others.</param>
public sealed record Launcher(string Name, int Rank, int Size, string Hint)
{
    private static readonly (string Name, string Rank, string Size, string Hint)[] Known =
    [
        ("mpirun", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "use the mpirun of the Open MPI that avedis was built with"),
        ("mpiexec", "PMI_RANK", "PMI_SIZE", "use the mpiexec of the MPI that avedis was built with"),
        ("srun", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "start with srun --mpi=pmix (srun --mpi=list shows what there is), or with mpirun inside the job"),
    ];

    /// <summary>What a process manager tells its processes, one of them at least: without, MPI ends a step of srun before anything can be said.</summary>
    private static readonly string[] Managers = ["PMIX_NAMESPACE", "PMI_RANK", "PMI_FD"];

    /// <summary>Null if no launcher started this process.</summary>
    /// <param name="variable">Value of an environment variable, or null.</param>
    /// <exception cref="UserException">Exit code 2: the variables contradict each other.</exception>
    public static Launcher? Find(Func<string, string?> variable)
    {
        var found = new List<Launcher>();
        foreach (var (name, rank, size, hint) in Known)
        {
            string? own = variable(rank), all = variable(size);
            if (own is null && all is null)
                continue;
            // a job of Slurm has the variables of its own first task wherever it is not a step of srun
            if (name == "srun" && (all is null || found.Count > 0))
                continue;
            if (own is null || all is null || !int.TryParse(own, out int r) || !int.TryParse(all, out int n) || n < 1 || r < 0 || r >= n)
                throw new UserException(ExitCode.Usage, $"{rank} is {Printable.Name(own ?? "not set")} and {size} is {Printable.Name(all ?? "not set")}: no place among ranks; start with mpirun or srun, or unset both");
            if (name == "srun" && Managers.All(manager => variable(manager) is null))
            {
                if (n == 1)
                    continue;
                throw new UserException(ExitCode.Usage, $"srun started {n} tasks that cannot meet: {hint}");
            }
            found.Add(new(name, r, n, hint));
        }
        if (found.Count > 1 && (found[0].Rank, found[0].Size) != (found[1].Rank, found[1].Size))
            throw new UserException(
                ExitCode.Usage,
                $"{found[0].Name} says rank {found[0].Rank} of {found[0].Size}, {found[1].Name} says rank {found[1].Rank} of {found[1].Size}: one launcher was started by another; start avedis with one of them");
        return found.FirstOrDefault();
    }

    public static Launcher? Find() => Find(Environment.GetEnvironmentVariable);
}
