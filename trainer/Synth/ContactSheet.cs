using Avedis.Trainer.Media;

namespace Avedis.Trainer.Synth;

/// <summary>One picture of the cast: a row for each of four speakers, a column for each emotion in the order of <see
/// cref="Emotion"/>.</summary>
public static class ContactSheet
{
    private const int Rows = 4, Columns = 8, Cell = 148, Gap = 2;

    public const int Width = (Columns * (Cell + Gap)) - Gap, Height = (Rows * (Cell + Gap)) - Gap;

    public static void Write(FfmpegTool tool, SynthOptions options, string path, CancellationToken stop)
    {
        var cast = Speaker.Cast(options.Speakers, options.Seed);
        var sheet = new byte[Width * Height * 3];
        Array.Fill(sheet, (byte)255);
        var cell = new byte[Cell * Cell * 3];
        for (int i = 0; i < Rows * Columns; i++)
        {
            var (row, column) = (i / Columns, i % Columns);
            // a quiet picture: full strength, nearly frontal, evenly lit, one backdrop a row
            var scene = Scene.Draw(cast[row % cast.Length], (Emotion)column, i, 0, options.Seed) with
            {
                Intensity = 1, Yaw = column % 2 == 0 ? -0.1f : 0.1f, Nod = 0, Scale = 0.365f, X = 0.5f, Y = 0.51f, LightAngle = -2.2f,
                LightStrength = 0.16f, Exposure = 1.02f, Warmth = 0.02f,
                Backdrop = 3, BackdropHue = (0.55f + (0.23f * row)) % 1, ShirtHue = (0.1f + (0.31f * row)) % 1,
            };
            new Clip(scene, 1, options.Seed, i).Portrait(Cell, cell);
            for (int y = 0; y < Cell; y++)
                cell.AsSpan(y * Cell * 3, Cell * 3).CopyTo(sheet.AsSpan(((((row * (Cell + Gap)) + y) * Width)
                    + (column * (Cell + Gap))) * 3));
        }
        PngFile.Write(tool, sheet, Width, Height, path, stop);
    }
}
