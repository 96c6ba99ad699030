using Avedis.Bindings.Cuda;

namespace Avedis.Engine;

/// <summary>
/// A stream, and memory that its operations use one after the other: what runs beside them on another stream has its own.
/// </summary>
internal sealed class CudaLane : IDisposable
{
    /// <summary>Scratch of the operations that reduce in two launches; what needs more asks for workspace.</summary>
    public const long ScratchBytes = 16 << 20;

    private readonly CudaDeviceMemory? scratch;

    public CudaLane()
    {
        try
        {
            Stream = CudaStream.Create();
            Reached = CudaEvent.Create(timing: false);
            scratch = CudaDeviceMemory.Allocate(ScratchBytes);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public CudaStream Stream { get; }

    /// <summary>Address of the scratch.</summary>
    public nint Scratch => scratch!.Address;

    public nint Workspace { get; set; }

    public long WorkspaceBytes { get; set; }

    /// <summary>Recorded where this lane's part begins or ends, for the other lane to wait for.</summary>
    public CudaEvent Reached { get; }

    public void Dispose()
    {
        Stream?.Dispose();
        Reached?.Dispose();
        scratch?.Dispose();
    }
}
