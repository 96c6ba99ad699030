using System.Runtime.InteropServices;
using System.Text;

namespace Avedis.Bindings.Cuda;

/// <summary>
/// Where a kernel that waits in vain for a barrier says so before it ends itself with an error (kernels/wait_report.cuh): page-locked
/// memory of the host, which stays readable when the context is lost. It stays as long as the process.
/// </summary>
internal sealed unsafe class CudaWaitReport
{
    [StructLayout(LayoutKind.Sequential)]
    private struct Report
    {
        public int Written, BlockX, BlockY, Thread, Number;
        public fixed byte Kernel[64];
        public fixed byte Barrier[16];
    }

    private static readonly Lock gate = new();
    private static readonly List<CudaWaitReport> all = [];

    private readonly CudaHostMemory memory = CudaHostMemory.Allocate(sizeof(Report) + sizeof(nint));

    /// <summary>Lets the kernels of a module, in what is queued from now on, report here.</summary>
    public CudaWaitReport(CudaModule module, CudaStream stream)
    {
        *(Report*)memory.Pointer = default;
        // the device reads the address from there when it comes to it
        nint address = memory.Pointer + sizeof(Report);
        *(nint*)address = memory.Pointer;
        CudaDriver.Check(CudaDriver.ModuleGetGlobal(out nint variable, out nuint bytes, module, "wait_report"));
        CudaDriver.Check(CudaDriver.MemcpyHtoDAsync(variable, address, bytes, stream));
        lock (gate)
            all.Add(this);
    }

    /// <summary>Which kernel of any module has given up waiting for what, and what to do; null if none has. It is told once.</summary>
    public static string? Take()
    {
        lock (gate)
            return all.Select(report => report.TakeText()).FirstOrDefault(text => text is not null);
    }

    private string? TakeText()
    {
        var report = (Report*)memory.Pointer;
        if (Volatile.Read(ref report->Written) == 0)
            return null;
        report->Written = 0;
        string barrier = $"{Ascii(report->Barrier)}[{report->Number}]";
        string place = $"block {report->BlockX}, {report->BlockY}, thread {report->Thread}";
        return $"{Ascii(report->Kernel)} has waited in vain for barrier {barrier} ({place}); AVEDIS_HOPPER=off does without such barriers";
    }

    private static string Ascii(byte* text) => Encoding.ASCII.GetString(MemoryMarshal.CreateReadOnlySpanFromNullTerminated(text));
}
