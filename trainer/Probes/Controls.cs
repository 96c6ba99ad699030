using Avedis.Engine;
using Avedis.Trainer.Evaluation;

namespace Avedis.Trainer.Probes;

/// <summary>Scores on the test rows of who has not seen the embeddings.</summary>
/// <param name="MajorityClass">The most frequent class of the train rows, the first of equals; always predicted.</param>
/// <param name="UniformMacroF1">Every class predicted as often, whatever the truth; from expected counts.</param>
public sealed record ChanceLevels(int MajorityClass, double MajorityMacroF1, double MajorityAccuracy, double UniformMacroF1, double UniformAccuracy);

/// <summary>What a probe's score is to be compared with.</summary>
public static class Controls
{
    public static ChanceLevels Chance(ProbeData data)
    {
        var train = new int[data.Classes];
        foreach (int label in data.Labels.Train)
            train[label]++;
        int majority = Array.IndexOf(train, train.Max());
        var always = new ConfusionMatrix(data.Classes);
        foreach (int label in data.Labels.Test)
            always.Add(label, majority);
        // a class of share q: true positives q / K, predicted 1 / K
        double uniform = Enumerable.Range(0, data.Classes).Average(c =>
        {
            double q = always.Support(c) / (double)always.Total;
            return 2 * q / data.Classes / (q + 1.0 / data.Classes);
        });
        return new(majority, always.MacroF1, always.Accuracy, uniform, 1.0 / data.Classes);
    }

    /// <summary>
    /// Labels dealt out anew among the rows of each split (Hewitt and Liang, "Designing and interpreting probes with control tasks", EMNLP 2019): as frequent
    /// as before, but telling nothing. What a probe scores on them comes from the probe; what it scores beyond is its selectivity.
    /// </summary>
    public static ProbeLabels Shuffle(ProbeLabels labels, ulong seed)
    {
        return new(Deal(labels.Train, "train"), Deal(labels.Validation, "validation"), Deal(labels.Test, "test"));

        int[] Deal(int[] split, string name)
        {
            int[] dealt = [.. split];
            new Philox(seed, StableHash.Of($"probe.control.{name}")).Shuffle<int>(dealt);
            return dealt;
        }
    }

    /// <summary>
    /// Embeddings that are nothing but another factor's label, one-hot: what a probe gets from them, an embedding gives away by knowing that factor, and no
    /// disentanglement can take it away. A clip without the other label is left out. Splits are labels of the other factor and of this one.
    /// </summary>
    public static ProbeData OneHot(
        int otherClasses, int classes, (int[] Other, int[] Labels) train, (int[] Other, int[] Labels) validation, (int[] Other, int[] Labels) test, ulong seed)
    {
        return new ProbeData(otherClasses, classes, Split(train, "train"), Split(validation, "validation"), Split(test, "test"), seed);

        ProbeSplit Split((int[] Other, int[] Labels) split, string name)
        {
            if (split.Other.Length != split.Labels.Length)
                throw new ArgumentException($"{name}: {split.Other.Length} labels of the other factor, {split.Labels.Length} of this one");
            var (inputs, labels) = (new float[split.Other.Length * otherClasses], split.Labels.ToArray());
            for (int row = 0; row < labels.Length; row++)
                if (split.Other[row] < 0)
                    labels[row] = -1;
                else
                    inputs[row * otherClasses + split.Other[row]] = 1;
            return new(inputs, labels);
        }
    }
}
