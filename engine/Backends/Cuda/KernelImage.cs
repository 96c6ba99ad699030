namespace Avedis.Engine;

/// <summary>The compiled kernels: avedis_kernels.fatbin, in the folder that AVEDIS_NATIVE_DIR names or beside the program.</summary>
public static class KernelImage
{
    private const string FileName = "avedis_kernels.fatbin";

    private static readonly Lock gate = new();
    private static (string Path, byte[] Image)? read;

    /// <summary>The same array each time.</summary>
    /// <exception cref="DeviceUnavailableException">There is no such file, or it cannot be read.</exception>
    public static byte[] Read()
    {
        string[] folders = [.. new[] { Environment.GetEnvironmentVariable("AVEDIS_NATIVE_DIR"), AppContext.BaseDirectory }.OfType<string>()];
        string? path = folders.Select(folder => Path.Combine(folder, FileName)).FirstOrDefault(File.Exists);
        if (path is null)
            throw new DeviceUnavailableException(
                $"device cuda: the kernels are not compiled: there is no {FileName} in {string.Join(" or ", folders)}; get NVIDIA's compiler " +
                "(kernels/get-cuda-toolkit) and build again; --device cpu works without");
        try
        {
            lock (gate)
            {
                if (read?.Path != path)
                    read = (path, File.ReadAllBytes(path));
                return read.Value.Image;
            }
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new DeviceUnavailableException($"device cuda: {path} cannot be read: {error.Message}", error);
        }
    }
}
