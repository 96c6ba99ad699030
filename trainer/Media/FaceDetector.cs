using Avedis.Bindings.Faces;

namespace Avedis.Trainer.Media;

/// <summary>Finds faces in grey pictures, on the processor. One object per thread.</summary>
public sealed class FaceDetector : IDisposable
{
    /// <summary>The detector's own limit is 80 px; the second look enlarges the picture so far that faces of 53 px reach it.</summary>
    private const float Enlargement = 1.5f;

    private readonly FaceDetectorLibrary library;

    /// <exception cref="UserException">Exit code 5: the library is not there.</exception>
    public FaceDetector()
    {
        try
        {
            library = FaceDetectorLibrary.Create();
        }
        catch (FaceDetectorException failure)
        {
            throw new UserException(ExitCode.DeviceUnavailable, failure.Missing
                ? "--crop detect needs the face detector, which is built where libdlib-dev is installed: apt-get install libdlib-dev, then "
                    + $"cmake -S . -B artifacts/cmake && cmake --build artifacts/cmake, then build the solution ({failure.Message})"
                : $"--crop detect: the face detector does not start: {failure.Message}", failure);
        }
    }

    /// <summary>What was found, for people.</summary>
    public string Description => $"dlib {FaceDetectorLibrary.DlibVersion}, frontal faces of {80 / Enlargement:0} px and more";

    /// <summary>
    /// The faces in a picture [height, width], best first. Only a picture without a large face is searched for small ones, at 2.3 times the cost:
    /// who speaks is rarely the smallest.
    /// </summary>
    public int Find(Span<FaceBox> boxes, ReadOnlySpan<byte> grey, int width, int height)
    {
        int count = library.Detect(boxes, grey, height, width, 1);
        return count > 0 ? count : library.Detect(boxes, grey, height, width, Enlargement);
    }

    public void Dispose() => library.Dispose();
}
