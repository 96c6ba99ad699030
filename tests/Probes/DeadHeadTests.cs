using Avedis.Engine;
using Avedis.Trainer.Probes;
using NUnit.Framework;

namespace Avedis.Tests.Probes;

/// <summary>
/// An auxiliary head at chance is either blind, or stands in front of an embedding that tells nothing. To the training both look the same; a fresh probe tells
/// them apart.
/// </summary>
public sealed class DeadHeadTests
{
    private const int Classes = 3, Width = 8;

    private static ProbeSplit Embeddings(int count, double telling, ulong seed)
    {
        var random = new Philox(seed, StableHash.Of("tests.deadHead"));
        int[] labels = [.. Enumerable.Range(0, count).Select(i => i % Classes)];
        var inputs = new float[count * Width];
        for (int i = 0; i < inputs.Length; i++)
            inputs[i] = (float)(random.NextGaussian() + (i % Width == labels[i / Width] ? telling : 0));
        return new(inputs, labels);
    }

    [TestCase(4, true)]
    [TestCase(0, false)]
    public void A_dead_head_is_told_apart_from_a_clean_embedding(double telling, bool leaks)
    {
        var data = new ProbeData(Width, Classes, Embeddings(300, telling, 1), Embeddings(90, telling, 2), Embeddings(300, telling, 3), seed: 1);
        var probes = LeakProbe.Run(() => new CpuBackend(), data, ProbeSettings.Epoch);
        double fresh = probes.Probes!.Single(p => !p.Balanced).Mean;
        // one that says the same of everyone
        double head = probes.Chance!.MajorityMacroF1;
        Assert.Multiple(() =>
        {
            Assert.That(head, Is.EqualTo(1.0 / 6).Within(1e-9));
            // chance is 1/3 with a deviation of 0.027 over 300 clips: five of them
            Assert.That(fresh, leaks ? Is.GreaterThan(0.9) : Is.LessThan(0.47));
            Assert.That(Leaks.Warn("speaker", "emotion", probes, fresh, head, 1.0 / 3), leaks ? Does.Contain("hidden from that head, not gone") : Is.Null);
        });
    }

    [Test]
    public void An_embedding_that_is_dead_is_not_called_clean()
    {
        static ProbeSplit Dead(int count) => new(new float[count * Width], [.. Enumerable.Range(0, count).Select(i => i % Classes)]);
        var probes = LeakProbe.Run(() => new CpuBackend(), new ProbeData(Width, Classes, Dead(60), Dead(30), Dead(30), seed: 1), ProbeSettings.Epoch);
        Assert.That(Leaks.Warn("speaker", "emotion", probes, probes.Probes![0].Mean, null, probes.Chance!.MajorityMacroF1), Does.Contain("holds nothing"));
    }
}
