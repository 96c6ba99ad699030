using System.Runtime.InteropServices;

namespace Avedis.Bindings.Cuda;

/// <summary>The compiled kernels of one fatbin, on the device.</summary>
internal sealed unsafe class CudaModule : SafeHandle
{
    private static readonly Lock gate = new();
    private static readonly Dictionary<(nint Context, byte[] Image), CudaModule> loaded = [];

    private readonly Dictionary<nint, int> shared = []; // dynamic shared memory that launches of a kernel may have

    private CudaWaitReport? waits;

    /// <summary>Only for the marshaller; call <see cref="Load"/>.</summary>
    public CudaModule()
        : base(0, ownsHandle: true)
    {
    }

    public override bool IsInvalid => handle == 0;

    /// <summary>
    /// The module of an image in a context, loaded once in a process however often it is asked for: a large one takes a while.
    /// </summary>
    /// <param name="image">A fatbin, a cubin, or PTX that ends in a zero byte: the same array each time.</param>
    public static CudaModule Load(CudaContext context, byte[] image)
    {
        lock (gate)
        {
            if (loaded.TryGetValue((context.Handle, image), out var known))
                return known;
            context.MakeCurrent();
            fixed (byte* pointer = image)
            {
                CudaDriver.Check(CudaDriver.ModuleLoadData(out CudaModule module, pointer));
                loaded.Add((context.Handle, image), module);
                return module;
            }
        }
    }

    /// <summary>
    /// Lets its kernels say for which barrier they have waited in vain; see <see cref="CudaWaitReport"/>. Once is enough.
    /// </summary>
    /// <param name="stream">Carries the address to the device.</param>
    public void ReportWaits(CudaStream stream)
    {
        lock (shared)
            waits ??= new(this, stream);
    }

    /// <summary>Of a kernel, which is loaded then.</summary>
    public nint Kernel(string name)
    {
        CudaDriver.Check(CudaDriver.ModuleGetFunction(out nint function, this, name), $"ModuleGetFunction {name}");
        return function;
    }

    /// <summary>
    /// Lets launches of a kernel have so much dynamic shared memory; without, it is 48 KiB less the kernel's own arrays. The driver refuses more than the
    /// device has beside the kernel's arrays, so a kernel cannot simply be allowed all. Never less than before: others may use the module.
    /// </summary>
    /// <returns>What they may have now.</returns>
    public int AllowShared(nint kernel, int bytes)
    {
        lock (shared)
        {
            if (shared.TryGetValue(kernel, out int allowed) && allowed >= bytes)
                return allowed;
            CudaDriver.Check(CudaDriver.FuncSetAttribute(kernel, CudaDriver.MaxDynamicSharedSizeBytes, bytes));
            return shared[kernel] = bytes;
        }
    }

    protected override bool ReleaseHandle() => CudaDriver.ModuleUnload(handle) == 0;
}
