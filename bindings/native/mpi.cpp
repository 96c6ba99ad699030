// libavedis_mpi.so: what a training over several processes needs of MPI, whose constants and types differ from one implementation to the next. Compiled
// against the machine's MPI, loaded only by a process that a launcher has started.
//
// Every function returns MPI's error code, 0 for success. Two threads may be inside at a time: one in a collective, one in avedis_mpi_beat.
#include <mpi.h>
#include <time.h>

#include <algorithm>
#include <climits>
#include <cstdint>
#include <cstring>
#include <vector>

#define AVEDIS_EXPORT extern "C" __attribute__((visibility("default")))
#define AVEDIS_TRY(call)                      \
    do {                                      \
        int code_ = (call);                   \
        if (code_ != MPI_SUCCESS) return code_; \
    } while (0)

namespace {

const int kMostBytes = 1 << 30;  // of one message: MPI counts in int

MPI_Comm work = MPI_COMM_NULL;   // collectives
MPI_Comm beats = MPI_COMM_NULL;  // signs of life
int rank = 0, size = 1;

// of avedis_mpi_beat, to and from each rank
std::vector<MPI_Request> sends, receives;
std::vector<int64_t> sent, received;

// Who waits for a long time, for another's validation say, leaves the processor to others; who waits for a moment does not notice.
int wait_politely(MPI_Request* request) {
    const timespec pause = {0, 50000};
    double start = MPI_Wtime();
    for (;;) {
        int done = 0;
        AVEDIS_TRY(MPI_Test(request, &done, MPI_STATUS_IGNORE));
        if (done) return MPI_SUCCESS;
        if (MPI_Wtime() - start > 0.002) nanosleep(&pause, nullptr);
    }
}

}  // namespace

// local_rank: of the processes that share memory with this one.
AVEDIS_EXPORT int avedis_mpi_init(int32_t* out_rank, int32_t* out_size, int32_t* local_rank, int32_t* local_size) {
    int provided = 0;
    AVEDIS_TRY(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &provided));
    if (provided < MPI_THREAD_MULTIPLE) return MPI_ERR_OTHER;
    AVEDIS_TRY(MPI_Comm_dup(MPI_COMM_WORLD, &work));
    AVEDIS_TRY(MPI_Comm_dup(MPI_COMM_WORLD, &beats));
    AVEDIS_TRY(MPI_Comm_set_errhandler(work, MPI_ERRORS_RETURN));
    AVEDIS_TRY(MPI_Comm_set_errhandler(beats, MPI_ERRORS_RETURN));
    AVEDIS_TRY(MPI_Comm_rank(work, &rank));
    AVEDIS_TRY(MPI_Comm_size(work, &size));
    MPI_Comm local;
    int place = 0, places = 1;
    AVEDIS_TRY(MPI_Comm_split_type(work, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &local));
    AVEDIS_TRY(MPI_Comm_rank(local, &place));
    AVEDIS_TRY(MPI_Comm_size(local, &places));
    AVEDIS_TRY(MPI_Comm_free(&local));
    *out_rank = rank;
    *out_size = size;
    *local_rank = place;
    *local_size = places;
    return MPI_SUCCESS;
}

AVEDIS_EXPORT void avedis_mpi_error_text(int32_t code, char* text, int32_t capacity) {
    char full[MPI_MAX_ERROR_STRING + 1] = {};
    int length = 0;
    MPI_Error_string(code, full, &length);
    std::strncpy(text, full, capacity - 1);
    text[capacity - 1] = 0;
}

AVEDIS_EXPORT void avedis_mpi_library(char* text, int32_t capacity) {
    char full[MPI_MAX_LIBRARY_VERSION_STRING + 1] = {};
    int length = 0;
    MPI_Get_library_version(full, &length);
    std::strncpy(text, full, capacity - 1);
    text[capacity - 1] = 0;
}

// Sums of all ranks' values, in each. The order of the sums is MPI's.
AVEDIS_EXPORT int avedis_mpi_all_reduce(float* values, int64_t count) {
    const int64_t most = kMostBytes / static_cast<int64_t>(sizeof(float));
    for (int64_t done = 0; done < count; done += most)
        AVEDIS_TRY(MPI_Allreduce(MPI_IN_PLACE, values + done, static_cast<int>(std::min(most, count - done)), MPI_FLOAT,
                                 MPI_SUM, work));
    return MPI_SUCCESS;
}

// From each rank q, receive_counts[q] values, those that it meant for this one; in order of rank.
AVEDIS_EXPORT int avedis_mpi_all_to_all(const float* send, const int32_t* send_counts, float* receive,
                                        const int32_t* receive_counts) {
    std::vector<int> send_starts(size), receive_starts(size);
    for (int r = 1; r < size; r++) {
        send_starts[r] = send_starts[r - 1] + send_counts[r - 1];
        receive_starts[r] = receive_starts[r - 1] + receive_counts[r - 1];
    }
    return MPI_Alltoallv(send, send_counts, send_starts.data(), MPI_FLOAT, receive, receive_counts, receive_starts.data(),
                         MPI_FLOAT, work);
}

// Bytes of all ranks, in order of rank; counts[q] from rank q.
AVEDIS_EXPORT int avedis_mpi_all_gather(const void* mine, void* all, const int32_t* counts) {
    std::vector<int> starts(size);
    for (int r = 1; r < size; r++) starts[r] = starts[r - 1] + counts[r - 1];
    MPI_Request request;
    AVEDIS_TRY(MPI_Iallgatherv(mine, counts[rank], MPI_BYTE, all, counts, starts.data(), MPI_BYTE, work, &request));
    return wait_politely(&request);
}

// Bytes of rank 0, in each.
AVEDIS_EXPORT int avedis_mpi_broadcast(void* bytes, int64_t count) {
    for (int64_t done = 0; done < count; done += kMostBytes) {
        MPI_Request request;
        AVEDIS_TRY(MPI_Ibcast(static_cast<char*>(bytes) + done,
                              static_cast<int>(std::min<int64_t>(kMostBytes, count - done)), MPI_BYTE, 0, work, &request));
        AVEDIS_TRY(wait_politely(&request));
    }
    return MPI_SUCCESS;
}

// Tells all others `mine`, and writes into all [size, words] the newest that each has told; does not wait for anybody.
AVEDIS_EXPORT int avedis_mpi_beat(const int64_t* mine, int64_t* all, int32_t words) {
    if (sends.empty()) {
        sends.assign(size, MPI_REQUEST_NULL);
        receives.assign(size, MPI_REQUEST_NULL);
        sent.assign(size_t(size) * words, 0);
        received.assign(size_t(size) * words, 0);
        for (int r = 0; r < size; r++)
            if (r != rank)
                AVEDIS_TRY(MPI_Irecv(&received[size_t(r) * words], words, MPI_INT64_T, r, 0, beats, &receives[r]));
    }
    for (int r = 0; r < size; r++) {
        if (r == rank) {
            std::copy(mine, mine + words, all + size_t(r) * words);
            continue;
        }
        for (int done = 1; done;) {  // several may have come
            AVEDIS_TRY(MPI_Test(&receives[r], &done, MPI_STATUS_IGNORE));
            if (!done) break;
            std::copy_n(&received[size_t(r) * words], words, all + size_t(r) * words);
            AVEDIS_TRY(MPI_Irecv(&received[size_t(r) * words], words, MPI_INT64_T, r, 0, beats, &receives[r]));
        }
        int sent_before = 1;
        if (sends[r] != MPI_REQUEST_NULL) AVEDIS_TRY(MPI_Test(&sends[r], &sent_before, MPI_STATUS_IGNORE));
        if (!sent_before) continue;  // its line is down or slow: this one is left out
        std::copy(mine, mine + words, &sent[size_t(r) * words]);
        AVEDIS_TRY(MPI_Isend(&sent[size_t(r) * words], words, MPI_INT64_T, r, 0, beats, &sends[r]));
    }
    return MPI_SUCCESS;
}

// Ends all ranks.
AVEDIS_EXPORT void avedis_mpi_abort(int32_t code) { MPI_Abort(MPI_COMM_WORLD, code); }

// Behind a collective call of all ranks, so that nobody leaves while others wait for it, and when nobody beats any more.
AVEDIS_EXPORT int avedis_mpi_finalize() {
    for (auto& request : receives)
        if (request != MPI_REQUEST_NULL) {
            AVEDIS_TRY(MPI_Cancel(&request));
            AVEDIS_TRY(MPI_Wait(&request, MPI_STATUS_IGNORE));
        }
    for (auto& request : sends)
        if (request != MPI_REQUEST_NULL) AVEDIS_TRY(MPI_Request_free(&request));
    return MPI_Finalize();
}
