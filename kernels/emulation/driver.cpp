// The part of the CUDA driver API that bindings/Cuda uses, over the processor's own memory and the scheduler. Signatures are those of cuda.h, results its
// numbers. For tests: a program never loads this library unless AVEDIS_CUDA_LIBRARY names it.
//
// Streams put their work off: it is done when somebody waits for it, and no sooner, so that a missing wait or a buffer reused too early shows in
// the results. An error stays, as on a GPU: every later call returns it. What a call is to release is released all the same, so that a test
// may go on in the same process. Any call can be made to fail (emulation_fault).
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "scheduler.h"

namespace {

using emulation::Kernel;

enum Result {
    kSuccess = 0,
    kInvalidValue = 1,
    kOutOfMemory = 2,
    kInvalidImage = 200,
    kNotFound = 500,
    kNotReady = 600,
    kIllegalAddress = 700,
    kLaunchFailed = 719,
    kCaptureUnsupported = 900,
    kUnjoined = 904,
    kCaptureIsolation = 905,
    kCapturedEvent = 907,
    kNever = 9999,  // of a fault: the call does not return
};

constexpr uint64_t kMemory = 8ull << 30;  // of the pretended card
constexpr size_t kAlignment = 256;

struct Stream;

// One piece of a stream's work; for a wait, which stream must have completed how many tasks first.
struct Task {
    std::function<Result()> work;
    Stream* awaited = nullptr;
    uint64_t awaited_ticket = 0;
};

struct Stream {
    std::deque<Task> tasks;
    uint64_t queued = 0, completed = 0;
    std::unique_ptr<std::vector<Task>> capture;
    std::thread::id capturing_thread;
    uint64_t captures = 0;  // how many have been begun
    Stream* origin = nullptr;  // whose capture this stream has joined by waiting for an event of it
    bool rejoined = false;     // the origin waits for the last of what this stream has added

    Stream* recorder() { return capture ? this : origin; }
};

struct Event {
    Stream* stream = nullptr;
    uint64_t ticket = 0;  // done when the stream has completed so many tasks
    uint64_t capture = 0;  // not 0: it was recorded in this capture of the stream, and is a point in the graph instead
    bool timing;
    std::chrono::steady_clock::time_point time;
};

struct Graph {
    explicit Graph(std::vector<Task> recorded) : tasks(std::move(recorded)) { living++; }
    ~Graph() { living--; }

    std::vector<Task> tasks;
    static inline std::atomic<int> living{0};
};

struct Memory {
    size_t bytes;
    void* mapped;
    size_t mapped_bytes;
};

std::recursive_mutex guard;
std::map<uintptr_t, Memory> memory;
uint64_t used = 0;
std::vector<std::unique_ptr<Stream>> streams;  // of index 0: the default stream
std::vector<std::unique_ptr<Event>> events;    // destroyed ones too: queued work may still name them
int capability = 90;
Result sticky = kSuccess;
std::string fault_text;
long live = 0;  // allocations, streams, events and graphs that have not been released

// The call that is to fail, counted from when that was said, or the first of a function; and the functions called since.
struct Fault {
    bool watched = false;
    uint64_t at = 0;
    std::string function;
    Result result = kSuccess;
    std::vector<const char*> calls;
};

// Of a process from its environment, as FUNCTION:RESULT; 9999 for a function that never returns.
Fault fault = [] {
    const char* variable = std::getenv("AVEDIS_EMULATION_FAULT");
    std::string text = variable ? variable : "";
    size_t colon = text.find(':');
    if (colon == std::string::npos) return Fault{};
    return Fault{true, 0, text.substr(0, colon), static_cast<Result>(std::stoi(text.substr(colon + 1))), {}};
}();

// Whether cuda.h says of an error that the process, or its context, can do nothing more; 214, 220 and 999 come of a device that is lost.
bool stays(int result) {
    switch (result) {
        case 214: case 220: case 226: case 700: case 702: case 709: case 710: case 714: case 715: case 716: case 717: case 718: case 719:
        case 721: case 810: case 911: case 999: return true;
        default: return false;
    }
}

Stream& stream_of(void* handle) {
    if (streams.empty()) streams.push_back(std::make_unique<Stream>());
    return handle ? *static_cast<Stream*>(handle) : *streams.front();
}

Result fail(Result result, std::string text) {
    sticky = result;
    fault_text = std::move(text);
    return result;
}

long calls = 0, nodes = 0;  // calls of the API; pieces of work of the last graph that was made
bool leaves_work_out = false;

// What every function of the API begins with: the error that stays, or the fault whose turn it is.
Result enter(const char* call) {
    calls++;
    if (fault.watched) {
        fault.calls.push_back(call);
        if (sticky == kSuccess && (fault.calls.size() == fault.at || fault.function == call)) {
            fault.function.clear();
            while (fault.result == kNever) pause();
            return stays(fault.result) ? fail(fault.result, "a fault that was asked for") : fault.result;
        }
    }
    return sticky;
}

Result run_until(Stream& stream, uint64_t ticket) {
    while (stream.completed < ticket && sticky == kSuccess) {
        Task task = std::move(stream.tasks.front());
        stream.tasks.pop_front();
        stream.completed++;
        if (task.awaited) run_until(*task.awaited, task.awaited_ticket);
        if (task.work && !leaves_work_out) task.work();
    }
    return sticky;
}

Result enqueue(void* handle, Task task) {
    if (sticky != kSuccess) return sticky;
    Stream& stream = stream_of(handle);
    if (Stream* recorder = stream.recorder()) {
        recorder->capture->push_back(std::move(task));  // one after the other: an order that the graph allows
        stream.rejoined = false;
    } else {
        stream.tasks.push_back(std::move(task));
        stream.queued++;
    }
    return kSuccess;
}

Result run_all() {
    for (auto& stream : streams) run_until(*stream, stream->queued);
    return sticky;
}

// What would wait for the device may not be called while the calling thread records (CU_STREAM_CAPTURE_MODE_THREAD_LOCAL).
bool recording() {
    return std::any_of(streams.begin(), streams.end(),
                       [](const auto& stream) { return stream->capture && stream->capturing_thread == std::this_thread::get_id(); });
}

// The address of so many bytes of device memory, or a fault that says who asked: a copy must stay inside one allocation.
bool inside(uintptr_t address, size_t bytes) {
    auto after = memory.upper_bound(address);
    if (after == memory.begin()) return false;
    auto& [start, block] = *std::prev(after);
    return address + bytes <= start + block.bytes;
}

// For rehearsals of what a faulty kernel does to a program: AVEDIS_EMULATION_HANG names a kernel that never ends, AVEDIS_EMULATION_FAIL one that fails with
// the number behind a colon, as in adam_f32:700. A part of the name will do.
Result rehearsed_fault(const Kernel& kernel) {
    if (const char* never_ends = std::getenv("AVEDIS_EMULATION_HANG"); never_ends && std::strstr(kernel.name, never_ends))
        for (;;) pause();
    const char* fails = std::getenv("AVEDIS_EMULATION_FAIL");
    const char* colon = fails ? std::strrchr(fails, ':') : nullptr;
    if (!colon || !std::strstr(kernel.name, std::string(fails, colon).c_str())) return kSuccess;
    return fail(static_cast<Result>(std::atoi(colon + 1)), std::string(kernel.name) + ": fails, as AVEDIS_EMULATION_FAIL says");
}

template <typename F>
Result enqueue_copy(void* stream, uintptr_t device, size_t bytes, const char* call, F copy) {
    if (!inside(device, bytes)) return fail(kInvalidValue, std::string(call) + ": " + std::to_string(bytes) + " bytes do not lie in one allocation");
    return enqueue(stream, {[copy] {
        copy();
        return kSuccess;
    }});
}

}  // namespace

#define API extern "C" __attribute__((visibility("default"))) int
#define LOCK std::lock_guard<std::recursive_mutex> lock(guard)
#define CALL \
    LOCK;    \
    if (Result failed = enter(__func__); failed != kSuccess) return failed
// for a function that releases something, which it does whatever it returns
#define RELEASE \
    LOCK;       \
    const Result outcome = enter(__func__)

// ---- device and context

API cuInit(unsigned) {
    CALL;
    return kSuccess;
}

API cuDriverGetVersion(int* version) {
    CALL;
    *version = 12040;
    return kSuccess;
}

API cuDeviceGetCount(int* count) {
    CALL;
    *count = 1;
    return kSuccess;
}

API cuDeviceGet(int* device, int) {
    CALL;
    *device = 0;
    return kSuccess;
}

// Of this process: as if each had a card of its own.
API cuDeviceGetUuid_v2(unsigned char* uuid, int) {
    CALL;
    std::memset(uuid, 0, 16);
    pid_t process = getpid();
    std::memcpy(uuid, &process, sizeof process);
    return kSuccess;
}

API cuDeviceGetName(char* name, int length, int) {
    CALL;
    std::strncpy(name, "emulated GPU (for tests)", static_cast<size_t>(length));
    return kSuccess;
}

// numbers of CUdevice_attribute
API cuDeviceGetAttribute(int* value, int attribute, int) {
    CALL;
    switch (attribute) {
        case 16: *value = 2; break;            // multiprocessors
        case 38: *value = 64 * 1024; break;    // level-2 cache: small, since benchmarks overwrite it before each run
        case 75: *value = capability / 10; break;
        case 76: *value = capability % 10; break;
        case 97: *value = 227 * 1024; break;   // shared memory a block may ask for
        default: return kInvalidValue;
    }
    return kSuccess;
}

API cuDevicePrimaryCtxRetain(void** context, int) {
    CALL;
    *context = &memory;
    return kSuccess;
}

API cuCtxSetCurrent(void*) {
    CALL;
    return kSuccess;
}

API cuMemGetInfo_v2(size_t* free, size_t* total) {
    CALL;
    *free = kMemory - used;
    *total = kMemory;
    return kSuccess;
}

// ---- memory: each block ends, but for its alignment, where a page without access begins

API cuMemAlloc_v2(uintptr_t* address, size_t bytes) {
    CALL;
    if (recording()) return fail(kCaptureUnsupported, "cuMemAlloc while a graph is recorded");
    if (bytes == 0) return kInvalidValue;
    if (bytes > kMemory - used) return kOutOfMemory;
    size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE)), rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
    size_t mapped_bytes = (rounded + page - 1) / page * page + page;
    void* mapped = mmap(nullptr, mapped_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) return kOutOfMemory;
    uintptr_t end = reinterpret_cast<uintptr_t>(mapped) + mapped_bytes - page;
    mprotect(reinterpret_cast<void*>(end), page, PROT_NONE);
    *address = end - rounded;
    if (!leaves_work_out) std::memset(reinterpret_cast<void*>(*address), 0xff, rounded);
    memory[*address] = {bytes, mapped, mapped_bytes};
    used += bytes;
    live++;
    return kSuccess;
}

API cuMemFree_v2(uintptr_t address) {
    RELEASE;
    if (recording()) return fail(kCaptureUnsupported, "cuMemFree while a graph is recorded");
    run_all();
    auto found = memory.find(address);
    if (found == memory.end()) return outcome != kSuccess ? outcome : kInvalidValue;
    live--;
    used -= found->second.bytes;
    munmap(found->second.mapped, found->second.mapped_bytes);
    memory.erase(found);
    return outcome;
}

API cuMemHostAlloc(void** pointer, size_t bytes, unsigned) {
    CALL;
    if (recording()) return fail(kCaptureUnsupported, "cuMemHostAlloc while a graph is recorded");
    size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
    *pointer = std::aligned_alloc(kAlignment, rounded);
    if (!*pointer) return kOutOfMemory;
    std::memset(*pointer, 0xff, rounded);
    live++;
    return kSuccess;
}

API cuMemFreeHost(void* pointer) {
    RELEASE;
    run_all();  // a copy may name it
    std::free(pointer);
    live--;
    return outcome;
}

API cuMemcpyHtoDAsync_v2(uintptr_t to, const void* from, size_t bytes, void* stream) {
    CALL;
    return enqueue_copy(stream, to, bytes, "cuMemcpyHtoDAsync", [=] { std::memcpy(reinterpret_cast<void*>(to), from, bytes); });
}

API cuMemcpyDtoHAsync_v2(void* to, uintptr_t from, size_t bytes, void* stream) {
    CALL;
    return enqueue_copy(stream, from, bytes, "cuMemcpyDtoHAsync", [=] { std::memcpy(to, reinterpret_cast<void*>(from), bytes); });
}

API cuMemcpyDtoDAsync_v2(uintptr_t to, uintptr_t from, size_t bytes, void* stream) {
    CALL;
    if (!inside(from, bytes)) return fail(kInvalidValue, "cuMemcpyDtoDAsync: the source does not lie in one allocation");
    return enqueue_copy(stream, to, bytes, "cuMemcpyDtoDAsync",
                        [=] { std::memcpy(reinterpret_cast<void*>(to), reinterpret_cast<void*>(from), bytes); });
}

API cuMemsetD8Async(uintptr_t to, unsigned char value, size_t bytes, void* stream) {
    CALL;
    return enqueue_copy(stream, to, bytes, "cuMemsetD8Async", [=] { std::memset(reinterpret_cast<void*>(to), value, bytes); });
}

// ---- streams and events

API cuStreamCreate(void** stream, unsigned) {
    CALL;
    stream_of(nullptr);
    streams.push_back(std::make_unique<Stream>());
    *stream = streams.back().get();
    live++;
    return kSuccess;
}

API cuStreamDestroy_v2(void* stream) {
    RELEASE;
    Stream& s = stream_of(stream);
    run_until(s, s.queued);  // stays in the list: events may still name it
    live--;
    return outcome != kSuccess ? outcome : sticky;
}

API cuStreamSynchronize(void* stream) {
    CALL;
    Stream& s = stream_of(stream);
    if (s.recorder()) return fail(kCaptureUnsupported, "cuStreamSynchronize of a stream whose work is recorded, not run");
    return run_until(s, s.queued);
}

API cuStreamWaitEvent(void* stream, void* event, unsigned) {
    CALL;
    auto e = static_cast<Event*>(event);
    Stream& s = stream_of(stream);
    if (e->capture) {
        Stream* recorder = e->stream->recorder();
        if (!recorder || recorder->captures != e->capture)
            return fail(kCapturedEvent, "cuStreamWaitEvent: the event was recorded in a graph that is no longer recorded");
        if (!s.recorder()) {
            s.origin = recorder;
            s.rejoined = false;
        } else if (s.recorder() != recorder) {
            return fail(kCaptureIsolation, "cuStreamWaitEvent: the event belongs to another graph that is being recorded");
        } else if (e->stream->origin && &s == recorder) {
            e->stream->rejoined = true;
        }
        return sticky;
    }
    if (s.recorder() && e->stream) return fail(kCaptureIsolation, "cuStreamWaitEvent: a recorded stream waits for work outside of its graph");
    return enqueue(stream, {nullptr, e->stream, e->ticket});
}

// flags 2: without timing
API cuEventCreate(void** event, unsigned flags) {
    CALL;
    events.push_back(std::make_unique<Event>());
    events.back()->timing = !(flags & 2);
    *event = events.back().get();
    live++;
    return kSuccess;
}

API cuEventDestroy_v2(void*) {
    RELEASE;
    live--;
    return outcome;
}

API cuEventRecord(void* event, void* stream) {
    CALL;
    auto e = static_cast<Event*>(event);
    Stream& s = stream_of(stream);
    e->stream = &s;
    e->capture = s.recorder() ? s.recorder()->captures : 0;
    if (s.recorder()) return sticky;
    Result result = enqueue(stream, {[e] {
        e->time = std::chrono::steady_clock::now();
        return kSuccess;
    }});
    e->ticket = s.queued;
    return result;
}

API cuEventSynchronize(void* event) {
    CALL;
    auto e = static_cast<Event*>(event);
    if (e->capture) return fail(kCapturedEvent, "cuEventSynchronize: the event was recorded in a graph");
    return e->stream ? run_until(*e->stream, e->ticket) : sticky;
}

API cuEventElapsedTime(float* milliseconds, void* from, void* to) {
    CALL;
    auto a = static_cast<Event*>(from), b = static_cast<Event*>(to);
    if (!a->timing || !b->timing) return fail(kInvalidValue, "cuEventElapsedTime of an event without timing");
    if (a->capture || b->capture) return fail(kCapturedEvent, "cuEventElapsedTime: the event was recorded in a graph");
    if (!a->stream || !b->stream || a->stream->completed < a->ticket || b->stream->completed < b->ticket) return kNotReady;
    *milliseconds = std::chrono::duration<float, std::milli>(b->time - a->time).count();
    return kSuccess;
}

// ---- modules and launches: the kernels are linked in, whatever the image

API cuModuleLoadData(void** module, const void*) {
    CALL;
    *module = &memory;
    return kSuccess;
}

API cuModuleUnload(void*) {
    CALL;
    return kSuccess;
}

API cuModuleGetFunction(void** function, void*, const char* name) {
    CALL;
    *function = const_cast<Kernel*>(emulation::find_kernel(name));
    return *function ? kSuccess : kNotFound;
}

// The one variable that the host sets; it copies to it as to any device memory.
API cuModuleGetGlobal_v2(uintptr_t* address, size_t* bytes, void*, const char* name) {
    CALL;
    if (std::string(name) != "wait_report") return kNotFound;
    *address = reinterpret_cast<uintptr_t>(&emulation::wait_report);
    *bytes = sizeof emulation::wait_report;
    memory[*address] = {*bytes, nullptr, 0};
    return kSuccess;
}

// attribute 8: dynamic shared memory that a launch may ask for
API cuFuncSetAttribute(void* function, int attribute, int value) {
    CALL;
    auto kernel = static_cast<Kernel*>(function);
    if (attribute != 8 || value < 0 || value > 227 * 1024)
        return fail(kInvalidValue, std::string(kernel->name) + ": cuFuncSetAttribute " + std::to_string(attribute) + " to " + std::to_string(value));
    run_all();  // a queued launch reads it
    kernel->allowed = value;
    return sticky;
}

API cuLaunchKernel(void* function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared_bytes, void* stream,
                   void** parameters, void**) {
    CALL;
    auto kernel = static_cast<const Kernel*>(function);
    if (gx == 0 || gy == 0 || gz == 0 || gy > 65535 || gz > 65535 || gx > 0x7fffffff)
        return fail(kInvalidValue, std::string(kernel->name) + ": a grid of no blocks, or of more than a GPU takes");
    if (bx == 0 || by == 0 || bz == 0 || bx > 1024 || by > 1024 || bz > 64)
        return fail(kInvalidValue, std::string(kernel->name) + ": a block of no threads, or of more than a GPU takes");
    if (bx * by * bz > 1024 || bx * by * bz > static_cast<unsigned>(kernel->threads))
        return fail(kInvalidValue, std::string(kernel->name) + ": more threads a block than its launch bounds allow");
    if (shared_bytes > static_cast<unsigned>(kernel->allowed >= 0 ? kernel->allowed : 48 * 1024))
        return fail(kInvalidValue, std::string(kernel->name) + ": more shared memory than cuFuncSetAttribute has allowed");
    kernel->launches++;
    // a launch keeps its own copy of the arguments
    auto values = std::make_shared<std::vector<std::vector<unsigned char>>>();
    for (size_t i = 0; i < kernel->parameters.size(); i++) {
        auto bytes = static_cast<const unsigned char*>(parameters[i]);
        values->emplace_back(bytes, bytes + kernel->parameters[i].bytes);
    }
    return enqueue(stream, {[=]() -> Result {
        if (Result fault = rehearsed_fault(*kernel); fault != kSuccess) return fault;
        std::vector<void*> arguments;
        for (auto& value : *values) arguments.push_back(value.data());
        std::string what = emulation::run({kernel, {gx, gy, gz}, {bx, by, bz}, shared_bytes, arguments.data()});
        return what.empty() ? kSuccess : fail(kLaunchFailed, what);
    }});
}

API cuLaunchHostFunc(void* stream, void (*function)(void*), void* data) {
    CALL;
    return enqueue(stream, {[function, data] {
        function(data);
        return kSuccess;
    }});
}

// ---- graphs: a list of tasks

API cuStreamBeginCapture_v2(void* stream, int) {
    CALL;
    Stream& s = stream_of(stream);
    if (s.capture) return fail(kCaptureUnsupported, "cuStreamBeginCapture: the stream is being recorded already");
    s.capture = std::make_unique<std::vector<Task>>();
    s.capturing_thread = std::this_thread::get_id();
    s.captures++;
    return sticky;
}

API cuStreamEndCapture(void* stream, void** graph) {
    RELEASE;
    Stream& s = stream_of(stream);
    if (!s.capture) return outcome != kSuccess ? outcome : kInvalidValue;
    auto tasks = std::move(s.capture);
    bool joined = true;
    for (auto& other : streams) {
        if (other->origin != &s) continue;
        other->origin = nullptr;
        joined = joined && other->rejoined;
    }
    if (outcome != kSuccess) return outcome;
    if (!joined)
        return fail(kUnjoined, "cuStreamEndCapture: a stream joined the graph, and the recorded stream does not wait for its last work");
    *graph = new Graph(std::move(*tasks));
    live++;
    return kSuccess;
}

API cuGraphInstantiateWithFlags(void** executable, void* graph, unsigned long long) {
    CALL;
    *executable = new Graph(static_cast<Graph*>(graph)->tasks);
    nodes = static_cast<long>(static_cast<Graph*>(graph)->tasks.size());
    live++;
    return kSuccess;
}

API cuGraphLaunch(void* executable, void* stream) {
    CALL;
    for (const Task& task : static_cast<Graph*>(executable)->tasks) enqueue(stream, task);
    return sticky;
}

API cuGraphDestroy(void* graph) {
    RELEASE;
    delete static_cast<Graph*>(graph);
    live--;
    return outcome;
}

API cuGraphExecDestroy(void* executable) {
    RELEASE;
    delete static_cast<Graph*>(executable);  // a launch has copied its tasks
    live--;
    return outcome;
}

// ---- errors

API cuGetErrorName(int result, const char** name) {
    static const std::map<int, const char*> names{{kSuccess, "CUDA_SUCCESS"},        {kInvalidValue, "CUDA_ERROR_INVALID_VALUE"},
                                                  {kOutOfMemory, "CUDA_ERROR_OUT_OF_MEMORY"}, {kInvalidImage, "CUDA_ERROR_INVALID_IMAGE"},
                                                  {kNotFound, "CUDA_ERROR_NOT_FOUND"}, {kNotReady, "CUDA_ERROR_NOT_READY"},
                                                  {kIllegalAddress, "CUDA_ERROR_ILLEGAL_ADDRESS"},
                                                  {kLaunchFailed, "CUDA_ERROR_LAUNCH_FAILED"},
                                                  {721, "CUDA_ERROR_TENSOR_MEMORY_LEAK"},
                                                  {kCaptureUnsupported, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"},
                                                  {kUnjoined, "CUDA_ERROR_STREAM_CAPTURE_UNJOINED"},
                                                  {kCaptureIsolation, "CUDA_ERROR_STREAM_CAPTURE_ISOLATION"},
                                                  {kCapturedEvent, "CUDA_ERROR_CAPTURED_EVENT"}};
    auto found = names.find(result);
    *name = found == names.end() ? "CUDA_ERROR_UNKNOWN" : found->second;
    return kSuccess;
}

API cuGetErrorString(int result, const char** text) {
    LOCK;
    static thread_local std::string copy;
    copy = fault_text.empty() || result != sticky ? "emulated driver" : fault_text;
    *text = copy.c_str();
    return kSuccess;
}

// ---- for the tests: not part of the driver API

// Order 0 forward, 1 reverse, 2 random, of threads and blocks.
API emulation_set_order(int order, unsigned long long seed) {
    LOCK;
    run_all();
    emulation::set_order(static_cast<emulation::Order>(order), seed);
    return sticky;
}

// The arrival at a barrier in shared memory that so many others precede does not count.
API emulation_lose_arrival(int after) {
    LOCK;
    run_all();
    emulation::lose_arrival(after);
    return kSuccess;
}

// What the device says its compute capability is: 90, and the engine takes the kernels of Hopper where there are any, or 80.
API emulation_set_capability(int wanted) {
    LOCK;
    capability = wanted;
    return kSuccess;
}

// Forgets an error, so that a test that provoked one does not end all others, and a fault that was asked for. Queued work is dropped.
API emulation_clear_error() {
    LOCK;
    for (auto& stream : streams) {
        stream->completed = stream->queued;
        stream->tasks.clear();
    }
    sticky = kSuccess;
    fault_text.clear();
    fault = {};
    return kSuccess;
}

// From now on calls are counted, and the call of that number, from 1, returns the result instead of doing its work; 0: none. Where the
// result is one that stays (cuda.h), later ones return it too.
API emulation_fault(unsigned long long call, int result) {
    LOCK;
    fault = {true, call, "", static_cast<Result>(result), {}};
    return kSuccess;
}

// The function that was called as the call of that number, from 1, since emulation_fault; null behind the last.
extern "C" __attribute__((visibility("default"))) const char* emulation_call(unsigned long long call) {
    LOCK;
    return call - 1 < fault.calls.size() ? fault.calls[call - 1] : nullptr;
}

// Allocations, streams, events and graphs of this process that have not been released.
API emulation_live() {
    LOCK;
    return static_cast<int>(live);
}

// Leaves all queued work out from now on, and only counts it: for steps that would take minutes.
API emulation_leave_work_out(int leave) {
    LOCK;
    leaves_work_out = leave;
    return kSuccess;
}

API emulation_counts(long* calls_made, long* nodes_of_graph) {
    LOCK;
    *calls_made = calls;
    *nodes_of_graph = nodes;
    return kSuccess;
}

// Graphs, instantiated or not, that have not been destroyed.
API emulation_graphs() { return Graph::living; }

API emulation_kernel_count() { return emulation::kernel_count(); }

// Name and parameters of a kernel, such as "p8 p8 i8 f4" (scheduler.h); false if the text does not fit.
API emulation_kernel(int index, char* name, char* parameters, int capacity) {
    const Kernel& kernel = emulation::kernel_at(index);
    std::string text;
    for (auto& p : kernel.parameters) text += (text.empty() ? "" : " ") + (p.kind + std::to_string(p.bytes));
    if (text.size() >= static_cast<size_t>(capacity) || std::strlen(kernel.name) >= static_cast<size_t>(capacity)) return 0;
    std::strcpy(name, kernel.name);
    std::strcpy(parameters, text.c_str());
    return 1;
}

// How often this process has launched the kernel.
API emulation_kernel_launches(int index) { return static_cast<Result>(std::min(emulation::kernel_at(index).launches, 1L << 30)); }
