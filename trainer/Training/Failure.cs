using System.Text.Json;
using Avedis.Bindings;
using Avedis.Engine;

namespace Avedis.Trainer.Training;

/// <summary>A step that failed, for people and for avedis replay; failure.json of a failure's folder.</summary>
public sealed record Failure
{
    /// <summary>Number of the step, from 1.</summary>
    public long Step { get; init; }

    /// <summary>From 0.</summary>
    public int Epoch { get; init; }

    public string Reason { get; init; } = "";

    /// <summary>Parameters and running statistics that were not finite behind the step, and how many elements of each.</summary>
    public IReadOnlyDictionary<string, long> Tensors { get; init; } = new Dictionary<string, long>();

    /// <summary>Clips of the step's batch.</summary>
    public IReadOnlyList<string> Clips { get; init; } = [];

    /// <summary>Folder of the prepared data.</summary>
    public string Data { get; init; } = "";

    public string DataHash { get; init; } = "";

    /// <summary>Name of the checkpoint that the steps up to this one started from, which lies beside this file; null: random weights.</summary>
    public string? Checkpoint { get; init; }

    /// <summary>See <see cref="TrainingState.Skipped"/> and <see cref="TrainingState.RateScale"/>.</summary>
    public IReadOnlyList<long> Skipped { get; init; } = [];

    public double RateScale { get; init; } = 1;

    private const string FileName = "failure.json";

    /// <summary>Bytes of a failure.json that are read at most.</summary>
    private const int Longest = 1 << 20;

    /// <summary>Writes a folder RUN/failures/step-N with all that it takes to see the failure again: this, the settings, the checkpoint before it.</summary>
    /// <returns>The folder; null if it could not be written.</returns>
    public string? Keep(RunFolder run, Config config)
    {
        string root = Path.Combine(run.Path, "failures"), name = $"{RunFolder.StepPrefix}{Step:D8}";
        try
        {
            Directory.CreateDirectory(root);
            Engine.Checkpoint.Save(root, name, folder =>
            {
                if (Checkpoint is not null)
                    foreach (string file in TrainingState.Files)
                        File.Copy(Path.Combine(run.CheckpointsPath, Checkpoint, file), Path.Combine(folder, file));
                File.WriteAllText(Path.Combine(folder, TrainingState.ConfigFile), config.ToJson());
                File.WriteAllText(Path.Combine(folder, FileName), JsonSerializer.Serialize(this, Json.Indented));
            }, latest: false);
            return Path.Combine(root, name);
        }
        catch (IOException)
        {
            return null;
        }
    }

    /// <exception cref="UserException">Exit code 4: no folder of a failure, or damaged.</exception>
    public static Failure Load(string folder)
    {
        try
        {
            Engine.Checkpoint.Verify(folder);
            return JsonSerializer.Deserialize<Failure>(RegularFiles.ReadAllText(Path.Combine(folder, FileName), Longest), Json.Indented) ?? throw new JsonException("it is empty");
        }
        catch (Exception error) when (error is InvalidDataException or JsonException or IOException or UnauthorizedAccessException)
        {
            throw new UserException(ExitCode.BadCheckpoint, $"{folder} is not the folder of a failure ({error.Message}): name one under RUN/failures", error);
        }
    }

    /// <summary>"step 12 (epoch 2): ...; not finite: ...; clips a, b".</summary>
    public string Describe()
    {
        const int Most = 4;
        string tensors = string.Join(", ", Tensors.Take(Most).Select(tensor => $"{tensor.Key} ({tensor.Value:N0})"));
        string clips = string.Join(", ", Clips.Take(Most).Select(Printable.Name));
        return $"step {Step} (epoch {Epoch + 1}): {Reason}" +
            (tensors.Length > 0 ? $"; not finite behind it: {tensors}{(Tensors.Count > Most ? $" and {Tensors.Count - Most} more" : "")}" : "") +
            (clips.Length > 0 ? $"; clips {clips}{(Clips.Count > Most ? $" and {Clips.Count - Most} more" : "")}" : "");
    }
}

/// <summary>Losses or weights are not finite.</summary>
internal sealed class NonFiniteException(Failure failure) : Exception
{
    public Failure Failure { get; } = failure;
}
