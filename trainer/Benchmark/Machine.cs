using System.Globalization;
using System.Reflection;
using System.Runtime.InteropServices;

namespace Avedis.Trainer.Benchmark;

/// <summary>Where and what a figure was measured on: without it a figure says nothing.</summary>
public static class Machine
{
    /// <summary>Processor, cores that we may use, vector instructions, memory, system.</summary>
    public static string Describe()
    {
        string[] processor = File.ReadAllLines("/proc/cpuinfo");
        string model = Field(processor, "model name") ?? RuntimeInformation.ProcessArchitecture.ToString();
        var flags = (Field(processor, "flags") ?? "").Split(' ').ToHashSet();
        var units = new[] { ("avx2", "AVX2"), ("avx512f", "AVX-512"), ("avx512_bf16", "AVX-512 BF16"), ("amx_bf16", "AMX") };
        string vectors = string.Join(", ", units.Where(u => flags.Contains(u.Item1)).Select(u => u.Item2));
        double kib = double.Parse(Field(File.ReadAllLines("/proc/meminfo"), "MemTotal")!.Split(' ')[0], CultureInfo.InvariantCulture);
        return $"{model}, {Environment.ProcessorCount} cores, {vectors}, {kib / 1048576:F0} GiB, {RuntimeInformation.OSDescription.Trim()}";
    }

    /// <summary>Version and, in a build from a repository, the start of its commit: 0.1.0+0123456789.</summary>
    public static string Revision
    {
        get
        {
            string version = typeof(Machine).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()!.InformationalVersion;
            int commit = version.IndexOf('+', StringComparison.Ordinal) + 1;
            return commit > 0 && version.Length > commit + 10 ? version[..(commit + 10)] : version;
        }
    }

    private static string? Field(string[] lines, string key) =>
        lines.FirstOrDefault(line => line.StartsWith(key, StringComparison.Ordinal))?.Split(':', 2)[1].Trim();
}
