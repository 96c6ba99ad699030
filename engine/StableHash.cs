using System.Text;

namespace Avedis.Engine;

/// <summary>FNV-1a, 64 bits: a hash of names that is the same in every process, unlike <see cref="string.GetHashCode()"/>.</summary>
public static class StableHash
{
    public static ulong Of(string text)
    {
        ulong hash = 14695981039346656037;
        foreach (byte b in Encoding.UTF8.GetBytes(text))
            hash = (hash ^ b) * 1099511628211;
        return hash;
    }
}
