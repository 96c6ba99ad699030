using Avedis.Bindings.Cpu;

namespace Avedis.Engine;

/// <summary>What was asked for cannot run here; the message says what was tried.</summary>
public sealed class DeviceUnavailableException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>Makes the backend that a name stands for. There is no silent fallback: only "auto" chooses.</summary>
public static class BackendFactory
{
    /// <param name="device">auto, cpu or cuda</param>
    /// <param name="threads">Threads of the CPU backend; 0 for all cores.</param>
    /// <exception cref="DeviceUnavailableException"/>
    public static IBackend Create(string device, int threads) => device switch
    {
        "cpu" or "auto" => CreateCpu(threads),
        "cuda" => throw new DeviceUnavailableException(
            "device cuda: this build has no CUDA backend yet, only cpu; use --device cpu, or --device auto to let avedis choose"),
        _ => throw new DeviceUnavailableException($"device '{device}' is unknown; use auto, cpu or cuda"),
    };

    private static CpuBackend CreateCpu(int threads)
    {
        try
        {
            return new CpuBackend(threads);
        }
        catch (CpuLibraryException error)
        {
            throw new DeviceUnavailableException($"device cpu: {error.Message}", error);
        }
    }
}
