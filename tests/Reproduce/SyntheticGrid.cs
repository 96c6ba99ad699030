using System.Text.Json;
using Avedis.Engine;
using Avedis.Trainer;
using Avedis.Trainer.Reproduce;

namespace Avedis.Tests.Reproduce;

/// <summary>Grids with plausible numbers, made up: nothing is trained.</summary>
internal static class SyntheticGrid
{
    public static readonly string[] Emotions = ["neutral", "happiness", "sadness", "anger", "surprise"];

    private static readonly double[] shares = [0.77, 0.08, 0.06, 0.05, 0.04];

    public static GridResult Of(IReadOnlyList<GridCell> cells, int planned, string data = "demo", IReadOnlyList<string>? emotions = null) => new()
    {
        Data = data,
        DataHash = "3f1c9a52b7d04e88a6c1f2de905b7733c4e1a0d29b65f8e7701a4cc35be8d219",
        Emotions = emotions ?? Emotions,
        Speakers = 40,
        TrainClips = 3200,
        ValidationClips = 400,
        TestClips = 800,
        Version = "0.1.0",
        Device = "NVIDIA H100 80GB HBM3",
        Precision = "bf16",
        Planned = planned,
        Cells = cells,
    };

    public static GridResult Full(int seeds = 3, params int[] dimensions)
    {
        if (dimensions.Length == 0)
            dimensions = [64, 256, 2048];
        var cells = new List<GridCell>();
        for (ulong seed = 1; seed <= (ulong)seeds; seed++)
        {
            cells.Add(Cell("stl-emotion", "paper", 0, seed));
            foreach (int dimension in dimensions)
            {
                cells.Add(Cell("stl-speaker", "paper", dimension, seed));
                cells.Add(Cell("baseline", "paper", dimension, seed));
                foreach (string method in (string[])["gr", "alt", "conf", "projected"])
                    foreach (string recipe in (string[])["paper", "strong"])
                        cells.Add(Cell(method, recipe, dimension, seed));
                cells.Add(Cell("leace", "paper", dimension, seed));
            }
        }
        return Of(cells, cells.Count);
    }

    public static GridCell Cell(string method, string recipe, int dimension, ulong seed)
    {
        var random = new Philox(seed, StableHash.Of($"tests.grid.{method}.{recipe}.{dimension}"));
        double Noise(double size) => size * (2 * random.NextDouble() - 1);
        bool strong = recipe == "strong", adversarial = method is "gr" or "alt" or "conf" or "projected", erased = method == "leace";
        double small = dimension == 0 ? 0 : 1 - Math.Log2(dimension / 64.0) / 5; // 1 at 64, 0 at 2048
        double emotion = (method == "stl-emotion" ? 0.55 : 0.60 + 0.03 * small + (adversarial ? 0.015 : 0)) + Noise(0.015);
        double speaker = (method == "stl-speaker" ? 0.90 : 0.925 + 0.02 * small + (adversarial ? 0.01 : 0) - (erased ? 0.05 : strong ? method == "gr" ? 0.03 : 0.06 + 0.01 * small : 0)) + Noise(0.012);
        double leak = (method == "stl-speaker" ? 0.33 : 0.50 - 0.06 * small) - (erased ? 0.07 : !adversarial ? 0 : strong ? method == "gr" ? 0.12 : 0.19 : 0.03) + Noise(0.02);
        double claim = adversarial ? 0.18 + Noise(0.01) : leak - 0.03;
        bool hasEmotion = method != "stl-speaker", hasSpeaker = method != "stl-emotion", probed = hasSpeaker;
        // the lowest leak of those whose score is hardly below the best; conf strong has one seed whose epochs have all lost too much
        var epochs = adversarial ? Probed(random, strong, (emotion + speaker) / 2) : [];
        bool byLeak = adversarial && !(method == "conf" && strong && seed == 2);
        var best = epochs.MaxBy(e => e.Score);
        var chosen = byLeak ? epochs.Where(e => e.Score >= best!.Score - 0.005).MinBy(e => e.Leak) : null;
        double p = method == "alt" && !strong ? 0.002 * seed * seed : 0.0003;
        return new GridCell
        {
            Method = method,
            Recipe = recipe,
            SpeakerDimension = dimension,
            Seed = seed,
            Epoch = chosen?.Epoch ?? best?.Epoch ?? 14,
            Selection = byLeak ? "lowest_leak" : "primary_score",
            ByScore = chosen is null || chosen == best ? null : new(best!.Epoch, emotion + 0.003, speaker + 0.002, leak + 0.04),
            ProbedEpochs = [.. epochs.Select(e => e with { Chosen = e == chosen })],
            EmotionMacroF1 = hasEmotion ? emotion : null,
            SpeakerAccuracy = hasSpeaker ? speaker : null,
            EmotionInterval = hasEmotion ? new(emotion, emotion - 0.035, emotion + 0.034) : null,
            SpeakerInterval = hasSpeaker ? new(speaker, speaker - 0.02, speaker + 0.018) : null,
            LeakEmotionFromSpeaker = probed ? leak : null,
            LeakEmotionFromSpeakerBalanced = probed ? leak + 0.02 + Noise(0.01) : null,
            LeakEmotionFromSpeakerLinear = probed ? leak - 0.05 + Noise(0.01) : null,
            LeakInTrainingHead = probed && method != "stl-speaker" && !erased ? claim : null,
            LeakSpeakerFromEmotion = hasEmotion ? 0.06 + Noise(0.01) : null,
            LeakChance = probed ? 0.174 : null,
            LeakShuffled = probed ? 0.176 + Noise(0.004) : null,
            LeakSpeakerLabel = probed ? 0.19 + Noise(0.003) : null,
            DeadShare = probed ? strong ? 0.12 : 0.01 : null,
            EmbeddingNorm = probed ? strong ? 0.42 : 6.3 + Noise(1) : null,
            Warnings = strong && method == "conf" ? [$"{0.12:P0} of the speaker embedding never change: the leak may be small because the embedding is"] : [],
            Comparison = !adversarial && !erased ? null : new Comparison(
                p / 18, 0.2 + Noise(0.19), method == "gr" ? null : 0.004, new(0.015, -0.005 + Noise(0.02), 0.04), new(0.008, -0.004, 0.021),
                new(strong ? -0.17 : -0.03, strong ? -0.21 : -0.07, strong ? -0.12 : 0.01)) { StuartMaxwellHolm = p },
            EmotionConfusion = hasEmotion ? Confusion(emotion, Emotions.Length) : null,
            EmotionCurve = hasEmotion ? [.. Enumerable.Range(1, 14).Select(e => emotion * (1 - Math.Exp(-e / 4.0)) + Noise(0.01))] : [],
            SpeakerCurve = hasSpeaker ? [.. Enumerable.Range(1, 14).Select(e => speaker * (1 - Math.Exp(-e / 3.0)) + Noise(0.01))] : [],
            Scatter = hasSpeaker ? [.. Enumerable.Range(0, 300).Select(i => Point(random, i, strong ? 0.3 : adversarial ? 1.6 : 2))] : [],
            TrainSeconds = 55 + dimension / 60.0 + (method == "alt" ? 30 : 0) + Noise(3),
            ProbeSeconds = probed ? 21 + Noise(2) : 8,
            Settings = Settings(method, recipe, dimension, seed),
        };
    }

    // paper starts from nothing and learns to leak; strong starts from the baseline, forgets, and in the end collapses
    private static List<ProbedEpoch> Probed(Philox random, bool strong, double score) =>
        [.. Enumerable.Range(1, 7).Select(i => new ProbedEpoch(
            2 * i,
            Math.Max(0, (strong ? score - (i < 5 ? 0.002 * (i - 1) : 0.13 * (i - 4)) : score * (1 - Math.Exp(-i / 1.5))) + 0.012 * (random.NextDouble() - 0.5)),
            Math.Max(0, (strong ? 0.62 - 0.09 * i : 0.78 * (1 - Math.Exp(-i / 2.0))) + 0.06 * (random.NextDouble() - 0.5)),
            Chosen: false))];

    /// <summary>Everything that may be missing is.</summary>
    public static GridCell Bare(string method, string recipe, int dimension, ulong seed) => new() { Method = method, Recipe = recipe, SpeakerDimension = dimension, Seed = seed };

    private static long[][] Confusion(double quality, int classes) =>
        [.. Enumerable.Range(0, classes).Select(t => Enumerable.Range(0, classes).Select(p =>
            (long)(800 * shares[t] * (t == p ? quality : (1 - quality) * (p == 0 ? 0.6 : 0.4 / (classes - 1))))).ToArray())];

    private static double[] Point(Philox random, int i, double apart)
    {
        double u = random.NextDouble();
        int emotion = 0;
        for (double sum = shares[0]; emotion < shares.Length - 1 && u >= sum; sum += shares[emotion])
            emotion++;
        int speaker = i % 40;
        return [Math.Cos(speaker) * 4 + random.NextGaussian() + apart * emotion, Math.Sin(speaker) * 2 + random.NextGaussian() - apart * (emotion % 3), emotion, speaker];
    }

    private static JsonElement Settings(string method, string recipe, int dimension, ulong seed)
    {
        var config = new Config();
        bool strong = recipe == "strong";
        return JsonSerializer.SerializeToElement(config with
        {
            Training = config.Training with
            {
                Seed = seed,
                Strategy = method.StartsWith("stl", StringComparison.Ordinal) ? "stl" : method == "leace" ? "baseline" : method, // its network is the baseline's
                Monitor = method is "baseline" or "leace",
                Start = strong ? $"cells/baseline-d{dimension}-s{seed}/latest" : "",
                Adversary = strong ? config.Training.Adversary with { Strength = 3, Updates = 4, WarmUp = 0.1 } : config.Training.Adversary,
            },
            Network = config.Network with { Factors = config.Network.Factors.ToDictionary(f => f.Key, f => f.Key == "speaker" && dimension > 0 ? f.Value with { Embedding = dimension } : f.Value) },
        }, Json.Indented);
    }
}
