// What a thread leaves to the host when it has waited in vain for a barrier in memory (kernel.cuh, mbarrier_wait) and ends its kernel with an error. It lies in
// the host's memory, which outlasts the kernel and the context that is lost with it; bindings/Cuda/CudaWaitReport.cs reads it, field by field.
#pragma once

struct WaitReport {
    int32_t written;  // 1 once all the rest is there
    int32_t block_x, block_y, thread, number;
    char kernel[64], barrier[16];
};

// Which barrier a wait is for, in which kernel: barrier[number], if there are several of that name.
struct Awaited {
    const char* kernel;
    const char* barrier;
    int number;
};

__device__ inline void write_report(WaitReport* report, const Awaited& awaited, int block_x, int block_y, int thread) {
    report->block_x = block_x;
    report->block_y = block_y;
    report->thread = thread;
    report->number = awaited.number;
    auto copy = [](char* to, int room, const char* text) {
        for (; room > 1 && *text; room--) *to++ = *text++;
        *to = 0;
    };
    copy(report->kernel, sizeof report->kernel, awaited.kernel);
    copy(report->barrier, sizeof report->barrier, awaited.barrier);
}
