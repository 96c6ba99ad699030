using Avedis.Bindings.Cpu;

namespace Avedis.Engine;

/// <summary>What was asked for cannot run here; the message says what was tried.</summary>
public sealed class DeviceUnavailableException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>Makes the backend that a name stands for. There is no silent fallback: only "auto" chooses.</summary>
public static class BackendFactory
{
    /// <param name="device">auto, cpu or cuda</param>
    /// <param name="threads">Threads of the CPU backend; 0 for all cores.</param>
    /// <param name="tf32">Convolutions of F32 activations round their inputs to TF32, for the matrix units of a GPU.</param>
    /// <exception cref="DeviceUnavailableException"/>
    public static IBackend Create(string device, int threads, bool tf32 = false) => device switch
    {
        "cpu" or "auto" when tf32 => throw new DeviceUnavailableException(
            $"precision tf32 needs device cuda, device {device} is {(device == "cpu" ? "the processor" : "the processor here")}; use fp32"),
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
