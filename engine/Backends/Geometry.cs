using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Avedis.Engine;

/// <summary>
/// A 2-D convolution: x [N, H, W, C] with weights [K, R, S, C] gives y [N, P, Q, K], zero padding, cross-correlation as in every framework.
/// </summary>
public readonly record struct Conv2dGeometry(
    int N, int H, int W, int C, int K, int R, int S, int StrideH, int StrideW, int PadH, int PadW)
{
    /// <summary>Output rows.</summary>
    public int P => Extent(H, R, StrideH, PadH);

    /// <summary>Output columns.</summary>
    public int Q => Extent(W, S, StrideW, PadW);

    public Shape Input => new(N, H, W, C);

    public Shape Weight => new(K, R, S, C);

    public Shape Output => new(N, P, Q, K);

    /// <summary>Output extent of a window that slides; 0 or less when the window does not fit once.</summary>
    public static int Extent(int size, int window, int stride, int pad) =>
        size + 2 * pad < window ? 0 : (size + 2 * pad - window) / stride + 1;
}

/// <summary>
/// Max pooling of x [N, H, W, C] to y [N, P, Q, C]. Padding never wins. Windows hold at most <see cref="MostElements"/> elements. Of equal elements the first
/// in row-major order wins, as in PyTorch.
/// </summary>
public readonly record struct Pool2dGeometry(
    int N, int H, int W, int C, int R, int S, int StrideH, int StrideW, int PadH, int PadW)
{
    /// <summary>Of a window: a byte says which of them won, row * S + column.</summary>
    public const int MostElements = 256;

    public int P => Conv2dGeometry.Extent(H, R, StrideH, PadH);

    public int Q => Conv2dGeometry.Extent(W, S, StrideW, PadW);

    public Shape Input => new(N, H, W, C);

    public Shape Output => new(N, P, Q, C);

    /// <summary>For a layer that is built, by its name.</summary>
    /// <exception cref="ArgumentException">Its window has more than <see cref="MostElements"/> elements.</exception>
    internal Pool2dGeometry Checked(string layer) =>
        (long)R * S <= MostElements
            ? this
            : throw new ArgumentException(
                $"{layer}: a pooling window of {R} x {S} has {(long)R * S} elements, at most {MostElements} are possible; pool twice, with smaller windows");
}

/// <summary>Where the frames of <see cref="IBackend.LogMel"/> lie, and its logarithm.</summary>
/// <param name="Hop">Samples from one frame to the next.</param>
/// <param name="Floor">Keeps the logarithm of silence finite.</param>
/// <param name="AddFloor">Whether the floor is added to the energy, or the least that counts.</param>
public readonly record struct LogMelGeometry(int Hop, float Floor, bool AddFloor);

/// <summary>
/// What <see cref="IBackend.AugmentFaces"/> and <see cref="IBackend.AugmentMels"/> do to one clip, as it lies in memory: whole numbers, but for Gain and Silence.
/// The default leaves the clip as it is.
/// </summary>
[StructLayout(LayoutKind.Sequential)]
public record struct AugmentPlan
{
    /// <summary>1 mirrors the pictures, left to right.</summary>
    public float Flip;

    /// <summary>Pixels that the pictures move up and to the left.</summary>
    public float CropY, CropX;

    /// <summary>Frames that are left out at the start, 0 or more.</summary>
    public float FaceShift;

    /// <summary>Pixel of the frames that come in at the end.</summary>
    public float PadPixel;

    /// <summary>Frames of the log-mels that are left out at the start, 0 or more.</summary>
    public float MelShift;

    /// <summary>Frames from the new start on that are no padding: those that <see cref="Gain"/> is for.</summary>
    public float MelFrames;

    /// <summary>Added to log-mels: natural logarithm of the factor of the power.</summary>
    public float Gain;

    /// <summary>Log-mel of the frames that come in at the end, and of what is masked.</summary>
    public float Silence;

    /// <summary>Masked bins.</summary>
    public AugmentMask Bins0, Bins1;

    /// <summary>Masked frames, from the new start on.</summary>
    public AugmentMask Frames0, Frames1;

    /// <summary>Numbers in a plan.</summary>
    public static int Width { get; } = Unsafe.SizeOf<AugmentPlan>() / sizeof(float);
}

/// <summary>Count bins or frames from First on.</summary>
public readonly record struct AugmentMask(float First, float Count);
