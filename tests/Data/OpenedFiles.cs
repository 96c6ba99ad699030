using System.Globalization;
using System.Text.RegularExpressions;
using Avedis.Trainer;
using Avedis.Trainer.Media;

namespace Avedis.Tests;

/// <summary>What the processes below a program open and whom they call, as strace saw it.</summary>
internal static partial class OpenedFiles
{
    /// <summary>One line why this machine cannot tell, null if it can.</summary>
    public static string? Absence { get; } = Try();

    /// <summary>The program and arguments that run another one under strace and write down what it opens.</summary>
    public static string[] Command(string log, params string[] command) =>
        // links resolved behind each "=" (-y); calls that an architecture lacks are passed over (?); without what ./test preloads (-E),
        // which is no file of the data
        ["strace", "-f", "-y", "--seccomp-bpf", "-e", "trace=?open,openat,?openat2,execve,clone,?clone3,?fork,?vfork,connect",
            "-E", "LD_PRELOAD", "-o", log, .. command];

    /// <summary>Real paths of the files that ffmpeg and ffprobe opened, and "network" where one called an internet address.</summary>
    public static IReadOnlyCollection<string> OfDecoders(string log)
    {
        string[] lines = File.ReadAllLines(log);
        var programs = new Dictionary<int, string>();
        var parents = new Dictionary<int, int>();
        foreach (string line in lines)
            if (Executed().Match(line) is { Success: true } executed)
                programs[Number(executed, 1)] = Path.GetFileName(executed.Groups[2].Value);
            else if (Cloned().Match(line) is { Success: true } cloned)
                parents[Number(cloned, 2)] = Number(cloned, 1);

        string ProgramOf(int process)
        {
            while (!programs.ContainsKey(process) && parents.TryGetValue(process, out int parent))
                process = parent;
            return programs.GetValueOrDefault(process, "");
        }
        var found = new HashSet<string>(StringComparer.Ordinal);
        foreach (string line in lines)
        {
            bool network = Connected().Match(line) is { Success: true };
            var opened = Opened().Match(line);
            if ((network || opened.Success) && ProgramOf(int.Parse(line.AsSpan(0, line.IndexOf(' ')), CultureInfo.InvariantCulture)) is "ffmpeg" or "ffprobe")
                found.Add(network ? "network" : opened.Groups[1].Value);
        }
        return found;
    }

    private static string? Try()
    {
        string log = Path.GetTempFileName();
        try
        {
            string[] command = Command(log, "true");
            var result = ChildProgram.Run(command[0], command[1..], TimeSpan.FromMinutes(1));
            return result.Succeeded ? null : $"strace may not look at processes here: {result.FirstError}";
        }
        catch (UserException failure)
        {
            return $"{failure.Message} (apt-get install strace)";
        }
        finally
        {
            File.Delete(log);
        }
    }

    private static int Number(Match match, int group) => int.Parse(match.Groups[group].Value, CultureInfo.InvariantCulture);

    // a call that another process's interrupts stands in two lines: "1 openat(... <unfinished ...>", "1 <... openat resumed>...) = 3</path>"
    [GeneratedRegex("""^(\d+) +execve\("([^"]*)".*""")]
    private static partial Regex Executed();

    [GeneratedRegex(@"^(\d+) +(?:<\.\.\. )?(?:clone3?|v?fork)\b.* = (\d+)")]
    private static partial Regex Cloned();

    [GeneratedRegex(@"^\d+ +(?:<\.\.\. )?open(?:at2?)?\b.* = \d+<(.+)>$")]
    private static partial Regex Opened();

    [GeneratedRegex(@"^\d+ +(?:<\.\.\. )?connect\(.*sa_family=AF_INET")]
    private static partial Regex Connected();
}
