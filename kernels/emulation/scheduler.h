// What the emulated driver needs of the scheduler, running a grid; and what it and the instructions of Hopper need of each other.
#pragma once

#include <cstdint>
#include <string>

#include "cuda_emulation.h"

namespace emulation {

// In which order threads that could run do run. Whatever it is, a correct kernel gives the same bits.
enum class Order {
    kForward,  // in order of their numbers, taking turns at every meeting
    kReverse,  // from the last number down, one going as far ahead as it can
    kRandom,   // drawn anew at every meeting
};

void set_order(Order order, uint64_t seed);

struct Launch {
    const Kernel* kernel;
    uint3 grid, block;
    unsigned shared_bytes;
    void* const* arguments;
};

// Runs every block, on as many threads as AVEDIS_EMULATION_THREADS says, or on all processors. Returns an empty string, or what went wrong first.
std::string run(const Launch& launch);

const Kernel* find_kernel(const char* name);

// Kernels in order of their names.
int kernel_count();
const Kernel& kernel_at(int index);

// ---- for hopper.cpp, about the thread that runs now and its block

int thread_number();
int barriers_passed();  // of the block
size_t dynamic_bytes();

// Leaves the thread until somebody resumes those that wait for the same.
void suspend(Site site, const void* awaited);
void resume(const void* awaited);

// ---- of hopper.cpp, called where a block begins and ends, and for each 16 bytes by cp.async

void begin_block(int threads, int registers);  // of a thread, at its launch
std::string end_block();  // empty, or what was left undone
void copy_started(const void* shared);
void copy_landed(const void* shared);

// The kernels' variable of that name, which the host sets: where the first thread that waits in vain for a barrier in memory says so.
extern WaitReport* wait_report;
void report_wait(int number, const Block& where);

// For the tests: the arrival at a barrier in memory that so many others precede, from now on, does not count.
void lose_arrival(int after);

}  // namespace emulation
