using Avedis.Engine;
using Avedis.Tests.Ops;
using TorchSharp;

namespace Avedis.Peers;

/// <summary>Several steps of Adam, one behind the other, without looking at the engine in between.</summary>
internal sealed record AdamSteps(int Count, int Steps, float Rate, float Beta1, float Beta2, float Epsilon) : PeerCase("Adam")
{
    public override string Description => $"[{Count}] {Steps} steps rate {Rate} betas {Beta1}, {Beta2} epsilon {Epsilon}";

    public override bool HasActivations => false;

    public static AdamSteps Draw(Random random) => new(
        Shapes.Extent(random, 5000), random.Next(2, 11), (float)Math.Pow(10, -4 + 3 * random.NextDouble()), random.Next(4) == 0 ? 0.5f : 0.9f,
        random.Next(4) == 0 ? 0.9f : 0.999f, random.Next(4) == 0 ? 1e-3f : 1e-8f);

    public override void Compare(Trial t)
    {
        var shape = new Shape(Count);
        double[] start = Numbers.Uniform(t.Random, Count);
        double[][] gradients = [.. Enumerable.Range(0, Steps).Select(_ => Gradients(t.Random))];
        double[][] schedules = [.. Enumerable.Range(1, Steps).Select(step => Numbers.Round([Rate, 1 - Math.Pow(Beta1, step), 1 - Math.Pow(Beta2, step)], DType.F32))];
        var parameters = t.Op.Sum("parameters", shape, start);
        var gradient = t.Op.Output("gradient", shape, DType.F32);
        var (m, v) = (t.Op.Sum("m", shape, new double[Count]), t.Op.Sum("v", shape, new double[Count]));
        Tensor[] given = [.. gradients.Select((values, step) => t.Op.Input($"gradient {step + 1}", shape, DType.F32, values))];
        Tensor[] schedule = [.. schedules.Select((values, step) => t.Op.Input($"schedule {step + 1}", new Shape(3), DType.F32, values))];

        t.Op.Run(device =>
        {
            for (int step = 0; step < Steps; step++)
            {
                device.Copy(gradient, given[step]);
                device.Adam(parameters, gradient, m, v, schedule[step], Beta1, Beta2, Epsilon);
            }
        });

        using var peer = new TorchSharp.Modules.Parameter(Oracle.Constant(start, shape));
        using var adam = torch.optim.Adam([peer], Rate, Beta1, Beta2, Epsilon);
        foreach (double[] values in gradients)
        {
            adam.zero_grad();
            (peer * t.Data(values, shape).detach()).sum().backward();
            adam.step();
        }

        t.Expect(gradient, new double[Count], new double[Count]);
        t.Expect(parameters, Oracle.Values(peer), Bound(start, gradients, schedules));
    }

    /// <summary>
    /// Each step adds its roundings, and what those of m and v before it move. Of m and v a part is forgotten in each step, as of their errors. The roundings of
    /// bias corrections, which libtorch has in double, are among those of the step: two of at most half a unit more leave a sum of seven within its bound.
    /// </summary>
    private double[] Bound(double[] start, double[][] gradients, double[][] schedules)
    {
        double[] p = [.. start], m = new double[Count], v = new double[Count];
        double[] error = new double[Count], errorM = new double[Count], errorV = new double[Count];
        for (int step = 0; step < Steps; step++)
        {
            double[] schedule = schedules[step], before = [.. p];
            double[] sizeM = [.. m.Zip(gradients[step], (mean, g) => Beta1 * Math.Abs(mean) + (1 - Beta1) * Math.Abs(g))];
            Reference.Adam(p, gradients[step], m, v, schedule, Beta1, Beta2, Epsilon);
            for (int i = 0; i < Count; i++)
            {
                errorM[i] = Beta1 * errorM[i] + Tolerance.Walk * Tolerance.F32 * sizeM[i];
                errorV[i] = Beta2 * errorV[i] + Tolerance.Walk * Tolerance.F32 * v[i];
                double root = Math.Sqrt(v[i] / schedule[2]), divisor = schedule[1] * (root + Epsilon);
                double ofRoot = root == 0 ? 0 : errorV[i] / schedule[2] / (2 * root);
                double size = Math.Abs(before[i]) + schedule[0] * sizeM[i] / divisor;
                error[i] += Tolerance.Walk * Math.Sqrt(Tolerance.AdamRoundings) * Tolerance.F32 * size
                    + schedule[0] / divisor * (errorM[i] + Math.Abs(m[i]) * ofRoot / (root + Epsilon));
            }
        }
        return error;
    }

    /// <summary>Many sizes, and zeros: an unused class has no gradient.</summary>
    private double[] Gradients(Random random) => Numbers.Round(
        [.. Numbers.Uniform(random, Count).Select((value, i) => i % 5 == 0 ? 0 : value * Math.Pow(10, random.Next(-6, 3)))], DType.F32);
}
