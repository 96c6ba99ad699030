using Avedis.Engine;
using NUnit.Framework;

namespace Avedis.Tests.Ops;

public sealed class AdamTests(BackendCase backend) : OpTests(backend)
{
    private const float Beta1 = 0.9f, Beta2 = 0.999f, Epsilon = 1e-8f, Rate = 1e-3f;

    /// <summary>Each step continues from what the backend itself holds, so that an error cannot hide in a later one.</summary>
    [Test]
    public void Steps_agree_with_double_precision_and_leave_the_gradients_zero([Values(1, 7, 64, 1003, 70_003)] int count)
    {
        var random = Seeded(1);
        double[] parameters = Numbers.Uniform(random, count), m = new double[count], v = new double[count];
        for (int step = 1; step <= 5; step++)
        {
            double[] gradients = Gradients(random, count);
            double[] schedule = Numbers.Round([Rate / step, 1 - Math.Pow(Beta1, step), 1 - Math.Pow(Beta2, step)], DType.F32);
            using var op = new OpHarness(Backend);
            var tensorParameters = op.Sum("parameters", new Shape(count), parameters);
            var tensorGradients = op.Sum("gradients", new Shape(count), gradients);
            var tensorM = op.Sum("m", new Shape(count), m);
            var tensorV = op.Sum("v", new Shape(count), v);
            var tensorSchedule = op.Input("schedule", new Shape(3), DType.F32, schedule);

            op.Run(device => device.Adam(tensorParameters, tensorGradients, tensorM, tensorV, tensorSchedule, Beta1, Beta2, Epsilon));

            double[] before = [.. parameters];
            double[] magnitudeM = [.. m.Zip(gradients, (mean, g) => Beta1 * Math.Abs(mean) + (1 - Beta1) * Math.Abs(g))];
            Reference.Adam(parameters, gradients, m, v, schedule, Beta1, Beta2, Epsilon);
            double[] magnitude = [.. before.Select((p, i) =>
                Math.Abs(p) + schedule[0] * magnitudeM[i] / schedule[1] / (Math.Sqrt(v[i] / schedule[2]) + Epsilon))];
            op.ExpectExactly(tensorGradients, new double[count]);
            op.Expect(tensorM, m, Tolerance.Sum(DType.F32, 1, magnitudeM, m));
            op.Expect(tensorV, v, Tolerance.Sum(DType.F32, 1, v, v));
            op.Expect(tensorParameters, parameters, Tolerance.Sum(DType.F32, Tolerance.AdamRoundings, magnitude, parameters));
            (parameters, m, v) = (op.Read(tensorParameters), op.Read(tensorM), op.Read(tensorV));
        }
    }

    /// <summary>From m = v = 0 the first step is the rate, against the sign of the gradient, whatever its size.</summary>
    [Test]
    public void The_first_step_moves_by_the_rate()
    {
        double[] gradients = Numbers.Round([1e-3, -1, 1e4, 0], DType.F32);
        var parameters = Op.Sum("parameters", new Shape(4), new double[4]);
        var tensorGradients = Op.Sum("gradients", new Shape(4), gradients);
        var m = Op.Sum("m", new Shape(4), new double[4]);
        var v = Op.Sum("v", new Shape(4), new double[4]);
        var schedule = Op.Input("schedule", new Shape(3), DType.F32, [Rate, 1 - Beta1, 1 - Beta2]);

        Op.Run(device => device.Adam(parameters, tensorGradients, m, v, schedule, Beta1, Beta2, Epsilon));

        double[] expected = Array.ConvertAll(gradients, g => -Rate * g / (Math.Abs(g) + Epsilon));
        Op.Expect(parameters, expected, Tolerance.Sum(DType.F32, Tolerance.AdamRoundings, Numbers.Abs(expected), expected));
    }

    /// <summary>Many sizes, and zeros: an unused class has no gradient, and 0 / 0 must not come of it.</summary>
    private static double[] Gradients(Random random, int count) => Numbers.Round(
        [.. Numbers.Uniform(random, count).Select((value, i) => i % 5 == 0 ? 0 : value * Math.Pow(10, random.Next(-6, 3)))], DType.F32);

    [Test]
    public void Random_shapes() => OnRandomShapes(random => [() => Steps_agree_with_double_precision_and_leave_the_gradients_zero(Extent(random, 5000))]);
}
