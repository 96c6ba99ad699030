using System.Text;
using Avedis.Bindings;

namespace Avedis.Trainer.Data;

/// <summary>Files that are there as a whole or not at all.</summary>
public static class WholeFile
{
    public static void Write(string path, string text) => Write(path, stream => stream.Write(Encoding.UTF8.GetBytes(text)));

    /// <summary>Writes or replaces a file, on the disk when it gets its name: whoever looks sees the old one or the new one.</summary>
    public static void Write(string path, Action<Stream> write)
    {
        string unfinished = path + ".tmp";
        using (var stream = new FileStream(unfinished, FileMode.Create, FileAccess.Write))
        {
            write(stream);
            stream.Flush();
            DurableFiles.Sync(stream.SafeFileHandle, unfinished);
        }
        DurableFiles.Replace(unfinished, path);
    }
}
