using Avedis.Engine;
using NUnit.Framework;

namespace Avedis.Tests.Ops;

/// <summary>Derivatives by evaluating a function nearby.</summary>
internal static class FiniteDifference
{
    /// <summary>Kinks (ReLU, a change of winner) must be farther from every point than two steps times the local slope.</summary>
    public const double Step = 5e-4;

    /// <summary>
    /// Compares an analytic gradient with four-point central differences of the loss, element by element; relative to its largest element.
    /// </summary>
    public static void Check(string name, Func<double> loss, double[] variable, double[] gradient)
    {
        double largest = gradient.Max(Math.Abs);
        Assert.That(largest, Is.GreaterThan(0), $"{name}: a gradient that is zero everywhere proves nothing");
        Assert.That(gradient, Has.Length.EqualTo(variable.Length), name);
        for (int i = 0; i < variable.Length; i++)
        {
            double at = variable[i];
            double Shifted(double steps)
            {
                variable[i] = at + steps * Step;
                return loss();
            }
            double difference = (8 * (Shifted(1) - Shifted(-1)) - (Shifted(2) - Shifted(-2))) / (12 * Step);
            variable[i] = at;
            Assert.That(Math.Abs(difference - gradient[i]) / largest, Is.LessThan(Tolerance.FiniteDifference),
                $"{name}[{i}]: finite difference {difference:R}, analytic {gradient[i]:R}");
        }
    }

    /// <summary>
    /// Two-point derivative of an F32 computation along a direction against the gradient it claims; relative to the lengths of both.
    /// </summary>
    public static void CheckDirection(
        string name, Func<double[], double> loss, double[] variable, double[] gradient, Random random, double step)
    {
        double[] direction = Numbers.Uniform(random, variable.Length);
        double[] Shifted(double steps) => [.. variable.Zip(direction, (v, d) => Numbers.Round(v + steps * d, DType.F32))];
        double difference = (loss(Shifted(step)) - loss(Shifted(-step))) / (2 * step);
        double expected = Reference.Dot(gradient, direction);
        double scale = Math.Sqrt(Reference.Dot(gradient, gradient) * Reference.Dot(direction, direction));
        Assert.That(scale, Is.GreaterThan(0), $"{name}: a gradient that is zero everywhere proves nothing");
        Assert.That(Math.Abs(difference - expected) / scale, Is.LessThan(Tolerance.DirectionalF32),
            $"{name}: derivative along a direction {difference:R}, gradient times direction {expected:R}");
    }
}
