using Avedis.Bench;
using Avedis.Engine;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>The golden formula gives the same numbers here as in Python, to the bit; else nothing that is compared with PyTorch means anything.</summary>
public sealed class GoldenTests
{
    private readonly Golden golden = Golden.Load();

    [Test]
    public void Bits_are_those_of_the_python_formula()
    {
        foreach (var vector in golden.Formula.Bits)
        {
            ulong bits = GoldenFormula.Bits(StableHash.Of(vector[0].GetString()!), vector[1].GetInt64());
            Assert.That(bits.ToString("x16"), Is.EqualTo(vector[2].GetString()), $"{vector[0]}, {vector[1]}");
        }
        Assert.That(golden.Formula.Bits, Has.Length.GreaterThan(3));
    }

    [TestCase("face.conv1.weight", 24 * 49, 49)]
    [TestCase("voice.conv6.weight", 128 * 64 * 4, 64 * 4)]
    [TestCase("voice.bn3.weight", 96, 0)]
    [TestCase("voice.bn3.bias", 96, 0)]
    [TestCase("emotion.embedding.weight", 256 * 256, 256)]
    [TestCase("speaker.auxiliary.emotion.head.bias", 5, 64)]
    public void Parameters_are_those_of_the_python_formula(string name, int count, int inputs)
    {
        float[] values = GoldenFormula.Parameter(name, count, inputs);
        double[][] expected = golden.Formula.Parameters[name];
        Assert.That(expected[^1][0], Is.EqualTo(count - 1), "the last vector is the last element");
        foreach (double[] vector in expected)
            Assert.That(values[(int)vector[0]], Is.EqualTo((float)vector[1]), $"element {vector[0]}");
    }

    [Test]
    public void Inputs_are_those_of_the_python_formula()
    {
        int batch = golden.Setting.Batch;
        GoldenBatchSize size = golden.Setting.Size;
        byte[] faces = GoldenFormula.Faces(batch, size);
        float[] mels = GoldenFormula.Mels(batch, size);
        Assert.Multiple(() =>
        {
            Assert.That(golden.Formula.Faces[^1][0], Is.EqualTo(faces.Length - 1));
            foreach (double[] vector in golden.Formula.Faces)
                Assert.That(faces[(int)vector[0]], Is.EqualTo((byte)vector[1]), $"pixel {vector[0]}");
            Assert.That(golden.Formula.Mels[^1][0], Is.EqualTo(mels.Length - 1));
            foreach (double[] vector in golden.Formula.Mels)
                Assert.That(mels[(int)vector[0]], Is.EqualTo((float)vector[1]), $"mel {vector[0]}");
            Assert.That(GoldenFormula.EmotionLabels(batch, size), Is.EqualTo(golden.Formula.Emotions));
            Assert.That(GoldenFormula.SpeakerLabels(batch, size), Is.EqualTo(golden.Formula.Speakers));
        });
    }

    [Test]
    public void A_gradient_that_differs_in_one_sample_is_told_from_an_equal_one()
    {
        var (name, expected) = golden.Baseline.Gradients.First(pair => pair.Value.Count <= 512);
        float[] gradient = Array.ConvertAll(expected.Values, v => (float)v);
        Assert.That(expected.RelativeDifference(gradient), Is.LessThan(1e-6), name);
        gradient[^1] += 0.01f * (float)expected.Values.Max(Math.Abs);
        Assert.That(expected.RelativeDifference(gradient), Is.GreaterThan(0.009), name);
    }
}
