namespace Avedis.Peers;

/// <summary>The numbered cases: a few that are always the same, then as many drawn ones as are asked for, each by its number and the seed alone.</summary>
internal static class Cases
{
    /// <summary>Cases 1, 2, ...</summary>
    public static IReadOnlyList<PeerCase> Fixed { get; } =
    [
        FirstBlock.OnlyPadding,
        new WholeNetwork(new(6, new(6, 12, 22, 1, 12, 3, 5, 1, 1, 1, 2), new(6, 12, 22, 12, 3, 3, 2, 2, 0, 0), new(6, 5, 10, 12, 20, 5, 3, 1, 1, 0, 1), 24, 5, 1e-2f), 1),
        new WholeNetwork(new(4, new(4, 9, 14, 8, 24, 3, 3, 1, 1, 1, 0), new(4, 9, 12, 24, 2, 3, 2, 1, 0, 1), new(4, 4, 12, 24, 40, 4, 1, 1, 2, 0, 0), 33, 7, 1e-3f), 2),
    ];

    // of a hundred; the operations with most branches most often
    private static readonly (int Share, Func<Random, PeerCase> Draw)[] kinds =
    [
        (20, Convolution.Draw),
        (12, MaxPooling.Draw),
        (22, BatchNormalisation.Draw),
        (16, FirstBlock.Draw),
        (6, random => new CrossEntropy(LogitShape.Draw(random))),
        (6, random => new Confusion(LogitShape.Draw(random))),
        (3, Reversal.Draw),
        (6, MeanOverSteps.Draw),
        (6, LinearLayer.Draw),
        (3, AdamSteps.Draw),
    ];

    public static PeerCase Draw(int seed, int number)
    {
        if (number <= Fixed.Count)
            return Fixed[number - 1];
        var random = new Random(SeedOf(seed, number));
        int at = random.Next(kinds.Sum(kind => kind.Share));
        foreach (var (share, draw) in kinds)
            if ((at -= share) < 0)
                return draw(random);
        throw new InvalidOperationException("shares do not add up");
    }

    /// <summary>Seed of a case's numbers, the same on every backend.</summary>
    public static int SeedOf(int seed, int number) => unchecked(seed * 1_000_003 + number);
}
