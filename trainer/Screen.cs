using System.Text;
using Spectre.Console;
using Spectre.Console.Rendering;

namespace Avedis.Trainer;

/// <summary>
/// What is drawn: for a terminal within its width, with colours unless NO_COLOR is set; for files and pipes as plain text, one row a line.
/// </summary>
internal static class Screen
{
    /// <summary>Columns of a terminal that does not say how many it has.</summary>
    private const int UsualWidth = 80;

    private const int NoLimit = 100_000;

    private static readonly Lock gate = new();
    private static TextWriter? unfinished; // the terminal whose last line is rewritten

    /// <summary>Columns of the terminal that a writer leads to; null: it leads to a file or a pipe.</summary>
    public static int? Width(TextWriter writer)
    {
        var stream = GuardedWriter.Behind(writer);
        bool live = ReferenceEquals(stream, Console.Out) ? !Console.IsOutputRedirected
            : ReferenceEquals(stream, Console.Error) && !Console.IsErrorRedirected;
        if (!live)
            return null;
        try
        {
            return Console.WindowWidth is > 0 and var columns ? columns : UsualWidth;
        }
        catch (IOException)
        {
            return UsualWidth;
        }
    }

    /// <summary>Whether a writer leads to a terminal whose last line can be written again.</summary>
    public static bool IsLive(TextWriter writer) =>
        Environment.GetEnvironmentVariable("TERM") is not (null or "" or "dumb") && Width(writer) is not null;

    /// <summary>A table without lines; its columns but the first hold figures.</summary>
    public static Table Table(params string[] headers)
    {
        var table = new Table { Border = TableBorder.None };
        foreach (var (i, header) in headers.Index())
            table.AddColumn(new TableColumn(new Text(header, new Style(decoration: Decoration.Bold)))
            {
                Alignment = i == 0 ? Justify.Left : Justify.Right, Padding = new Padding(0, 0, i + 1 < headers.Length ? 2 : 0, 0),
            });
        return table;
    }

    /// <summary>A row of texts as they are: what looks like markup in them is none.</summary>
    public static void Add(this Table table, params string[] cells) => table.AddRow(cells.Select(cell => new Text(Printable.Whole(cell))));

    /// <summary>A finding under its name, over several lines where the terminal is narrow.</summary>
    public static void WriteFinding(TextWriter writer, string name, string finding)
    {
        int names = Math.Max(14, name.GetCellWidth() + 1);
        var grid = new Grid()
            .AddColumn(new GridColumn { Width = names, NoWrap = true, Padding = new Padding(0) })
            .AddColumn(new GridColumn { Padding = new Padding(0) });
        grid.AddRow(new Text(name, new Style(decoration: Decoration.Bold)), new Text(Printable.Whole(finding)));
        Write(writer, grid);
    }

    public static void Write(TextWriter writer, IRenderable content) => writer.WriteLine(Draw(writer, _ => content));

    /// <summary>Lines without an end behind the last, and without spaces at their ends.</summary>
    public static string Draw(TextWriter writer, Func<RenderOptions, IRenderable> content)
    {
        bool live = IsLive(writer), coloured = live && string.IsNullOrEmpty(Environment.GetEnvironmentVariable("NO_COLOR"));
        var drawn = new StringWriter();
        var console = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Ansi = live ? AnsiSupport.Yes : AnsiSupport.No,
            ColorSystem = coloured ? ColorSystemSupport.Standard : ColorSystemSupport.NoColors,
            Interactive = InteractionSupport.No,
            Enrichment = new ProfileEnrichment { UseDefaultEnrichers = false },
            Out = new AnsiConsoleOutput(drawn),
        });
        console.Profile.Width = Width(writer) ?? NoLimit;
        console.Profile.Capabilities.Unicode = ShowsUnicode;
        console.Write(content(RenderOptions.Create(console, console.Profile.Capabilities)));
        return string.Join('\n', drawn.ToString().Split('\n').Select(line => line.TrimEnd())).TrimEnd();
    }

    /// <summary>Replaces the last line of a terminal.</summary>
    /// <param name="final">Whether it stays.</param>
    public static void Rewrite(TextWriter writer, string line, bool final)
    {
        lock (gate)
            try
            {
                var stream = GuardedWriter.Behind(writer);
                stream.Write($"\r{line}\u001b[K{(final ? "\n" : "")}");
                stream.Flush();
                unfinished = final ? null : stream;
            }
            catch (IOException)
            {
                // the terminal has gone
            }
    }

    /// <summary>What comes next begins a line of its own: in place of one that was to be rewritten, or behind it.</summary>
    public static void EndLine(bool erase = false)
    {
        lock (gate)
            try
            {
                unfinished?.Write(erase ? "\r\u001b[K" : "\n");
                unfinished?.Flush();
            }
            catch (IOException)
            {
                // the terminal has gone
            }
            finally
            {
                unfinished = null;
            }
    }

    /// <summary>Whether a terminal's font and its programs expect more than ASCII, by the language that it is set to.</summary>
    private static bool ShowsUnicode => ((string[])["LC_ALL", "LC_CTYPE", "LANG"]).Select(Environment.GetEnvironmentVariable)
        .FirstOrDefault(value => !string.IsNullOrEmpty(value))?
        .Replace("-", "", StringComparison.Ordinal).EndsWith("utf8", StringComparison.OrdinalIgnoreCase) == true;
}
