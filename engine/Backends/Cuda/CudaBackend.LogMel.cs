namespace Avedis.Engine;

public sealed partial class CudaBackend
{
    private const int LogMelThreads = 256, LogMelFrames = 32, LogMelPitch = LogMelFrames + 1;

    [Kernels("log_mel_f32")]
    private readonly record struct LogMelArguments(
        nint Y, nint Samples, nint Basis, nint Filters, int Length, int Window, int Frequencies, int Bins, int Frames, int Hop,
        float Floor, int AddFloor);

    public void LogMel(Tensor y, Tensor samples, Tensor basis, Tensor filters, in LogMelGeometry geometry)
    {
        int rows = samples.Shape[0], bins = filters.Shape[0], frames = y.Shape[2];
        Launch("log_mel_f32", new Grid((frames + LogMelFrames - 1) / LogMelFrames, rows), LogMelThreads,
            new LogMelArguments(
                y.Address, samples.Address, basis.Address, filters.Address, samples.Shape[1], basis.Shape[3], basis.Shape[1], bins, frames,
                geometry.Hop, geometry.Floor, geometry.AddFloor ? 1 : 0),
            sharedBytes: bins * LogMelPitch * sizeof(float));
    }
}
