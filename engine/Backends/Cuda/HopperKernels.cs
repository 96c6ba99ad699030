namespace Avedis.Engine;

/// <summary>
/// The kernels that only a Hopper (compute capability 9.0) can run, kernels/conv2d_hopper.cu. A Hopper uses them unless the environment
/// variable AVEDIS_HOPPER is off: then it stays on the kernels for all GPUs, whose sums have another order.
/// </summary>
public static class HopperKernels
{
    public const string Variable = "AVEDIS_HOPPER";

    /// <exception cref="DeviceUnavailableException">The variable is neither on nor off.</exception>
    internal static bool Allowed => Environment.GetEnvironmentVariable(Variable) switch
    {
        null or "" or "on" => true,
        "off" => false,
        var other => throw new DeviceUnavailableException($"device cuda: {Variable} is '{other}'; it may be on (which is usual) or off"),
    };
}
