using System.Reflection;

namespace Avedis.Trainer;

/// <summary>A program of this project as another process.</summary>
public static class OwnProgram
{
    /// <param name="program">Its assembly.</param>
    /// <param name="arguments">Of its command line.</param>
    public static (string Program, string[] Arguments) Command(Assembly program, params string[] arguments)
    {
        // under "dotnet avedis.dll" the process is dotnet itself
        string host = Environment.ProcessPath!;
        return Path.GetFileNameWithoutExtension(host) == "dotnet" ? (host, [program.Location, .. arguments]) : (Path.ChangeExtension(program.Location, null), arguments);
    }
}
