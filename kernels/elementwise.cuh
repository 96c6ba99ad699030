// Loops over flat memory: for operations that are bound by it, a thread takes 16 bytes of the widest type at a time where the addresses allow that,
// neighbours in a warp touch neighbours in memory, and the few elements behind the last 16 bytes go one by one.
#pragma once

#include "kernel.cuh"

// kLength elements in a row from start on. Loads and stores move all of them with one instruction.
template <int kLength>
struct Run {
    static constexpr int length = kLength;
    int64_t start;

    template <typename T>
    __device__ Vector<T, kLength> load(const T* x) const {
        return *reinterpret_cast<const Vector<T, kLength>*>(x + start);
    }

    template <typename T>
    __device__ void store(T* y, const Vector<T, kLength>& values) const {
        *reinterpret_cast<Vector<T, kLength>*>(y + start) = values;
    }
};

// Whether runs of kLength elements may be loaded from and stored to all these addresses.
template <int kLength, typename... T>
__device__ inline bool allow_runs(const T*... x) {
    return ((reinterpret_cast<uintptr_t>(x) % (kLength * sizeof(T)) == 0) && ...);
}

// Calls body(run) for count elements: whole runs of kLength if runs is set, then single elements. Of `threads` threads this one is number `thread`.
template <int kLength, typename F>
__device__ inline void for_each_run(int64_t count, bool runs, int64_t thread, int64_t threads, F body) {
    int64_t whole = runs ? count / kLength : 0;
    for (int64_t i = thread; i < whole; i += threads) body(Run<kLength>{i * kLength});
    for (int64_t i = whole * kLength + thread; i < count; i += threads) body(Run<1>{i});
}

// By all threads of the grid.
template <int kLength, typename F>
__device__ inline void for_each_run(int64_t count, bool runs, F body) {
    for_each_run<kLength>(count, runs, static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x,
                          static_cast<int64_t>(gridDim.x) * blockDim.x, body);
}

// Elements of T in 16 bytes.
template <typename T>
constexpr int kIn16Bytes = 16 / sizeof(T);
