using System.Globalization;
using System.Net;
using System.Text;

namespace Avedis.Trainer;

/// <summary>
/// Names and texts of strangers' files, made fit for where they are shown: no control characters, which would move a terminal's cursor or start a line of their
/// own, no invisible ones that turn the direction of text, no halves of characters.
/// </summary>
public static class Printable
{
    private const int NameLength = 120, MessageLength = 4000;

    /// <summary>A name within a line: at most 120 characters.</summary>
    public static string Name(string text) => Clean(text, NameLength);

    /// <summary>A whole line, such as a message that holds paths.</summary>
    public static string Line(string text) => Clean(text, MessageLength);

    /// <summary>A cell of a table or list, as long as it is.</summary>
    public static string Whole(string text) => Clean(text, text.Length);

    /// <summary>A text of HTML or SVG, or the value of an attribute.</summary>
    public static string Markup(string text) => WebUtility.HtmlEncode(Whole(text));

    /// <summary>A word as a shell takes it.</summary>
    public static string Word(string text)
        => text.All(c => char.IsAsciiLetterOrDigit(c) || "/._-=".Contains(c)) ? text
            : $"'{text.Replace("'", "'\\''", StringComparison.Ordinal)}'";

    private static string Clean(string text, int most)
    {
        string start = text.Length > most ? text[..most] : text;
        return start.All(c => c is >= ' ' and < '\u007F') ? start : string.Concat(start.EnumerateRunes().Select(rune => Shown(rune) ? rune.ToString() : "?"));
    }

    // the last two are not allowed in XML
    private static bool Shown(Rune rune) => rune.Value is not (0xFFFE or 0xFFFF) && Rune.GetUnicodeCategory(rune) is not (
        UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator);
}
