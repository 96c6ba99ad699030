#!/usr/bin/env python3
"""Times PyTorch's training step of the two-stream network: bytes to -1..1, forward, loss, backward, Adam.

    python3 step.py --preset demo --precision fp32 --mode channels-last --batch 32
prints one JSON line: engine (pytorch- and the mode), version, preset, precision, batch, threads, seconds_per_step (median), clips_per_second, losses (of
the first steps, from the weights and inputs of golden.py: the fingerprint that shows that two engines do the same work) and peak_bytes of memory: the
process's largest resident set, or on a GPU the most that its tensors took there.

With --serve it prints that line without the timing, after its warm-up, and then answers every line "N" on standard input by timing N steps:
{"seconds": [...], "peak_bytes": ...}. So a benchmark can take turns between engines. A line with a list, ["--mode", "cuda-graph", ...], is a command line again: what was
there is given up, and the setting that it names is warmed up and reported. So PyTorch is started once for all that is to be timed on a GPU; on a
processor, where the peak of memory is the process's, each setting takes a process of its own.

With --batches FILE the two batches come from there instead of golden.py, which takes seconds for large ones: of each its faces, uint8, mels, float32, emotions and
speakers, int64, in golden.batch's order and shapes, and nothing else.

Modes:
    eager-nchw      as PyTorch comes
    channels-last   the memory order in which its convolutions are fastest on most machines
    compile         channels-last under torch.compile, on a GPU with its steps recorded as CUDA graphs (PyTorch 2)
    cuda-graph      channels-last, the whole step with its Adam recorded as one CUDA graph and replayed (GPU)

PyTorch at its best, as far as measured on processors: denormals
flushed, gradients set to None, Adam in one kernel where this version has that for the device, else over lists of tensors, all cores, two warm-up steps in
each mode. What the environment can do besides is tried by who starts it: how threads wait (GOMP_SPINCOUNT=1000), and whether glibc keeps large blocks instead of
mapping and clearing them anew in every step (MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=68719476736). On a GPU besides: cuDNN tries its algorithms on the first steps, clips come from
pinned memory as bytes without waiting. Precision fp32 there is strict: no TF32 anywhere; tf32 allows it in convolutions and products; bf16 is autocast.
"""
import argparse
import gc
import json
import math
import os
import resource
import statistics
import sys
import time

FINGERPRINT_STEPS = 3


def arguments(given):
    parser = argparse.ArgumentParser(description="Times PyTorch's training step of the two-stream network.")
    parser.add_argument("--preset", choices=("paper", "demo"), default="demo")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=("fp32", "tf32", "bf16"), default="fp32")
    parser.add_argument("--mode", choices=("eager-nchw", "channels-last", "compile", "cuda-graph"), default="channels-last")
    parser.add_argument("--batch", type=int, default=32, help="clips per step")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--steps", type=int, default=10, help="steps to time")
    parser.add_argument("--limit", type=float, default=60, help="a first step longer than this many seconds is reported alone, unwarmed")
    parser.add_argument("--batches", help="file with the batches, see above")
    parser.add_argument("--serve", action="store_true", help="time steps on request, see above")
    options = parser.parse_args(given)
    if options.device == "cpu" and options.precision == "tf32":
        parser.error("tf32 is a format of GPUs: use --device cuda")
    if options.device == "cpu" and options.mode == "cuda-graph":
        parser.error("cuda-graph is a mode of GPUs: use --device cuda")
    return options


def fused_adam(network, model, **options):
    """Adam in one kernel where this PyTorch has it for these parameters, else over lists of tensors."""
    try:
        return network.optimiser(model, fused=True, **options)
    except (RuntimeError, TypeError):
        return network.optimiser(model, foreach=True, **options)


def recorded(torch, model, adam, inputs, train):
    """train(*inputs) as a CUDA graph; a replay trains on what the tensors in inputs hold then. Model and optimiser are left as they were."""
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):  # cuDNN chooses, Adam makes its state
            train(*inputs)
    torch.cuda.current_stream().wait_stream(stream)
    model.load_state_dict(before)
    for state in adam.state.values():
        for tensor in state.values():
            tensor.zero_()
    graph = torch.cuda.CUDAGraph()
    adam.zero_grad(set_to_none=True)
    with torch.cuda.graph(graph):
        loss = train(*inputs)
    return graph, loss


def stored_batches(path, clips, preset):
    """The two batches of a file as golden.batch gives them."""
    import numpy
    import torch

    parts = (
        (numpy.uint8, (clips, preset.frames, preset.pixels, preset.pixels)), (numpy.float32, (clips, preset.mels, preset.mel_steps)),
        (numpy.int64, (clips,)), (numpy.int64, (clips,)),
    )
    with open(path, "rb") as file:
        return [
            tuple(torch.from_numpy(numpy.fromfile(file, kind, math.prod(shape)).reshape(shape)) for kind, shape in parts)
            for _ in range(2)
        ]


class Engine:
    """The network in one setting, warmed up, and its report."""

    weights = {}  # by preset: the same for every setting, and slow to make

    def __init__(self, options):
        import torch

        import golden
        import network

        self.torch, self.options, self.cuda, self.done = torch, options, options.device == "cuda", 0
        cuda = self.cuda
        if cuda and not torch.cuda.is_available():
            sys.exit(f"PyTorch {torch.__version__} sees no GPU")
        torch.set_num_threads(options.threads)
        torch.set_flush_denormal(True)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = options.precision != "fp32"
        torch.backends.cudnn.benchmark = True
        preset = network.PRESETS[options.preset]
        model = network.TwoStreamNetwork(preset, auxiliary=False)
        if options.preset in self.weights:
            model.load_state_dict(self.weights[options.preset])
        else:
            golden.load_golden_weights(model)
            if cuda:  # on a processor they would count to its peak of memory
                self.weights[options.preset] = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        model = model.to(options.device)
        if options.mode != "eager-nchw":
            model = model.to(memory_format=torch.channels_last)
        adam = fused_adam(network, model, **({"capturable": True} if options.mode == "cuda-graph" else {}))
        if options.batches:
            self.batches = stored_batches(options.batches, options.batch, preset)
        else:
            self.batches = [golden.batch(b, options.batch, preset, preset.speakers, preset.emotions) for b in range(2)]
        if cuda:
            self.batches = [tuple(tensor.pin_memory() for tensor in batch) for batch in self.batches]
        face_lengths = torch.full((options.batch,), preset.frames, device=options.device)
        mel_lengths = torch.full((options.batch,), preset.mel_steps, device=options.device)

        def total_loss(faces, mels, emotions, speakers):
            with torch.autocast(options.device, dtype=torch.bfloat16, enabled=options.precision == "bf16"):
                return network.losses(model(faces, mels, face_lengths, mel_lengths), emotions, speakers)["total"]

        if options.mode == "compile":
            total_loss = torch.compile(total_loss, mode="reduce-overhead" if cuda else "default")

        def train(*inputs):
            loss = total_loss(*inputs)
            adam.zero_grad(set_to_none=True)
            loss.backward()
            adam.step()
            return loss

        if options.mode == "cuda-graph":
            inputs = [tensor.to(options.device) for tensor in self.batches[0]]
            graph, recorded_loss = recorded(torch, model, adam, inputs, train)

            def train(*batch):
                for place, tensor in zip(inputs, batch):
                    place.copy_(tensor, non_blocking=True)
                graph.replay()
                return recorded_loss

        self.train = train
        loss, first = self.step()
        losses = [loss]
        warm = first <= options.limit or options.mode == "compile"  # compiling takes a minute once
        if warm:
            losses += [self.step()[0] for _ in range(FINGERPRINT_STEPS - 1)]
        self.report = {
            "engine": f"pytorch-{options.mode}", "version": torch.__version__, "preset": options.preset, "precision": options.precision,
            "batch": options.batch, "threads": torch.get_num_threads(), "losses": losses, "peak_bytes": self.peak(),
        }
        if not warm:
            self.report |= {"seconds_per_step": first, "clips_per_second": options.batch / first,
                            "note": f"one step without warm-up: it took more than {options.limit:g} s"}

    def step(self):
        """One training step on batches 0, 1, 0, ...; returns its loss and seconds."""
        options = self.options
        batch = self.batches[self.done % 2]
        self.done += 1
        start = time.perf_counter()
        loss = self.train(*(tensor if options.mode == "cuda-graph" else tensor.to(options.device, non_blocking=True) for tensor in batch))
        value = loss.item()
        if self.cuda:
            self.torch.cuda.synchronize()  # reading the loss waits for the forward pass only
        return value, time.perf_counter() - start

    def peak(self):
        return self.torch.cuda.max_memory_allocated() if self.cuda else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def give_up(torch):
    """Frees what an engine that nobody names any more has held, so that the next one has the GPU to itself and its peak of memory is its own."""
    if hasattr(torch, "_dynamo"):
        torch._dynamo.reset()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def main():
    options = arguments(sys.argv[1:])
    engine = Engine(options)
    if not options.serve:
        if "seconds_per_step" not in engine.report:
            seconds = statistics.median(engine.step()[1] for _ in range(options.steps))
            engine.report |= {"seconds_per_step": seconds, "clips_per_second": options.batch / seconds, "peak_bytes": engine.peak()}
        print(json.dumps(engine.report))
        return
    print(json.dumps(engine.report), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        if isinstance(request, list):
            torch = engine.torch
            del engine
            give_up(torch)
            engine = Engine(arguments(request))
            print(json.dumps(engine.report), flush=True)
        else:
            print(json.dumps({"seconds": [engine.step()[1] for _ in range(request)], "peak_bytes": engine.peak()}), flush=True)


if __name__ == "__main__":
    main()
