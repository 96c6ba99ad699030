using System.Buffers.Binary;
using System.Text;

namespace Avedis.Bench.Peers.TorchSharp;

/// <summary>
/// Takes a demand for a version of a library out of a shared library (ELF, 64 bits, little endian), where nothing of that version is used: marks it weak
/// (VER_FLG_WEAK), and the loader goes on where the version is missing. It refuses where that would not be safe: unless the only symbol of the version is
/// the one named, and no relocation refers to it, so that the loader never looks it up and no code can reach it.
/// </summary>
internal static class WeakVersion
{
    private const int SymbolsSection = 11, RelocationsSection = 4, NeedsSection = 0x6ffffffe, VersionsSection = 0x6fffffff;
    private const ushort WeakFlag = 2, HiddenBit = 0x8000;

    private readonly record struct Section(int Type, int Offset, int Size, int Link);

    /// <summary>Marks the demand in the bytes of the library.</summary>
    /// <returns>Whether there was something to do: not where the library is marked already, or asks for no such version.</returns>
    /// <exception cref="InvalidDataException">It is no such library, or something of the version is used.</exception>
    public static bool Mark(Span<byte> library, string version, string symbol)
    {
        if (library.Length < 64 || !library.StartsWith("\x7f"u8) || !library[1..4].SequenceEqual("ELF"u8) || library[4] != 2 || library[5] != 1)
            throw new InvalidDataException("no ELF library of 64 bits");
        var sections = Sections(library);
        var needs = sections.Single(section => section.Type == NeedsSection);
        if (Entry(library, needs, sections[needs.Link], version) is not { } entry)
            return false;
        var flags = library[(entry + 4)..];
        if ((U16(flags) & WeakFlag) != 0)
            return false;
        RequireUnused(library, sections, U16(library[(entry + 6)..]), version, symbol);
        BinaryPrimitives.WriteUInt16LittleEndian(flags, (ushort)(U16(flags) | WeakFlag));
        return true;
    }

    private static Section[] Sections(ReadOnlySpan<byte> library)
    {
        int table = checked((int)U64(library[0x28..])), size = U16(library[0x3A..]), count = U16(library[0x3C..]);
        var sections = new Section[count];
        for (int i = 0; i < count; i++)
        {
            var header = library[(table + i * size)..];
            sections[i] = new((int)U32(header[4..]), checked((int)U64(header[24..])), checked((int)U64(header[32..])), (int)U32(header[40..]));
        }
        return sections;
    }

    /// <summary>Where the entry (Vernaux) of the version lies among the demands of all libraries (Verneed).</summary>
    private static int? Entry(ReadOnlySpan<byte> library, Section needs, Section names, string version)
    {
        int need = needs.Offset, next;
        do
        {
            int entry = need + (int)U32(library[(need + 8)..]), step;
            do
            {
                if (Name(library, names, U32(library[(entry + 8)..])) == version)
                    return entry;
                step = (int)U32(library[(entry + 12)..]);
                entry += step;
            }
            while (step != 0);
            next = (int)U32(library[(need + 12)..]);
            need += next;
        }
        while (next != 0);
        return null;
    }

    private static void RequireUnused(ReadOnlySpan<byte> library, Section[] sections, int index, string version, string symbol)
    {
        const int SymbolSize = 24, RelocationSize = 24;
        var symbols = sections.Single(section => section.Type == SymbolsSection);
        var versions = sections.Single(section => section.Type == VersionsSection);
        var ofVersion = new HashSet<ulong>();
        for (int i = 0; i < versions.Size / 2; i++)
        {
            if ((U16(library[(versions.Offset + 2 * i)..]) & ~HiddenBit) != index)
                continue;
            string name = Name(library, sections[symbols.Link], U32(library[(symbols.Offset + i * SymbolSize)..]));
            if (name != symbol)
                throw new InvalidDataException($"it needs {name} of {version}");
            ofVersion.Add((ulong)i);
        }
        foreach (var relocations in sections.Where(section => section.Type == RelocationsSection))
            for (int at = relocations.Offset; at < relocations.Offset + relocations.Size; at += RelocationSize)
                if (ofVersion.Contains(U64(library[(at + 8)..]) >> 32))
                    throw new InvalidDataException($"it refers to {symbol} of {version}");
    }

    private static string Name(ReadOnlySpan<byte> library, Section names, uint at)
    {
        var text = library[(names.Offset + (int)at)..];
        return Encoding.ASCII.GetString(text[..text.IndexOf((byte)0)]);
    }

    private static ushort U16(ReadOnlySpan<byte> bytes) => BinaryPrimitives.ReadUInt16LittleEndian(bytes);

    private static uint U32(ReadOnlySpan<byte> bytes) => BinaryPrimitives.ReadUInt32LittleEndian(bytes);

    private static ulong U64(ReadOnlySpan<byte> bytes) => BinaryPrimitives.ReadUInt64LittleEndian(bytes);
}
