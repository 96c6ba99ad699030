using Avedis.Bindings.Faces;

namespace Avedis.Trainer.Media;

/// <summary>The speaker's face out of the pictures of a clip, one square of <paramref name="size"/> pixels for each. One object per thread.</summary>
public sealed class FaceCropper(FaceDetector detector, int size)
{
    /// <summary>Faces looked at in one picture; a crowd has no speaker.</summary>
    private const int MostFaces = 16;

    private readonly FaceTrack track = new();
    private readonly FaceCrop crop = new(size);
    private FaceSquare[] squares = [];

    /// <summary>
    /// Fills <paramref name="faces"/> [count, size, size] from <paramref name="frames"/> [count, height, width], grey both. Returns in how many frames
    /// the face was found; 0: in none, and nothing was written.
    /// </summary>
    public int Crop(ReadOnlySpan<byte> frames, int count, int width, int height, Span<byte> faces)
    {
        int frame = width * height, face = size * size;
        if (frames.Length != (long)count * frame || faces.Length != (long)count * face)
            throw new ArgumentException($"{count} frames of {width}x{height} and faces of {size}x{size} got {frames.Length} and {faces.Length} bytes");
        Span<FaceBox> boxes = stackalloc FaceBox[MostFaces];
        track.Clear();
        for (int i = 0; i < count; i++)
            track.Add(boxes[..detector.Find(boxes, frames.Slice(i * frame, frame), width, height)]);
        if (squares.Length < count)
            squares = new FaceSquare[count];
        int found = track.Follow(squares.AsSpan(0, count));
        for (int i = 0; found > 0 && i < count; i++)
            crop.Cut(faces.Slice(i * face, face), frames.Slice(i * frame, frame), height, width, squares[i]);
        return found;
    }
}
