// A double of NCCL for tests: the functions that bindings/Nccl binds, with the signatures and numbers of nccl.h, on the memory of the emulated driver. Ranks
// are those of MPI, which sums; a sum is queued on the stream, as NCCL's is, so that it can be recorded in a graph. What a caller mixes up is refused.
//
// AVEDIS_NCCL_FAULT="RANK KIND N" breaks the Nth sum that a rank runs, or the making of its communicator if N is 0. Kinds: kill and stop are signals to its
// process; hang: the rank never takes part; error: nor does it then, and NCCL says so. Who waits for a rank that does not take part waits for ever, as NCCL's
// kernels do, unless its own communicator is aborted.
#include <mpi.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

// of the emulated driver
extern "C" int cuLaunchHostFunc(void* stream, void (*function)(void*), void* data);
extern "C" int emulation_graphs();

#define API extern "C" __attribute__((visibility("default")))

namespace {

enum Result { kSuccess = 0, kSystemError = 2, kInvalidArgument = 4, kInvalidUsage = 5, kRemoteError = 6 };

const int kTag = 0x6e63636c, kFloat32 = 7, kSum = 0;

struct UniqueId {
    char bytes[128];
};

struct Communicator {
    int tag = kTag;
    int rank = 0;
    long made = 0;  // sums that were run
    MPI_Comm ranks = MPI_COMM_NULL;
    std::atomic<int> failure{kSuccess}, running{0};
    std::atomic<bool> aborted{false};
};

struct Sum {
    Communicator* communicator;
    float* values;
    int count;
    int runs = 0;
};

std::vector<Sum*> sums;  // a recorded one is queued again and again

void nap() { usleep(50); }

// Breaks call number n of the rank if the environment says so; true: it takes no part.
bool breaks(int rank, long n, const char* where, std::atomic<int>& failure) {
    const char* text = std::getenv("AVEDIS_NCCL_FAULT");
    int of = -1;
    char word[8] = "";
    long at = -1;
    if (!text || std::sscanf(text, "%d %7s %ld", &of, word, &at) != 3 || of != rank || at != n) return false;
    std::string kind = word;
    std::fprintf(stderr, "nccl_double: rank %d %s in %s\n", rank, word, where);
    if (kind == "kill") raise(SIGKILL);
    if (kind == "stop") raise(SIGSTOP);
    if (kind == "error") failure = kRemoteError;
    return kind == "error" || kind == "hang";
}

void run(void* data) {
    auto sum = static_cast<Sum*>(data);
    Communicator& c = *sum->communicator;
    c.running++;
    bool alone = breaks(c.rank, ++c.made, ++sum->runs > 1 ? "a step that is replayed" : "a step", c.failure);
    MPI_Request request;
    if (!alone && MPI_Iallreduce(MPI_IN_PLACE, sum->values, sum->count, MPI_FLOAT, MPI_SUM, c.ranks, &request) != MPI_SUCCESS) {
        c.failure = kSystemError;
        alone = true;
    }
    for (int done = 0; !done && !c.aborted; nap())
        if (!alone && MPI_Test(&request, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS) {
            c.failure = kSystemError;
            alone = true;
        }
    c.running--;
}

}  // namespace

API int ncclGetVersion(int* version) {
    *version = 22105;
    return kSuccess;
}

API const char* ncclGetErrorString(int code) {
    switch (code) {
        case kSuccess: return "no error";
        case kSystemError: return "unhandled system error";
        case kInvalidUsage: return "invalid usage";
        case kRemoteError: return "remote process exited or there was a network error";
        default: return "invalid argument";
    }
}

API const char* ncclGetLastError(void*) { return "a double of NCCL\nfails\n"; }

API int ncclGetUniqueId(UniqueId* id) {
    for (size_t i = 0; i < sizeof id->bytes; i++) id->bytes[i] = static_cast<char>(3 * i + 1);
    return kSuccess;
}

API int ncclCommInitRank(void** communicator, int ranks, UniqueId id, int rank) {
    UniqueId expected;
    ncclGetUniqueId(&expected);
    int size = 0, own = -1;
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    MPI_Comm_rank(MPI_COMM_WORLD, &own);
    if (std::memcmp(&id, &expected, sizeof id) != 0 || ranks != size || rank != own) return kInvalidArgument;
    auto created = new Communicator;
    created->rank = rank;
    if (breaks(rank, 0, "its communicator", created->failure)) {
        while (created->failure == kSuccess) nap();
        return created->failure;
    }
    MPI_Comm_dup(MPI_COMM_WORLD, &created->ranks);
    MPI_Comm_set_errhandler(created->ranks, MPI_ERRORS_RETURN);
    *communicator = created;
    return kSuccess;
}

API int ncclAllReduce(const void* from, void* to, size_t count, int type, int operation, void* communicator, void* stream) {
    auto c = static_cast<Communicator*>(communicator);
    if (!c || c->tag != kTag || from != to || type != kFloat32 || operation != kSum || !stream) return kInvalidArgument;
    sums.push_back(new Sum{c, static_cast<float*>(to), static_cast<int>(count)});
    return cuLaunchHostFunc(stream, run, sums.back()) == 0 ? kSuccess : kInvalidUsage;
}

API int ncclCommGetAsyncError(void* communicator, int* failure) {
    *failure = static_cast<Communicator*>(communicator)->failure;
    return kSuccess;
}

// NCCL would wait for ever for a graph that holds its work.
API int ncclCommDestroy(void* communicator) {
    auto c = static_cast<Communicator*>(communicator);
    if (c->failure != kSuccess || c->aborted || c->running > 0 || emulation_graphs() > 0) return kInvalidUsage;
    MPI_Comm_free(&c->ranks);
    delete c;
    return kSuccess;
}

// Frees nothing: what is queued still names the communicator.
API int ncclCommAbort(void* communicator) {
    auto c = static_cast<Communicator*>(communicator);
    std::fprintf(stderr, "nccl_double: rank %d aborts\n", c->rank);
    c->aborted = true;
    while (c->running > 0 || emulation_graphs() > 0) nap();
    return kSuccess;
}
