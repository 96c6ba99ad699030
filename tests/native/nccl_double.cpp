// A double of NCCL for tests: the functions that bindings/Nccl binds, with the signatures and numbers of nccl.h, on the memory of the emulated driver. Ranks
// are those of MPI, which sums; a sum is queued on the stream, as NCCL's is, so that it can be recorded in a graph. What a caller mixes up is refused.
#include <mpi.h>

#include <cstring>
#include <vector>

extern "C" int cuLaunchHostFunc(void* stream, void (*function)(void*), void* data);  // of the emulated driver

#define API extern "C" __attribute__((visibility("default")))

namespace {

enum Result { kSuccess = 0, kSystemError = 2, kInvalidArgument = 4, kInvalidUsage = 5 };

const int kTag = 0x6e63636c, kFloat32 = 7, kSum = 0;

struct UniqueId {
    char bytes[128];
};

struct Communicator {
    int tag = kTag;
    MPI_Comm ranks = MPI_COMM_NULL;
    int failure = kSuccess;
};

struct Sum {
    Communicator* communicator;
    float* values;
    int count;
};

std::vector<Sum*> sums;  // a recorded one is queued again and again

void run(void* data) {
    auto sum = static_cast<Sum*>(data);
    if (MPI_Allreduce(MPI_IN_PLACE, sum->values, sum->count, MPI_FLOAT, MPI_SUM, sum->communicator->ranks) != MPI_SUCCESS)
        sum->communicator->failure = kSystemError;
}

}  // namespace

API int ncclGetVersion(int* version) {
    *version = 22105;
    return kSuccess;
}

API const char* ncclGetErrorString(int code) {
    return code == kSuccess ? "no error" : code == kInvalidUsage ? "invalid usage" : code == kSystemError ? "unhandled system error" : "invalid argument";
}

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
    MPI_Comm_dup(MPI_COMM_WORLD, &created->ranks);
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

API int ncclCommDestroy(void* communicator) {
    auto c = static_cast<Communicator*>(communicator);
    MPI_Comm_free(&c->ranks);
    delete c;
    return kSuccess;
}
