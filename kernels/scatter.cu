// What the host has sent in one piece, put in its places: piece i is `bytes` bytes from `from`, which is a multiple of 16, to `to`, which need not be one.
// A step is given some ten small tensors (labels, lengths, weights, schedules) and two large ones (faces, mels); one launch takes them all.
//
// Launch: (blocks, pieces) blocks of 256 threads; the blocks of a row share one piece. Bound by memory.
#include "elementwise.cuh"

struct ScatterPiece {
    uint8_t* to;
    const uint8_t* from;
    int64_t bytes;
};

KERNEL((256), scatter, (const ScatterPiece* pieces)) {
    ScatterPiece piece = pieces[blockIdx.y];
    constexpr int kRun = kIn16Bytes<uint8_t>;
    for_each_run<kRun>(piece.bytes, allow_runs<kRun>(piece.to, piece.from), [=](auto run) { run.store(piece.to, run.load(piece.from)); });
}
