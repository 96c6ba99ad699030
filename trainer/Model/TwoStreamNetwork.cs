using Avedis.Engine;
using Avedis.Trainer.Data;

namespace Avedis.Trainer.Model;

/// <summary>What a network is built for: everything that fixes a shape.</summary>
/// <param name="Batch">Clips per batch.</param>
/// <param name="FaceFrames">Face frames per clip.</param>
/// <param name="FaceSize">Pixels per side of a face frame.</param>
/// <param name="MelBins">Rows of the log-mel image.</param>
/// <param name="MelFrames">Columns of the log-mel image.</param>
public readonly record struct NetworkShape(
    int Batch, int FaceFrames, int FaceSize, int MelBins, int MelFrames, int Emotions, int Speakers, DType Act);

/// <summary>
/// The two-stream multitask network (Peri et al. 2021, figures 1 and 2): a convolutional stack per modality, masked mean over time, concatenation,
/// and a <see cref="Branch"/> per factor.
/// <code>
/// faces [B*F,S,S,1] -> face stack -> mean over frames -\
///                                                       concat -> emotion branch, speaker branch
/// mels  [B,40,T,1]  -> voice stack -> mean over time  -/
/// </code>
/// </summary>
public sealed class TwoStreamNetwork
{
    // bytes 0..255 to -1..1, as the paper scales faces
    private const float PixelScale = 2f / 255, PixelShift = -1;

    private readonly Device device;
    private readonly ConvStack face, voice;
    private readonly MaskedMean faceMean, voiceMean;
    private readonly Concat concat;
    private readonly Tensor faceBytes, faceInput, faceLengths, mels, voiceInput, voiceLengths;
    private readonly int[] hostLengths;
    private readonly float[] hostWeights;

    public TwoStreamNetwork(Device device, NetworkOptions options, NetworkShape shape)
    {
        this.device = device;
        Shape = shape;
        Primary = new ParameterGroup(device, "primary");
        Auxiliary = new ParameterGroup(device, "auxiliary");
        int batch = shape.Batch, frames = batch * shape.FaceFrames;
        hostLengths = new int[batch];
        hostWeights = new float[batch];

        face = new ConvStack(device, Primary, "face", ConvStack.FaceRows, options.FaceChannels, frames, shape.FaceSize, shape.FaceSize, shape.Act);
        faceBytes = device.Transient("face.bytes", face.InputShape, DType.U8);
        faceInput = device.Transient("face.input", face.InputShape, shape.Act);
        faceLengths = device.Persistent("face.lengths", new Shape(batch), DType.I32);
        var faceOut = face.Output.Shape;
        faceMean = new MaskedMean(device, "face.mean", new Shape(batch, shape.FaceFrames, faceOut[3]), shape.Act, faceLengths);

        voice = new ConvStack(device, Primary, "voice", ConvStack.VoiceRows, options.VoiceChannels, batch, shape.MelBins, shape.MelFrames, shape.Act);
        mels = device.Transient("voice.mels", voice.InputShape, DType.F32);
        voiceInput = shape.Act == DType.F32 ? mels : device.Transient("voice.input", voice.InputShape, shape.Act);
        voiceLengths = device.Persistent("voice.lengths", new Shape(batch), DType.I32);
        var voiceOut = voice.Output.Shape;
        voiceMean = new MaskedMean(device, "voice.mean", new Shape(batch, voiceOut[2], voiceOut[3]), shape.Act, voiceLengths);

        concat = new Concat(device, "concat", batch, faceOut[3], voiceOut[3]);
        int width = faceOut[3] + voiceOut[3];
        bool both = options.Tasks == NetworkTasks.Both;
        if (options.Auxiliary && !both)
            throw new UserException(ExitCode.Usage, "network.auxiliary needs both factors: set network.tasks to both");
        if (options.Tasks != NetworkTasks.Speaker)
            Emotion = new Branch(
                device, Primary, Auxiliary, "emotion", batch, width, options.EmotionEmbedding, shape.Emotions, options.Auxiliary ? shape.Speakers : 0);
        if (options.Tasks != NetworkTasks.Emotion)
            Speaker = new Branch(
                device, Primary, Auxiliary, "speaker", batch, width, options.SpeakerEmbedding, shape.Speakers, options.Auxiliary ? shape.Emotions : 0);
        Branches = [.. new[] { Emotion, Speaker }.OfType<Branch>()];
        Primary.Seal();
        if (options.Auxiliary)
            Auxiliary.Seal();
        Groups = options.Auxiliary ? [Primary, Auxiliary] : [Primary];
    }

    public NetworkShape Shape { get; }

    /// <summary>Trunk, embeddings and heads.</summary>
    public ParameterGroup Primary { get; }

    /// <summary>The auxiliary heads; empty without them.</summary>
    public ParameterGroup Auxiliary { get; }

    public IReadOnlyList<ParameterGroup> Groups { get; }

    /// <summary>Null in a single-task network of the other factor.</summary>
    public Branch? Emotion { get; }

    public Branch? Speaker { get; }

    public IReadOnlyList<Branch> Branches { get; }

    /// <summary>Batches that moved the running statistics; PyTorch's num_batches_tracked.</summary>
    public long BatchesTracked { get; set; }

    public long ParameterCount => Groups.Sum(g => g.Parameters.Sum(p => p.Shape.Count));

    /// <summary>Sets parameters and running statistics to their initial values; the device must have been planned.</summary>
    public void Initialise(ulong seed)
    {
        foreach (var group in Groups)
            group.Initialise(seed);
        foreach (var norm in Norms)
            norm.Initialise();
        BatchesTracked = 0;
    }

    /// <summary>
    /// Sends a batch to the device. A clip's weight within a factor is its own weight times that of its class, divided by the sum, so that the loss
    /// is a mean over valid clips.
    /// </summary>
    public void Load(Batch batch, ReadOnlySpan<float> emotionClassWeights)
    {
        device.Ops.Upload<byte>(faceBytes, batch.Faces);
        device.Ops.Upload<float>(mels, batch.Mels);
        device.Ops.Upload<int>(faceLengths, batch.FaceLengths);
        for (int n = 0; n < hostLengths.Length; n++)
            hostLengths[n] = ConvStack.ValidSteps(ConvStack.VoiceRows, batch.MelLengths[n]);
        device.Ops.Upload<int>(voiceLengths, hostLengths);
        LoadFactor(Emotion, batch.Emotions, batch.Weights, emotionClassWeights);
        LoadFactor(Speaker, batch.Speakers, batch.Weights, []);
    }

    /// <summary>Trunk, embeddings and logits of the loaded batch.</summary>
    public void Forward(Phase phase)
    {
        device.Ops.Normalise(faceInput, faceBytes, PixelScale, PixelShift);
        if (voiceInput != mels)
            device.Ops.Copy(voiceInput, mels);
        var faceSteps = face.Forward(faceInput, phase).Reshape(Shape.Batch, Shape.FaceFrames, face.Output.Shape[3]);
        var voiceSteps = voice.Forward(voiceInput, phase).Reshape(Shape.Batch, voice.Output.Shape[2], voice.Output.Shape[3]);
        var trunk = concat.Forward(faceMean.Forward(faceSteps, phase), voiceMean.Forward(voiceSteps, phase));
        foreach (var branch in Branches)
            branch.Forward(trunk, phase);
    }

    /// <summary>Adds the gradients of all evaluated losses to the parameters' gradients.</summary>
    public void Backward(bool withAuxiliary = false)
    {
        var dTrunk = Branches[0].Backward(withAuxiliary);
        if (Branches.Count > 1)
            device.Ops.Add(dTrunk, Branches[1].Backward(withAuxiliary));
        concat.Backward(dTrunk);
        BackwardStream(face, faceMean, concat.GradientA);
        BackwardStream(voice, voiceMean, concat.GradientB);
    }

    /// <summary>Every tensor of the trained state by its PyTorch name, in the engine's layout: parameters, then running statistics.</summary>
    public IEnumerable<(string Name, Tensor Tensor)> State() =>
        Groups.SelectMany(g => g.Parameters).Select(p => (p.Name, p.Value))
            .Concat(Norms.SelectMany(n => new[] { (n.Mean.Name, n.Mean), (n.Variance.Name, n.Variance) }));

    /// <summary>Names of the batch norms: each has a num_batches_tracked in PyTorch's files.</summary>
    public IEnumerable<string> NormNames => Norms.Select(n => n.Name);

    private IEnumerable<RunningStatistics> Norms => face.Norms.Concat(voice.Norms);

    private static void BackwardStream(ConvStack stack, MaskedMean mean, Tensor dMean)
    {
        var shape = stack.Output.Shape;
        stack.Backward(mean.Backward(dMean)!.Reshape(shape[0], shape[1], shape[2], shape[3]));
    }

    private void LoadFactor(Branch? branch, int[] labels, float[] weights, ReadOnlySpan<float> classWeights)
    {
        if (branch is null)
            return;
        float sum = 0;
        for (int n = 0; n < labels.Length; n++)
        {
            hostWeights[n] = labels[n] < 0 ? 0 : weights[n] * (classWeights.IsEmpty ? 1 : classWeights[labels[n]]);
            sum += hostWeights[n];
        }
        for (int n = 0; n < labels.Length && sum > 0; n++)
            hostWeights[n] /= sum;
        device.Ops.Upload<int>(branch.Labels, labels);
        device.Ops.Upload<float>(branch.Weights, hostWeights);
    }
}
