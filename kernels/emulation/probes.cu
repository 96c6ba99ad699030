// Kernels that use one facility each, for tests/Kernels/EmulationTests.cs: what the emulation says is compared with what the PTX ISA says, and misuse must be
// reported. Linked into the emulation; those that use a facility rightly may run on a GPU as well.
//
// Launch: one warp unless said otherwise.
#include "../kernel.cuh"

// ---- instructions: every lane brings and takes its own registers, [lane][register]

// d = a * b + c
KERNEL((32), probe_mma_bf16, (float* d, const uint32_t* a, const uint32_t* b, const float* c)) {
    float sum[4];
    uint32_t left[4], right[2];
    for (int i = 0; i < 4; i++) sum[i] = c[threadIdx.x * 4 + i];
    for (int i = 0; i < 4; i++) left[i] = a[threadIdx.x * 4 + i];
    for (int i = 0; i < 2; i++) right[i] = b[threadIdx.x * 2 + i];
    mma_m16n8k16_bf16(sum, left, right);
    for (int i = 0; i < 4; i++) d[threadIdx.x * 4 + i] = sum[i];
}

KERNEL((32), probe_mma_tf32, (float* d, const uint32_t* a, const uint32_t* b, const float* c)) {
    float sum[4];
    uint32_t left[4], right[2];
    for (int i = 0; i < 4; i++) sum[i] = c[threadIdx.x * 4 + i];
    for (int i = 0; i < 4; i++) left[i] = a[threadIdx.x * 4 + i];
    for (int i = 0; i < 2; i++) right[i] = b[threadIdx.x * 2 + i];
    mma_m16n8k8_tf32(sum, left, right);
    for (int i = 0; i < 4; i++) d[threadIdx.x * 4 + i] = sum[i];
}

// 32 rows of 16 bytes; lane i gives row i's address.
KERNEL((32), probe_ldmatrix, (uint32_t* y, const uint4* x, int32_t transposed)) {
    SHARED(uint4, rows, [32]);
    rows[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    uint32_t r[4];
    if (transposed)
        ldmatrix_x4_transposed(r, &rows[threadIdx.x]);
    else
        ldmatrix_x4(r, &rows[threadIdx.x]);
    for (int i = 0; i < 4; i++) y[threadIdx.x * 4 + i] = r[i];
}

KERNEL((32), probe_ldmatrix_unaligned, (uint32_t* y)) {
    SHARED(uint32_t, rows, [33 * 4]);
    uint32_t r[4];
    ldmatrix_x4(r, rows + threadIdx.x * 4 + 1);
    y[threadIdx.x] = r[0];
}

// y [count, 2] = x as TF32 and as BF16, in bits; any number of threads
KERNEL((32), probe_round, (uint32_t* y, const uint32_t* x, int64_t count)) {
    for (int64_t i = threadIdx.x; i < count; i += blockDim.x) {
        y[i * 2] = round_to_tf32(x[i]);
        y[i * 2 + 1] = to_bf16(__uint_as_float(x[i])).bits;
    }
}

// ---- asynchronous copies

// Every thread copies x[0][i], x[1][i], x[2][i], a group each, x[1] with nothing valid, and notes its three places after waits that leave 2, 1, 0 groups.
// y [3 waits, 3 places, 32 threads]. On a GPU only places that have been waited for are certain.
KERNEL((32), probe_cp_async, (uint4* y, const uint4* x)) {
    SHARED(uint4, place, [3][32]);
    int i = static_cast<int>(threadIdx.x);
    for (int k = 0; k < 3; k++) {
        cp_async_16(&place[k][i], &x[k * 32 + i], k != 1);
        cp_async_commit();
    }
    cp_async_wait<2>();
    for (int k = 0; k < 3; k++) y[k * 32 + i] = place[k][i];
    cp_async_wait<1>();
    for (int k = 0; k < 3; k++) y[(3 + k) * 32 + i] = place[k][i];
    cp_async_wait<0>();
    for (int k = 0; k < 3; k++) y[(6 + k) * 32 + i] = place[k][i];
}

// The copy is still in an open group: a wait for all closed ones leaves it.
KERNEL((32), probe_cp_async_uncommitted, (uint4* y, const uint4* x)) {
    SHARED(uint4, place, [32]);
    cp_async_16(&place[threadIdx.x], &x[threadIdx.x], true);
    cp_async_wait<0>();
    y[threadIdx.x] = place[threadIdx.x];
}

KERNEL((32), probe_cp_async_unaligned, (const float* x)) {
    SHARED(uint4, place, [32]);
    cp_async_16(&place[threadIdx.x], x + threadIdx.x, true);
    cp_async_commit();
    cp_async_wait<0>();
}

KERNEL((32), probe_cp_async_elsewhere, (uint4* y, const uint4* x)) {
    cp_async_16(y + threadIdx.x, x + threadIdx.x, true);
    cp_async_commit();
    cp_async_wait<0>();
}

// ---- Hopper: barriers in memory, the copy engine, products of a warpgroup

// y [0] = what shared memory holds after a copy has been started, y [1] = after its barrier, [4 words a thread]; x [32 threads of 16 bytes]. On a GPU the first
// is chance.
__device__ inline void copy_by_engine(uint4* y, const uint4* x) {
    SHARED(uint4, place, [32]);
    SHARED(uint64_t, barrier, [1]);
    if (threadIdx.x == 0) {
        mbarrier_init(barrier, 1);
        fence_async_proxy();
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        mbarrier_arrive_expecting(barrier, sizeof place);
        bulk_copy(place, x, sizeof place, barrier);
    }
    __syncwarp();
    y[threadIdx.x] = place[threadIdx.x];
    __syncwarp();
    mbarrier_wait(barrier, 0, {"probe_bulk_copy", "barrier", 0});
    y[32 + threadIdx.x] = place[threadIdx.x];
}

KERNEL((32), probe_bulk_copy, (uint4* y, const uint4* x)) { ON_HOPPER(copy_by_engine(y, x)); }

// A counter goes back and forth between two warps by way of two barriers, 32 arrivals each: y [1] = twice the rounds. The first warp's first wait is for the
// phase before the first, which is over.
__device__ inline void take_turns(int32_t* y, int32_t rounds) {
    SHARED(uint64_t, barrier, [2]);
    SHARED(int32_t, counter, [1]);
    if (threadIdx.x == 0) {
        counter[0] = 0;
        mbarrier_init(&barrier[0], 32);
        mbarrier_init(&barrier[1], 32);
        fence_async_proxy();
    }
    __syncthreads();
    for (int32_t i = 0; i < rounds; i++) {
        unsigned parity = static_cast<unsigned>(i) & 1;
        if (threadIdx.x < 32) {
            mbarrier_wait(&barrier[1], parity ^ 1, {"probe_mbarrier", "barrier", 1});
            if (threadIdx.x == 0) counter[0] += counter[0] % 2 == 0 ? 1 : 1000;
            mbarrier_arrive(&barrier[0]);
        } else {
            mbarrier_wait(&barrier[0], parity, {"probe_mbarrier", "barrier", 0});
            if (threadIdx.x == 32) counter[0] += counter[0] % 2 == 1 ? 1 : 1000;
            mbarrier_arrive(&barrier[1]);
        }
    }
    __syncthreads();
    if (threadIdx.x == 0) y[0] = counter[0];
}

KERNEL((64), probe_mbarrier, (int32_t* y, int32_t rounds)) { ON_HOPPER(take_turns(y, rounds)); }

// Threads from 32 on wait for a barrier at which nobody arrives.
__device__ inline void wait_in_vain() {
    SHARED(uint64_t, barrier, [4]);
    if (threadIdx.x == 0) {
        mbarrier_init(&barrier[3], 1);
        fence_async_proxy();
    }
    __syncthreads();
    if (threadIdx.x >= 32) mbarrier_wait(&barrier[3], 0, {"probe_wait_in_vain", "barrier", 3});
}

KERNEL((64), probe_wait_in_vain, ()) { ON_HOPPER(wait_in_vain()); }

namespace probes {  // a kernel's dynamic memory has the linkage of C, that of a function here none: they would be taken for one name

// The dynamic memory, as a warpgroup's operands.
__device__ inline uint8_t* operands_of(uint4* x, int32_t bytes) {
    DYNAMIC_SHARED(uint8_t, dynamic);
    uint8_t* start = dynamic + (1024 - shared_address(dynamic) % 1024) % 1024;
    for (int32_t i = static_cast<int32_t>(threadIdx.x); i < bytes / 16; i += 128) reinterpret_cast<uint4*>(start)[i] = x[i];
    fence_async_proxy();
    __syncthreads();
    return start;
}

__device__ inline uint64_t descriptor_at(int64_t descriptor, const uint8_t* start, int32_t offset) {
    return static_cast<uint64_t>(descriptor) | (shared_address(start + offset) & 0x3ffff) >> 4;
}

// d [128, columns / 2] = a * b, twice if twice; x: bytes of shared memory, where a and b start at offsets; descriptors without their start. early [128]: the
// first sum before it has been waited for, on a GPU chance.
template <int kColumns, bool kTransposed>
__device__ inline void multiply_operands(float* d, float* early, uint4* x, int32_t bytes, int64_t a, int64_t b, int32_t a_offset, int32_t b_offset,
                                         int32_t twice) {
    const uint8_t* start = operands_of(x, bytes);
    float sums[kColumns / 2] = {};
    wgmma_fence();
    for (int32_t i = 0; i <= twice; i++) {
        wgmma_bf16<kColumns, kTransposed>(sums, descriptor_at(a, start, a_offset), descriptor_at(b, start, b_offset));
        wgmma_commit();
    }
    early[threadIdx.x] = sums[0];
    wgmma_wait<0>();
    wgmma_arrived(sums);
    for (int i = 0; i < kColumns / 2; i++) d[static_cast<int>(threadIdx.x) * kColumns / 2 + i] = sums[i];
}

}  // namespace probes

#define PROBE_WGMMA(name, columns, transposed)                                                                                                       \
    KERNEL((128), name,                                                                                                                              \
           (float* d, float* early, uint4* x, int32_t bytes, int64_t a, int64_t b, int32_t a_offset, int32_t b_offset, int32_t twice)) {             \
        ON_HOPPER(probes::multiply_operands<columns, transposed>(d, early, x, bytes, a, b, a_offset, b_offset, twice));                                      \
    }

PROBE_WGMMA(probe_wgmma_64, 64, false)
PROBE_WGMMA(probe_wgmma_256, 256, false)
PROBE_WGMMA(probe_wgmma_96_transposed, 96, true)
PROBE_WGMMA(probe_wgmma_256_transposed, 256, true)

// ---- warps

// y [7, threads]: shuffles of the thread's number, and votes on x; any number of threads, so the last warp may be partial.
KERNEL((96), probe_warp, (int32_t* y, const int32_t* x)) {
    int i = static_cast<int>(threadIdx.x), n = static_cast<int>(blockDim.x), lane = i % 32;
    int lanes = min(32, n - i / 32 * 32);
    unsigned mask = lanes == 32 ? kAllLanes : (1u << lanes) - 1;
    y[0 * n + i] = __shfl_sync(mask, i, (lane + 1) % lanes);
    y[1 * n + i] = __shfl_down_sync(mask, i, 1);
    y[2 * n + i] = __shfl_up_sync(mask, i, 1);
    y[3 * n + i] = __shfl_xor_sync(mask, i, 1);
    y[4 * n + i] = static_cast<int32_t>(__ballot_sync(mask, x[i]));
    y[5 * n + i] = __any_sync(mask, x[i]);
    y[6 * n + i] = __all_sync(mask, x[i]);
}

// The two halves of a warp part: each talks among itself, at another place.
KERNEL((32), probe_halves, (int32_t* y)) {
    int lane = static_cast<int>(threadIdx.x);
    if (lane < 16)
        y[lane] = __shfl_xor_sync(0x0000ffffu, lane, 15);
    else
        y[lane] = 100 + __shfl_xor_sync(0xffff0000u, lane, 1);
}

// y [threads] sums and y [threads] maxima over the block.
KERNEL((256), probe_block_sums, (float* y, const float* x)) {
    float sum = block_sum<256>(x[threadIdx.x]), largest = block_max<256>(x[threadIdx.x]);
    y[threadIdx.x] = sum;
    y[256 + threadIdx.x] = largest;
}

// y [blocks, threads] = number of the block times 1000 plus the thread's: three dimensions of each
KERNEL((64), probe_indices, (int32_t* y)) {
    unsigned b = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    unsigned t = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    y[b * blockDim.x * blockDim.y * blockDim.z + t] = static_cast<int32_t>(b * 1000 + t);
}

// In which order threads came, with a meeting in between: y [2, threads], counter [1] = 0
KERNEL((64), probe_order, (int32_t* y, int32_t* counter)) {
    y[threadIdx.x] = atomicAdd(counter, 1);
    __syncthreads();
    y[64 + threadIdx.x] = atomicAdd(counter, 1);
}

// ---- shared memory

// y [2, threads]: an array and the dynamic memory as a block finds them; then leaves something there for the next block to find.
KERNEL((32), probe_fresh_shared, (uint32_t* y)) {
    SHARED(uint32_t, array, [32]);
    DYNAMIC_SHARED(uint32_t, dynamic);
    unsigned at = blockIdx.x * 64 + threadIdx.x;
    y[at] = array[threadIdx.x];
    y[at + 32] = dynamic[threadIdx.x];
    array[threadIdx.x] = dynamic[threadIdx.x] = 7;
}

// One thread writes a word at an offset, in words, from the end of an array of 5 words (which = 0), from its start (1), or from the end of dynamic memory of
// so many bytes (2).
KERNEL((32), probe_write_beyond, (int32_t which, int32_t offset, int32_t dynamic_bytes)) {
    SHARED(uint32_t, array, [5]);
    DYNAMIC_SHARED(uint32_t, dynamic);
    volatile uint32_t* place = which == 0 ? array + 5 : which == 1 ? array : dynamic + dynamic_bytes / 4;
    if (threadIdx.x == 0) place[offset] = 0;
}

// An array of 47 KiB beside the dynamic memory.
KERNEL((32), probe_large_array, (uint32_t* y)) {
    SHARED(uint32_t, array, [47 * 256]);
    DYNAMIC_SHARED(uint32_t, dynamic);
    array[threadIdx.x] = dynamic[threadIdx.x] = threadIdx.x;
    y[threadIdx.x] = array[threadIdx.x] + dynamic[threadIdx.x];
}

// Reads 16 bytes from an address that may not be aligned to them.
KERNEL((32), probe_vector_load, (float* y, const float* x)) { y[threadIdx.x] = load_vector<4>(x).at[3]; }

// Needs about `bytes` of stack: the emulation gives a thread less than a GPU would.
#ifndef __CUDACC__
KERNEL((32), probe_deep_stack, (uint32_t* y, int32_t bytes)) {
    volatile unsigned char* deep = static_cast<volatile unsigned char*>(__builtin_alloca(static_cast<size_t>(bytes)));
    for (int i = 0; i < bytes; i++) deep[i] = static_cast<unsigned char>(i);
    y[threadIdx.x] = deep[bytes / 2];
}
#endif

// ---- misuse: on a GPU these would hang or give chance results

// What hopper.cpp reports, one way of misuse by its number. 128 threads, 16 KiB of dynamic memory; x: 16 KiB of zeros.
#ifndef __CUDACC__
KERNEL((128), probe_hopper_misuse, (float* y, uint4* x, int32_t which)) {
    SHARED(uint64_t, barrier, [1]);
    uint8_t* start = probes::operands_of(x, 8192);
    uint64_t descriptor = matrix_descriptor(start, 16, 1024);
    float d[32] = {};
    auto first = [&](auto act) {
        if (threadIdx.x == 0) act();
    };
    auto with_barrier = [&](auto act) {
        first([&] {
            mbarrier_init(barrier, 1);
            fence_async_proxy();
        });
        __syncthreads();
        act();
    };
    auto multiply = [&] {
        wgmma_fence();
        wgmma_bf16<64, false>(d, descriptor, descriptor);
        wgmma_commit();
        wgmma_wait<0>();
    };
    auto copy = [&] {
        cp_async_16(start + threadIdx.x * 16, x, true);
        cp_async_commit();
    };
    switch (which) {
        case 0: mbarrier_arrive(barrier); break;  // not initialised
        case 1:
            first([&] { mbarrier_init(barrier, 128); });
            __syncwarp();
            mbarrier_arrive(barrier);  // without a barrier of the block
            break;
        case 2: with_barrier([&] { first([&] { mbarrier_arrive_expecting(barrier, 16), mbarrier_arrive(barrier); }); }); break;  // one too many
        case 3:
            first([&] { mbarrier_init(barrier, 1); });
            __syncthreads();
            first([&] { bulk_copy(start, x, 16, barrier); });  // without a fence
            break;
        case 4: with_barrier([&] { first([&] { bulk_copy(start, x, 24, barrier); }); }); break;  // no multiple
        case 5: with_barrier([&] { first([&] { mbarrier_arrive_expecting(barrier, 16), bulk_copy(start, x, 16, barrier); }); }); break;  // never waited for
        case 6: with_barrier([&] { mbarrier_wait(barrier, 0, {__func__, "barrier", 0}); }); break;  // nobody arrives
        case 7: wgmma_bf16<64, false>(d, descriptor, descriptor); break;  // without wgmma_fence
        case 8:
            if (threadIdx.x / 32 == 1) descriptor = matrix_descriptor(start + 1024, 16, 1024);  // another for one warp
            multiply();
            break;
        case 9:
            if (threadIdx.x == 40) descriptor = matrix_descriptor(start + 1024, 16, 1024);  // another for one lane
            multiply();
            break;
        case 10:
            copy();
            __syncthreads();
            multiply();  // of what nobody has waited for
            break;
        case 11:
            copy();
            cp_async_wait<0>();
            __syncthreads();
            multiply();  // of what nobody has fenced
            break;
        case 12:
            wgmma_fence();
            wgmma_bf16<64, false>(d, descriptor, descriptor);
            wgmma_commit();  // and never waited for
            break;
        case 13:
            if (threadIdx.x / 32 != 3) multiply();  // three warps of four
            break;
        case 14:
            copy();
            cp_async_wait<0>();
            fence_async_proxy();
            __syncthreads();
            multiply();  // as it should be
            break;
        case 15:
            if (threadIdx.x / 32 == 0) give_registers<240>();
            if (threadIdx.x / 32 == 1) take_registers<256>();  // from 248, but only 8 have been given
            if (threadIdx.x / 32 == 2) take_registers<256>();
            break;
        case 16: give_registers<250>(); break;  // no multiple of 8
        default: break;
    }
    y[threadIdx.x] = d[0];
}
#endif

// Two warps; the second takes another barrier.
KERNEL((64), probe_barrier_divergence, (int32_t* y)) {
    if (threadIdx.x < 32) {
        __syncthreads();
        y[threadIdx.x] = 1;
    } else {
        __syncthreads();
        y[threadIdx.x] = 2;
    }
}

KERNEL((64), probe_barrier_exited, (int32_t* y)) {
    if (threadIdx.x == 63) return;
    __syncthreads();
    y[threadIdx.x] = 1;
}

// One lane of a warp waits at a barrier while the others wait for it in a shuffle.
KERNEL((32), probe_deadlock, (int32_t* y)) {
    if (threadIdx.x == 0) __syncthreads();
    y[threadIdx.x] = __shfl_xor_sync(kAllLanes, static_cast<int>(threadIdx.x), 1);
}

KERNEL((32), probe_mask_mismatch, (int32_t* y)) {
    unsigned mask = threadIdx.x < 16 ? kAllLanes : 0xffff0000u;
    y[threadIdx.x] = __shfl_xor_sync(mask, static_cast<int>(threadIdx.x), 1);
}

KERNEL((32), probe_mask_without_self, (int32_t* y)) {
    y[threadIdx.x] = __shfl_sync(0x7fffffffu, static_cast<int>(threadIdx.x), 0);
}

// Launched with less than a warp.
KERNEL((32), probe_mask_of_absent_lanes, (int32_t* y)) { y[threadIdx.x] = __shfl_sync(kAllLanes, static_cast<int>(threadIdx.x), 0); }

KERNEL((32), probe_places_mismatch, (int32_t* y)) {
    if (threadIdx.x < 16)
        y[threadIdx.x] = __shfl_xor_sync(kAllLanes, static_cast<int>(threadIdx.x), 1);
    else
        y[threadIdx.x] = __shfl_xor_sync(kAllLanes, static_cast<int>(threadIdx.x), 2);
}

KERNEL((32), probe_lane_out_of_range, (int32_t* y)) { y[threadIdx.x] = __shfl_xor_sync(kAllLanes, static_cast<int>(threadIdx.x), 32); }

// y[i] = i, in the middle of it an exchange without a barrier: thread i reads what its neighbour has written, or not.
KERNEL((64), probe_missing_barrier, (int32_t* y)) {
    SHARED(int32_t, tile, [64]);
    tile[threadIdx.x] = static_cast<int32_t>(threadIdx.x);
    y[threadIdx.x] = tile[(threadIdx.x + 33) % 64];
}

// y += 1, or y = 2 y: whose order a stream keeps and two streams do not.
KERNEL((32), probe_increment, (int32_t* y)) {
    if (threadIdx.x == 0) y[0] += 1;
}

KERNEL((32), probe_double, (int32_t* y)) {
    if (threadIdx.x == 0) y[0] *= 2;
}
