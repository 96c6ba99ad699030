using Avedis.Engine;
using Avedis.Trainer.Data;

namespace Avedis.Trainer.Model;

/// <summary>
/// What all factors share: a convolutional stack per modality, masked mean over time, concatenation.
/// <code>
/// faces [B*F,S,S,1] -> face stack -> mean over frames -\
///                                                       concat -> pooled features [B, face + voice channels]
/// mels  [B,40,T,1]  -> voice stack -> mean over time  -/
/// </code>
/// </summary>
public sealed class Trunk
{
    // bytes 0..255 to -1..1, as the paper scales faces
    internal const float PixelScale = 2f / 255, PixelShift = -1;

    private readonly Device device;
    private readonly ConvStack face, voice;
    private readonly MaskedMean faceMean, voiceMean;
    private readonly Concat concat;
    private readonly Tensor? plans; // how each clip is augmented
    private readonly Tensor faceBytes, faceInput, faceLengths, mels, voiceInput, voiceLengths;
    private readonly int[] hostLengths;
    private readonly int batch, faceFrames;
    private IReadOnlyList<Conv2dWeights>? weights; // of both stacks, once the parameters have their places

    /// <param name="augmented">Varies the clips in training, each by the plan that its batch brings.</param>
    public Trunk(Device device, ParameterGroup group, NetworkOptions options, NetworkShape shape, bool augmented)
    {
        this.device = device;
        (batch, faceFrames) = (shape.Batch, shape.FaceFrames);
        hostLengths = new int[batch];
        plans = augmented ? device.Transient("augment.plans", new Shape(batch, AugmentPlan.Width), DType.F32) : null;

        face = new ConvStack(
            device, group, "face", ConvStack.FaceRows, options.FaceChannels, batch * faceFrames, shape.FaceSize, shape.FaceSize, shape.Act);
        faceBytes = device.Transient("face.bytes", face.InputShape, DType.U8);
        faceInput = device.Transient("face.input", face.InputShape, shape.Act);
        faceLengths = device.Persistent("face.lengths", new Shape(batch), DType.I32);
        var faceOut = face.Output.Shape;
        faceMean = new MaskedMean(device, "face.mean", new Shape(batch, faceFrames, faceOut[3]), shape.Act, faceLengths);

        voice = new ConvStack(device, group, "voice", ConvStack.VoiceRows, options.VoiceChannels, batch, shape.MelBins, shape.MelFrames, shape.Act);
        mels = device.Transient("voice.mels", voice.InputShape, DType.F32);
        voiceInput = shape.Act == DType.F32 && !augmented ? mels : device.Transient("voice.input", voice.InputShape, shape.Act);
        voiceLengths = device.Persistent("voice.lengths", new Shape(batch), DType.I32);
        var voiceOut = voice.Output.Shape;
        voiceMean = new MaskedMean(device, "voice.mean", new Shape(batch, voiceOut[2], voiceOut[3]), shape.Act, voiceLengths);

        concat = new Concat(device, "concat", batch, faceOut[3], voiceOut[3]);
    }

    /// <summary>Channels of the pooled features.</summary>
    public static int WidthOf(NetworkOptions options) => options.FaceChannels[^1] + options.VoiceChannels[^1];

    public IEnumerable<RunningStatistics> Norms => face.Norms.Concat(voice.Norms);

    /// <summary>Sends faces, mels and their lengths to the device.</summary>
    public void Load(Batch clips)
    {
        device.Ops.Upload<byte>(faceBytes, clips.Faces);
        device.Ops.Upload<float>(mels, clips.Mels);
        if (plans is not null)
            device.Ops.Upload<AugmentPlan>(plans, clips.Augmentation);
        device.Ops.Upload<int>(faceLengths, clips.FaceLengths);
        for (int n = 0; n < hostLengths.Length; n++)
            hostLengths[n] = ConvStack.ValidSteps(ConvStack.VoiceRows, clips.MelLengths[n]);
        device.Ops.Upload<int>(voiceLengths, hostLengths);
    }

    /// <summary>Pooled features of the loaded batch.</summary>
    public Tensor Forward(Phase phase)
    {
        if (plans is not null && phase != Phase.Evaluation)
        {
            device.Ops.AugmentFaces(faceInput, faceBytes, plans, PixelScale, PixelShift);
            device.Ops.AugmentMels(voiceInput, mels, plans);
        }
        else
        {
            device.Ops.Normalise(faceInput, faceBytes, PixelScale, PixelShift);
            if (voiceInput != mels)
                device.Ops.Copy(voiceInput, mels);
        }
        weights ??= [.. face.Weights, .. voice.Weights];
        if (weights.Count > 0)
            device.Ops.Conv2dPrepare(weights, backward: phase != Phase.Evaluation);
        device.SideBySide(
            () => faceMean.Forward(face.Forward(faceInput, phase).Reshape(batch, faceFrames, face.Output.Shape[3]), phase),
            () => voiceMean.Forward(voice.Forward(voiceInput, phase).Reshape(batch, voice.Output.Shape[2], voice.Output.Shape[3]), phase));
        return concat.Forward(faceMean.Output, voiceMean.Output);
    }

    public void Backward(Tensor dPooled)
    {
        concat.Backward(dPooled);
        device.SideBySide(
            () => Backward(face, faceMean, concat.GradientA),
            () => Backward(voice, voiceMean, concat.GradientB));
    }

    private static void Backward(ConvStack stack, MaskedMean mean, Tensor dMean)
    {
        var shape = stack.Output.Shape;
        stack.Backward(mean.Backward(dMean)!.Reshape(shape[0], shape[1], shape[2], shape[3]));
    }
}
