using Avedis.Bindings.Faces;
using Avedis.Trainer.Media;
using NUnit.Framework;

namespace Avedis.Tests;

public sealed class FaceTrackTests
{
    private const float Side = 100;

    /// <summary>A face by its middle.</summary>
    private static FaceBox Face(float x, float y, float side = Side) => new(x - (side / 2), y - (side / 2), side, side, 1);

    private static (int Found, FaceSquare[] Squares) Follow(params FaceBox[][] pictures)
    {
        var track = new FaceTrack();
        foreach (var boxes in pictures)
            track.Add(boxes);
        var squares = new FaceSquare[pictures.Length];
        return (track.Follow(squares), squares);
    }

    private static FaceBox[][] Still(int pictures) => [.. Enumerable.Range(0, pictures).Select(_ => (FaceBox[])[Face(200, 150)])];

    [Test]
    public void A_face_that_stays_gives_a_square_of_1_6_times_its_side_around_it()
    {
        var (found, squares) = Follow(Still(5));
        Assert.That(found, Is.EqualTo(5));
        Assert.That(squares, Is.All.EqualTo(new FaceSquare(200, 150, 160)));
    }

    [Test]
    public void A_box_that_is_no_square_counts_by_its_area()
    {
        var (_, squares) = Follow([new FaceBox(10, 20, 50, 200, 1)]);
        Assert.That(squares[0], Is.EqualTo(new FaceSquare(35, 120, 160)));
    }

    [Test]
    public void No_face_is_said_so([Values(0, 1, 7)] int pictures)
    {
        var (found, _) = Follow([.. Enumerable.Repeat<FaceBox[]>([], pictures)]);
        Assert.That(found, Is.Zero);
    }

    [Test]
    public void A_gap_is_filled_by_a_straight_line()
    {
        // moves 10 px a picture; hidden in pictures 5 to 8, and it has grown when it comes back
        var (found, squares) = Follow([.. Enumerable.Range(0, 14).Select(i =>
            (FaceBox[])(i is >= 5 and <= 8 ? [] : [Face(100 + (10 * i), 150, i < 5 ? 100 : 120)]))]);
        Assert.That(found, Is.EqualTo(10));
        for (int i = 1; i < 13; i++)
            Assert.That(squares[i].X - squares[i - 1].X, Is.InRange(2, 14), $"picture {i}");
        Assert.That(squares.Select(s => s.X).Skip(3).Take(8), Is.EqualTo(Enumerable.Range(3, 8).Select(i => 100 + (10.0 * i))).Within(5));
        Assert.That(squares.Select(s => s.Side), Is.Ordered.And.All.InRange(160, 192));
        Assert.That(squares[6].Side, Is.GreaterThan(161).And.LessThan(191));
    }

    [Test]
    public void Before_the_first_and_after_the_last_sighting_the_nearest_counts()
    {
        var (found, squares) = Follow([[], [], .. Still(3), [], [], []]);
        Assert.That(found, Is.EqualTo(3));
        Assert.That(squares, Is.All.EqualTo(new FaceSquare(200, 150, 160)));
    }

    [Test]
    public void A_false_hit_elsewhere_is_not_followed([Values(0, 4, 8)] int at)
    {
        var pictures = Still(9);
        pictures[at] = [Face(450, 300, 140)];
        var (found, squares) = Follow(pictures);
        Assert.That(found, Is.EqualTo(8));
        Assert.That(squares, Is.All.EqualTo(new FaceSquare(200, 150, 160)));
    }

    /// <summary>It overlaps the face, so it takes its place in the track; at the ends as well as in the middle.</summary>
    [Test]
    public void A_false_hit_on_top_of_the_face_does_not_move_the_square([Values(0, 4, 8)] int at)
    {
        var pictures = Still(9);
        pictures[at] = [Face(230, 190, 170)];
        var (found, squares) = Follow(pictures);
        Assert.That(found, Is.EqualTo(9));
        Assert.That(squares, Is.All.EqualTo(new FaceSquare(200, 150, 160)));
    }

    [Test]
    public void Of_two_people_the_larger_and_longer_seen_one_is_followed_throughout()
    {
        // the order in which the detector names them changes; the smaller one is alone in two pictures
        var (left, right) = (Face(150, 150, 110), Face(400, 160, 60));
        var (found, squares) = Follow([left, right], [right, left], [right], [left, right], [right], [right, left]);
        Assert.That(found, Is.EqualTo(4));
        Assert.That(squares, Is.All.EqualTo(new FaceSquare(150, 150, 176)));

        (found, squares) = Follow([left, right], [right], [right], [right], [right], [right]);
        Assert.That(found, Is.EqualTo(6), "a large face in one picture is a passer-by");
        Assert.That(squares, Is.All.EqualTo(new FaceSquare(400, 160, 96)));
    }

    [Test]
    public void Two_people_who_lean_together_are_kept_apart()
    {
        var (found, squares) = Follow([.. Enumerable.Range(0, 9).Select(i =>
        {
            float near = 60 - Math.Abs(15 * (i - 4)); // middles 240 px apart, 120 at the nearest
            return (FaceBox[])[Face(380 - near, 150), Face(140 + near, 150, 120)];
        })]);
        Assert.That(found, Is.EqualTo(9));
        Assert.That(squares.Select(s => s.X), Is.All.LessThan(220));
        Assert.That(squares.Select(s => s.Side), Is.All.EqualTo(192).Within(1e-9));
    }

    [Test]
    public void The_grid_of_the_detector_does_not_show()
    {
        var (_, squares) = Follow([.. Enumerable.Range(0, 20).Select(i => (FaceBox[])[Face(200 + (8 * (i % 2)), 150, i % 3 == 0 ? 88 : 105)])]);
        for (int i = 1; i < squares.Length; i++)
        {
            Assert.That(squares[i].X, Is.EqualTo(squares[i - 1].X).Within(4.5));
            Assert.That(squares[i].Side, Is.EqualTo(168).Within(14));
        }
    }

    [Test]
    public void A_track_used_again_keeps_nothing_of_the_clip_before()
    {
        var track = new FaceTrack();
        for (int i = 0; i < 30; i++)
            track.Add([Face(500, 300, 200)]);
        track.Follow(new FaceSquare[30]);
        track.Clear();
        foreach (var boxes in Still(3))
            track.Add(boxes);
        var squares = new FaceSquare[3];
        Assert.That(track.Follow(squares), Is.EqualTo(3));
        Assert.That(squares, Is.All.EqualTo(new FaceSquare(200, 150, 160)));
    }
}
