using System.CommandLine;
using System.CommandLine.Completions;
using System.CommandLine.Help;
using System.CommandLine.Parsing;
using System.Globalization;

namespace Avedis.Trainer;

/// <summary>
/// The words behind the program's name. A word that begins with a hyphen is an option or a mistake, never a file, unless it stands behind
/// "--"; any other word is what it says: there are no response files, and no options without hyphens.
/// </summary>
internal static class CommandLine
{
    private static readonly ParserConfiguration configuration = new() { ResponseFileTokenReplacer = null, EnablePosixBundling = false };

    public static ParseResult Parse(RootCommand root, string[] words)
    {
        int help = root.Options.IndexOf(root.Options.OfType<HelpOption>().Single());
        root.Options[help] = new HelpOption("--help", "-h", "-?") { Recursive = true };
        // a flag takes no value: the word behind it is a file, even one that is called true
        foreach (var flag in root.Subcommands.SelectMany(command => command.Options).OfType<Option<bool>>())
            flag.Arity = ArgumentArity.Zero;
        return root.Parse(words, configuration);
    }

    /// <summary>What is wrong with a command line, in one line; null: nothing.</summary>
    public static string? Fault(ParseResult parsed, RootCommand root, string[] words)
    {
        var command = parsed.CommandResult.Command;
        if (command == root && words is [var first, ..] && !first.StartsWith('-'))
        {
            var commands = root.Subcommands.Where(known => !known.Hidden).Select(known => known.Name);
            return $"'{first}' is no command{Spelling.Hint(first, commands)}";
        }
        var before = words.TakeWhile(word => word != "--");
        if (before.Select(word => UnknownOption(word, command, root)).FirstOrDefault(fault => fault is not null) is { } unknown)
            return unknown;
        if (parsed.Action is HelpAction)
            return null;
        var faults = command.Options.Select(option => Fault(option, parsed.GetResult(option), words));
        if (faults.FirstOrDefault(fault => fault is not null) is { } wrong)
            return wrong;
        bool IsEmpty(Argument argument) => parsed.GetResult(argument)?.Tokens.Any(token => token.Value.Length == 0) == true;
        if (command.Arguments.FirstOrDefault(IsEmpty) is { } empty)
            return $"{empty.Name} is an empty name";
        if (parsed.UnmatchedTokens is [var extra, ..])
            return $"'{extra}' is one word too many";
        return parsed.Errors.Select(error => NotAmong(error) ?? OneLine(error.Message)).FirstOrDefault();
    }

    private static string? UnknownOption(string word, Command command, RootCommand root)
    {
        if (word.Length < 2 || !IsHyphen(word[0]) || IsNumber(word))
            return null;
        string name = word.Split('=', ':')[0], plain = $"--{string.Concat(name.SkipWhile(IsHyphen))}";
        // the root's --version is for the root alone
        var options = command.Options.Concat(root.Options.Where(option => option.Recursive));
        var known = options.SelectMany(option => option.Aliases.Prepend(option.Name)).ToHashSet();
        bool flag = command.Options.Any(option => option.Name == name && option.Arity.MaximumNumberOfValues == 0);
        if (known.Contains(name))
            return flag && name.Length < word.Length
                ? $"{name} takes no value"
                : null;
        string place = command == root ? "avedis" : command.Name;
        var others = root.Subcommands.Where(other => !other.Hidden && other.Options.Any(option => option.Name == name));
        string[] owners = [.. others.Select(other => other.Name)];
        string hint = Spelling.Hint(plain, known);
        return $"'{name}' is no option of {place}" + (
            hint.Length > 0 ? hint
            : owners.Length > 0 ? $"; it is one of {string.Join(", ", owners)}" : "; a file of such a name goes behind --");
    }

    private static bool IsNumber(string word) => double.TryParse(word, NumberStyles.Float, CultureInfo.InvariantCulture, out _);

    // what word processors make of a hyphen too
    private static bool IsHyphen(char letter) => letter is '-' or '\u2212' or (>= '\u2010' and <= '\u2015');

    private static string? Fault(Option option, OptionResult? given, string[] words)
    {
        if (given is null or { Implicit: true } || option.Arity.MaximumNumberOfValues == 0)
            return null;
        var type = Nullable.GetUnderlyingType(option.ValueType) ?? option.ValueType;
        string[] values = [.. given.Tokens.Select(token => token.Value)];
        if (!type.IsArray && given.IdentifierTokenCount > 1)
            return $"{option.Name} is given {given.IdentifierTokenCount} times; once is enough";
        // of two options the first lacks its value; behind = it would be one
        bool IsOption(string value) => value.StartsWith("--", StringComparison.Ordinal) && words.Contains(value);
        if (values.Length == 0 || values.Contains("") || values.Any(IsOption))
            return $"{option.Name} has no value";
        var culture = CultureInfo.InvariantCulture;
        string? expected = type == typeof(int) && values.Any(value => !int.TryParse(value, culture, out _)) ? "a whole number"
            : type == typeof(ulong) && values.Any(value => !ulong.TryParse(value, culture, out _)) ? "a whole number, 0 or more"
            : type == typeof(double) && !values.All(IsNumber) ? "a number such as 0.5"
            : null;
        return expected is null ? null : $"{option.Name} is '{values[0]}', expected {expected}";
    }

    // of a value that is none of those allowed
    private static string? NotAmong(ParseError error)
    {
        Symbol? symbol = error.SymbolResult is ArgumentResult { Parent: OptionResult { Option: var owner } } ? owner
            : error.SymbolResult is OptionResult { Option: var option } ? option
            : (error.SymbolResult as ArgumentResult)?.Argument;
        string[] allowed = [.. symbol?.GetCompletions(CompletionContext.Empty).Select(item => item.Label) ?? []];
        string? value = error.SymbolResult?.Tokens.Select(token => token.Value).FirstOrDefault(token => !allowed.Contains(token));
        return allowed.Length < 2 || value is null || symbol is Command
            ? null
            : $"{symbol!.Name} is '{value}', expected {string.Join(", ", allowed[..^1])} or {allowed[^1]}{Spelling.Hint(value, allowed)}";
    }

    // a list of allowed values comes with a value to the line
    private static string OneLine(string message) =>
        string.Join(' ', message.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)).TrimEnd('.');
}
