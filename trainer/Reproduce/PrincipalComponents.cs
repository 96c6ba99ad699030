using Avedis.Engine;

namespace Avedis.Trainer.Reproduce;

/// <summary>The two directions in which points vary most.</summary>
public static class PrincipalComponents
{
    private const int Iterations = 60;

    /// <param name="points">[count, width] row by row.</param>
    /// <returns>[count]: coordinates along both, centred; zeros where the points do not vary.</returns>
    public static (double X, double Y)[] Project(float[] points, int width)
    {
        int count = points.Length / width;
        var mean = new double[width];
        for (int i = 0; i < points.Length; i++)
            mean[i % width] += points[i] / (double)count;
        double[] centred = [.. points.Select((value, i) => value - mean[i % width])];
        double[] x = Coordinates(1, []), y = Coordinates(2, [Direction(1, [])]);
        return [.. x.Zip(y)];

        double[] Coordinates(ulong number, double[][] before) => Times(Direction(number, before));

        // power iteration on the covariance, without ever forming it
        double[] Direction(ulong number, double[][] before)
        {
            var random = new Philox(number, StableHash.Of("principal component"));
            double[] direction = [.. Enumerable.Range(0, width).Select(_ => random.NextGaussian())];
            for (int i = 0; i < Iterations; i++)
            {
                double[] along = Times(direction), next = new double[width];
                for (int k = 0; k < centred.Length; k++)
                    next[k % width] += centred[k] * along[k / width];
                foreach (double[] other in before)
                {
                    double dot = next.Zip(other, (a, b) => a * b).Sum();
                    for (int c = 0; c < width; c++)
                        next[c] -= dot * other[c];
                }
                double length = Math.Sqrt(next.Sum(value => value * value));
                if (length == 0)
                    return new double[width];
                direction = Array.ConvertAll(next, value => value / length);
            }
            return direction;
        }

        double[] Times(double[] direction)
        {
            var along = new double[count];
            for (int k = 0; k < centred.Length; k++)
                along[k / width] += centred[k] * direction[k % width];
            return along;
        }
    }
}
