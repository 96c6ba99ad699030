using Avedis.Trainer.Media;

namespace Avedis.Trainer.Data;

/// <summary>
/// One picture of what a prepared folder holds: some clips, evenly over the manifest, with six faces each, evenly over the clip. Clips stand in rows
/// from left to right.
/// </summary>
public sealed class FaceContactSheet
{
    private const int FacesPerClip = 6, LargestCell = 112, Gap = 2, ClipGap = 12;

    private readonly int cell, clipWidth;

    private FaceContactSheet(PreparedDataset dataset, int clips)
    {
        var all = dataset.Index.Clips;
        int count = Math.Min(clips, all.Count);
        Clips = [.. Enumerable.Range(0, count).Select(i => all[(int)((long)i * all.Count / count)])];
        // as wide as high
        ClipsPerRow = (int)Math.Ceiling(Math.Sqrt((double)count / FacesPerClip));
        cell = Math.Min(dataset.Features.FaceSize, LargestCell);
        clipWidth = (FacesPerClip * (cell + Gap)) - Gap;
        Width = (ClipsPerRow * (clipWidth + ClipGap)) - ClipGap;
        Height = ((count + ClipsPerRow - 1) / ClipsPerRow * (cell + Gap)) - Gap;
    }

    public IReadOnlyList<ClipInfo> Clips { get; }

    public int ClipsPerRow { get; }

    public int Width { get; }

    public int Height { get; }

    /// <summary>Writes the sheet as png and returns what stands where.</summary>
    public static FaceContactSheet Write(FfmpegTool tool, PreparedDataset dataset, int clips, string path, CancellationToken stop)
    {
        var sheet = new FaceContactSheet(dataset, clips);
        PngFile.Write(tool, sheet.Draw(dataset, stop), sheet.Width, sheet.Height, path, stop);
        return sheet;
    }

    private byte[] Draw(PreparedDataset dataset, CancellationToken stop)
    {
        int size = dataset.Features.FaceSize;
        var (faces, mels) = (new byte[dataset.Features.FaceBytes], new float[dataset.Features.MelCount]);
        var (crop, small) = (new FaceCrop(cell), new byte[cell * cell]);
        var rgb = new byte[Width * Height * 3];
        Array.Fill(rgb, (byte)255);
        for (int i = 0; i < Clips.Count; i++)
        {
            stop.ThrowIfCancellationRequested();
            dataset.Read(Clips[i], faces, mels);
            int shown = Math.Min(FacesPerClip, Clips[i].Faces);
            for (int k = 0; k < shown; k++)
            {
                int frame = ((2 * k) + 1) * Clips[i].Faces / (2 * shown);
                crop.Cut(small, faces.AsSpan(frame * size * size, size * size), size, size, new FaceSquare(size / 2.0, size / 2.0, size));
                int left = (i % ClipsPerRow * (clipWidth + ClipGap)) + (k * (cell + Gap)), top = i / ClipsPerRow * (cell + Gap);
                for (int y = 0; y < cell; y++)
                    for (int x = 0; x < cell; x++)
                        rgb.AsSpan((((top + y) * Width) + left + x) * 3, 3).Fill(small[(y * cell) + x]);
            }
        }
        return rgb;
    }
}
