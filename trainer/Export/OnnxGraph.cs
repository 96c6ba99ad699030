using System.Runtime.InteropServices;
using Avedis.Engine;

namespace Avedis.Trainer.Export;

/// <summary>
/// An ONNX model under construction. The fields of onnx.proto3 that it writes:
/// <code>
/// ModelProto { ir_version = 1, producer_name = 2, producer_version = 3, doc_string = 6, graph = 7, opset_import = 8 { version = 2 }, metadata_props = 14 { key = 1, value = 2 } }
/// GraphProto { node = 1, name = 2, initializer = 5, input = 11, output = 12 }
/// NodeProto { input = 1, output = 2, name = 3, op_type = 4, attribute = 5 }
/// AttributeProto { name = 1, f = 2, i = 3, ints = 8, type = 20: FLOAT 1, INT 2, INTS 7 }
/// TensorProto { dims = 1, data_type = 2: FLOAT 1, UINT8 2, INT64 7, name = 8, raw_data = 9: little-endian, row-major }
/// ValueInfoProto { name = 1, type = 2 { tensor_type = 1 { elem_type = 1, shape = 2 { dim = 1 { dim_value = 1 | dim_param = 2 } } } } }
/// </code>
/// Each operation gives one value, whose name is also that of the node.
/// </summary>
public sealed class OnnxGraph(string name)
{
    public const int F32 = 1, U8 = 2, I64 = 7;

    private const int IrVersion = 8, Opset = 13; // of 2021: every runtime of today reads them
    private const int FloatAttribute = 1, IntegerAttribute = 2, IntegersAttribute = 7;

    private readonly List<ProtoWriter> nodes = [], initializers = [], inputs = [], outputs = [], metadata = [];
    private readonly HashSet<string> constants = [];

    /// <param name="dimensions">A number, or the name of an extent that is known only when the model runs.</param>
    public string Input(string value, int type, params ReadOnlySpan<string> dimensions) => Declare(inputs, value, type, dimensions);

    /// <summary>Makes a value that an operation gave a result of the model.</summary>
    /// <inheritdoc cref="Input"/>
    public void Output(string value, int type, params ReadOnlySpan<string> dimensions) => Declare(outputs, value, type, dimensions);

    public void Describe(string key, string value) => metadata.Add(new ProtoWriter().Text(1, key).Text(2, value));

    public string Weight(string value, SafeTensor tensor) => Constant(value, F32, tensor.Shape, tensor.Data);

    public string Number(string value, float number) => Constant(value, F32, [], BitConverter.GetBytes(number));

    /// <summary>A vector of integers: axes, a shape.</summary>
    public string Integers(string value, params ReadOnlySpan<long> numbers) => Constant(value, I64, [numbers.Length], MemoryMarshal.AsBytes(numbers));

    public string Integer(string value, long number) => Constant(value, I64, [], BitConverter.GetBytes(number));

    /// <param name="attributes">A float, a long or a long[] each.</param>
    /// <returns>The value that it gives.</returns>
    public string Add(string operation, string value, ReadOnlySpan<string> from, params ReadOnlySpan<(string Name, object Value)> attributes)
    {
        var node = new ProtoWriter();
        foreach (string input in from)
            node.Text(1, input);
        node.Text(2, value).Text(3, value).Text(4, operation);
        foreach (var (key, setting) in attributes)
            node.Message(5, Attribute(key, setting));
        nodes.Add(node);
        return value;
    }

    public byte[] ToBytes(string version, string description)
    {
        var graph = new ProtoWriter();
        WriteAll(graph, 1, nodes);
        graph.Text(2, name);
        WriteAll(graph, 5, initializers);
        WriteAll(graph, 11, inputs);
        WriteAll(graph, 12, outputs);
        var model = new ProtoWriter().Integer(1, IrVersion).Text(2, "avedis").Text(3, version).Text(6, description).Message(7, graph)
            .Message(8, new ProtoWriter().Integer(2, Opset));
        WriteAll(model, 14, metadata);
        return model.Bytes.ToArray();
    }

    private static void WriteAll(ProtoWriter to, int field, List<ProtoWriter> messages)
    {
        foreach (var message in messages)
            to.Message(field, message);
    }

    private static ProtoWriter Attribute(string key, object value)
    {
        var attribute = new ProtoWriter().Text(1, key);
        switch (value)
        {
            case float number:
                return attribute.Float(2, number).Integer(20, FloatAttribute);
            case long number:
                return attribute.Integer(3, number).Integer(20, IntegerAttribute);
            case long[] numbers:
                foreach (long number in numbers)
                    attribute.Integer(8, number);
                return attribute.Integer(20, IntegersAttribute);
            default:
                throw new ArgumentException($"{key}: no attribute of {value.GetType()} is needed here");
        }
    }

    private static string Declare(List<ProtoWriter> into, string value, int type, ReadOnlySpan<string> dimensions)
    {
        var shape = new ProtoWriter();
        foreach (string dimension in dimensions)
            shape.Message(1, long.TryParse(dimension, out long extent) ? new ProtoWriter().Integer(1, extent) : new ProtoWriter().Text(2, dimension));
        into.Add(new ProtoWriter().Text(1, value).Message(2, new ProtoWriter().Message(1, new ProtoWriter().Integer(1, type).Message(2, shape))));
        return value;
    }

    // the same constant may be asked for again by its name
    private string Constant(string value, int type, ReadOnlySpan<int> shape, ReadOnlySpan<byte> data)
    {
        if (!constants.Add(value))
            return value;
        var tensor = new ProtoWriter();
        foreach (int extent in shape)
            tensor.Integer(1, extent);
        initializers.Add(tensor.Integer(2, type).Text(8, value).Blob(9, data));
        return value;
    }
}
