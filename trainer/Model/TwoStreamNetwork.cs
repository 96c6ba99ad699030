using Avedis.Engine;
using Avedis.Trainer.Data;

namespace Avedis.Trainer.Model;

/// <summary>What a network is built for: everything that fixes a shape.</summary>
/// <param name="Batch">Clips per batch.</param>
/// <param name="FaceFrames">Face frames per clip.</param>
/// <param name="FaceSize">Pixels per side of a face frame.</param>
/// <param name="MelBins">Rows of the log-mel image.</param>
/// <param name="MelFrames">Columns of the log-mel image.</param>
/// <param name="Factors">The factors that batches bring labels of, in this order.</param>
public sealed record NetworkShape(
    int Batch, int FaceFrames, int FaceSize, int MelBins, int MelFrames, IReadOnlyList<Factor> Factors, DType Act);

/// <summary>Which parts of a network there are and which of them learn.</summary>
/// <param name="Passes">Passes that a step makes through each auxiliary head; 0 builds none.</param>
/// <param name="Pooled">Leaves the trunk out: batches bring its pooled features, which no training changes.</param>
/// <param name="Frozen">Factors whose branches stay as they are.</param>
/// <param name="Augmented">Varies the clips in training, by the plans that batches bring.</param>
public sealed record NetworkParts(int Passes, bool Pooled, IReadOnlyList<string> Frozen, bool Augmented = false)
{
    /// <summary>Trunk and branches: what evaluation and plain training need.</summary>
    public static NetworkParts Plain { get; } = new(0, false, []);
}

/// <summary>
/// The two-stream multitask network (Peri et al. 2021, figures 1 and 2): a <see cref="Trunk"/> that all factors share, and a <see cref="Branch"/> for each.
/// </summary>
public sealed class TwoStreamNetwork
{
    /// <summary>What training.freeze calls the trunk.</summary>
    public const string TrunkName = "trunk";

    private readonly Device device;
    private readonly Trunk? trunk;
    private readonly Tensor? pooled;
    private readonly List<Target> targets = [];
    private readonly List<Branch> branches = [], learning = [];
    private readonly ParameterGroup constants;

    /// <exception cref="UserException">The options name a factor that the data does not have, or that has too few classes.</exception>
    public TwoStreamNetwork(Device device, NetworkOptions options, NetworkShape shape, NetworkParts? parts = null)
    {
        this.device = device;
        Shape = shape;
        parts ??= NetworkParts.Plain;
        options.Validate();
        foreach (string name in parts.Frozen.Where(name => name != TrunkName && !options.Factors.ContainsKey(name)))
            throw new UserException(ExitCode.Usage, $"training.freeze names '{name}', expected {TrunkName}, {string.Join(", ", options.Factors.Keys)}");
        Primary = new ParameterGroup(device, "primary");
        constants = new ParameterGroup(device, "constants");
        if (parts.Pooled)
            pooled = device.Transient("pooled", new Shape(shape.Batch, Trunk.WidthOf(options)), DType.F32);
        else
            trunk = new Trunk(device, Primary, options, shape, parts.Augmented);
        int width = Trunk.WidthOf(options);
        // names of the branches that are not frozen, and what the embedding of each is to forget, with its weight
        var learns = options.Built.Where(name => !parts.Frozen.Contains(name)).ToList();
        if (learns.Count == 0)
            throw new UserException(ExitCode.Usage, "training.freeze leaves nothing to train");
        IEnumerable<KeyValuePair<string, float>> Forgets(string name) =>
            parts.Passes == 0 || !learns.Contains(name) ? [] : options.Factors[name].Forget.Where(forget => forget.Value > 0);
        int headCount = learns.Sum(name => Forgets(name).Count()) * options.Auxiliary.Heads, built = 0;
        Losses = device.Persistent("losses", new Shape(learns.Count + headCount, shape.Batch), DType.F32);
        Tensor Row(string name, int row) => Losses.Part($"{name}.loss", new Shape(shape.Batch), (long)row * shape.Batch);
        foreach (string name in options.Built)
        {
            var own = options.Factors[name];
            bool learnsToo = learns.Contains(name);
            var heads = new List<AuxiliaryHead>();
            foreach (var (other, weight) in Forgets(name))
            {
                var read = NewTarget($"{name}.auxiliary.{other}", other, options.Auxiliary.ClassWeights);
                for (int i = 0; i < options.Auxiliary.Heads; i++)
                {
                    string head = $"{name}.auxiliary.{other}{(options.Auxiliary.Heads == 1 ? "" : $".{i}")}";
                    heads.Add(new AuxiliaryHead(
                        device, constants, head, shape.Batch, own.Embedding, read, options.Auxiliary,
                        weight / options.Auxiliary.Heads, parts.Passes, Row(head, learns.Count + built++)));
                }
            }
            var branch = new Branch(
                device, learnsToo ? Primary : constants, shape.Batch, width, NewTarget(name, name, own.ClassWeights), own, heads,
                learnsToo ? Row(name, learns.IndexOf(name)) : null);
            branches.Add(branch);
            if (learnsToo)
                learning.Add(branch);
        }
        Primary.Seal();
        if (constants.Parameters.Count > 0)
            constants.Seal();
        Auxiliary = [.. learning.SelectMany(branch => branch.Auxiliary)];
        Groups = [Primary, .. Auxiliary.Select(head => head.Group)];
    }

    public NetworkShape Shape { get; }

    /// <summary>Trunk, embeddings and heads that learn.</summary>
    public ParameterGroup Primary { get; }

    /// <summary>The groups that learn: <see cref="Primary"/>, then one for each of <see cref="Auxiliary"/>.</summary>
    public IReadOnlyList<ParameterGroup> Groups { get; }

    /// <summary>One for each factor that is built.</summary>
    public IReadOnlyList<Branch> Branches => branches;

    /// <summary>The branches that are not frozen.</summary>
    public IReadOnlyList<Branch> Learning => learning;

    /// <summary>The auxiliary heads of all branches.</summary>
    public IReadOnlyList<AuxiliaryHead> Auxiliary { get; }

    /// <summary>
    /// The losses of a training step per clip, weighted: a row for each of <see cref="Learning"/>, then for each of <see
    /// cref="Auxiliary"/>, [rows, N] F32. They lie
    /// together so that the host reads them at once.
    /// </summary>
    public Tensor Losses { get; }

    /// <summary>Batches that moved the running statistics; PyTorch's num_batches_tracked.</summary>
    public long BatchesTracked { get; set; }

    public long ParameterCount => AllGroups.Sum(g => g.Parameters.Sum(p => p.Shape.Count));

    /// <summary>The pooled features that the last Forward gave or took, [N, width] F32.</summary>
    public Tensor Pooled { get; private set; } = null!;

    /// <summary>Whether batches bring the pooled features, instead of the faces and mels of a trunk.</summary>
    public bool TakesPooled => trunk is null;

    /// <summary>Null if there is none of this factor.</summary>
    public Branch? Find(string factor) => branches.Find(branch => branch.Name == factor);

    /// <summary>Sets parameters and running statistics to their initial values; the device must have been planned.</summary>
    public void Initialise(ulong seed)
    {
        foreach (var group in AllGroups)
            group.Initialise(seed);
        foreach (var norm in Norms)
            norm.Initialise();
        BatchesTracked = 0;
    }

    /// <summary>Sends a batch to the device.</summary>
    public void Load(Batch batch)
    {
        if (trunk is not null)
            trunk.Load(batch);
        else
            device.Ops.Upload<float>(pooled!, batch.Pooled);
        foreach (var target in targets)
            target.Load(batch);
    }

    /// <summary>Trunk, embeddings and logits of the loaded batch; auxiliary heads run when a strategy or an evaluation asks for them.</summary>
    public void Forward(Phase phase)
    {
        Pooled = trunk?.Forward(phase) ?? pooled!;
        foreach (var branch in phase == Phase.Evaluation ? branches : learning)
            branch.Forward(Pooled, phase);
    }

    /// <summary>Losses of the branches that learn.</summary>
    public void Evaluate()
    {
        foreach (var branch in learning)
            branch.Evaluate();
    }

    /// <summary>Adds the gradients of all evaluated losses to the parameters' gradients.</summary>
    /// <inheritdoc cref="Branch.Backward(Action{AuxiliaryHead, Tensor}?, bool, bool)"/>
    public void Backward(Action<AuxiliaryHead, Tensor>? adversary = null, bool intoTrunk = true) =>
        Backward(learning, branch => branch.Backward(adversary, inputs: trunk is not null, intoTrunk));

    /// <summary>Adds the gradients of what the auxiliary heads make of the embeddings alone.</summary>
    /// <inheritdoc cref="Branch.BackwardAuxiliary"/>
    public void BackwardAuxiliary(Action<AuxiliaryHead, Tensor> adversary) =>
        Backward(learning.Where(branch => branch.Auxiliary.Count > 0), branch => branch.BackwardAuxiliary(adversary, inputs: trunk is not null));

    private void Backward(IEnumerable<Branch> through, Func<Branch, Tensor> backward)
    {
        Tensor? dPooled = null;
        foreach (var branch in through)
        {
            var gradient = backward(branch);
            if (dPooled is null)
                dPooled = gradient;
            else if (trunk is not null)
                device.Ops.Add(dPooled, gradient);
        }
        if (dPooled is not null)
            trunk?.Backward(dPooled);
    }

    /// <summary>Every tensor of the trained state by its PyTorch name, in the engine's layout: parameters, then running statistics.</summary>
    public IEnumerable<(string Name, Tensor Tensor)> State() =>
        AllGroups.SelectMany(g => g.Parameters).Select(p => (p.Name, p.Value))
            .Concat(Norms.SelectMany(n => new[] { (n.Mean.Name, n.Mean), (n.Variance.Name, n.Variance) }));

    /// <summary>Names of the batch norms: each has a num_batches_tracked in PyTorch's files.</summary>
    public IEnumerable<string> NormNames => Norms.Select(n => n.Name);

    private IEnumerable<ParameterGroup> AllGroups => constants.Parameters.Count > 0 ? [.. Groups, constants] : Groups;

    private IEnumerable<RunningStatistics> Norms =>
        (trunk?.Norms ?? []).Concat(Auxiliary.Select(head => head.Statistics).OfType<RunningStatistics>());

    private Target NewTarget(string name, string factor, ClassWeights weights)
    {
        int index = Shape.Factors.ToList().FindIndex(f => f.Name == factor);
        if (index < 0)
            throw new UserException(
                ExitCode.BadInput, $"network.factors names '{factor}', which the data does not have: it has {string.Join(", ", Shape.Factors.Select(f => f.Name))}");
        var found = Shape.Factors[index];
        if (found.Classes.Count < 2)
            throw new UserException(ExitCode.BadInput, $"factor {factor} has {found.Classes.Count} class in the training clips: nothing to tell apart; leave it out of network.factors (or name others in network.tasks)");
        var target = new Target(device, name, found, index, Shape.Batch, found.Weights(weights));
        targets.Add(target);
        return target;
    }
}
