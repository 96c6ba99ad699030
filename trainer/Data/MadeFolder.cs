using Avedis.Bindings;

namespace Avedis.Trainer.Data;

/// <summary>
/// A folder to write into, made with those above it before the work begins. What was made goes again at the end if nothing came into it: a
/// command that was refused leaves nothing.
/// </summary>
public sealed class MadeFolder : IDisposable
{
    private readonly List<string> made = []; // the innermost first

    /// <exception cref="IOException"/>
    /// <exception cref="UnauthorizedAccessException"/>
    public MadeFolder(string path)
    {
        Name = path;
        string? folder = Path.GetFullPath(path);
        for (; folder is not null && !Directory.Exists(folder); folder = Path.GetDirectoryName(folder))
            made.Add(folder);
        Directory.CreateDirectory(path);
    }

    public string Name { get; }

    /// <summary>The folder of a file that is to be written when the work is done, for which it is tried now.</summary>
    /// <param name="option">That names the file.</param>
    /// <exception cref="UserException">Exit code 8: it could not be written there.</exception>
    public static MadeFolder Of(string option, string file)
    {
        MadeFolder? folder = null;
        try
        {
            folder = new MadeFolder(Path.GetDirectoryName(Path.GetFullPath(file))!);
            if (Directory.Exists(file))
                throw new IOException("it is a folder");
            bool there = File.Exists(file);
            // to open a pipe and leave it would end it for its reader
            if (!there || RegularFiles.IsRegular(file))
                File.OpenHandle(file, FileMode.OpenOrCreate, FileAccess.Write).Dispose();
            if (!there)
                File.Delete(file);
            return folder;
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            folder?.Dispose();
            throw new UserException(
                ExitCode.DiskOrIo, $"{option} {file} cannot be written: {failure.Message.TrimEnd('.')}; name another place", failure);
        }
    }

    public void Dispose()
    {
        try
        {
            foreach (string folder in made)
                Directory.Delete(folder); // refuses one that holds anything
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            // it is in use
        }
    }
}
