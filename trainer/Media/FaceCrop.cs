namespace Avedis.Trainer.Media;

/// <summary>
/// Cuts a square out of a grey picture and scales it to size x size: the mean over the area of each new pixel when it shrinks, bilinear when it grows.
/// Beyond the picture its edge goes on. Holds the buffers: one object per thread.
/// </summary>
public sealed class FaceCrop(int size)
{
    private readonly Axis columns = new(size), rows = new(size);
    private float[] narrowed = [];  // the rows that are needed, [rows, size]

    /// <summary><paramref name="face"/> [size, size] = the square of <paramref name="picture"/> [height, width].</summary>
    public void Cut(Span<byte> face, ReadOnlySpan<byte> picture, int height, int width, FaceSquare square)
    {
        if (face.Length != size * size || picture.Length != height * width)
            throw new ArgumentException($"a square of {size} from {width}x{height} pixels does not fit {face.Length} from {picture.Length} bytes");
        columns.Place(square.X - (square.Side / 2), square.Side, width);
        rows.Place(square.Y - (square.Side / 2), square.Side, height);
        int first = rows.Lowest, count = rows.Highest - first + 1;
        if (narrowed.Length < count * size)
            narrowed = new float[count * size];
        for (int y = 0; y < count; y++)
            Narrow(narrowed.AsSpan(y * size, size), picture.Slice((first + y) * width, width));
        Span<float> sums = stackalloc float[size];
        for (int y = 0; y < size; y++)
        {
            sums.Fill(0.5f);  // rounds to nearest
            for (int tap = 0; tap < rows.Taps; tap++)
            {
                float weight = rows.Weight(y, tap);
                var row = narrowed.AsSpan((rows.Index(y, tap) - first) * size, size);
                for (int x = 0; x < size; x++)
                    sums[x] += weight * row[x];
            }
            var target = face.Slice(y * size, size);
            for (int x = 0; x < size; x++)
                target[x] = (byte)Math.Clamp(sums[x], 0, 255);
        }
    }

    private void Narrow(Span<float> target, ReadOnlySpan<byte> row)
    {
        for (int x = 0; x < size; x++)
        {
            float sum = 0;
            for (int tap = 0; tap < columns.Taps; tap++)
                sum += columns.Weight(x, tap) * row[columns.Index(x, tap)];
            target[x] = sum;
        }
    }

    /// <summary>Which old pixels make up each new one along one axis, and by how much: [size, Taps].</summary>
    private sealed class Axis(int size)
    {
        private int[] index = [];
        private float[] weight = [];

        /// <summary>Old pixels for each new one; some may weigh 0.</summary>
        public int Taps { get; private set; }

        public int Lowest { get; private set; }

        public int Highest { get; private set; }

        public int Index(int at, int tap) => index[(at * Taps) + tap];

        public float Weight(int at, int tap) => weight[(at * Taps) + tap];

        /// <summary>New pixels cover [start, start + length) of an axis of <paramref name="count"/> old ones, pixel i being [i, i + 1).</summary>
        public void Place(double start, double length, int count)
        {
            double step = length / size, reach = Math.Max(step, 1);
            Taps = (int)Math.Ceiling(reach) + 1;
            if (index.Length < size * Taps)
                (index, weight) = (new int[size * Taps], new float[size * Taps]);
            (Lowest, Highest) = (count - 1, 0);
            for (int at = 0; at < size; at++)
            {
                // a window of one old pixel around the middle of a new one covers its two neighbours by the weights of bilinear interpolation
                double low = start + ((at + 0.5) * step) - (reach / 2), high = low + reach;
                double pixel = Math.Floor(low);
                for (int tap = 0; tap < Taps; tap++, pixel++)
                {
                    double covered = Math.Max(0, Math.Min(high, pixel + 1) - Math.Max(low, pixel));
                    int inside = (int)Math.Clamp(pixel, 0, count - 1);
                    (index[(at * Taps) + tap], weight[(at * Taps) + tap]) = (inside, (float)(covered / reach));
                    (Lowest, Highest) = (Math.Min(Lowest, inside), Math.Max(Highest, inside));
                }
            }
        }
    }
}
