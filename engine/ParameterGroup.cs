namespace Avedis.Engine;

/// <summary>
/// Parameters that one optimiser moves together, in flat memory: one tensor holds all values, one all gradients, so that an optimiser
/// step is one pass. Layers add to the group while they are built; <see cref="Seal"/> lays it out.
/// </summary>
public sealed class ParameterGroup(Device device, string name)
{
    // parts start on cache lines; the gap's gradient is always 0, so Adam leaves it 0
    private const int AlignElements = 16;

    private readonly List<Parameter> parameters = [];

    public string Name { get; } = name;

    public IReadOnlyList<Parameter> Parameters => parameters;

    /// <summary>All values, F32; null before <see cref="Seal"/>.</summary>
    public Tensor Values { get; private set; } = null!;

    public Tensor Gradients { get; private set; } = null!;

    /// <summary>Where each parameter starts in <see cref="Values"/>, and behind the last their end; a gap belongs to the parameter in front of it.</summary>
    internal int[] Offsets { get; private set; } = [];

    /// <summary>Adds a parameter that starts uniform in +-bound.</summary>
    public Parameter Uniform(string parameter, Shape shape, float bound) => Add(new Parameter(parameter, shape, 0, bound));

    /// <summary>Adds a parameter that starts at one value.</summary>
    public Parameter Constant(string parameter, Shape shape, float value) => Add(new Parameter(parameter, shape, value, 0));

    /// <summary>Lays the group out; call once, after the last layer was built and before the device is planned.</summary>
    public void Seal()
    {
        var offsets = new int[parameters.Count + 1];
        for (int i = 0; i < parameters.Count; i++)
            offsets[i + 1] = checked((int)(offsets[i] + (parameters[i].Shape.Count + AlignElements - 1) / AlignElements * AlignElements));
        Offsets = offsets;
        var flat = new Shape(offsets[^1]);
        Values = device.Persistent($"{Name}.values", flat, DType.F32);
        Gradients = device.Persistent($"{Name}.gradients", flat, DType.F32);
        for (int i = 0; i < parameters.Count; i++)
        {
            var p = parameters[i];
            p.Value = Values.Part(p.Name, p.Shape, offsets[i]);
            p.Gradient = Gradients.Part($"{p.Name}.gradient", p.Shape, offsets[i]);
        }
    }

    /// <summary>Sets every parameter to its initial value; the device must have been planned.</summary>
    public void Initialise(ulong seed)
    {
        foreach (var p in parameters)
            device.Ops.Upload<float>(p.Value, p.Initial(seed));
    }

    private Parameter Add(Parameter parameter)
    {
        if (Values is not null)
            throw new InvalidOperationException($"{parameter.Name}: group {Name} is sealed");
        if (parameters.Exists(p => p.Name == parameter.Name))
            throw new ArgumentException($"parameter {parameter.Name} exists already");
        parameters.Add(parameter);
        return parameter;
    }
}
