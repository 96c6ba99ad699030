using Avedis.Bindings;

namespace Avedis.Engine;

/// <summary>
/// The operations that training needs, on one device. Everything above this interface is the same on every device.
/// <para>
/// Conventions, without exception unless a method says so in capitals. Argument order: outputs, inputs, settings. Gradients of
/// parameters ACCUMULATE (+=), gradients of activations OVERWRITE (=). Images are N, H, W, C. "act" in a comment is the activation type,
/// F32 or BF16, the same for all act tensors of one call; sums, statistics and losses are F32 whatever the activation type. A BF16 result is
/// computed in F32 and rounded once, to nearest even. Methods queue work in order; only <see cref="Download{T}"/> and
/// <see cref="Synchronize"/> wait for it. Shapes have been checked by the layers: a backend trusts them. Same input, same bits.
/// </para>
/// </summary>
public interface IBackend : IDisposable
{
    /// <summary>What runs the operations, for people: processor or GPU, instruction set, threads.</summary>
    string Description { get; }

    /// <summary>How fast it multiplies each number format: known of a GPU, measured on a processor in some tens of milliseconds.</summary>
    PrecisionRates Rates();

    // ---- memory -------------------------------------------------------------------------------------------------------

    /// <summary>Zeroed memory, aligned to 64 bytes or more.</summary>
    /// <param name="margin">Bytes that must be free beside it, where the device has a memory of its own.</param>
    /// <exception cref="OutOfDeviceMemoryException"/>
    nint Allocate(long bytes, long margin = 0);

    /// <summary>Waits for what is queued. Like Dispose it throws nothing where the device has failed.</summary>
    void Free(nint address);

    /// <summary>
    /// Bytes of the device's memory that a network leaves free beside its arena: for uploads, the largest of so many bytes, recordings of
    /// steps, probes, and what the driver adds. 0 where memory is the host's.
    /// </summary>
    long Margin(long largestUpload);

    /// <summary>Bytes of scratch that the convolution passes of this geometry need; builds what can be built before the first step.</summary>
    long Conv2dWorkspace(in Conv2dGeometry geometry, DType act);

    /// <summary>Gives the backend the scratch that all its operations share: at least the largest figure it asked for.</summary>
    /// <param name="side">How many of these bytes, the last, are for what <see cref="SideBySide"/> runs second; with 0 it runs the two one
    /// after the other.</param>
    void SetWorkspace(nint address, long bytes, long side = 0);

    /// <summary>Host to device. The source may be reused on return.</summary>
    void Upload<T>(Tensor destination, ReadOnlySpan<T> source) where T : unmanaged;

    /// <summary>Device to host; waits for all queued work.</summary>
    void Download<T>(Span<T> destination, Tensor source) where T : unmanaged;

    void Synchronize();

    /// <summary>
    /// x [n] F32 = its sum over all ranks, behind all that is queued; what is queued next may run meanwhile, until <see cref="AwaitReductions"/>. Where
    /// <see cref="HostMemory"/> holds it has finished on return, and another thread may call it.
    /// </summary>
    void AllReduce(Tensor x, ICollective collective);

    /// <summary>What is queued from now on runs behind all reductions.</summary>
    void AwaitReductions();

    /// <summary>Whether tensors lie in the host's memory and every call has finished when it returns.</summary>
    bool HostMemory { get; }

    /// <summary>
    /// Bytes that the device could still provide, as far as it tells: what is free of a GPU's memory, or of this computer's.
    /// For people; <see cref="Allocate"/> decides.
    /// </summary>
    long FreeMemory { get; }

    /// <summary>
    /// Runs <paramref name="work"/>, which must be the same sequence of operations on the same tensors with the same settings every time it is called
    /// under this name; a device may record it the first time and replay the recording after, without calling it again. Inside, only operations:
    /// no transfer, no mark, no other replay. What changes between calls (batches, schedules, factors) is in the tensors that it reads.
    /// </summary>
    void Replay(string name, Action work);

    /// <summary>
    /// Runs both, of which neither writes what the other touches; a device may run them at the same time. What comes behind runs behind
    /// both. Inside, only
    /// operations. The second is the smaller one: the plan lets none of its tensors share memory with those of the first.
    /// </summary>
    void SideBySide(Action first, Action second);

    // ---- timing -------------------------------------------------------------------------------------------------------

    /// <summary>Notes a point in the queued work without waiting for it; a backend may hold a small resource for each until it is disposed.</summary>
    /// <returns>A number that means something to <see cref="Microseconds"/> of the same backend only.</returns>
    long Mark();

    /// <summary>Time on the device between two marks, the earlier first; waits for the later.</summary>
    double Microseconds(long from, long to);

    /// <summary>The marks so far will not be asked for again: what they hold serves the next ones.</summary>
    void ForgetMarks();

    /// <summary>
    /// Lets the device begin nothing that is queued from here on before <see cref="Release"/>, so that it works through all of it without
    /// waiting for the host, and marks show its time alone. Whatever waits for the device releases it, and so does a queue that becomes
    /// long. Where every call has finished when it returns, nothing happens.
    /// </summary>
    void Hold();

    /// <summary>Ends <see cref="Hold"/>, if there is one.</summary>
    void Release();

    /// <summary>
    /// What the operations since the last call launched on the device, in order, for people: kernels with their settings, libraries with their
    /// algorithms. Empty where an operation is its own launch, as on the processor.
    /// </summary>
    IReadOnlyList<string> TakeLaunches();

    // ---- element-wise -------------------------------------------------------------------------------------------------

    /// <summary>x = 0.</summary>
    void Zero(Tensor x);

    /// <summary>y = x, converting between F32 and BF16 where the types differ.</summary>
    void Copy(Tensor y, Tensor x);

    /// <summary>y += x; both F32.</summary>
    void Add(Tensor y, Tensor x);

    /// <summary>y = scale * x + shift from bytes to act: pixels 0..255 to -1..1 with scale 2/255, shift -1.</summary>
    void Normalise(Tensor y, Tensor x, float scale, float shift);

    /// <summary>
    /// <see cref="Normalise"/> of pictures that are changed as the plan of their clip has it. y [N*F,S,S,1] act = scale * pixel + shift from x [N*F,S,S,1] U8:
    /// the pixel at (i, j) of frame f is that at row i + CropY and column j + CropX, or S - 1 - j + CropX with Flip, of frame f + FaceShift of the same clip.
    /// Beyond an edge it is the edge's, beyond the last frame PadPixel. plans [N, AugmentPlan.Width] F32: rows of <see cref="AugmentPlan"/>.
    /// </summary>
    void AugmentFaces(Tensor y, Tensor x, Tensor plans, float scale, float shift);

    /// <summary>
    /// y [N,H,T,1] act from log-mels x [N,H,T,1] F32, by the plan of each clip: the value at (bin, t) is that at t + MelShift, plus Gain where t is below
    /// MelFrames; it is Silence beyond the last frame, in the masked bins, and in the masked frames. plans as in <see cref="AugmentFaces"/>.
    /// </summary>
    void AugmentMels(Tensor y, Tensor x, Tensor plans);

    /// <summary>y = max(x, 0).</summary>
    void ReluForward(Tensor y, Tensor x);

    /// <summary>dX = dY where y > 0, else 0.</summary>
    void ReluBackward(Tensor dX, Tensor dY, Tensor y);

    /// <summary>
    /// Gradient reversal (Ganin and Lempitsky 2015): the identity forwards; backwards dX = -lambda[0] * dY. lambda is an F32 tensor of one element,
    /// read on the device, so that a recorded step follows its schedule.
    /// </summary>
    void GradientReversalBackward(Tensor dX, Tensor dY, Tensor lambda);

    /// <summary>
    /// Gradient reversal in the pass that sums gradients: dX += -lambda[0] * dY. It ADDS, because dX already holds what else reads the same
    /// activation. F32, the shapes equal; lambda as in <see cref="GradientReversalBackward"/>.
    /// </summary>
    void GradientReversalAdd(Tensor dX, Tensor dY, Tensor lambda);

    /// <summary>y [N, A + B] = a [N, A] beside b [N, B]; F32.</summary>
    void ConcatForward(Tensor y, Tensor a, Tensor b);

    /// <summary>dA, dB = the two parts of dY.</summary>
    void ConcatBackward(Tensor dA, Tensor dB, Tensor dY);

    /// <summary>count [1] I32 = how many elements of x, F32 or BF16, are NaN or infinite.</summary>
    void CountNonFinite(Tensor count, Tensor x);

    // ---- convolution --------------------------------------------------------------------------------------------------

    /// <summary>
    /// Rows of y, positions n, p, q in order, whose moments <see cref="Conv2dForward"/> can leave together, for the batch norm behind it; 0 where it can
    /// leave none.
    /// </summary>
    int Conv2dMomentRows(in Conv2dGeometry geometry, DType act);

    /// <summary>
    /// How many numbers, act, a convolution's weights are as its passes multiply them, for <see cref="Conv2dPrepare"/>; a multiple of 64, 0
    /// where a backend takes them
    /// as they are.
    /// </summary>
    long Conv2dPreparedCount(in Conv2dGeometry geometry, DType act);

    /// <summary>
    /// Puts the weights of many convolutions in the order in which their passes multiply them, rounded to what these multiply in, so that a
    /// step does all at once.
    /// </summary>
    /// <param name="backward">Also for <see cref="Conv2dBackwardData"/>.</param>
    void Conv2dPrepare(IReadOnlyList<Conv2dWeights> weights, bool backward);

    /// <summary>
    /// y [N,P,Q,K] act = x [N,H,W,C] act * weight [K,R,S,C] F32. At BF16 the weights are rounded to BF16 on the way in. moments, unless null, = those of y:
    /// <see cref="Moments.Parts"/>, in rows of <see cref="Conv2dMomentRows"/>.
    /// </summary>
    /// <param name="prepared">What <see cref="Conv2dPrepare"/> has made of the weight since it changed; null: the pass prepares what it
    /// needs itself.</param>
    void Conv2dForward(Tensor y, Tensor? moments, Tensor x, Tensor weight, in Conv2dGeometry geometry, Tensor? prepared = null);

    /// <summary>dX act = transposed convolution of dY act with weight.</summary>
    /// <inheritdoc cref="Conv2dForward" path="/param[@name='prepared']"/>
    void Conv2dBackwardData(Tensor dX, Tensor dY, Tensor weight, in Conv2dGeometry geometry, Tensor? prepared = null);

    /// <summary>dWeight [K,R,S,C] F32 += correlation of x with dY.</summary>
    void Conv2dBackwardWeight(Tensor dWeight, Tensor dY, Tensor x, in Conv2dGeometry geometry);

    // ---- batch normalisation, with ReLU and max pooling in the same pass ------------------------------------------------

    /// <summary>
    /// Training mode (Ioffe and Szegedy 2015). mean, inverseStd [C] F32 are the statistics of x [N,H,W,C] over N, H, W (biased variance, epsilon inside
    /// the root), kept for the backward pass; with <paramref name="moments"/> those of the rows that these are of, of which x may be a part. y = x * a + b with a = gamma * inverseStd, b = beta - mean * a; then ReLU if asked;
    /// then max pooling if <paramref name="argmax"/> is not null: y [N,P,Q,C] act, argmax [N,P,Q,C] U8 = row * S + column of the winner in its
    /// window. The winner is decided in F32, before y is rounded.
    /// runningMean = (1 - momentum) * runningMean + momentum * mean; runningVariance likewise with the unbiased variance, as PyTorch does (of a single
    /// element it is 0).
    /// </summary>
    void BatchNormForward(
        Tensor y, Tensor? argmax, Tensor mean, Tensor inverseStd, Tensor runningMean, Tensor runningVariance,
        Tensor x, Moments? moments, Tensor gamma, Tensor beta, in BatchNormSettings settings);

    /// <summary>
    /// moments [1,2,C] F32 = those of all rows of x [N,H,W,C]: mean, and sum of squared deviations from it. With <paramref name="parts"/>, which must be those
    /// of x, x need not be read for them.
    /// </summary>
    void BatchNormMoments(Tensor moments, Tensor x, Moments? parts);

    /// <summary>
    /// y [N,H,W,C] act once more, to the bit, from the statistics that <see cref="BatchNormForward"/> left: activations that a backward
    /// pass reads need not be kept until then (Chen et al. 2016, "Training deep nets with sublinear memory cost"). Without pooling.
    /// </summary>
    void BatchNormApply(Tensor y, Tensor x, Tensor gamma, Tensor beta, Tensor mean, Tensor inverseStd, in BatchNormSettings settings);

    /// <summary>Evaluation mode: the running statistics instead of the batch's; nothing is updated. Pools if settings.Pool is set.</summary>
    void BatchNormInference(
        Tensor y, Tensor x, Tensor gamma, Tensor beta, Tensor runningMean, Tensor runningVariance, in BatchNormSettings settings);

    /// <summary>
    /// Backward of <see cref="BatchNormForward"/>: dX act [N,H,W,C] =, dGamma += and dBeta += [C] F32, from dY (the shape of y). Whether ReLU was active is
    /// recomputed from x.
    /// </summary>
    void BatchNormBackward(
        Tensor dX, Tensor dGamma, Tensor dBeta, Tensor dY, Tensor? argmax, Tensor x,
        Tensor gamma, Tensor beta, Tensor mean, Tensor inverseStd, in BatchNormSettings settings);

    /// <summary>
    /// First step of <see cref="BatchNormBackward"/> where x is a part of <paramref name="count"/> rows that were normalised together: dGamma and dBeta +=, and
    /// means [2,C] F32 = the sums that were added to dBeta and dGamma, divided by count. Added up over all parts they are what the second step takes.
    /// </summary>
    void BatchNormBackwardMeans(
        Tensor means, Tensor dGamma, Tensor dBeta, Tensor dY, Tensor? argmax, Tensor x,
        Tensor gamma, Tensor beta, Tensor mean, Tensor inverseStd, in BatchNormSettings settings, long count);

    /// <summary>Second step: dX act [N,H,W,C] =.</summary>
    void BatchNormBackwardData(
        Tensor dX, Tensor dY, Tensor? argmax, Tensor x, Tensor gamma, Tensor beta, Tensor mean, Tensor inverseStd, Tensor means, in BatchNormSettings settings);

    // ---- stem: the first block of a stream in one operation ---------------------------------------------------------------

    /// <summary>
    /// Memory that the stem of this geometry needs beside its tensors; builds what can be built before the first step. The stem is convolution, batch
    /// norm, ReLU if asked, max pooling, over a data image that takes no gradient. Its convolution output, the largest tensor of a network, is the
    /// backend's business: it may store it as state, or have the statistics from the windows' Gram matrix and compute it again.
    /// </summary>
    StemMemory StemMemory(in Conv2dGeometry geometry, in BatchNormSettings settings, DType act);

    /// <summary>
    /// Training mode. With z [N,P,Q,K] = convolution of x [N,H,W,C] act with weight [K,R,S,C] F32 (rounded to BF16 on the way in at BF16):
    /// <see cref="BatchNormForward"/> of z. settings.Pool is never null and takes z's extents; settings.Relu may be either.
    /// y [N,P',Q',K] act and argmax [N,P',Q',K] U8 as of that pooling; mean, inverseStd [K] F32 are the statistics of z, which a backend may keep in
    /// F32 or, at BF16, round to BF16 before it takes them; runningMean, runningVariance [K] move as there.
    /// <paramref name="state"/> is filled for <see cref="StemBackward"/>, <paramref name="scratch"/> is garbage before and after; both U8, of the sizes
    /// of <see cref="StemMemory"/> (State, ForwardScratch), on 64-byte boundaries, null where that is 0.
    /// </summary>
    void StemForward(
        Tensor y, Tensor argmax, Tensor mean, Tensor inverseStd, Tensor runningMean, Tensor runningVariance, Tensor? state, Tensor? scratch,
        Tensor x, Tensor weight, Tensor gamma, Tensor beta, in Conv2dGeometry geometry, in BatchNormSettings settings);

    /// <summary>
    /// Evaluation mode: the running statistics instead of the batch's; nothing is updated. Nothing is kept for a backward pass either, so what
    /// training keeps as state is scratch here: <paramref name="scratch"/> has State + ForwardScratch bytes, null if that is 0.
    /// </summary>
    void StemInference(
        Tensor y, Tensor? scratch, Tensor x, Tensor weight, Tensor gamma, Tensor beta, Tensor runningMean, Tensor runningVariance,
        in Conv2dGeometry geometry, in BatchNormSettings settings);

    /// <summary>
    /// Backward of <see cref="StemForward"/> from dY act, the shape of y: dWeight [K,R,S,C], dGamma, dBeta [K] F32 accumulate; x takes no gradient.
    /// y, argmax, mean, inverseStd and <paramref name="state"/> are as the forward pass left them, and stay so: it may serve several backward passes.
    /// <paramref name="scratch"/> has BackwardScratch bytes, garbage before and after.
    /// </summary>
    void StemBackward(
        Tensor dWeight, Tensor dGamma, Tensor dBeta, Tensor? scratch, Tensor dY, Tensor y, Tensor argmax, Tensor x,
        Tensor weight, Tensor gamma, Tensor beta, Tensor mean, Tensor inverseStd, Tensor? state,
        in Conv2dGeometry geometry, in BatchNormSettings settings);

    // ---- pooling ------------------------------------------------------------------------------------------------------

    /// <summary>y [N,P,Q,C] act = largest of each window of x; argmax U8 = row * S + column of the winner.</summary>
    void MaxPoolForward(Tensor y, Tensor argmax, Tensor x, in Pool2dGeometry geometry);

    /// <summary>dX = sum of the dY whose window x won; 0 elsewhere.</summary>
    void MaxPoolBackward(Tensor dX, Tensor dY, Tensor argmax, in Pool2dGeometry geometry);

    /// <summary>y [N,C] F32 = mean of x [N,T,C] act over the first lengths[n] steps (I32, 1..T each).</summary>
    void MaskedMeanForward(Tensor y, Tensor x, Tensor lengths);

    /// <summary>dX [N,T,C] act = dY [N,C] F32 / lengths[n] for the valid steps, 0 for the padded ones.</summary>
    void MaskedMeanBackward(Tensor dX, Tensor dY, Tensor lengths);

    // ---- linear -------------------------------------------------------------------------------------------------------

    /// <summary>
    /// y [N,O] = x [N,I] * weight [O,I]^T + bias [O]. x and y act; weight and bias F32, not rounded: these layers read far more weights than
    /// activations, so BF16 would gain nothing.
    /// </summary>
    void LinearForward(Tensor y, Tensor x, Tensor weight, Tensor bias);

    /// <summary>dX [N,I] = dY [N,O] * weight.</summary>
    void LinearBackwardData(Tensor dX, Tensor dY, Tensor weight);

    /// <summary>dWeight [O,I] += dY^T * x; dBias [O] += column sums of dY. F32.</summary>
    void LinearBackwardWeight(Tensor dWeight, Tensor dBias, Tensor dY, Tensor x);

    // ---- losses: value and gradient in one pass -------------------------------------------------------------------------

    /// <summary>
    /// Softmax cross-entropy. loss [N] = weights[n] * -log softmax(logits[n])[labels[n]]; probabilities [N,C]; dLogits = scale * weights[n] *
    /// (probabilities - onehot). All F32, labels I32. weights [N] are each clip's share of the batch mean: they sum to 1, padding has 0
    /// (its label is not looked at).
    /// </summary>
    void SoftmaxCrossEntropy(Tensor loss, Tensor probabilities, Tensor dLogits, Tensor logits, Tensor labels, Tensor weights, float scale);

    /// <summary>
    /// Cross-entropy between the uniform distribution and softmax(logits) (Tzeng et al. 2015; the paper's confusion loss):
    /// loss [N] = weights[n] * -(1/C) * sum_c log softmax(logits[n])[c], at least weights[n] * ln C; dLogits = scale * weights[n] *
    /// (probabilities - 1/C). kl [N] = weights[n] * KL(uniform || softmax(logits[n])) = loss - weights[n] * ln C, but not computed as that difference,
    /// which near the uniform distribution would leave nothing but rounding: it is 0 or more up to the rounding of its own size.
    /// </summary>
    void UniformConfusion(Tensor loss, Tensor kl, Tensor dLogits, Tensor logits, Tensor weights, float scale);

    // ---- spectra ------------------------------------------------------------------------------------------------------

    /// <summary>
    /// Logarithms of filtered power spectra of overlapping frames. Frame t of row n holds samples[n, t * Hop + i], i below the window, 0 behind the row.
    /// power[f] = (frame * basis[f, 0])^2 + (frame * basis[f, 1])^2, summed in double, basis being basis[0] + basis[1], a coarse part and a fine one;
    /// energy = sum_f filters[b, f] * power[f]; y [N,B,T] = ln max(energy, Floor), or ln(energy + Floor). samples [N,L], basis [2,F,2,window], filters
    /// [B,F], none negative; all F32.
    /// </summary>
    void LogMel(Tensor y, Tensor samples, Tensor basis, Tensor filters, in LogMelGeometry geometry);

    // ---- optimiser ----------------------------------------------------------------------------------------------------

    /// <summary>
    /// Gradient projection (Zhang, Lemoine and Mitchell 2018), IN PLACE: within each segment of primary and adversary [L] F32,
    /// primary -= (&lt;primary, adversary&gt; / &lt;adversary, adversary&gt; + alpha[0]) * adversary; where the divisor is 0 the segment stays as it is.
    /// Segment s is elements offsets[s] to offsets[s + 1]; offsets [S + 1] I32 ascend from 0 to L. alpha is an F32 tensor of one element, read on the
    /// device. The sums are in double precision.
    /// </summary>
    void GradientProjection(Tensor primary, Tensor adversary, Tensor offsets, Tensor alpha);

    /// <summary>
    /// One Adam step (Kingma and Ba 2015) over flat F32 memory: m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2;
    /// p -= rate * m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps), as PyTorch computes it. schedule [3] F32 on the device = rate, 1 - b1^t, 1 - b2^t.
    /// g is set to 0 on the way, ready for the next step's sums.
    /// </summary>
    void Adam(Tensor parameters, Tensor gradients, Tensor m, Tensor v, Tensor schedule, float beta1, float beta2, float epsilon);
}

/// <summary>The weights of a convolution and where they are prepared.</summary>
/// <param name="Prepared">Act, as many elements as <see cref="IBackend.Conv2dPreparedCount"/> says, on a 16-byte boundary; only the backend
/// knows their order.</param>
/// <param name="Weight">[K,R,S,C] F32.</param>
public sealed record Conv2dWeights(Tensor Prepared, Tensor Weight, Conv2dGeometry Geometry);

/// <summary>Settings of batch normalisation; <see cref="Pool"/> null means no pooling behind it.</summary>
public readonly record struct BatchNormSettings(float Epsilon, float Momentum, bool Relu, Pool2dGeometry? Pool);

/// <summary>Moments of the channels of an activation [N,P,Q,C], which say all that a batch norm needs of it in training.</summary>
/// <param name="Parts">
/// [ceil(Count / Rows), 2, C] F32: mean and sum of squared deviations from it of each run of rows, the last of which may be shorter.
/// </param>
/// <param name="Rows">Rows of a run.</param>
/// <param name="Count">Rows of all runs: N * P * Q, or more where the activation is one of several that are normalised together.</param>
public sealed record Moments(Tensor Parts, long Rows, long Count);

/// <summary>Bytes of a stem's memory, each 0 or more; see <see cref="IBackend.StemMemory"/>.</summary>
/// <param name="State">What the forward pass leaves for the backward pass.</param>
/// <param name="ForwardScratch">What the forward pass needs only while it runs.</param>
/// <param name="BackwardScratch">What the backward pass needs only while it runs.</param>
/// <param name="Workspace">What either pass needs of the scratch that all operations share: <see cref="IBackend.SetWorkspace"/>.</param>
public readonly record struct StemMemory(long State, long ForwardScratch, long BackwardScratch, long Workspace = 0);
