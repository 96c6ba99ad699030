using System.Buffers;
using System.Buffers.Binary;
using System.Text;

namespace Avedis.Trainer.Export;

/// <summary>
/// Writes protocol buffers' wire format: each field is a key (number times 8 plus wire type) and a value: 0 a varint, 1 eight bytes, 2 a length and so many
/// bytes, 5 four bytes, all little-endian. Fields at their default are written too; readers take both.
/// </summary>
public sealed class ProtoWriter
{
    private readonly ArrayBufferWriter<byte> bytes = new();

    public ReadOnlySpan<byte> Bytes => bytes.WrittenSpan;

    /// <summary>int32, int64, enums: a negative one takes ten bytes.</summary>
    public ProtoWriter Integer(int field, long value)
    {
        Key(field, 0);
        Varint((ulong)value);
        return this;
    }

    public ProtoWriter Float(int field, float value)
    {
        Key(field, 5);
        Span<byte> four = stackalloc byte[4];
        BinaryPrimitives.WriteSingleLittleEndian(four, value);
        bytes.Write(four);
        return this;
    }

    public ProtoWriter Double(int field, double value)
    {
        Key(field, 1);
        Span<byte> eight = stackalloc byte[8];
        BinaryPrimitives.WriteDoubleLittleEndian(eight, value);
        bytes.Write(eight);
        return this;
    }

    public ProtoWriter Text(int field, string value) => Blob(field, Encoding.UTF8.GetBytes(value));

    public ProtoWriter Blob(int field, ReadOnlySpan<byte> value)
    {
        Key(field, 2);
        Varint((ulong)value.Length);
        bytes.Write(value);
        return this;
    }

    public ProtoWriter Message(int field, ProtoWriter value) => Blob(field, value.Bytes);

    private void Key(int field, int wireType) => Varint(((ulong)field << 3) | (uint)wireType);

    // seven bits a byte, the lowest first; the top bit says that more follow
    private void Varint(ulong value)
    {
        for (; value >= 0x80; value >>= 7)
            bytes.Write([(byte)(value | 0x80)]);
        bytes.Write([(byte)value]);
    }
}
