using System.Runtime.InteropServices;
using Avedis.Bindings.Faces;

namespace Avedis.Trainer.Media;

/// <summary>What is cut from a picture: a square by its centre and side, in pixels; may reach beyond the picture.</summary>
public readonly record struct FaceSquare(double X, double Y, double Side);

/// <summary>
/// Follows one face through the sampled pictures of a clip: links what was found in each into tracks, keeps the track of the person who is seen
/// largest and longest, fills its gaps and takes the jitter out of it. Holds the buffers: one object per thread.
/// </summary>
public sealed class FaceTrack
{
    /// <summary>Side of the square against that of the face's box, as in the crops of VoxCeleb.</summary>
    public const double Margin = 1.6;

    /// <summary>
    /// Smallest overlap (intersection over union) of two squares that may be the same face. A square is 1.6 faces wide and pictures lie a quarter of a
    /// second apart or more: this allows a face's width of movement between two, and two heads beside each other are further apart.
    /// </summary>
    private const double Overlap = 0.2;

    /// <summary>Boxes on each side that the median looks at: of five, one or two that are wrong do not count.</summary>
    private const int MedianReach = 2;

    /// <summary>Pictures on each side that the mean looks at, against the steps of the detector's grid.</summary>
    private const int MeanReach = 1;

    private readonly List<Sighting> sightings = [];  // in the order of pictures
    private readonly List<Track> tracks = [];
    private readonly List<(double Overlap, int Track, int Sighting)> pairs = [];
    private readonly List<(int Picture, FaceSquare Square)> chosen = [];
    private FaceSquare[] filled = [];
    private int pictures;

    private record struct Sighting(int Picture, FaceSquare Square, int Track);

    private record struct Track(FaceSquare Last, double Area, int Count, int Picture);

    /// <summary>Forgets the clip before.</summary>
    public void Clear()
    {
        sightings.Clear();
        tracks.Clear();
        pictures = 0;
    }

    /// <summary>Takes what was found in the next picture; nothing, if nothing was.</summary>
    public void Add(ReadOnlySpan<FaceBox> boxes)
    {
        int first = sightings.Count;
        foreach (var box in boxes)
        {
            double side = Margin * Math.Sqrt((double)box.Width * box.Height);
            sightings.Add(new Sighting(pictures, new FaceSquare(box.X + (box.Width / 2.0), box.Y + (box.Height / 2.0), side), -1));
        }
        pairs.Clear();
        for (int t = 0; t < tracks.Count; t++)
            for (int s = first; s < sightings.Count; s++)
                if (OverlapOf(tracks[t].Last, sightings[s].Square) is >= Overlap and var overlap)
                    pairs.Add((overlap, t, s));
        // best first; among equals the older track, then the better face
        pairs.Sort((a, b) => a.Overlap != b.Overlap ? b.Overlap.CompareTo(a.Overlap) : (a.Track, a.Sighting).CompareTo((b.Track, b.Sighting)));
        foreach (var (_, t, s) in pairs)
            if (tracks[t].Picture < pictures && sightings[s].Track < 0)
                Link(s, t);
        for (int s = first; s < sightings.Count; s++)
            if (sightings[s].Track < 0)
            {
                tracks.Add(new Track(default, 0, 0, -1));
                Link(s, tracks.Count - 1);
            }
        pictures++;
    }

    /// <summary>
    /// One square for each picture added since <see cref="Clear"/>. Returns in how many of them the face was seen; 0: in none, and the squares mean
    /// nothing.
    /// </summary>
    public int Follow(Span<FaceSquare> squares)
    {
        if (squares.Length != pictures)
            throw new ArgumentException($"{pictures} pictures were added, there is room for {squares.Length} squares");
        if (tracks.Count == 0)
            return 0;
        int best = 0;
        for (int t = 1; t < tracks.Count; t++)
            if (tracks[t].Area * tracks[t].Count > tracks[best].Area * tracks[best].Count)
                best = t;
        chosen.Clear();
        foreach (var sighting in sightings)
            if (sighting.Track == best)
                chosen.Add((sighting.Picture, sighting.Square));
        if (filled.Length < pictures)
            filled = new FaceSquare[pictures];
        Fill();
        for (int i = 0; i < pictures; i++)
            squares[i] = MeanAround(i);
        return chosen.Count;
    }

    private void Link(int sighting, int track)
    {
        var square = sightings[sighting].Square;
        sightings[sighting] = sightings[sighting] with { Track = track };
        tracks[track] = new Track(square, tracks[track].Area + (square.Side * square.Side), tracks[track].Count + 1, pictures);
    }

    /// <summary>Medians where the face was seen, straight lines between them, the nearest before the first and after the last.</summary>
    private void Fill()
    {
        int before = 0;
        var left = MedianAround(0);
        filled.AsSpan(0, chosen[0].Picture + 1).Fill(left);
        for (int k = 1; k < chosen.Count; k++)
        {
            before = chosen[k - 1].Picture;
            var right = MedianAround(k);
            int gap = chosen[k].Picture - before;
            for (int i = 1; i <= gap; i++)
                filled[before + i] = Between(left, right, (double)i / gap);
            left = right;
        }
        filled.AsSpan(chosen[^1].Picture, pictures - chosen[^1].Picture).Fill(left);
    }

    /// <summary>Median of each coordinate over the sightings around number <paramref name="k"/>, as many on both sides as there are at most.</summary>
    private FaceSquare MedianAround(int k)
    {
        var near = CollectionsMarshal.AsSpan(chosen)[Math.Max(0, k - MedianReach)..Math.Min(chosen.Count, k + MedianReach + 1)];
        Span<double> x = stackalloc double[near.Length], y = stackalloc double[near.Length], side = stackalloc double[near.Length];
        for (int i = 0; i < near.Length; i++)
            (x[i], y[i], side[i]) = (near[i].Square.X, near[i].Square.Y, near[i].Square.Side);
        return new FaceSquare(Median(x), Median(y), Median(side));
    }

    private FaceSquare MeanAround(int i)
    {
        var near = filled.AsSpan(0, pictures)[Math.Max(0, i - MeanReach)..Math.Min(pictures, i + MeanReach + 1)];
        double x = 0, y = 0, side = 0;
        foreach (var square in near)
            (x, y, side) = (x + square.X, y + square.Y, side + square.Side);
        return new FaceSquare(x / near.Length, y / near.Length, side / near.Length);
    }

    private static double Median(Span<double> values)
    {
        values.Sort();
        return (values[(values.Length - 1) / 2] + values[values.Length / 2]) / 2;
    }

    private static FaceSquare Between(FaceSquare a, FaceSquare b, double t) =>
        new(double.Lerp(a.X, b.X, t), double.Lerp(a.Y, b.Y, t), double.Lerp(a.Side, b.Side, t));

    /// <summary>Intersection over union.</summary>
    private static double OverlapOf(FaceSquare a, FaceSquare b)
    {
        double reach = (a.Side + b.Side) / 2, smaller = Math.Min(a.Side, b.Side);
        double wide = Math.Min(smaller, reach - Math.Abs(a.X - b.X)), high = Math.Min(smaller, reach - Math.Abs(a.Y - b.Y));
        if (wide <= 0 || high <= 0)
            return 0;
        double both = wide * high;
        return both / ((a.Side * a.Side) + (b.Side * b.Side) - both);
    }
}
