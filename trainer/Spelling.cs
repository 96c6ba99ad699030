namespace Avedis.Trainer;

/// <summary>What a user may have meant by a word that is not known.</summary>
internal static class Spelling
{
    private const int Far = 100;

    /// <summary>"; did you mean 'run'?" where one of the known words is near, else nothing.</summary>
    public static string Hint(string word, IEnumerable<string> known) =>
        Nearest(word, known) is { } near ? $"; did you mean '{near}'?" : "";

    /// <summary>The known word that a few slips, or a missing end, make of this one; null if there is none.</summary>
    public static string? Nearest(string word, IEnumerable<string> known)
    {
        string[] names = [.. known];
        // of a short word few letters may be wrong, or it would be near to any other
        int most = Math.Clamp(word.Length / 3, 1, 3);
        if (names.MinBy(name => EditDistance(word, name)) is { } best && EditDistance(word, best) <= most)
            return best;
        string[] longer = [.. names.Where(name => name.StartsWith(word, StringComparison.OrdinalIgnoreCase))];
        return word.Length >= 3 && longer is [var begun] ? begun : null;
    }

    /// <summary>
    /// Letters to change, add, leave out, or swap with their neighbour, whatever their case; of texts whose lengths differ by far, that
    /// difference, which is its least: nobody mistyped one for the other.
    /// </summary>
    public static int EditDistance(string a, string b)
    {
        if (Math.Abs(a.Length - b.Length) > Far)
            return Math.Abs(a.Length - b.Length);
        // of the first i letters of a, i + 1 being the row in work, and the first j of b
        int[] before = [], last = [], row = [.. Enumerable.Range(0, b.Length + 1)];
        for (int i = 0; i < a.Length; i++)
        {
            (before, last, row) = (last, row, new int[b.Length + 1]);
            row[0] = i + 1;
            for (int j = 0; j < b.Length; j++)
            {
                row[j + 1] = Math.Min(Math.Min(last[j + 1], row[j]) + 1, last[j] + (Same(a[i], b[j]) ? 0 : 1));
                if (i > 0 && j > 0 && Same(a[i], b[j - 1]) && Same(a[i - 1], b[j]))
                    row[j + 1] = Math.Min(row[j + 1], before[j - 1] + 1);
            }
        }
        return row[b.Length];
    }

    private static bool Same(char one, char other) => char.ToLowerInvariant(one) == char.ToLowerInvariant(other);
}
