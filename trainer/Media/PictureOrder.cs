using System.Globalization;
using System.Numerics;
using System.Text.RegularExpressions;

namespace Avedis.Trainer.Media;

/// <summary>The order in which pictures were taken, by the numbers in their names, wherever they stand: 2_face.jpg comes before
/// 10_face.jpg.</summary>
internal static partial class PictureOrder
{
    [GeneratedRegex("[0-9]+")]
    private static partial Regex Digits { get; }

    /// <summary>
    /// The files by the number that differs in every name. Where the numbers that differ adjoin, with one mark between them and the same
    /// number of digits in every name (hours, minutes and seconds; seconds and their hundredths), they count from left to right.
    /// </summary>
    /// <exception cref="MediaException">The names do not tell the order.</exception>
    public static string[] Sort(IReadOnlyList<string> files)
    {
        var names = files.Select(file => new Name(file)).ToArray();
        var first = names[0];
        if (names.FirstOrDefault(name => !name.Texts.SequenceEqual(first.Texts, StringComparer.OrdinalIgnoreCase)) is { } other)
            throw Unknown(first, other, "they differ in more than numbers");
        int[] varying = [.. Enumerable.Range(0, first.Numbers.Length)
            .Where(field => names.Any(name => name.Numbers[field] != first.Numbers[field]))];
        int[] telling = [.. varying.Where(field => names.DistinctBy(name => name.Numbers[field]).Count() == names.Length)];
        if (telling.Length == 0 || (varying.Length > 1 && Apart(names, varying) is null))
            return ByAll(names, varying);
        var sorted = names.OrderBy(name => name.Numbers[telling[0]]).ToArray();
        // 0.2 comes before 0.04 by whole numbers, and after it by seconds
        foreach (int field in telling.Where(field => field > 0 && first.Texts[field] == "."))
            if (names.FirstOrDefault(name => name.Lengths[field] != first.Lengths[field]) is { } uneven)
                throw Unknown(first, uneven, "a number behind a point has more digits in one");
        foreach (int field in telling.Skip(1))
            if (sorted.Zip(sorted.Skip(1)).FirstOrDefault(pair => pair.First.Numbers[field] > pair.Second.Numbers[field])
                is { First: not null } pair)
                throw Unknown(pair.First, pair.Second, "one number rises and another falls");
        return [.. sorted.Select(name => name.File)];
    }

    private static string[] ByAll(Name[] names, int[] varying)
    {
        var sorted = names.OrderBy(name => name, Comparer<Name>.Create((a, b) => Compare(a, b, varying))).ToArray();
        foreach (var (a, b) in sorted.Zip(sorted.Skip(1)))
            if (Compare(a, b, varying) == 0)
                throw Unknown(a, b, "they have the same number");
        if (Apart(sorted, varying) is { } other)
            throw Unknown(sorted[0], other, "more than one number differs");
        return [.. sorted.Select(name => name.File)];
    }

    /// <summary>A name that keeps these numbers from counting from left to right; null if none does.</summary>
    private static Name? Apart(Name[] names, int[] fields)
    {
        var first = names[0];
        for (int i = 1; i < fields.Length; i++)
        {
            if (fields[i] != fields[i - 1] + 1 || first.Texts[fields[i]] is not { Length: 1 } mark || char.IsLetter(mark[0]))
                return names[^1];
            if (names.FirstOrDefault(name => name.Lengths[fields[i]] != first.Lengths[fields[i]]) is { } uneven)
                return uneven;
        }
        return null;
    }

    private static int Compare(Name a, Name b, int[] fields) =>
        fields.Select(field => a.Numbers[field].CompareTo(b.Numbers[field])).FirstOrDefault(sign => sign != 0);

    private static MediaException Unknown(Name a, Name b, string why) => new("unknown order",
        $"the names {Path.GetFileName(a.File)} and {Path.GetFileName(b.File)} do not tell which picture was taken first: {why}; "
        + "number them, such as 0001.jpg");

    private sealed class Name
    {
        public Name(string file)
        {
            File = file;
            string stem = Path.GetFileNameWithoutExtension(file);
            var runs = Digits.Matches(stem);
            Texts = Digits.Split(stem);
            Numbers = [.. runs.Select(run => BigInteger.Parse(run.ValueSpan, NumberStyles.None, CultureInfo.InvariantCulture))];
            Lengths = [.. runs.Select(run => run.Length)];
        }

        public string File { get; }

        /// <summary>What stands before, between and behind the numbers.</summary>
        public string[] Texts { get; }

        public BigInteger[] Numbers { get; }

        /// <summary>Digits of each number.</summary>
        public int[] Lengths { get; }
    }
}
