namespace Avedis.Tests.Ops;

/// <summary>
/// Every operation again, in double precision and as plainly as possible: the definition, no speed. <see cref="ReferenceTests"/> proves
/// the backward methods by finite differences of the forward ones, and the forward ones by worked examples.
/// </summary>
internal static partial class Reference
{
    public static double Dot(double[] a, double[] b) => a.Zip(b, (x, y) => x * y).Sum();

    public static double[] Plus(double[] a, double[] b) => [.. a.Zip(b, (x, y) => x + y)];

    public static double[] ReluForward(double[] x) => Array.ConvertAll(x, value => Math.Max(value, 0));

    public static double[] ReluBackward(double[] dY, double[] y) => [.. dY.Zip(y, (gradient, value) => value > 0 ? gradient : 0)];

    /// <summary>y [N, A + B] = a [N, A] beside b [N, B].</summary>
    public static double[] ConcatForward(double[] a, double[] b, int rows) =>
        [.. Enumerable.Range(0, rows).SelectMany(n => Row(a, rows, n).Concat(Row(b, rows, n)))];

    public static (double[] DA, double[] DB) ConcatBackward(double[] dY, int rows, int columnsA) => (
        [.. Enumerable.Range(0, rows).SelectMany(n => Row(dY, rows, n).Take(columnsA))],
        [.. Enumerable.Range(0, rows).SelectMany(n => Row(dY, rows, n).Skip(columnsA))]);

    /// <summary>y [N, C] = mean of x [N, T, C] over the first lengths[n] steps.</summary>
    public static double[] MaskedMeanForward(double[] x, int[] lengths, int steps, int channels)
    {
        var y = new double[lengths.Length * channels];
        for (int n = 0; n < lengths.Length; n++)
            for (int t = 0; t < lengths[n]; t++)
                for (int c = 0; c < channels; c++)
                    y[n * channels + c] += x[(n * steps + t) * channels + c] / lengths[n];
        return y;
    }

    public static double[] MaskedMeanBackward(double[] dY, int[] lengths, int steps, int channels)
    {
        var dX = new double[lengths.Length * steps * channels];
        for (int n = 0; n < lengths.Length; n++)
            for (int t = 0; t < lengths[n]; t++)
                for (int c = 0; c < channels; c++)
                    dX[(n * steps + t) * channels + c] = dY[n * channels + c] / lengths[n];
        return dX;
    }

    /// <summary>y [N, O] = x [N, I] * weight [O, I]^T + bias [O].</summary>
    public static double[] LinearForward(double[] x, double[] weight, double[] bias, int rows, int inputs)
    {
        int outputs = bias.Length;
        var y = new double[rows * outputs];
        for (int n = 0; n < rows; n++)
            for (int o = 0; o < outputs; o++)
            {
                y[n * outputs + o] = bias[o];
                for (int i = 0; i < inputs; i++)
                    y[n * outputs + o] += x[n * inputs + i] * weight[o * inputs + i];
            }
        return y;
    }

    public static (double[] DX, double[] DWeight, double[] DBias) LinearBackward(
        double[] dY, double[] x, double[] weight, int rows, int inputs)
    {
        int outputs = weight.Length / inputs;
        var dX = new double[rows * inputs];
        var dWeight = new double[outputs * inputs];
        var dBias = new double[outputs];
        for (int n = 0; n < rows; n++)
            for (int o = 0; o < outputs; o++)
            {
                double gradient = dY[n * outputs + o];
                dBias[o] += gradient;
                for (int i = 0; i < inputs; i++)
                {
                    dX[n * inputs + i] += gradient * weight[o * inputs + i];
                    dWeight[o * inputs + i] += gradient * x[n * inputs + i];
                }
            }
        return (dX, dWeight, dBias);
    }

    /// <summary>log softmax of each row of logits [N, C].</summary>
    public static double[] LogSoftmax(double[] logits, int rows) => [.. Enumerable.Range(0, rows).SelectMany(n =>
    {
        double[] row = [.. Row(logits, rows, n)];
        double largest = row.Max();
        double logSum = Math.Log(row.Sum(value => Math.Exp(value - largest)));
        return row.Select(value => value - largest - logSum);
    })];

    /// <summary>loss [N], probabilities [N, C] and dLogits [N, C]; the label of a row of weight 0 is not looked at.</summary>
    public static (double[] Loss, double[] Probabilities, double[] DLogits) SoftmaxCrossEntropy(
        double[] logits, int[] labels, double[] weights, double scale)
    {
        int rows = labels.Length, classes = logits.Length / rows;
        double[] logs = LogSoftmax(logits, rows);
        double[] probabilities = Array.ConvertAll(logs, Math.Exp);
        var loss = new double[rows];
        var dLogits = new double[logits.Length];
        for (int n = 0; n < rows; n++)
        {
            if (weights[n] == 0)
                continue;
            loss[n] = -weights[n] * logs[n * classes + labels[n]];
            for (int c = 0; c < classes; c++)
                dLogits[n * classes + c] = scale * weights[n] * (probabilities[n * classes + c] - (c == labels[n] ? 1 : 0));
        }
        return (loss, probabilities, dLogits);
    }

    public static (double[] Loss, double[] Kl, double[] DLogits) UniformConfusion(double[] logits, double[] weights, double scale)
    {
        int rows = weights.Length, classes = logits.Length / rows;
        double[] logs = LogSoftmax(logits, rows);
        var loss = new double[rows];
        var kl = new double[rows];
        var dLogits = new double[logits.Length];
        for (int n = 0; n < rows; n++)
        {
            loss[n] = -weights[n] * Row(logs, rows, n).Average();
            kl[n] = loss[n] - weights[n] * Math.Log(classes);
            for (int c = 0; c < classes; c++)
                dLogits[n * classes + c] = scale * weights[n] * (Math.Exp(logs[n * classes + c]) - 1.0 / classes);
        }
        return (loss, kl, dLogits);
    }

    /// <summary>One step in place; schedule = rate, 1 - beta1^t, 1 - beta2^t. The gradients are left alone.</summary>
    public static void Adam(
        double[] parameters, double[] gradients, double[] m, double[] v, double[] schedule, double beta1, double beta2, double epsilon)
    {
        for (int i = 0; i < parameters.Length; i++)
        {
            double g = gradients[i];
            m[i] = beta1 * m[i] + (1 - beta1) * g;
            v[i] = beta2 * v[i] + (1 - beta2) * g * g;
            parameters[i] -= schedule[0] * (m[i] / schedule[1]) / (Math.Sqrt(v[i] / schedule[2]) + epsilon);
        }
    }

    /// <summary>primary less its part along adversary and less alpha times adversary, within each segment; as it is where adversary is 0.</summary>
    public static double[] GradientProjection(double[] primary, double[] adversary, int[] offsets, double alpha)
    {
        double[] result = [.. primary];
        foreach (var (begin, end) in offsets.Zip(offsets.Skip(1)))
        {
            double product = 0, square = 0;
            for (int i = begin; i < end; i++)
            {
                product += primary[i] * adversary[i];
                square += adversary[i] * adversary[i];
            }
            for (int i = begin; i < end && square != 0; i++)
                result[i] -= (product / square + alpha) * adversary[i];
        }
        return result;
    }

    private static ArraySegment<double> Row(double[] matrix, int rows, int row)
    {
        int columns = matrix.Length / rows;
        return new(matrix, row * columns, columns);
    }
}
