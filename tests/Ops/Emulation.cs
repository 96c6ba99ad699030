using System.Runtime.InteropServices;
using System.Text;
using Avedis.Engine;

namespace Avedis.Tests.Ops;

/// <summary>
/// The emulated CUDA driver, libcuda_emulated.so: the same kernel sources, compiled for the processor (kernels/emulation). Tests name it to the engine
/// as the driver to load; a run of the tests that asks for the real one (AVEDIS_TEST_BACKEND=cuda) does not.
/// </summary>
internal static class Emulation
{
    private const string Variable = "AVEDIS_CUDA_LIBRARY";

    // tests/mutate-kernels names libraries whose kernels are wrong
    /// <summary>Path of the driver.</summary>
    public static string Library { get; } =
        Environment.GetEnvironmentVariable("AVEDIS_TEST_EMULATION") is { Length: > 0 } named ? named : Path.Combine(AppContext.BaseDirectory, "libcuda_emulated.so");
    private static readonly Lazy<nint> library = new(() => NativeLibrary.Load(Library));

    /// <summary>Whether this process uses it.</summary>
    public static bool Chosen { get; private set; }

    /// <summary>Whether kernels of this process run on it, because a test or whoever started the process has chosen it.</summary>
    public static bool Used => Chosen || Environment.GetEnvironmentVariable(Variable) == Library;

    /// <summary>Orders in which the threads of a block may run; a correct kernel gives the same bits under each.</summary>
    public static IReadOnlyList<string> Orders { get; } = ["forward", "reverse", "random"];

    /// <summary>Those under which an operation test runs, as indices of <see cref="Orders"/>: two that differ most are enough to see a race, and cost two thirds.</summary>
    public static IReadOnlyList<int> OrdersOfTests { get; } = Tier.Fast ? [1, 2] : [0, 1, 2];

    public static string? Absence => File.Exists(Library) ? null : $"{Library} has not been built (cmake --build artifacts/cmake --target kernels_emulated)";

    /// <summary>Why a program beside the tests cannot open it as its GPU: that takes the compiled kernels, though it does not look into
    /// them.</summary>
    public static string? AbsenceToPrograms => Absence ?? (File.Exists(Path.Combine(AppContext.BaseDirectory, "avedis_kernels.fatbin"))
        ? null
        : "there is no avedis_kernels.fatbin (no CUDA compiler), without which no program opens a GPU, an emulated one included");

    /// <summary>Makes it the driver of this process, which loads one only.</summary>
    public static void Choose()
    {
        Environment.SetEnvironmentVariable(Variable, Library);
        Chosen = true;
    }

    /// <param name="capability">What the device says it is: 90, a Hopper, whose kernels the engine then takes where it has any, or 80.</param>
    public static IBackend Open(bool tf32, int capability = 90)
    {
        Choose();
        var setCapability = Call<SetCapabilityFunction>("emulation_set_capability");
        setCapability(capability);
        try
        {
            return new CudaBackend(image: [0], tf32); // the emulation has its kernels linked in
        }
        finally
        {
            setCapability(90);
        }
    }

    public static void SetOrder(int order) => Call<SetOrderFunction>("emulation_set_order")(order, seed: 20210606);

    /// <summary>Forgets an error that a test has provoked; on a GPU it would end the process.</summary>
    public static void ClearError() => Call<ClearErrorFunction>("emulation_clear_error")();

    /// <summary>Every kernel by its name, with its parameters: p8 is a pointer, i an integer, f a float, s a struct of so many bytes.</summary>
    public static unsafe Dictionary<string, string[]> Kernels()
    {
        var kernels = new Dictionary<string, string[]>();
        const int Capacity = 1024;
        byte* name = stackalloc byte[Capacity], parameters = stackalloc byte[Capacity];
        int count = Call<KernelCountFunction>("emulation_kernel_count")();
        for (int i = 0; i < count; i++)
            if (Call<KernelFunction>("emulation_kernel")(i, name, parameters, Capacity) != 0)
                kernels.Add(Text(name), Text(parameters).Split(' ', StringSplitOptions.RemoveEmptyEntries));
        return kernels;

        static string Text(byte* text) => Encoding.ASCII.GetString(MemoryMarshal.CreateReadOnlySpanFromNullTerminated(text));
    }

    /// <summary>How often this process has launched each kernel.</summary>
    public static Dictionary<string, long> Launches()
    {
        var launches = Call<KernelLaunchesFunction>("emulation_kernel_launches");
        return Kernels().Keys.Select((kernel, index) => (kernel, index)).ToDictionary(k => k.kernel, k => (long)launches(k.index));
    }

    private static T Call<T>(string name)
        where T : Delegate => Marshal.GetDelegateForFunctionPointer<T>(NativeLibrary.GetExport(library.Value, name));

    private delegate int SetOrderFunction(int order, ulong seed);

    private delegate int SetCapabilityFunction(int capability);

    private delegate int ClearErrorFunction();

    private delegate int KernelCountFunction();

    private delegate int KernelLaunchesFunction(int index);

    private unsafe delegate int KernelFunction(int index, byte* name, byte* parameters, int capacity);
}
