using System.Reflection;
using System.Text.Json;
using System.Text.Json.Nodes;
using Avedis.Bindings;
using Avedis.Engine;
using Avedis.Trainer.Data;
using Avedis.Trainer.Features;
using Avedis.Trainer.Model;
using Avedis.Trainer.Training;

namespace Avedis.Trainer;

/// <summary>
/// All settings of a run. Precedence: preset, then the config file, then --set section.key=value. An unknown key is an error that names the nearest known
/// one. The resolved settings go into the run folder as config.json, which is itself a valid config file.
/// </summary>
public sealed record Config
{
    public string Preset { get; init; } = "demo";

    public FeatureOptions Features { get; init; } = FeatureOptions.Demo;

    public DataOptions Data { get; init; } = new();

    public NetworkOptions Network { get; init; } = NetworkOptions.Demo;

    public TrainingOptions Training { get; init; } = TrainingOptions.Demo;

    /// <summary>Bytes of a settings file that are read at most: a thousand times what there is.</summary>
    private const int LongestFile = 1 << 20;

    private const string Labels = "data.labels";

    private static readonly JsonSerializerOptions Strict = new(Json.Indented) { RespectNullableAnnotations = true };

    public static IReadOnlyList<string> Presets { get; } = ["demo", "grid", "paper"];

    public static Config FromPreset(string preset) => preset switch
    {
        "demo" => new Config(),
        "grid" => new Config { Preset = "grid", Features = FeatureOptions.Grid, Network = NetworkOptions.Grid, Training = TrainingOptions.Grid },
        "paper" => new Config
        {
            Preset = "paper",
            Features = FeatureOptions.Paper,
            Network = NetworkOptions.Paper,
            Training = TrainingOptions.Paper,
        },
        _ => throw new UserException(ExitCode.Usage,
            $"unknown preset '{preset}'; the presets are {string.Join(", ", Presets)}{Spelling.Hint(preset, Presets)}"),
    };

    /// <param name="preset">null: the one that the file names, else demo.</param>
    /// <param name="file">JSON with any part of the settings; comments and trailing commas are allowed.</param>
    /// <param name="sets">section.key=value</param>
    /// <exception cref="UserException">Exit code 2 with the key, or the line of the file.</exception>
    public static Config Load(string? preset, string? file, IEnumerable<string> sets)
    {
        var overrides = file is null ? [] : ReadFile(file);
        preset ??= overrides["preset"] switch
        {
            null => "demo",
            JsonValue value when value.TryGetValue(out string? name) => name,
            _ => throw new UserException(ExitCode.Usage, $"{file}: preset has to be one of {string.Join(", ", Presets)}"),
        };
        var settings = JsonSerializer.SerializeToNode(FromPreset(preset), Json.Indented)!.AsObject();
        overrides.Remove("preset");
        Merge(settings, overrides, "", file ?? "");
        foreach (string set in sets)
            Merge(settings, ParseSet(set), "", $"--set {set}");
        return Resolve(settings, string.Join(", ", new[] { file }.OfType<string>().Concat(sets.Select(s => $"--set {s}"))));
    }

    /// <summary>These settings with others in place of some.</summary>
    /// <param name="origin">Where they come from, for messages.</param>
    /// <exception cref="UserException">As <see cref="Load"/>.</exception>
    public Config With(JsonObject overrides, string origin)
    {
        var settings = JsonSerializer.SerializeToNode(this, Json.Indented)!.AsObject();
        Merge(settings, overrides, "", origin);
        return Resolve(settings, origin);
    }

    /// <summary>As <see cref="Load"/> reads it back: what the preset names and these settings do not stands there as taken away.</summary>
    public string ToJson()
    {
        var settings = JsonSerializer.SerializeToNode(this, Json.Indented)!.AsObject();
        TakeAway(settings, JsonSerializer.SerializeToNode(FromPreset(Preset), Json.Indented)!.AsObject(), "");
        return settings.ToJsonString(Json.Indented);

        static void TakeAway(JsonObject own, JsonObject preset, string path)
        {
            foreach (var (key, value) in preset)
                if (!own.ContainsKey(key) && HasFreeKeys(path))
                    own[key] = null;
                else if (value is JsonObject inner && own[key] is JsonObject part)
                    TakeAway(part, inner, path.Length == 0 ? key : $"{path}.{key}");
        }
    }

    private static Config Resolve(JsonObject settings, string origin)
    {
        if (EmptyEntry(settings, "") is { } at)
            throw new UserException(ExitCode.Usage, $"setting {at} has an empty entry ({origin})");
        try
        {
            var config = settings.Deserialize<Config>(Strict)!;
            config.Features.Validate();
            config.Data.Validate();
            config.Network.Validate();
            config.Training.Validate();
            return config;
        }
        catch (JsonException error)
        {
            string path = error.Path?.TrimStart('$', '.') ?? "";
            throw new UserException(ExitCode.Usage, $"setting {path} has a value of the wrong kind{Choices(path)} ({origin})", error);
        }
    }

    // ", expected auto or direct" for a setting that takes one of some words
    private static string Choices(string path)
    {
        Type? type = typeof(Config);
        foreach (string name in path.Split('.'))
            type = type?.GetProperty(name, BindingFlags.IgnoreCase | BindingFlags.Instance | BindingFlags.Public)?.PropertyType;
        if (type is not { IsEnum: true })
            return "";
        string[] words = [.. type.GetEnumNames().Select(JsonNamingPolicy.CamelCase.ConvertName)];
        return $", expected {string.Join(", ", words[..^1])} or {words[^1]}";
    }

    // the place of a null in a list, where no setting has a meaning for it
    private static string? EmptyEntry(JsonNode node, string path) => node switch
    {
        JsonArray list => list.Any(item => item is null) ? path : list.Select(item => EmptyEntry(item!, path)).FirstOrDefault(found => found is not null),
        JsonObject part => part.Where(item => item.Value is not null)
            .Select(item => EmptyEntry(item.Value!, path.Length == 0 ? item.Key : $"{path}.{item.Key}")).FirstOrDefault(found => found is not null),
        _ => null,
    };

    /// <summary>A JSON object in a file of the user's; comments and trailing commas are allowed.</summary>
    internal static JsonObject ReadFile(string file)
    {
        try
        {
            var options = new JsonDocumentOptions { CommentHandling = JsonCommentHandling.Skip, AllowTrailingCommas = true, AllowDuplicateProperties = false };
            string text = RegularFiles.ReadAllText(file, LongestFile);
            Json.RequireWholeText(text);
            return JsonNode.Parse(text, null, options) as JsonObject
                ?? throw new UserException(ExitCode.Usage, $"{file}: expected one JSON object");
        }
        catch (JsonException error)
        {
            throw new UserException(ExitCode.Usage, $"{file}, line {error.LineNumber + 1}: not valid JSON ({error.Message.Split(" LineNumber")[0]})", error);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new UserException(ExitCode.Usage, $"{file} cannot be read: {error.Message}", error);
        }
    }

    // "training.epochs=5" becomes { "training": { "epochs": 5 } }; a value that is not JSON is a string
    private static JsonObject ParseSet(string set)
    {
        // a label may hold points and signs of equality, and a class may be called 1 or true
        bool label = set.StartsWith($"{Labels}.", StringComparison.Ordinal);
        int equals = label ? set.LastIndexOf('=') : set.IndexOf('=');
        if (equals <= 0)
            throw new UserException(ExitCode.Usage, $"--set {set}: expected section.key=value, for example --set training.epochs=5");
        JsonNode? value;
        try
        {
            value = JsonNode.Parse(set[(equals + 1)..]);
        }
        catch (JsonException)
        {
            value = JsonValue.Create(set[(equals + 1)..]);
        }
        string name = set[..equals];
        string[] keys = name.Split('.');
        if (label)
        {
            keys = [.. Labels.Split('.'), name[(Labels.Length + 1)..]];
            if (value?.GetValueKind() is not (null or JsonValueKind.String))
                value = JsonValue.Create(set[(equals + 1)..]);
        }
        foreach (string key in keys.Reverse())
            value = new JsonObject { [key] = value };
        return (JsonObject)value!;
    }

    // names of the user's choice: labels of the data, factors of the manifest. They are added to what is there; null takes one away, or
    // all.
    private static bool HasFreeKeys(string path) =>
        path is Labels or "network.factors" || (path.StartsWith("network.factors.", StringComparison.Ordinal) && path.EndsWith(".forget",
            StringComparison.Ordinal));

    private static void Merge(JsonObject target, JsonObject source, string path, string origin)
    {
        bool free = HasFreeKeys(path);
        foreach (var (written, value) in source)
        {
            // labels are the same in any letter case
            string key = path != Labels ? written : target.Select(item => item.Key)
                .FirstOrDefault(name => name.Equals(written, StringComparison.OrdinalIgnoreCase), written);
            string full = path.Length == 0 ? key : $"{path}.{key}";
            if (full == "preset")
                throw new UserException(ExitCode.Usage,
                    $"{origin}: all other settings start from the preset: choose it with --preset, or in the file of --config");
            if (!target.ContainsKey(key) && !free)
                throw new UserException(ExitCode.Usage, $"{origin}: unknown setting '{full}'{Meant(key, target.Select(t => t.Key))}");
            if (path == "network.factors" && value is JsonObject && target[key] is null)
                target[key] = JsonSerializer.SerializeToNode(new FactorOptions(), Json.Indented);
            if (free && value is null)
                target.Remove(key);
            else if (target[key] is JsonObject inner && value is JsonObject part)
                Merge(inner, part, full, origin);
            else
                target[key] = value is null && HasFreeKeys(full) ? new JsonObject() : value?.DeepClone();
        }
    }

    private static string Meant(string key, IEnumerable<string> known) =>
        Spelling.Hint(key, known) is { Length: > 0 } hint ? hint : $"; known here: {string.Join(", ", known)}";
}
