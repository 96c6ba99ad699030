using Avedis.Engine;

namespace Avedis.Tests.Ops;

internal static partial class Reference
{
    /// <summary>y [N * F, S, S] = scale * pixel + shift, from x as the plan of each of the N clips moves it.</summary>
    public static double[] AugmentFaces(double[] x, AugmentPlan[] plans, int frames, int side, double scale, double shift)
    {
        var y = new double[x.Length];
        for (int n = 0; n < plans.Length; n++)
            for (int f = 0; f < frames; f++)
                for (int i = 0; i < side; i++)
                    for (int j = 0; j < side; j++)
                    {
                        var plan = plans[n];
                        int frame = f + (int)plan.FaceShift;
                        int row = Math.Clamp(i + (int)plan.CropY, 0, side - 1);
                        int column = Math.Clamp((plan.Flip == 1 ? side - 1 - j : j) + (int)plan.CropX, 0, side - 1);
                        double pixel = frame < frames ? x[(((n * frames + frame) * side) + row) * side + column] : plan.PadPixel;
                        y[((n * frames + f) * side + i) * side + j] = scale * pixel + shift;
                    }
        return y;
    }

    /// <summary>y [N, H, T] from log-mels x as the plan of each clip moves, scales and masks them.</summary>
    public static double[] AugmentMels(double[] x, AugmentPlan[] plans, int bins, int steps)
    {
        static bool Inside(AugmentMask mask, int at) => at >= mask.First && at < mask.First + mask.Count;
        var y = new double[x.Length];
        for (int n = 0; n < plans.Length; n++)
            for (int bin = 0; bin < bins; bin++)
                for (int t = 0; t < steps; t++)
                {
                    var plan = plans[n];
                    int from = t + (int)plan.MelShift;
                    bool silent = from >= steps || Inside(plan.Bins0, bin) || Inside(plan.Bins1, bin) || Inside(plan.Frames0, t) || Inside(plan.Frames1, t);
                    y[(n * bins + bin) * steps + t] = silent ? plan.Silence : x[(n * bins + bin) * steps + from] + (t < plan.MelFrames ? plan.Gain : 0);
                }
        return y;
    }
}
