using System.Text.Json;
using System.Text.Json.Serialization;

namespace Avedis.Engine;

/// <summary>The one way in which the project writes JSON: camelCase names, enums by name, indented files or single lines.</summary>
public static class Json
{
    public static JsonSerializerOptions Indented { get; } = Create(indented: true);

    /// <summary>One object per line; NaN and infinities as strings, since JSON has none.</summary>
    public static JsonSerializerOptions Line { get; } = Create(indented: false);

    private static JsonSerializerOptions Create(bool indented) => new()
    {
        WriteIndented = indented,
        IgnoreReadOnlyProperties = true,
        PropertyNamingPolicy = JsonNamingPolicy.CamelCase,
        PropertyNameCaseInsensitive = false,
        UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
        Converters = { new JsonStringEnumConverter(JsonNamingPolicy.CamelCase) },
    };
}
