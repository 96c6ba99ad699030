using System.Collections;
using System.Reflection;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.RegularExpressions;
using System.Xml.Linq;
using Avedis.Trainer;
using Avedis.Trainer.Model;

namespace Avedis.Tests.Docs;

/// <summary>
/// Makes docs/settings.md: names and defaults from the option records by reflection, meanings from their XML documentation.
/// </summary>
internal static partial class SettingsPage
{
    private const string Head =
        """
        # Settings

        Every setting of a run, with its default. Set one with `--set`, or several in a JSON file with `--config`:

        ```
        ./avedis train data/mine --run runs/mine --set training.epochs=5 --set training.learningRate=5e-4
        ```

        A preset (`--preset demo`, `grid` or `paper`) gives the defaults; `--config` overrides the preset, and `--set` overrides
        both. The resolved settings of a run are in its `config.json`, which is itself a valid `--config` file. An unknown name
        is an error that suggests the nearest one. Where the presets differ, the table shows all three.

        This page is generated from the code. After a change to a setting, copy the page that the failing test leaves in
        `artifacts/settings.md`.

        """;

    private static readonly string[] presets = [.. Config.Presets];

    /// <summary>One setting and how to read it from the settings of a preset.</summary>
    private sealed record Setting(string Name, PropertyInfo Property, Func<Config, object?> Value);

    public static string Write()
    {
        var text = new StringBuilder(Head);
        foreach (var section in typeof(Config).GetProperties().Where(property => IsRecord(property.PropertyType)))
        {
            string name = JsonNamingPolicy.CamelCase.ConvertName(section.Name);
            text.Append($"\n## {name}\n\n{Summary(section.PropertyType)}\n\n| setting | default | meaning |\n|---|---|---|\n");
            foreach (var setting in Settings(name, section.PropertyType, section.GetValue))
                text.Append($"| `{setting.Name}` | {Default(setting)} | {Meaning(setting.Property)} |\n");
        }
        return text.ToString();
    }

    private static IEnumerable<Setting> Settings(string path, Type type, Func<Config, object?> owner)
    {
        foreach (var property in type.GetProperties(BindingFlags.Instance | BindingFlags.Public))
        {
            if (property.SetMethod is null || property.GetCustomAttribute<JsonIgnoreAttribute>() is not null)
                continue;
            string name = $"{path}.{JsonNamingPolicy.CamelCase.ConvertName(property.Name)}";
            object? Value(Config config) => property.GetValue(owner(config));
            if (property.PropertyType == typeof(IReadOnlyDictionary<string, FactorOptions>))
            {
                IReadOnlyDictionary<string, FactorOptions> Factors(Config config) =>
                    (IReadOnlyDictionary<string, FactorOptions>)Value(config)!;
                yield return new(name, property, config => Factors(config).Keys);
                foreach (var inner in Settings($"{name}.NAME", typeof(FactorOptions), config => Factors(config).Values.First()))
                    yield return inner;
            }
            else if (IsRecord(property.PropertyType))
                foreach (var inner in Settings(name, property.PropertyType, Value))
                    yield return inner;
            else
                yield return new(name, property, Value);
        }
    }

    private static bool IsRecord(Type type) => type.IsClass && type.Namespace!.StartsWith("Avedis", StringComparison.Ordinal);

    private static string Default(Setting setting)
    {
        var shown = presets.ToDictionary(preset => preset, preset => Show(setting.Value(Config.FromPreset(preset))));
        return shown.Values.Distinct().Count() == 1 ? shown.Values.First() : Grouped(shown);
    }

    // "demo, grid: 3; paper: 12" of three presets and their values
    private static string Grouped(IEnumerable<KeyValuePair<string, string>> map)
    {
        var groups = map.GroupBy(pair => pair.Value, pair => pair.Key);
        return string.Join("; ", groups.Select(group => $"{string.Join(", ", group)}: {group.Key}"));
    }

    private static string Show(object? value) => value switch
    {
        null => "–",
        string { Length: 0 } => "none",
        string text => $"`{text}`",
        Enum word => $"`{JsonNamingPolicy.CamelCase.ConvertName(word.ToString())}`",
        IReadOnlyDictionary<string, string> labels => Grouped(labels),
        IReadOnlyDictionary<string, float> weights => string.Join(", ", weights.Select(pair => $"{pair.Key} {Show(pair.Value)}")),
        IEnumerable list when !list.Cast<object>().Any() => "none",
        IEnumerable list => string.Join(", ", list.Cast<object>().Select(item => $"{item}")),
        _ => JsonSerializer.Serialize(value, value.GetType()),
    };

    private static string Meaning(PropertyInfo property)
    {
        string text = Summary(property);
        var type = Nullable.GetUnderlyingType(property.PropertyType) ?? property.PropertyType;
        if (!type.IsEnum)
            return text;
        var words = type.GetFields(BindingFlags.Static | BindingFlags.Public).Select(word =>
            (Name: $"`{JsonNamingPolicy.CamelCase.ConvertName(word.Name)}`", Text: Summary(word)));
        return text + string.Concat(words.Select(word => "<br>" + (word.Text.Length == 0 ? word.Name : $"{word.Name}: {word.Text}")));
    }

    /// <summary>The summary in the assembly's XML documentation, as one line of Markdown.</summary>
    private static string Summary(MemberInfo member)
    {
        string id = member switch
        {
            Type type => "T:" + type.FullName,
            PropertyInfo => $"P:{member.DeclaringType!.FullName}.{member.Name}",
            _ => $"F:{member.DeclaringType!.FullName}.{member.Name}",
        };
        var assembly = (member as Type ?? member.DeclaringType!).Assembly;
        var element = Documentation(assembly).GetValueOrDefault(id);
        if (element?.Element("inheritdoc") is { } other)
            element = Documentation(assembly).GetValueOrDefault((string)other.Attribute("cref")!);
        if (element?.Element("summary") is not { } summary)
            return "";
        string text = string.Concat(summary.Nodes().Select(node => node switch
        {
            XElement { Name.LocalName: "see" } see => Word((string)see.Attribute("cref")!),
            XElement inner => inner.Value,
            _ => node.ToString(),
        }));
        return Spaces().Replace(System.Net.WebUtility.HtmlDecode(text), " ").Trim().Replace("|", "\\|", StringComparison.Ordinal);
    }

    // of "P:Avedis.Trainer.Training.TrainingOptions.Decay": decay
    private static string Word(string reference) =>
        $"`{JsonNamingPolicy.CamelCase.ConvertName(reference[(reference.LastIndexOf('.') + 1)..])}`";

    private static readonly Dictionary<Assembly, Dictionary<string, XElement>> read = [];

    private static Dictionary<string, XElement> Documentation(Assembly assembly)
    {
        if (!read.TryGetValue(assembly, out var members))
            read[assembly] = members = XDocument.Load(Path.ChangeExtension(assembly.Location, ".xml")).Descendants("member")
                .ToDictionary(member => (string)member.Attribute("name")!);
        return members;
    }

    [GeneratedRegex(@"\s+")]
    private static partial Regex Spaces();
}
