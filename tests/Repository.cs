namespace Avedis.Tests;

/// <summary>The sources that the running tests were built from.</summary>
internal static class Repository
{
    public static string Root
    {
        get
        {
            string? folder = AppContext.BaseDirectory;
            while (folder is not null && !File.Exists(Path.Combine(folder, "Engine.sln")))
                folder = Path.GetDirectoryName(folder);
            return folder ?? throw new DirectoryNotFoundException("the tests run inside the repository");
        }
    }
}
