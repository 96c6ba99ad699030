using Avedis.Engine;
using Avedis.Trainer.Data;

namespace Avedis.Trainer.Training;

/// <summary>
/// A run is a folder: config.json (resolved settings), metrics.jsonl, checkpoints/ (step-N, best, LATEST), and what evaluation adds.
/// </summary>
public sealed class RunFolder(string path)
{
    public string Path { get; } = path;

    public string ConfigPath => System.IO.Path.Combine(Path, "config.json");

    public string MetricsPath => System.IO.Path.Combine(Path, "metrics.jsonl");

    public string CheckpointsPath => System.IO.Path.Combine(Path, "checkpoints");

    public string BestPath => System.IO.Path.Combine(CheckpointsPath, "best");

    public bool HasCheckpoint => Checkpoint.Latest(CheckpointsPath) is not null || Checkpoint.All(CheckpointsPath).Any(IsStep);

    /// <summary>Whether so many epochs have been trained.</summary>
    public bool IsComplete(int epochs) => HasCheckpoint && TrainingState.Load(Resolve("latest")).Epoch >= epochs;

    /// <summary>
    /// Takes the folder for one process, for as long as the result lives: two would train over each other. A folder that nothing else came
    /// into is no run, and goes again.
    /// </summary>
    /// <exception cref="UserException">Exit code 2: another has it.</exception>
    public IDisposable Claim()
    {
        var folder = new MadeFolder(Path);
        string path = System.IO.Path.Combine(Path, "lock");
        try
        {
            // the system gives it back when the process ends, however it ends
            return new Held(folder, new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, bufferSize: 0));
        }
        catch (IOException error) when (File.Exists(path))
        {
            throw new UserException(ExitCode.Usage, $"{Path} is being trained by another avedis: wait for it, or choose another --run ({error.Message})", error);
        }
    }

    private sealed class Held(MadeFolder folder, FileStream file) : IDisposable
    {
        public void Dispose()
        {
            // while it is held: nobody can be in it
            if (Directory.EnumerateFileSystemEntries(folder.Name).Take(2).Count() == 1)
                File.Delete(file.Name);
            file.Dispose();
            folder.Dispose();
        }
    }

    /// <summary>The newest checkpoint that verifies, to go on from.</summary>
    /// <param name="log">Hears of every newer one that was passed over, and why.</param>
    /// <exception cref="UserException">Exit code 4: none does.</exception>
    public string ResolveNewest(TextWriter log)
    {
        string? latest = Checkpoint.Latest(CheckpointsPath);
        // steps in the order of their numbers; "best" and the like are a last resort, since what is saved after them may be missing
        string[] candidates = [.. Checkpoint.All(CheckpointsPath)
            .OrderByDescending(path => path == latest).ThenByDescending(IsStep).ThenByDescending(path => path, StringComparer.Ordinal)];
        if (latest is not null && !candidates.Contains(latest))
            log.WriteLine($"skipped: LATEST in {CheckpointsPath} names no checkpoint that is there");
        foreach (string path in candidates)
            try
            {
                Checkpoint.Verify(path);
                return path;
            }
            catch (InvalidDataException error)
            {
                log.WriteLine($"skipped: {error.Message}");
            }
        throw new UserException(ExitCode.BadCheckpoint, $"no checkpoint in {CheckpointsPath} is whole: start a new run with another --run");
    }

    private static bool IsStep(string checkpoint) => System.IO.Path.GetFileName(checkpoint).StartsWith(StepPrefix, StringComparison.Ordinal);

    internal const string StepPrefix = "step-";

    /// <summary>
    /// The checkpoint that a user means: "best" by the primary score, "clean" for the lowest leak above the floor, "latest", or a folder.
    /// </summary>
    /// <exception cref="UserException">Exit code 4: there is none, or it does not verify.</exception>
    public string Resolve(string which)
    {
        string? folder = which switch
        {
            "latest" => Checkpoint.Latest(CheckpointsPath),
            "best" => BestPath,
            "clean" => Chosen() is { } chosen ? System.IO.Path.Combine(CheckpointsPath, Selection.CheckpointName(chosen)) : null,
            _ => which,
        };
        if (folder is null || !Directory.Exists(folder))
            throw new UserException(ExitCode.BadCheckpoint,
                $"no checkpoint '{which}' in {CheckpointsPath}: train first (avedis train), or name a checkpoint folder{(which == "clean" ? "; clean is there when an epoch was probed whose primary score is above training.selection.floor" : "")}");
        try
        {
            Checkpoint.Verify(folder);
        }
        catch (InvalidDataException error)
        {
            throw new UserException(ExitCode.BadCheckpoint, $"{error.Message}; use another checkpoint of {CheckpointsPath}", error);
        }
        return folder;
    }

    /// <summary>
    /// The epoch of the lowest leak above the floor that the run was trained with; null if there is none, or no checkpoint.
    /// </summary>
    public Candidate? Chosen() => Checkpoint.Latest(CheckpointsPath) is { } latest
        ? TrainingState.Load(latest).Chosen(Config.Load(null, System.IO.Path.Combine(latest, "config.json"), []).Training.Selection.Floor)
        : null;

    /// <summary>The checkpoint that training is to start from: a checkpoint folder, or the best of a run folder.</summary>
    /// <exception cref="UserException">As <see cref="Resolve"/>.</exception>
    public static string ResolveStart(string path) =>
        Directory.Exists(System.IO.Path.Combine(path, "checkpoints")) ? new RunFolder(path).Resolve("best") : new RunFolder(path).Resolve(path);
}
