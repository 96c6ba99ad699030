// The instructions of Hopper under emulation: barriers in shared memory, copies by the copy engine, products of warpgroups. Each does what the PTX ISA says
// as late as it may: a copy's bytes are NaN until somebody waits for its barrier, a product reads its operands and gives its sums when it is waited for, so
// that what is used or overwritten too early shows in the results. What a GPU would not report is reported:
//   barriers    use without mbarrier_init, or by another thread without a fence and a __syncthreads in between; more arrivals than the phase has
//   copies      addresses and lengths that are no multiples of 16; bytes that nobody has waited for when the block ends
//   products    descriptors of memory that is not the block's, of unknown swizzles, or that start in the middle of an atom; operands by cp.async that the
//               thread that copied them has not waited for, or has not fenced; warps that disagree; a missing wgmma_fence; sums that nobody has waited for
//   registers   more taken than the block's warps have given back
// A barrier that is waited for in vain shows at once, when nobody can run; the thread leaves the same report as on a GPU.
#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <string>

#include "scheduler.h"

namespace emulation {

namespace {

constexpr unsigned kWindowStart = 1024 + 16;  // of dynamic memory: CUDA promises no more than 16, so a kernel that needs more must round up
constexpr size_t kGranule = 16;
constexpr int kWarpSize = 32, kWarpgroup = 128;
constexpr unsigned kAll = 0xffffffffu;

struct BulkCopy {
    void* shared;
    const void* global;
    size_t bytes;
};

struct Mbarrier {
    unsigned arrivals, pending;
    int64_t bytes = 0;  // announced, less those that have come
    unsigned parity = 0;
    int waiting = 0;
    int owner, epoch;  // the thread that initialised it, and how many barriers of the block were passed then
    bool fenced = false;
    std::vector<BulkCopy> copies;
};

struct Started {
    Product product;
    float* d;
    int group;
    Site site;
};

// Products of one thread.
struct Products {
    bool fenced = false;
    int group = 0;
    std::vector<Started> started;
    std::map<float*, std::vector<float>> sums;
};

// What the warps of a warpgroup have started, in order.
struct Warpgroup {
    std::vector<Product> products;
    size_t started[kWarpgroup / kWarpSize] = {};
};

// A chunk of shared memory that cp.async is writing, or has written without a fence since.
struct Granule {
    int copier = -1;
    bool landed = false;
};

struct BlockState {
    std::map<void*, Mbarrier> barriers;
    std::vector<Products> products;
    std::vector<Warpgroup> warpgroups;
    std::vector<Granule> granules;
    std::vector<std::vector<size_t>> copied;  // granules of each thread
    std::vector<Awaited> awaited;             // what each thread waits for, or has waited for last
    int registers = 0;                        // of a thread, at its launch
    std::vector<int> held;                    // by each warp's threads
};

thread_local BlockState state;

std::atomic<int> arrivals_until_loss{-1};

unsigned char* dynamic() { return static_cast<unsigned char*>(dynamic_shared()); }

size_t granule_of(const void* shared) { return static_cast<size_t>(static_cast<const unsigned char*>(shared) - dynamic()) / kGranule; }

bool in_dynamic(const void* pointer, size_t bytes) {
    auto p = static_cast<const unsigned char*>(pointer);
    return p >= dynamic() && p + bytes <= dynamic() + dynamic_bytes();
}

// ---- barriers and copies

Mbarrier& barrier_at(Site site, void* address) {
    auto found = state.barriers.find(address);
    if (found == state.barriers.end()) fault(site, "mbarrier: %p has not been initialised", address);
    Mbarrier& barrier = found->second;
    if (barrier.owner != thread_number() && barrier.epoch == barriers_passed())
        fault(site, "mbarrier: thread %d initialised it, and there was no __syncthreads since", barrier.owner);
    return barrier;
}

void land(Mbarrier& barrier) {
    for (const BulkCopy& copy : barrier.copies) {
        std::memcpy(copy.shared, copy.global, copy.bytes);
        barrier.bytes -= static_cast<int64_t>(copy.bytes);
    }
    barrier.copies.clear();
}

// Copies come when somebody waits for them and nothing else is missing; then the phase may be over.
void settle(Mbarrier& barrier, void* address) {
    if (barrier.pending > 0) return;
    if (barrier.waiting > 0) land(barrier);
    if (barrier.bytes != 0) return;
    barrier.parity ^= 1;
    barrier.pending = barrier.arrivals;
    resume(address);
}

// ---- products

struct Layout {
    unsigned start, leading, stride, line;  // bytes; a line of the swizzle
};

Layout layout_of(Site site, uint64_t descriptor, bool transposed) {
    auto field = [&](int bit) { return static_cast<unsigned>(descriptor >> bit & 0x3fff) << 4; };
    Layout layout{field(0), field(16), field(32), 0};
    unsigned mode = static_cast<unsigned>(descriptor >> 62);
    if (mode == 0) fault(site, "wgmma: a descriptor without a swizzle, which is not emulated");
    layout.line = 256u >> mode;  // 1: 128 bytes, 2: 64, 3: 32
    unsigned within = layout.start % (8 * layout.line);
    // the depth of an operand that has it contiguous may start within a line
    if (descriptor >> 49 & 7 || (transposed ? within : within - within % layout.line) != 0)
        fault(site, "wgmma: the operand at %#x starts within an atom of %u bytes", layout.start, 8 * layout.line);
    return layout;
}

// The place in the window of element (row, depth) of an operand; rows of b are its columns.
unsigned place_of(const Layout& layout, bool transposed, int row, int depth) {
    auto r = static_cast<unsigned>(row), k = static_cast<unsigned>(depth), wide = layout.line / 2;
    unsigned at = transposed ? layout.start + r / wide * layout.leading + r % wide * 2 + k / 8 * layout.stride + k % 8 * layout.line
                             : layout.start + r / 8 * layout.stride + r % 8 * layout.line + k * 2;
    return at ^ ((at >> 7 & (layout.line / 16 - 1)) << 4);
}

const unsigned char* at_window(unsigned place) { return dynamic() + place - kWindowStart; }

// The bytes must be the block's, and here for the matrix units.
void check_operand(Site site, uint64_t descriptor, bool transposed, int rows) {
    Layout layout = layout_of(site, descriptor, transposed);
    for (int row = 0; row < rows; row += transposed ? 8 : 1)
        for (int k = 0; k < 16; k += transposed ? 1 : 8) {
            unsigned place = place_of(layout, transposed, row, k);
            if (place < kWindowStart || place + kGranule > kWindowStart + dynamic_bytes())
                fault(site, "wgmma: an operand at %#x, which is not in the block's %zu bytes from %#x", place, dynamic_bytes(), kWindowStart);
            const Granule& granule = state.granules[granule_of(at_window(place))];
            if (granule.copier >= 0)
                fault(site, "wgmma: an operand that thread %d copies by cp.async: it has not %s", granule.copier,
                      granule.landed ? "called fence_async_proxy since" : "waited for it");
        }
}

void agree(unsigned, const Product* const* in, int* const* out) {
    bool same = true;
    for (int lane = 1; lane < kWarpSize; lane++) same &= std::memcmp(in[0], in[lane], sizeof(Product)) == 0;
    for (int lane = 0; lane < kWarpSize; lane++) *out[lane] = same;
}

float element(const Layout& layout, bool transposed, int row, int k) {
    uint16_t bits;
    std::memcpy(&bits, at_window(place_of(layout, transposed, row, k)), 2);
    return bf16_at(bits, 0);
}

// A warp's 16 rows of the i-th product that its lanes have started, added to what they have.
void multiply_warp(size_t index, int warp, Products* const* lanes) {
    const Started& first = lanes[0]->started[index];
    const Product& p = first.product;
    Layout left = layout_of(first.site, p.a, p.transposed), right = layout_of(first.site, p.b, p.transposed);
    float a[16][16], b[16][256], c[16][256] = {};
    for (int row = 0; row < 16; row++)
        for (int k = 0; k < 16; k++) a[row][k] = element(left, p.transposed, warp * 16 + row, k);
    for (int k = 0; k < 16; k++)
        for (int column = 0; column < p.columns; column++) b[k][column] = element(right, p.transposed, column, k);
    for (int row = 0; row < 16; row++)
        for (int k = 0; k < 16; k++)
            for (int column = 0; column < p.columns; column++) c[row][column] += a[row][k] * b[k][column];
    for (int lane = 0; lane < kWarpSize; lane++) {
        std::vector<float>& d = lanes[lane]->sums[lanes[lane]->started[index].d];
        for (int j = 0; j < p.columns / 8; j++)
            for (int i = 0; i < 4; i++)
                d[static_cast<size_t>(j * 4 + i)] += c[lane / 4 + i / 2 * 8][8 * j + lane % 4 * 2 + i % 2];
    }
}

struct Wait {
    Products* products;
    int last;  // groups before this one are over
    int warp;
};

void multiply_awaited(unsigned, const Wait* const* in, int* const* out) {
    Products* lanes[kWarpSize];
    for (int lane = 0; lane < kWarpSize; lane++) lanes[lane] = in[lane]->products, *out[lane] = 0;
    for (size_t i = 0; i < lanes[0]->started.size(); i++)
        if (lanes[0]->started[i].group < in[0]->last) multiply_warp(i, in[0]->warp, lanes);
}

}  // namespace

// ---- what the scheduler calls

void begin_block(int threads, int registers) {
    state.registers = registers;
    state.held.assign(static_cast<size_t>((threads + kWarpSize - 1) / kWarpSize), registers);
    state.barriers.clear();
    state.products.assign(static_cast<size_t>(threads), {});
    state.warpgroups.assign(static_cast<size_t>((threads + kWarpgroup - 1) / kWarpgroup), {});
    state.granules.assign((dynamic_bytes() + kGranule - 1) / kGranule, {});
    state.copied.assign(static_cast<size_t>(threads), {});
    state.awaited.assign(static_cast<size_t>(threads), {});
}

std::string end_block() {
    if (std::accumulate(state.held.begin(), state.held.end(), 0) > state.registers * static_cast<int>(state.held.size()))
        return "took more registers than it gave back: on a GPU it would wait for ever";
    for (auto& [address, barrier] : state.barriers)
        if (!barrier.copies.empty()) return "ended before bytes of the copy engine came that nobody has waited for";
    for (auto& products : state.products)
        if (!products.started.empty()) return "ended before products of a warpgroup that nobody has waited for";
    for (auto& group : state.warpgroups)
        for (size_t started : group.started)
            if (started != group.products.size()) return "ended with products of a warpgroup that not all of its warps have started";
    return "";
}

WaitReport* wait_report = nullptr;

void report_wait(int number, const Block& where) {
    static std::mutex one;
    std::lock_guard<std::mutex> lock(one);
    if (!wait_report || wait_report->written) return;
    write_report(wait_report, state.awaited[static_cast<size_t>(number)], static_cast<int>(where.index.x), static_cast<int>(where.index.y), number);
    wait_report->written = 1;
}

void lose_arrival(int after) { arrivals_until_loss = after; }

void copy_started(const void* shared) {
    if (!in_dynamic(shared, kGranule)) return;
    state.granules[granule_of(shared)] = {thread_number(), false};
}

void copy_landed(const void* shared) {
    if (!in_dynamic(shared, kGranule)) return;
    state.granules[granule_of(shared)].landed = true;
    state.copied[static_cast<size_t>(thread_number())].push_back(granule_of(shared));
}

// ---- what kernels call

unsigned window_address(Site site, const void* shared) {
    if (!in_dynamic(shared, 0)) fault(site, "%p is not in the dynamic shared memory, whose addresses alone are emulated", shared);
    return kWindowStart + static_cast<unsigned>(static_cast<const unsigned char*>(shared) - dynamic());
}

void mbarrier_init(Site site, void* barrier, unsigned arrivals) {
    if (reinterpret_cast<uintptr_t>(barrier) % 8 || !is_shared(barrier, 8))
        fault(site, "mbarrier: %p is no aligned place for 8 bytes in shared memory", barrier);
    if (arrivals == 0 || arrivals >= 1u << 20) fault(site, "mbarrier: %u arrivals", arrivals);
    Mbarrier fresh{};
    fresh.arrivals = fresh.pending = arrivals;
    fresh.owner = thread_number();
    fresh.epoch = barriers_passed();
    state.barriers[barrier] = std::move(fresh);
}

void mbarrier_arrive(Site site, void* address, unsigned bytes) {
    Mbarrier& barrier = barrier_at(site, address);
    if (arrivals_until_loss >= 0 && arrivals_until_loss-- == 0) return;
    if (barrier.pending == 0) fault(site, "mbarrier: more than the %u arrivals of a phase", barrier.arrivals);
    barrier.bytes += bytes;
    barrier.pending--;
    settle(barrier, address);
}

void mbarrier_wait(Site site, void* address, unsigned parity, const Awaited& awaited) {
    Mbarrier& barrier = barrier_at(site, address);
    state.awaited[static_cast<size_t>(thread_number())] = awaited;
    barrier.waiting++;
    settle(barrier, address);
    while (barrier.parity == (parity & 1)) suspend(site, address);
    barrier.waiting--;
}

void copy_bulk(Site site, void* shared, const void* global, size_t bytes, void* address) {
    if (bytes == 0 || bytes % 16 || reinterpret_cast<uintptr_t>(shared) % 16 || reinterpret_cast<uintptr_t>(global) % 16 || !is_shared(shared, bytes))
        fault(site, "cp.async.bulk: %zu bytes from %p to %p, not all multiples of 16 in shared memory", bytes, global, shared);
    Mbarrier& barrier = barrier_at(site, address);
    if (!barrier.fenced) fault(site, "cp.async.bulk: the thread that initialised the mbarrier has not called fence_async_proxy since");
    std::memset(shared, 0xff, bytes);
    if (in_dynamic(shared, bytes))
        std::fill_n(state.granules.begin() + static_cast<long>(granule_of(shared)), bytes / kGranule, Granule{});
    barrier.copies.push_back({shared, global, bytes});
    settle(barrier, address);
}

void fence_async_proxy(Site) {
    for (auto& [address, barrier] : state.barriers)
        if (barrier.owner == thread_number()) barrier.fenced = true;
    auto& copied = state.copied[static_cast<size_t>(thread_number())];
    for (size_t granule : copied)
        if (state.granules[granule].copier == thread_number() && state.granules[granule].landed) state.granules[granule] = {};
    copied.clear();
}

void change_registers(Site site, int registers, bool more) {
    shuffle_from(site, kAll, 0, 0);
    int& held = state.held[static_cast<size_t>(thread_number() / kWarpSize)];
    bool first = thread_number() % kWarpSize == 0;
    if (first && (registers % 8 || registers < 24 || registers > 256 || (more ? registers < held : registers > held)))
        fault(site, "setmaxnreg: from %d to %d registers", held, registers);
    if (first) held = registers;
}

void wgmma_fence(Site site) {
    shuffle_from(site, kAll, 0, 0);
    state.products[static_cast<size_t>(thread_number())].fenced = true;
}

void wgmma_start(Site site, float* d, const Product& product) {
    if (!meet_as<Product, int, agree>(site, kAll, product)) fault(site, "wgmma: the lanes of a warp give different operands");
    int number = thread_number();
    Products& own = state.products[static_cast<size_t>(number)];
    Warpgroup& group = state.warpgroups[static_cast<size_t>(number / kWarpgroup)];
    if (!own.fenced) fault(site, "wgmma: no wgmma_fence since the sums could be touched");
    if (number % kWarpSize == 0) {
        size_t& started = group.started[number % kWarpgroup / kWarpSize];
        if (started == group.products.size()) {
            group.products.push_back(product);
            check_operand(site, product.a, product.transposed, 64);
            check_operand(site, product.b, product.transposed, product.columns);
        } else if (std::memcmp(&group.products[started], &product, sizeof product) != 0) {
            fault(site, "wgmma: the warps of a warpgroup give different operands");
        }
        started++;
    }
    auto values = static_cast<size_t>(product.columns / 2);
    if (own.sums.find(d) == own.sums.end()) own.sums[d].assign(d, d + values);
    std::memset(static_cast<void*>(d), 0xff, values * sizeof(float));
    own.started.push_back({product, d, own.group, site});
}

void wgmma_commit(Site site) {
    shuffle_from(site, kAll, 0, 0);
    state.products[static_cast<size_t>(thread_number())].group++;
}

void wgmma_wait(Site site, int pending) {
    int number = thread_number();
    Products& own = state.products[static_cast<size_t>(number)];
    int last = own.group - pending;
    meet_as<Wait, int, multiply_awaited>(site, kAll, {&own, last, number % kWarpgroup / kWarpSize});
    own.fenced = false;
    own.started.erase(std::remove_if(own.started.begin(), own.started.end(), [&](const Started& s) { return s.group < last; }), own.started.end());
    for (auto sums = own.sums.begin(); sums != own.sums.end();) {
        bool awaited = std::any_of(own.started.begin(), own.started.end(), [&](const Started& s) { return s.d == sums->first; });
        if (awaited) {
            ++sums;
            continue;
        }
        std::copy(sums->second.begin(), sums->second.end(), sums->first);
        sums = own.sums.erase(sums);
    }
}

}  // namespace emulation
