using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Avedis.Bindings.Nccl;

/// <summary>NCCL refuses a call, or is missing. One line.</summary>
public sealed class NcclException(string message, bool ranksLost = false) : Exception(message)
{
    /// <summary>Whether it is the line to another rank that failed, or the process at its other end.</summary>
    public bool RanksLost { get; } = ranksLost;
}

/// <summary>ncclUniqueId: what the ranks of a communicator find each other by.</summary>
[InlineArray(Bytes)]
internal struct NcclUniqueId
{
    public const int Bytes = 128;

    private byte first;
}

/// <summary>
/// NVIDIA's NCCL, if this machine has it: no package of Debian's does, so it is found when it is needed. The functions have the signatures of nccl.h, which are
/// the same since NCCL 2.4. One thread at a time may call them for a communicator.
/// </summary>
internal sealed unsafe class NcclLibrary
{
    /// <summary>Path of the library, instead of what the loader finds.</summary>
    public const string Variable = "AVEDIS_NCCL_LIBRARY";

    private const int Float32 = 7, Sum = 0; // of ncclDataType_t, ncclRedOp_t

    // of ncclResult_t; a remote error is a network's, or a process's that ended, and so may be one of the system
    private const int Success = 0, SystemError = 2, RemoteError = 6, InProgress = 7;

    private readonly delegate* unmanaged<int*, int> getVersion;
    private readonly delegate* unmanaged<NcclUniqueId*, int> getUniqueId;
    private readonly delegate* unmanaged<nint*, int, NcclUniqueId, int, int> commInitRank;
    private readonly delegate* unmanaged<nint, nint, nuint, int, int, nint, nint, int> allReduce;
    private readonly delegate* unmanaged<nint, int*, int> commGetAsyncError;
    private readonly delegate* unmanaged<nint, int> commDestroy;
    private readonly delegate* unmanaged<nint, int> commAbort;
    private readonly delegate* unmanaged<int, nint> getErrorString;
    private readonly delegate* unmanaged<nint, nint> getLastError; // null before NCCL 2.13

    private NcclLibrary(nint library, string path)
    {
        getVersion = (delegate* unmanaged<int*, int>)Function("ncclGetVersion");
        getUniqueId = (delegate* unmanaged<NcclUniqueId*, int>)Function("ncclGetUniqueId");
        commInitRank = (delegate* unmanaged<nint*, int, NcclUniqueId, int, int>)Function("ncclCommInitRank");
        allReduce = (delegate* unmanaged<nint, nint, nuint, int, int, nint, nint, int>)Function("ncclAllReduce");
        commGetAsyncError = (delegate* unmanaged<nint, int*, int>)Function("ncclCommGetAsyncError");
        commDestroy = (delegate* unmanaged<nint, int>)Function("ncclCommDestroy");
        commAbort = (delegate* unmanaged<nint, int>)Function("ncclCommAbort");
        getErrorString = (delegate* unmanaged<int, nint>)Function("ncclGetErrorString");
        NativeLibrary.TryGetExport(library, "ncclGetLastError", out nint lastError);
        getLastError = (delegate* unmanaged<nint, nint>)lastError;

        nint Function(string name) => NativeLibrary.TryGetExport(library, name, out nint function) ? function : throw new NcclException($"{path} has no function {name}");
    }

    /// <summary>Such as 2.21.5.</summary>
    public string Version
    {
        get
        {
            int code;
            Check(getVersion(&code), "ncclGetVersion");
            return $"{code / 10000}.{code / 100 % 100}.{code % 100}";
        }
    }

    /// <exception cref="NcclException">There is none, with what was tried.</exception>
    public static NcclLibrary Load()
    {
        string? named = Environment.GetEnvironmentVariable(Variable);
        string[] names = named is { Length: > 0 } ? [named] : ["libnccl.so.2", "libnccl.so"];
        foreach (string name in names)
            if (NativeLibrary.TryLoad(name, out nint library))
                return new(library, name);
        throw new NcclException($"NCCL was not found (tried {string.Join(", ", names)}): install NVIDIA's libnccl2, or name the library in {Variable}");
    }

    public NcclUniqueId GetUniqueId()
    {
        NcclUniqueId id;
        Check(getUniqueId(&id), "ncclGetUniqueId");
        return id;
    }

    /// <summary>Joins a communicator, on the GPU whose context is current; returns when all ranks have.</summary>
    public nint CommInitRank(int ranks, in NcclUniqueId id, int rank)
    {
        nint communicator;
        Check(commInitRank(&communicator, ranks, id, rank), "ncclCommInitRank");
        return communicator;
    }

    /// <summary>Queues a sum of floats over all ranks, in place.</summary>
    public void AllReduce(nint address, long count, nint communicator, nint stream) =>
        Check(allReduce(address, address, (nuint)count, Float32, Sum, communicator, stream), "ncclAllReduce");

    /// <summary>
    /// What has gone wrong with a communicator since, in the network say; null: nothing. Its sums may then never end, and need not be
    /// right.
    /// </summary>
    public string? Failure(nint communicator)
    {
        int state;
        int code = commGetAsyncError(communicator, &state);
        if (code != Success)
            return Text(code, "ncclCommGetAsyncError");
        return state is Success or InProgress ? null : Text(state, "a collective call");
    }

    /// <summary>Waits for the communicator's work, and for the graphs that have recorded some to be destroyed.</summary>
    public void CommDestroy(nint communicator) => Check(commDestroy(communicator), "ncclCommDestroy");

    /// <summary>
    /// Ends work under way, whose results are wrong then, and frees the communicator. NCCL may wait meanwhile as <see cref="CommDestroy"/>
    /// does, and for the other ranks of the machine to do the same.
    /// </summary>
    public void CommAbort(nint communicator) => _ = commAbort(communicator); // behind a failure there is nothing to do about another

    private void Check(int code, string call)
    {
        if (code != Success)
            throw new NcclException($"{Text(code, call)} (NCCL_DEBUG=INFO says more)", code is SystemError or RemoteError);
    }

    // NCCL's own words may be of several lines
    private string Text(int code, string call)
    {
        string? detail = getLastError is null ? null : Marshal.PtrToStringUTF8(getLastError(0))?.ReplaceLineEndings(" ").Trim();
        return $"{call} failed: {Marshal.PtrToStringUTF8(getErrorString(code))}{(detail is { Length: > 0 } ? $": {detail}" : "")}";
    }
}
