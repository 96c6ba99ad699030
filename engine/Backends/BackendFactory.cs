using Avedis.Bindings;
using Avedis.Bindings.Cpu;
using Avedis.Bindings.Cuda;

namespace Avedis.Engine;

/// <summary>What was asked for cannot run here; the message says what was tried.</summary>
public sealed class DeviceUnavailableException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>
/// Makes the backend that a name stands for. There is no silent fallback: only "auto" chooses, and says what and why. A process in which it
/// has taken the GPU keeps to it.
/// </summary>
public static class BackendFactory
{
    private static volatile bool gpuTaken;

    /// <param name="device">auto (the GPU if there is one that can be used, else the processor), cpu or cuda</param>
    /// <param name="threads">Threads of the CPU backend; 0 for all cores.</param>
    /// <param name="tf32">Convolutions of F32 activations round their inputs to TF32, for the matrix units of a GPU.</param>
    /// <param name="say">Takes a line about what auto has chosen.</param>
    /// <param name="number">Of the GPU, where there are several: a process for each takes its own.</param>
    /// <param name="convolutions">How the processor computes convolutions of F32 activations.</param>
    /// <exception cref="DeviceUnavailableException"/>
    /// <exception cref="OutOfDeviceMemoryException">Others have the GPU's memory.</exception>
    public static IBackend Create(
        string device, int threads, bool tf32 = false, Action<string>? say = null, int number = 0,
        ConvolutionAlgorithm convolutions = ConvolutionAlgorithm.Auto) => device switch
    {
        "cpu" when tf32 => throw new DeviceUnavailableException("precision tf32 needs device cuda, device cpu is the processor; use fp32"),
        "cpu" => CreateCpu(threads, convolutions),
        "cuda" => CreateCuda(tf32, number),
        "auto" => Choose(threads, tf32, say, number, convolutions),
        _ => throw new DeviceUnavailableException($"device '{device}' is unknown; use auto, cpu or cuda"),
    };

    private static IBackend Choose(int threads, bool tf32, Action<string>? say, int number, ConvolutionAlgorithm convolutions)
    {
        string reason;
        // a driver that the user has named, such as the emulated one, is used when device cuda is asked for, not by itself
        if (CudaLibrary.Named)
            reason = "AVEDIS_CUDA_LIBRARY names a driver, which only --device cuda uses";
        else
            try
            {
                var cuda = CreateCuda(tf32, number);
                gpuTaken = true;
                say?.Invoke("device auto: the GPU");
                return cuda;
            }
            catch (OutOfDeviceMemoryException full) when (!gpuTaken)
            {
                reason = full.Message;
            }
            catch (DeviceUnavailableException absent) when (!gpuTaken)
            {
                reason = absent.InnerException is CudaLibraryException ? "there is no CUDA driver; avedis doctor shows what was tried" : absent.Message;
            }
        if (tf32)
            throw new DeviceUnavailableException($"precision tf32 needs device cuda, and device auto would take the processor ({reason}); use fp32");
        say?.Invoke($"device auto: the processor ({reason})");
        return CreateCpu(threads, convolutions);
    }

    private static CudaBackend CreateCuda(bool tf32, int number)
    {
        try
        {
            CudaLibrary.Load(); // without a driver, that is what to say, whether or not the kernels are there
        }
        catch (CudaLibraryException error)
        {
            throw new DeviceUnavailableException($"device cuda: {error.Message}; --device cpu works without a GPU", error);
        }
        return new CudaBackend(KernelImage.Read(), tf32, number);
    }

    private static CpuBackend CreateCpu(int threads, ConvolutionAlgorithm convolutions)
    {
        try
        {
            return new CpuBackend(threads, convolutions);
        }
        catch (CpuLibraryException error)
        {
            throw new DeviceUnavailableException($"device cpu: {error.Message}", error);
        }
    }
}
