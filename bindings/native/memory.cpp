// Memory on 64-byte boundaries.
#include <sys/mman.h>

#include <cstdlib>

#include "status.h"

using namespace avedis;

// Huge pages save the address translations of the large passes; zeroing by all threads puts pages near who uses them.
int32_t avedis_allocate(void** address, int64_t bytes) {
    return guarded([&] {
        constexpr int64_t kHugePage = 2 << 20;
        bool large = bytes >= 2 * kHugePage;
        void* block = nullptr;
        if (posix_memalign(&block, large ? kHugePage : 64, static_cast<size_t>(bytes)) != 0) throw std::bad_alloc();
        if (large) madvise(block, static_cast<size_t>(bytes), MADV_HUGEPAGE);
        avedis_zero(block, bytes);
        *address = block;
    });
}

int32_t avedis_free(void* address) {
    std::free(address);
    return AVEDIS_OK;
}

int32_t avedis_zero(void* x, int64_t bytes) {
    return guarded([&] {
        parallel_ranges(bytes, 256 * 1024, [&](int64_t begin, int64_t end) {
            std::memset(static_cast<char*>(x) + begin, 0, end - begin);
        });
    });
}

int32_t avedis_copy(void* y, const void* x, int64_t bytes) {
    return guarded([&] {
        parallel_ranges(bytes, 256 * 1024, [&](int64_t begin, int64_t end) {
            std::memmove(static_cast<char*>(y) + begin, static_cast<const char*>(x) + begin, end - begin);
        });
    });
}
