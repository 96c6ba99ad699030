using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Avedis.Engine;

/// <summary>The one way in which the project writes JSON: camelCase names, enums by name, indented files or single lines.</summary>
public static class Json
{
    public static JsonSerializerOptions Indented { get; } = Create(indented: true);

    /// <summary>One object per line; NaN and infinities as strings, since JSON has none.</summary>
    public static JsonSerializerOptions Line { get; } = Create(indented: false);

    /// <summary>Refuses escapes that stand for half a character: a JsonNode would take them and stumble, where it is used, with an exception that says nothing.</summary>
    /// <exception cref="JsonException">There is one, or the text is no JSON.</exception>
    public static void RequireWholeText(string json)
    {
        var reader = new Utf8JsonReader(Encoding.UTF8.GetBytes(json), new JsonReaderOptions { CommentHandling = JsonCommentHandling.Skip, AllowTrailingCommas = true });
        try
        {
            while (reader.Read())
                if (reader.TokenType is JsonTokenType.String or JsonTokenType.PropertyName)
                    reader.GetString();
        }
        catch (InvalidOperationException error)
        {
            throw new JsonException($"a text holds half a character, before byte {reader.BytesConsumed}", error);
        }
    }

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
