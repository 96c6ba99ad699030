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

    /// <summary>What is loaded in place of a fatbin: the emulation has its kernels linked in.</summary>
    public static byte[] Image { get; } = [0];

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
            return new CudaBackend(Image, tf32);
        }
        finally
        {
            setCapability(90);
        }
    }

    public static void SetOrder(int order) => Call<SetOrderFunction>("emulation_set_order")(order, seed: 20210606);

    /// <summary>The arrival at a barrier in shared memory that so many others precede, from now on, does not count.</summary>
    public static void LoseArrival(int after) => Call<LoseArrivalFunction>("emulation_lose_arrival")(after);

    /// <summary>Forgets an error that a test has provoked; on a GPU it would end the process.</summary>
    public static void ClearError() => Call<ClearErrorFunction>("emulation_clear_error")();

    /// <summary>
    /// Lets a call of the driver fail, counted from now and from 1, with a CUresult; where cuda.h says so all later ones fail too. 0: none.
    /// Until
    /// <see cref="ClearError"/>.
    /// </summary>
    public static void Fail(int call, int result) => Call<FaultFunction>("emulation_fault")((ulong)call, result);

    /// <summary>The functions of the driver that have been called since <see cref="Fail"/>.</summary>
    public static IReadOnlyList<string> Calls()
    {
        var call = Call<CallFunction>("emulation_call");
        var calls = new List<string>();
        while (Marshal.PtrToStringUTF8(call((ulong)calls.Count + 1)) is { } name)
            calls.Add(name);
        return calls;
    }

    /// <summary>Allocations, streams, events and graphs that nobody has released.</summary>
    public static int Live => Call<LiveFunction>("emulation_live")();

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

    /// <summary>Whether queued work is left out from now on, and only counted; for steps that would take minutes.</summary>
    public static void LeaveWorkOut(bool leave)
    {
        Choose();
        Call<LeaveWorkOutFunction>("emulation_leave_work_out")(leave ? 1 : 0);
    }

    /// <summary>Calls of the driver that this process has made, and nodes of the last graph that it made.</summary>
    public static unsafe (int Calls, int Nodes) Counts()
    {
        long calls, nodes;
        Call<CountsFunction>("emulation_counts")(&calls, &nodes);
        return ((int)calls, (int)nodes);
    }

    private static T Call<T>(string name)
        where T : Delegate => Marshal.GetDelegateForFunctionPointer<T>(NativeLibrary.GetExport(library.Value, name));

    private delegate int SetOrderFunction(int order, ulong seed);

    private delegate int SetCapabilityFunction(int capability);

    private delegate int LoseArrivalFunction(int after);

    private delegate int ClearErrorFunction();

    private delegate int LeaveWorkOutFunction(int leave);

    private unsafe delegate int CountsFunction(long* calls, long* nodes);

    private delegate int FaultFunction(ulong call, int result);

    private delegate nint CallFunction(ulong call);

    private delegate int LiveFunction();

    private delegate int KernelCountFunction();

    private delegate int KernelLaunchesFunction(int index);

    private unsafe delegate int KernelFunction(int index, byte* name, byte* parameters, int capacity);
}
