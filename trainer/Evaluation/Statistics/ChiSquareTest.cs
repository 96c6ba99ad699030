using MathNet.Numerics;

namespace Avedis.Trainer.Evaluation;

/// <summary>Result of a test whose statistic is chi-square distributed, asymptotically, where the hypothesis holds.</summary>
public readonly record struct ChiSquareTest(double Statistic, int DegreesOfFreedom)
{
    /// <summary>
    /// Q(df / 2, X2 / 2), the upper regularized incomplete gamma function itself: 1 - P would be 0 below some 1e-16. Checked against 40-digit
    /// arithmetic: 12 digits up to 1250 degrees of freedom and down to 1e-306; 0 below 1e-308.
    /// </summary>
    public double P => SpecialFunctions.GammaUpperRegularized(DegreesOfFreedom / 2.0, Statistic / 2);
}
