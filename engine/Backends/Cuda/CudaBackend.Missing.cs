namespace Avedis.Engine;

public sealed partial class CudaBackend
{
    public long Conv2dWorkspace(in Conv2dGeometry geometry, DType act) => throw new NotSupportedException();
    public void ReluForward(Tensor y, Tensor x) => throw new NotSupportedException();
    public void ReluBackward(Tensor dX, Tensor dY, Tensor y) => throw new NotSupportedException();
    public void GradientReversalBackward(Tensor dX, Tensor dY, Tensor lambda) => throw new NotSupportedException();
    public void ConcatForward(Tensor y, Tensor a, Tensor b) => throw new NotSupportedException();
    public void ConcatBackward(Tensor dA, Tensor dB, Tensor dY) => throw new NotSupportedException();
    public void Conv2dForward(Tensor y, Tensor x, Tensor weight, in Conv2dGeometry geometry) => throw new NotSupportedException();
    public void Conv2dBackwardData(Tensor dX, Tensor dY, Tensor weight, in Conv2dGeometry geometry) => throw new NotSupportedException();
    public void Conv2dBackwardWeight(Tensor dWeight, Tensor dY, Tensor x, in Conv2dGeometry geometry) => throw new NotSupportedException();
    public void BatchNormForward(
        Tensor y, Tensor? argmax, Tensor mean, Tensor inverseStd, Tensor runningMean, Tensor runningVariance,
        Tensor x, Tensor gamma, Tensor beta, in BatchNormSettings settings) => throw new NotSupportedException();
    public void BatchNormInference(
        Tensor y, Tensor x, Tensor gamma, Tensor beta, Tensor runningMean, Tensor runningVariance, in BatchNormSettings settings) => throw new NotSupportedException();
    public void BatchNormBackward(
        Tensor dX, Tensor dGamma, Tensor dBeta, Tensor dY, Tensor? argmax, Tensor x,
        Tensor gamma, Tensor beta, Tensor mean, Tensor inverseStd, in BatchNormSettings settings) => throw new NotSupportedException();
    public void MaxPoolForward(Tensor y, Tensor argmax, Tensor x, in Pool2dGeometry geometry) => throw new NotSupportedException();
    public void MaxPoolBackward(Tensor dX, Tensor dY, Tensor argmax, in Pool2dGeometry geometry) => throw new NotSupportedException();
    public void MaskedMeanForward(Tensor y, Tensor x, Tensor lengths) => throw new NotSupportedException();
    public void MaskedMeanBackward(Tensor dX, Tensor dY, Tensor lengths) => throw new NotSupportedException();
    public void LinearForward(Tensor y, Tensor x, Tensor weight, Tensor bias) => throw new NotSupportedException();
    public void LinearBackwardData(Tensor dX, Tensor dY, Tensor weight) => throw new NotSupportedException();
    public void LinearBackwardWeight(Tensor dWeight, Tensor dBias, Tensor dY, Tensor x) => throw new NotSupportedException();
    public void SoftmaxCrossEntropy(
        Tensor loss, Tensor probabilities, Tensor dLogits, Tensor logits, Tensor labels, Tensor weights, float scale) => throw new NotSupportedException();
    public void UniformConfusion(Tensor loss, Tensor kl, Tensor dLogits, Tensor logits, Tensor weights, float scale) => throw new NotSupportedException();
    public void Adam(Tensor parameters, Tensor gradients, Tensor m, Tensor v, Tensor schedule, float beta1, float beta2, float epsilon) => throw new NotSupportedException();
    public void GradientReversalAdd(Tensor dX, Tensor dY, Tensor lambda) => throw new NotSupportedException();
    public void CountNonFinite(Tensor count, Tensor x) => throw new NotSupportedException();
    public StemMemory StemMemory(in Conv2dGeometry geometry, in BatchNormSettings settings, DType act) => throw new NotSupportedException();
    public void StemForward(
        Tensor y, Tensor argmax, Tensor mean, Tensor inverseStd, Tensor runningMean, Tensor runningVariance, Tensor? state, Tensor? scratch,
        Tensor x, Tensor weight, Tensor gamma, Tensor beta, in Conv2dGeometry geometry, in BatchNormSettings settings) => throw new NotSupportedException();
    public void StemInference(
        Tensor y, Tensor? scratch, Tensor x, Tensor weight, Tensor gamma, Tensor beta, Tensor runningMean, Tensor runningVariance,
        in Conv2dGeometry geometry, in BatchNormSettings settings) => throw new NotSupportedException();
    public void StemBackward(
        Tensor dWeight, Tensor dGamma, Tensor dBeta, Tensor? scratch, Tensor dY, Tensor y, Tensor argmax, Tensor x,
        Tensor weight, Tensor gamma, Tensor beta, Tensor mean, Tensor inverseStd, Tensor? state,
        in Conv2dGeometry geometry, in BatchNormSettings settings) => throw new NotSupportedException();
}
