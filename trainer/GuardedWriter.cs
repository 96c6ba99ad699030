using System.Text;

namespace Avedis.Trainer;

/// <summary>
/// Standard output or error, which may lead to a full disk or to a terminal that has gone. A log loses lines then, and the work goes on; a
/// result that cannot be printed is a failure.
/// </summary>
internal sealed class GuardedWriter(TextWriter inner, bool mayLose) : TextWriter
{
    /// <summary>Where it leads.</summary>
    public TextWriter Inner => inner;

    public override Encoding Encoding => inner.Encoding;

    /// <summary>The same stream for lines that may be lost.</summary>
    public static TextWriter Log(TextWriter writer) => new GuardedWriter(Behind(writer), mayLose: true);

    /// <summary>The stream itself.</summary>
    public static TextWriter Behind(TextWriter writer) => writer is GuardedWriter guarded ? guarded.Inner : writer;

    public override void Write(char value) => Try(() => inner.Write(value));

    public override void Write(char[] buffer, int index, int count) => Try(() => inner.Write(buffer, index, count));

    public override void Write(string? value) => Try(() => inner.Write(value));

    public override void WriteLine() => Try(inner.WriteLine);

    public override void WriteLine(string? value) => Try(() => inner.WriteLine(value));

    public override void Flush() => Try(inner.Flush);

    private void Try(Action write)
    {
        Screen.EndLine(erase: true);
        try
        {
            write();
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException or ObjectDisposedException)
        {
            if (!mayLose)
                throw new UserException(
                    ExitCode.DiskOrIo,
                    $"the result could not be printed: {failure.Message}; send it to a file on a disk with room", failure);
        }
    }
}
