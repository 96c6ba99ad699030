using Avedis.Engine;
using Avedis.Trainer.Data;
using Avedis.Trainer.Features;
using BenchmarkDotNet.Attributes;

namespace Avedis.Bench;

/// <summary>
/// What the host does per clip of the demo preset while the device trains: the log-mel front end, once when data are prepared, and reading clips from
/// a shard into a batch, once per epoch.
/// </summary>
[InProcess]
[MemoryDiagnoser]
public class HostBenchmarks
{
    private const int Clips = 32;

    private readonly FeatureOptions features = FeatureOptions.Demo;
    private readonly float[] samples = new float[3 * 16_000];
    private readonly long[] offsets = new long[Clips];
    private string path = "";
    private byte[] faces = [];
    private float[] mels = [];
    private LogMel logMel = null!;
    private Shard shard = null!;

    [GlobalSetup]
    public void Setup()
    {
        ulong seed = StableHash.Of("samples");
        for (int i = 0; i < samples.Length; i++)
            samples[i] = (float)(0.1 * GoldenFormula.Uniform(seed, i));
        logMel = new LogMel(features);

        var size = new GoldenBatchSize(1, features.FaceFrames, features.FaceSize, features.MelBins, features.MelFrames, 1, 1);
        (faces, mels) = (GoldenFormula.Faces(0, size), GoldenFormula.Mels(0, size));
        path = Path.Combine(Path.GetTempPath(), Path.GetRandomFileName());
        using (var writer = Shard.Create(path, features, "benchmark"))
            for (int i = 0; i < Clips; i++)
                offsets[i] = writer.Append(new ShardClip($"clip {i}", 0, 0, features.FaceFrames, features.MelFrames), faces, mels);
        shard = Shard.OpenRead(path, features, "benchmark");
    }

    [GlobalCleanup]
    public void Cleanup()
    {
        shard.Dispose();
        File.Delete(path);
    }

    /// <summary>40 x 300 values from 3 s at 16 kHz.</summary>
    [Benchmark]
    public int LogMelOfOneClip() => logMel.Compute(samples, mels);

    /// <summary>Faces and mels of 32 clips, checksums compared; the file is in the system's cache.</summary>
    [Benchmark]
    public void ReadThirtyTwoClips()
    {
        for (int i = 0; i < Clips; i++)
            shard.Read("clip", offsets[i], faces, mels);
    }
}
