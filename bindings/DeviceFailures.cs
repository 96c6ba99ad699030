namespace Avedis.Bindings;

/// <summary>The device has less memory than was asked for.</summary>
public sealed class OutOfDeviceMemoryException : Exception
{
    /// <param name="device">For people: "this computer's memory", "GPU 0".</param>
    public OutOfDeviceMemoryException(long bytes, string device)
        : base($"{device} could not provide {bytes / 1048576.0:N0} MiB in one piece; use a smaller batch (--set training.batchSize=N)") =>
        Bytes = bytes;

    /// <summary>A call failed for want of memory.</summary>
    public OutOfDeviceMemoryException(string message)
        : base(message)
    {
    }

    /// <summary>The same failure in better words.</summary>
    public OutOfDeviceMemoryException(string message, OutOfDeviceMemoryException inner)
        : base(message, inner) =>
        Bytes = inner.Bytes;

    /// <summary>Bytes that were asked for; 0 where the call does not say.</summary>
    public long Bytes { get; }
}

/// <summary>
/// The device failed while it worked: nothing more can be computed in this process, and what its memory holds is lost. The message says
/// what failed, in one line. Whatever works on a device may throw it; what cleans up behind it does not.
/// </summary>
public class DeviceFailedException(string message, Exception? inner = null) : Exception(message, inner);
