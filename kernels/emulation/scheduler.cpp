// Runs the blocks of a launch: the threads of a block are fibers on one thread of the processor, several blocks run at once. A fiber runs until it has
// to wait for others; who runs next is the order's choice (scheduler.h). When nobody can run and not all have ended, everyone's place is reported.
#include "scheduler.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <thread>

namespace emulation {

thread_local Thread* thread;
thread_local const Block* block;

namespace {

constexpr size_t kStackBytes = 64 * 1024;
constexpr size_t kStackSkew = 448;      // stacks at a stride of 64 KiB would share the same few cache sets
constexpr size_t kMostShared = 227 * 1024;  // what a block of sm_90 may have, when its kernel has asked for more than the usual
constexpr size_t kUsualShared = 48 * 1024;
constexpr size_t kGuard = 1024;  // a row of a tile too far is still within it
constexpr size_t kStaticBytes = kUsualShared + 16 * kGuard;  // sixteen arrays with their guards
constexpr uint64_t kCanary = 0x5ca1ab1e0ddba11;  // at the far end of every stack
constexpr int kCanaryWords = 16;
constexpr int kMostThreads = 1024, kWarpSize = 32, kRegisters = 64 * 1024;
constexpr unsigned char kPoison = 0xff, kGuardByte = 0xa5;

Order order = Order::kForward;
uint64_t order_seed = 0;

// ---- switching stacks -----------------------------------------------------------------------------------------------------

#ifdef __x86_64__
extern "C" void emulation_switch(void** save, void* load);
asm(R"(
    .text
    .globl emulation_switch
    .hidden emulation_switch
    .type emulation_switch, @function
emulation_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size emulation_switch, .-emulation_switch
)");
#else
#error "the emulation switches stacks in x86-64 assembly; other processors need their own emulation_switch"
#endif

// ---- a block ----------------------------------------------------------------------------------------------------------------

enum class State { kReady, kAtBarrier, kMeeting, kSuspended, kDone };

struct Copy {
    void* shared;
    const void* global;  // null: zeros
    size_t bytes;
    int group;
};

struct Fiber {
    Thread thread;
    int number;
    void* stack_pointer;
    uint64_t* stack_end;
    State state;
    Site site;  // where it waits
    const void* awaited;  // for what, if suspended
    std::vector<Copy> copies;
    int group;  // number of the group of copies that is still open
};

// Lanes of one warp on their way to the same place.
struct Meeting {
    unsigned mask, arrived;
    Work work;
    Site site;
    const void* in[kWarpSize];
    void* out[kWarpSize];
};

struct Warp {
    unsigned present;  // lanes that exist
    std::vector<Meeting> meetings;
};

struct StaticArray {
    Site site;
    const void* key;
    unsigned char* start;
    size_t bytes;
};

// from the end of an array to the next address that is aligned to 16
size_t padding(size_t bytes) { return (16 - bytes % 16) % 16; }

bool same(Site a, Site b) {
    return a.line == b.line && (a.file == b.file || std::strcmp(a.file, b.file) == 0);
}

const char* short_name(const char* file) {
    const char* slash = std::strrchr(file, '/');
    return slash ? slash + 1 : file;
}

std::string describe(uint3 v) { return "(" + std::to_string(v.x) + "," + std::to_string(v.y) + "," + std::to_string(v.z) + ")"; }

// Runs one block after the other on one thread of the processor.
class Runner {
   public:
    Runner() {
        // before the first stack there is room for another, where a thread that needs too much does no harm until it is found out
        stacks = static_cast<unsigned char*>(mmap(nullptr, (kMostThreads + 1) * (kStackBytes + kStackSkew), PROT_READ | PROT_WRITE,
                                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
        shared.reset(new (std::align_val_t(128)) unsigned char[kStaticBytes + kMostShared + 2 * kGuard]);
        fibers.resize(kMostThreads);
        ready.reserve(kMostThreads);
    }

    ~Runner() { munmap(stacks, (kMostThreads + 1) * (kStackBytes + kStackSkew)); }

    std::string run_block(const Launch& launch, uint3 index, uint64_t seed);

    [[noreturn]] void fail(Site site, const std::string& what) {
        failure = what + " (" + short_name(site.file) + ":" + std::to_string(site.line) + ", thread " + describe(current->thread.index) + " of block " +
                  describe(here.index) + ")";
        leave();
    }

    void barrier(Site site);
    void* static_array(Site site, const void* key, size_t bytes);
    void meet(Site site, unsigned mask, Work work, const void* in, void* out);
    void suspend(Site site, const void* awaited);
    void resume(const void* awaited);

    size_t dynamic_bytes() const { return launch->shared_bytes; }

    unsigned char* dynamic() { return shared.get() + kStaticBytes + kGuard; }

    bool in_shared(const void* pointer, size_t bytes) {
        auto p = static_cast<const unsigned char*>(pointer);
        bool in_dynamic = p >= dynamic() && p + bytes <= dynamic() + launch->shared_bytes;
        return in_dynamic || std::any_of(arrays.begin(), arrays.end(), [&](const StaticArray& a) { return p >= a.start && p + bytes <= a.start + a.bytes; });
    }

    Fiber* current = nullptr;
    int barriers = 0;  // passed by the block

   private:
    struct Deleter {
        void operator()(unsigned char* p) const { operator delete[](p, std::align_val_t(128)); }
    };

    static void enter();
    void start(Fiber& fiber, int number);
    void make_ready(Fiber& fiber);
    void switch_to_next();
    void check_stack();
    [[noreturn]] void leave();
    void finish();
    std::string deadlock() const;
    void check_guards();

    const Launch* launch = nullptr;
    Block here{};
    unsigned char* stacks;
    std::unique_ptr<unsigned char[], Deleter> shared;
    std::vector<Fiber> fibers;
    std::vector<Warp> warps;
    std::vector<Fiber*> ready;
    size_t first_ready = 0;  // a queue of the forward order
    std::vector<StaticArray> arrays;
    size_t static_bytes = 0, static_used = 0;  // without and with guards
    int count = 0, done = 0, waiting = 0;
    void* main_stack = nullptr;
    uint64_t random = 0;
    std::string failure;
};

thread_local std::unique_ptr<Runner> runner;

void Runner::enter() {
    Runner& self = *runner;
    self.launch->kernel->call(self.launch->kernel->function, self.launch->arguments);
    self.finish();
}

void Runner::start(Fiber& fiber, int number) {
    uint3 extent = launch->block;
    unsigned n = static_cast<unsigned>(number);
    fiber.thread = {{n % extent.x, n / extent.x % extent.y, n / extent.x / extent.y}, n % kWarpSize};
    fiber.number = number;
    fiber.state = State::kReady;
    fiber.copies.clear();
    fiber.group = 0;
    fiber.stack_end = reinterpret_cast<uint64_t*>(stacks + static_cast<size_t>(number + 1) * (kStackBytes + kStackSkew));
    std::fill(fiber.stack_end, fiber.stack_end + kCanaryWords, kCanary);
    // as if emulation_switch had been called from a function that returns into enter, on a stack aligned as after a call
    auto top = reinterpret_cast<uintptr_t>(stacks + static_cast<size_t>(number + 2) * (kStackBytes + kStackSkew)) & ~uintptr_t{15};
    auto sp = reinterpret_cast<void**>(top) - 2;
    *sp = reinterpret_cast<void*>(&Runner::enter);
    for (int i = 0; i < 6; i++) *--sp = nullptr;
    fiber.stack_pointer = sp;
}

void Runner::make_ready(Fiber& fiber) {
    fiber.state = State::kReady;
    ready.push_back(&fiber);
}

// Stacks lie side by side: a fiber that went beyond the end of its own has written into its neighbour's.
void Runner::check_stack() {
    if (std::all_of(current->stack_end, current->stack_end + kCanaryWords, [](uint64_t word) { return word == kCanary; })) return;
    failure = "thread " + describe(current->thread.index) + " of block " + describe(here.index) + " needs more than the emulation's " +
              std::to_string(kStackBytes / 1024) + " KiB of stack";
    leave();
}

// Leaves the current fiber, whose state says how, for one that can run.
void Runner::switch_to_next() {
    check_stack();
    if (first_ready == ready.size()) {
        failure = deadlock();
        leave();
    }
    Fiber* next;
    if (order == Order::kForward) {
        next = ready[first_ready++];
        if (first_ready == ready.size()) {
            ready.clear();
            first_ready = 0;
        }
    } else {
        if (order == Order::kRandom) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            std::swap(ready[random % ready.size()], ready.back());
        }
        next = ready.back();
        ready.pop_back();
    }
    Fiber* from = current;
    if (next == from) return;
    current = next;
    thread = &next->thread;
    emulation_switch(&from->stack_pointer, next->stack_pointer);
}

void Runner::leave() {
    void* abandoned;
    emulation_switch(&abandoned, main_stack);
    __builtin_unreachable();
}

void Runner::finish() {
    check_stack();
    current->state = State::kDone;
    done++;
    if (waiting > 0) {
        auto other = std::find_if(fibers.begin(), fibers.begin() + count, [](const Fiber& f) { return f.state == State::kAtBarrier; });
        failure = "thread " + describe(current->thread.index) + " of block " + describe(here.index) + " ended while thread " +
                  describe(other->thread.index) + " waits for it at the barrier of " + short_name(other->site.file) + ":" +
                  std::to_string(other->site.line);
        leave();
    }
    if (done == count) leave();
    switch_to_next();
    __builtin_unreachable();
}

const char* waits_how(State state) {
    switch (state) {
        case State::kAtBarrier: return "at the barrier of ";
        case State::kMeeting: return "for other lanes at ";
        case State::kSuspended: return "for an mbarrier at ";
        default: return nullptr;
    }
}

std::string Runner::deadlock() const {
    std::string text = "deadlock in block " + describe(here.index) + ": nobody can run";
    std::map<std::pair<std::string, int>, int> places;
    for (int i = 0; i < count; i++)
        if (const char* what = waits_how(fibers[i].state)) places[{std::string(what) + short_name(fibers[i].site.file), fibers[i].site.line}]++;
    for (auto& [place, threads] : places)
        text += "; " + std::to_string(threads) + " wait " + place.first + ":" + std::to_string(place.second);
    if (done) text += "; " + std::to_string(done) + " have ended";
    auto waits = std::find_if(fibers.begin(), fibers.begin() + count, [](const Fiber& f) { return f.state == State::kSuspended; });
    if (waits != fibers.begin() + count) report_wait(waits->number, here);
    return text;
}

void Runner::barrier(Site site) {
    if (waiting > 0) {
        auto other = std::find_if(fibers.begin(), fibers.begin() + count, [](const Fiber& f) { return f.state == State::kAtBarrier; });
        if (!same(other->site, site))
            fail(site, "barrier divergence: thread " + describe(other->thread.index) + " waits at the barrier of " + short_name(other->site.file) + ":" +
                           std::to_string(other->site.line));
    }
    if (done > 0) fail(site, "barrier divergence: " + std::to_string(done) + " threads of the block have ended");
    current->state = State::kAtBarrier;
    current->site = site;
    waiting++;
    if (waiting == count) {
        waiting = 0;
        barriers++;
        for (int i = 0; i < count; i++) make_ready(fibers[i]);
    }
    switch_to_next();
}

void Runner::meet(Site site, unsigned mask, Work work, const void* in, void* out) {
    Warp& warp = warps[static_cast<size_t>(current->number / kWarpSize)];
    unsigned lane = current->thread.lane;
    if (!(mask >> lane & 1)) fail(site, "a lane that its own mask does not name");
    if (mask & ~warp.present) fail(site, "the mask names lanes that do not exist");
    auto meeting = std::find_if(warp.meetings.begin(), warp.meetings.end(), [&](const Meeting& m) { return m.mask & mask; });
    if (meeting == warp.meetings.end()) {
        warp.meetings.push_back({mask, 0, work, site, {}, {}});
        meeting = warp.meetings.end() - 1;
    } else if (meeting->mask != mask || meeting->work != work || !same(meeting->site, site)) {
        char masks[64];
        std::snprintf(masks, sizeof masks, "mask %08x here, %08x there", mask, meeting->mask);
        fail(site, std::string("lanes of a warp do not meet: others wait at ") + short_name(meeting->site.file) + ":" +
                       std::to_string(meeting->site.line) + ", " + masks);
    }
    meeting->in[lane] = in;
    meeting->out[lane] = out;
    meeting->arrived |= 1u << lane;
    current->state = State::kMeeting;
    current->site = site;
    if (meeting->arrived == mask) {
        work(mask, meeting->in, meeting->out);
        int base = current->number - static_cast<int>(lane);
        for (int i = 0; i < kWarpSize; i++)
            if (mask >> i & 1) make_ready(fibers[static_cast<size_t>(base + i)]);
        *meeting = warp.meetings.back();
        warp.meetings.pop_back();
    }
    switch_to_next();
}

void Runner::suspend(Site site, const void* awaited) {
    current->state = State::kSuspended;
    current->site = site;
    current->awaited = awaited;
    switch_to_next();
}

void Runner::resume(const void* awaited) {
    for (int i = 0; i < count; i++)
        if (fibers[i].state == State::kSuspended && fibers[i].awaited == awaited) make_ready(fibers[i]);
}

void* Runner::static_array(Site site, const void* key, size_t bytes) {
    for (const StaticArray& array : arrays)
        if (array.key == key) return array.start;
    unsigned char* start = shared.get() + static_used + kGuard;
    static_bytes += (bytes + 15) / 16 * 16;
    static_used += kGuard + (bytes + 15) / 16 * 16;
    // arrays and what a launch may ask for must fit a block together: a real driver knows a kernel's arrays and refuses to allow more
    bool allowed = launch->kernel->allowed >= 0;
    size_t dynamic_bytes = allowed ? static_cast<size_t>(launch->kernel->allowed) : launch->shared_bytes, most = allowed ? kMostShared : kUsualShared;
    if (static_bytes > kUsualShared || static_bytes + dynamic_bytes > most || static_used + kGuard > kStaticBytes)
        fail(site, "more shared memory than a block may have: " + std::to_string(static_bytes) + " bytes in arrays, " +
                       std::to_string(dynamic_bytes) + " dynamic, of " + std::to_string(most));
    std::memset(start - kGuard, kGuardByte, kGuard);
    std::memset(start, kPoison, bytes);
    std::memset(start + bytes, kGuardByte, padding(bytes) + kGuard);
    arrays.push_back({site, key, start, bytes});
    return start;
}

void Runner::check_guards() {
    static const std::vector<unsigned char> untouched(kGuard + 16, kGuardByte);
    auto intact = [](const unsigned char* p, size_t bytes) { return std::memcmp(p, untouched.data(), bytes) == 0; };
    for (const StaticArray& array : arrays)
        if (!intact(array.start - kGuard, kGuard) || !intact(array.start + array.bytes, padding(array.bytes) + kGuard))
            failure = "block " + describe(here.index) + " wrote beyond the " + std::to_string(array.bytes) + " bytes of the shared array of " +
                      short_name(array.site.file) + ":" + std::to_string(array.site.line);
    if (!intact(dynamic() - kGuard, kGuard) || !intact(dynamic() + launch->shared_bytes, kGuard))
        failure = "block " + describe(here.index) + " wrote beyond its " + std::to_string(launch->shared_bytes) + " bytes of dynamic shared memory";
}

std::string Runner::run_block(const Launch& what, uint3 index, uint64_t seed) {
    launch = &what;
    here = {index, what.block, what.grid};
    count = static_cast<int>(what.block.x * what.block.y * what.block.z);
    done = waiting = barriers = 0;
    random = seed * 0x9e3779b97f4a7c15u + 0x1234567u;
    failure.clear();
    arrays.clear();
    static_bytes = static_used = 0;
    std::memset(dynamic() - kGuard, kGuardByte, kGuard);
    std::memset(dynamic(), kPoison, what.shared_bytes);
    std::memset(dynamic() + what.shared_bytes, kGuardByte, kGuard);
    warps.assign(static_cast<size_t>((count + kWarpSize - 1) / kWarpSize), Warp{});
    ready.clear();
    first_ready = 0;
    for (int i = 0; i < count; i++) {
        start(fibers[static_cast<size_t>(i)], i);
        warps[static_cast<size_t>(i / kWarpSize)].present |= 1u << i % kWarpSize;
        ready.push_back(&fibers[static_cast<size_t>(i)]);
    }
    block = &here;
    // as many as the launch bounds leave, which the compiler uses up where a kernel changes them
    begin_block(count, std::min(kRegisters / what.kernel->threads, 255) / 8 * 8);
    size_t pick = order == Order::kForward ? 0 : order == Order::kReverse ? ready.size() - 1 : random % ready.size();
    Fiber* first = ready[pick];
    ready.erase(ready.begin() + static_cast<long>(pick));
    current = first;
    thread = &first->thread;
    emulation_switch(&main_stack, first->stack_pointer);
    if (failure.empty()) check_guards();
    if (failure.empty())
        if (std::string undone = end_block(); !undone.empty()) failure = "block " + describe(here.index) + " " + undone;
    return failure;
}

// ---- a grid -------------------------------------------------------------------------------------------------------------------

// Threads of the processor that wait for grids. The one that launches helps.
class Pool {
   public:
    explicit Pool(unsigned helpers) {
        for (unsigned i = 0; i < helpers; i++) std::thread([this] { serve(); }).detach();
    }

    std::string run(const Launch& launch) {
        std::lock_guard<std::mutex> one(launching);
        job = &launch;
        blocks = static_cast<uint64_t>(launch.grid.x) * launch.grid.y * launch.grid.z;
        next = 0;
        failure.clear();
        failed = false;
        bool alone = blocks == 1;
        if (!alone) {
            std::lock_guard<std::mutex> lock(mutex);
            generation++;
            busy = helpers_waiting;
            helpers_waiting = 0;
            wake.notify_all();
        }
        work();
        if (!alone) {
            std::unique_lock<std::mutex> lock(mutex);
            finished.wait(lock, [this] { return busy == 0; });
        }
        return failure;
    }

   private:
    void serve() {
        uint64_t seen = 0;
        {
            std::lock_guard<std::mutex> lock(mutex);
            seen = generation;
            helpers_waiting++;
        }
        while (true) {
            {
                std::unique_lock<std::mutex> lock(mutex);
                wake.wait(lock, [&] { return generation != seen; });
                seen = generation;
            }
            work();
            std::lock_guard<std::mutex> lock(mutex);
            helpers_waiting++;
            if (--busy == 0) finished.notify_all();
        }
    }

    void work() {
        if (!runner) runner = std::make_unique<Runner>();
        uint64_t i;
        while (!failed && (i = next++) < blocks) {
            uint64_t b = i;
            if (order == Order::kReverse) b = blocks - 1 - i;
            if (order == Order::kRandom) b = (i + order_seed) % blocks;
            uint3 grid = job->grid;
            uint3 index{static_cast<unsigned>(b % grid.x), static_cast<unsigned>(b / grid.x % grid.y), static_cast<unsigned>(b / grid.x / grid.y)};
            std::string what = runner->run_block(*job, index, order_seed + b + 1);
            if (what.empty()) continue;
            std::lock_guard<std::mutex> lock(mutex);
            if (!failed) failure = std::string(job->kernel->name) + ": " + what;
            failed = true;
        }
    }

    std::mutex launching, mutex;
    std::condition_variable wake, finished;
    uint64_t generation = 0;
    unsigned busy = 0, helpers_waiting = 0;
    const Launch* job = nullptr;
    uint64_t blocks = 0;
    std::atomic<uint64_t> next{0};
    std::atomic<bool> failed{false};
    std::string failure;
};

std::map<std::string, Kernel>& kernels() {
    static std::map<std::string, Kernel> all;
    return all;
}

}  // namespace

void set_order(Order wanted, uint64_t seed) {
    order = wanted;
    order_seed = seed;
}

std::string run(const Launch& launch) {
    static Pool* pool = [] {
        const char* wanted = std::getenv("AVEDIS_EMULATION_THREADS");
        int threads = wanted ? std::atoi(wanted) : static_cast<int>(std::thread::hardware_concurrency());
        return new Pool(static_cast<unsigned>(std::max(1, threads)) - 1);
    }();
    return pool->run(launch);
}

void add_kernel(Kernel kernel) { kernels()[kernel.name] = std::move(kernel); }

const Kernel* find_kernel(const char* name) {
    auto found = kernels().find(name);
    return found == kernels().end() ? nullptr : &found->second;
}

int kernel_count() { return static_cast<int>(kernels().size()); }

const Kernel& kernel_at(int index) { return std::next(kernels().begin(), index)->second; }

// ---- what kernels call ----------------------------------------------------------------------------------------------------

void fault(Site site, const char* format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    runner->fail(site, text);
}

void barrier(Site site) { runner->barrier(site); }

void* static_shared(Site site, const void* key, size_t bytes) { return runner->static_array(site, key, bytes); }

int thread_number() { return runner->current->number; }

int barriers_passed() { return runner->barriers; }

size_t dynamic_bytes() { return runner->dynamic_bytes(); }

void suspend(Site site, const void* awaited) { runner->suspend(site, awaited); }

void resume(const void* awaited) { runner->resume(awaited); }

void* dynamic_shared() { return runner->dynamic(); }

bool is_shared(const void* pointer, size_t bytes) { return runner->in_shared(pointer, bytes); }

void meet(Site site, unsigned mask, Work work, const void* in, void* out) { runner->meet(site, mask, work, in, out); }

void copy_async(Site site, void* shared, const void* global, size_t bytes, bool valid) {
    if (reinterpret_cast<uintptr_t>(shared) % bytes || !is_shared(shared, bytes))
        fault(site, "cp.async: %p is no aligned place for %zu bytes in shared memory", shared, bytes);
    if (valid && reinterpret_cast<uintptr_t>(global) % bytes) fault(site, "cp.async: %p is not aligned to %zu bytes", global, bytes);
    std::memset(shared, kPoison, bytes);
    copy_started(shared);
    Fiber& fiber = *runner->current;
    fiber.copies.push_back({shared, valid ? global : nullptr, bytes, fiber.group});
}

// Every access that g++ does not know to be aligned comes here if it is not (-fsanitize=alignment, without its library): a GPU ends the kernel.
struct Misaligned {
    const char* file;
    uint32_t line, column;
};

extern "C" void __ubsan_handle_type_mismatch_v1_abort(const Misaligned* where, uintptr_t address) {
    fault(Site{where->file, static_cast<int>(where->line)}, "%#zx is not aligned as its type asks", static_cast<size_t>(address));
}

void commit_copies() { runner->current->group++; }

void await_copies(int pending) {
    Fiber& fiber = *runner->current;
    int last = fiber.group - pending;  // groups before this one have arrived
    auto arrived = std::stable_partition(fiber.copies.begin(), fiber.copies.end(), [&](const Copy& c) { return c.group >= last; });
    std::for_each(arrived, fiber.copies.end(), [](const Copy& c) {
        if (c.global)
            std::memcpy(c.shared, c.global, c.bytes);
        else
            std::memset(c.shared, 0, c.bytes);
        copy_landed(c.shared);
    });
    fiber.copies.erase(arrived, fiber.copies.end());
}

}  // namespace emulation
