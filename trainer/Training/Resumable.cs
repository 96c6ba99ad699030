using System.Text.Json;
using System.Text.Json.Nodes;
using Avedis.Engine;

namespace Avedis.Trainer.Training;

/// <summary>Whether a run may go on from a checkpoint: every setting that shapes the result must be the same.</summary>
public static class Resumable
{
    // how long, how often and where, not what
    private static readonly HashSet<string> Free =
    [
        "training.epochs", "training.maxSteps", "training.patience", "training.checkpointSeconds", "training.keepCheckpoints", "training.failedSaves", "training.guard.onNonFinite", "training.guard.limit", "training.watchdogSeconds",
        "training.device", "training.threads", "training.precision",
        "training.ranks.bucketBytes", "training.ranks.silenceSeconds", "training.ranks.patienceSeconds", "training.ranks.compareEvery",
    ];

    /// <exception cref="UserException">Exit code 4, with the settings that differ.</exception>
    public static void Check(string checkpoint, Config config)
    {
        string path = Path.Combine(checkpoint, "config.json");
        // a setting that is newer than the run had its present default
        var saved = Flatten(JsonNode.Parse(Config.Load(null, path, []).ToJson())!, "");
        var now = Flatten(JsonNode.Parse(config.ToJson())!, "");
        var different = now.Keys.Union(saved.Keys)
            .Where(k => !Free.Contains(k) && saved.GetValueOrDefault(k) != now.GetValueOrDefault(k))
            .Select(k => $"{k} was {saved.GetValueOrDefault(k, "absent")}, is {now.GetValueOrDefault(k, "absent")}").ToList();
        if (different.Count > 0)
            throw new UserException(ExitCode.BadCheckpoint,
                $"{checkpoint} is of another configuration: {string.Join("; ", different.Take(3))}; resume with the settings of the run, or start a new one with --run");
    }

    /// <summary>Every setting by its full name.</summary>
    internal static Dictionary<string, string> Flatten(JsonNode node, string path)
    {
        var leaves = new Dictionary<string, string>();
        foreach (var (key, value) in node.AsObject())
        {
            string full = path.Length == 0 ? key : $"{path}.{key}";
            if (value is JsonObject inner)
                foreach (var (k, v) in Flatten(inner, full))
                    leaves[k] = v;
            else
                leaves[full] = value?.ToJsonString() ?? "null";
        }
        return leaves;
    }
}
