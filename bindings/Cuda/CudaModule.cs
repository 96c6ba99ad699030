using System.Runtime.InteropServices;

namespace Avedis.Bindings.Cuda;

/// <summary>The compiled kernels of one fatbin, on the device.</summary>
internal sealed unsafe class CudaModule : SafeHandle
{
    /// <summary>Only for the marshaller; call <see cref="Load"/>.</summary>
    public CudaModule()
        : base(0, ownsHandle: true)
    {
    }

    public override bool IsInvalid => handle == 0;

    /// <param name="image">A fatbin, a cubin, or PTX that ends in a zero byte.</param>
    public static CudaModule Load(byte[] image)
    {
        fixed (byte* pointer = image)
        {
            CudaDriver.Check(CudaDriver.ModuleLoadData(out CudaModule module, pointer));
            return module;
        }
    }

    public nint Kernel(string name)
    {
        CudaDriver.Check(CudaDriver.ModuleGetFunction(out nint function, this, name), $"ModuleGetFunction {name}");
        return function;
    }

    /// <summary>
    /// Lets launches of a kernel have so much dynamic shared memory; without, it is 48 KiB less the kernel's own arrays. The driver refuses more than the
    /// device has beside the kernel's arrays, so a kernel cannot simply be allowed all.
    /// </summary>
    public static void AllowShared(nint kernel, int bytes) =>
        CudaDriver.Check(CudaDriver.FuncSetAttribute(kernel, CudaDriver.MaxDynamicSharedSizeBytes, bytes));

    protected override bool ReleaseHandle() => CudaDriver.ModuleUnload(handle) == 0;
}
