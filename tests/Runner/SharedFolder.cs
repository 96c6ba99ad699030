using System.Diagnostics.CodeAnalysis;

namespace Avedis.Tests.Runner;

/// <summary>A folder that the processes of one run of the tests share: what is made once for all, and what each tells of itself.</summary>
internal sealed class SharedFolder : IDisposable
{
    private const string Variable = "AVEDIS_TEST_SHARED", CallsVariable = "AVEDIS_CALLS_FOLDER";

    private readonly string path;

    private SharedFolder(string path) => this.path = path;

    /// <summary>That of the run to which this process belongs; null for a process that runs tests by itself.</summary>
    public static string? Current { get; } = Environment.GetEnvironmentVariable(Variable);

    public static SharedFolder Create() => new(Directory.CreateTempSubdirectory("avedis-tests").FullName);

    /// <summary>Holds a file against the other processes of the run, until it is disposed.</summary>
    public static FileStream Lock(string file)
    {
        while (true)
            try
            {
                return new FileStream(file, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
            }
            catch (IOException) when (File.Exists(file))
            {
                Thread.Sleep(50);
            }
    }

    /// <summary>Tells a process that is to be started where the folder is, and has it note the native functions that it looks up.</summary>
    public void Describe(IDictionary<string, string?> environment)
    {
        environment[Variable] = path;
        environment[CallsVariable] = Directory.CreateDirectory(Path.Combine(path, "calls")).FullName;
        string calls = Path.GetFullPath(Path.Combine(AppContext.BaseDirectory, "..", "..", "..", "native", "libavedis_calls.so"));
        if (File.Exists(calls)) // a bundle goes without
            environment["LD_PRELOAD"] = calls;
    }

    /// <summary>Names of the native functions that the run's processes and their children looked up: .NET does so at a function's first call.</summary>
    public IEnumerable<string> NativeCalls() => Directory.EnumerateFiles(Path.Combine(path, "calls")).SelectMany(File.ReadLines).Distinct();

    [SuppressMessage("Design", "CA1031", Justification = "a folder that a dying process still writes to stays behind")]
    public void Dispose()
    {
        try
        {
            Directory.Delete(path, recursive: true);
        }
        catch (Exception)
        {
        }
    }
}
