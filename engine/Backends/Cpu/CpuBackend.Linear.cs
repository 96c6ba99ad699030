using Avedis.Bindings.Cpu;

namespace Avedis.Engine;

public sealed partial class CpuBackend
{
    public void LinearForward(Tensor y, Tensor x, Tensor weight, Tensor bias)
    {
        Enter();
        (int outputs, int inputs) = (weight.Shape[0], weight.Shape[1]);
        CpuNative.Check(CpuNative.LinearForward(y.Address, x.Address, weight.Address, bias.Address, Type(x), x.Count / inputs, inputs, outputs));
    }

    public void LinearBackwardData(Tensor dX, Tensor dY, Tensor weight)
    {
        Enter();
        (int outputs, int inputs) = (weight.Shape[0], weight.Shape[1]);
        CpuNative.Check(CpuNative.LinearBackwardData(dX.Address, dY.Address, weight.Address, Type(dY), dY.Count / outputs, inputs, outputs));
    }

    public void LinearBackwardWeight(Tensor dWeight, Tensor dBias, Tensor dY, Tensor x)
    {
        Enter();
        (int outputs, int inputs) = (dWeight.Shape[0], dWeight.Shape[1]);
        CpuNative.Check(CpuNative.LinearBackwardWeight(
            dWeight.Address, dBias.Address, dY.Address, x.Address, Type(x), x.Count / inputs, inputs, outputs));
    }
}
