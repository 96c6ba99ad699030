using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using Avedis.Bench;
using Avedis.Bench.Peers.TorchSharp;
using Avedis.Bench.Peers.TorchSharp.Operations;
using Avedis.Trainer;
using Avedis.Trainer.Benchmark;
using TorchSharp;
using static TorchSharp.torch;

// torchsharp-peer operations ...: Operations/OperationBenchmarks.cs
// torchsharp-peer step --device cpu|cuda --mode MODE --preset demo|paper --precision fp32|tf32|bf16 --batch N --threads N
// modes: eager-nchw; channels-last, the same with its convolutions' tensors as N, H, W, C in memory; bf16-cast, the only one at bf16:
// TorchSharp has no autocast, so what convolutions take is cast to it by hand.
// It speaks the protocol of bench/EngineProcess.cs, as bench/peers/pytorch/step.py --serve does: the same weights, clips, losses and
// optimiser.
const int FingerprintSteps = 3;
const double Limit = 60; // a first step longer than this many seconds is reported alone, unwarmed

var options = args[1..].Chunk(2).ToDictionary(pair => pair[0], pair => pair[1]);
if (TorchLibrary.Load() is { } failure)
    return Fail(failure);
if (args[0] == "operations")
    return OperationBenchmarks.Run(options);
string precision = options["--precision"], mode = options["--mode"];
int clips = int.Parse(options["--batch"], CultureInfo.InvariantCulture),
    threads = int.Parse(options["--threads"], CultureInfo.InvariantCulture);
if (options["--device"] == "cuda" && !cuda.is_available())
    return Fail($"libtorch {__version__} sees no GPU");
TrunkForm form = mode switch
{
    "eager-nchw" => new(ChannelsLast: false, float32),
    "channels-last" => new(ChannelsLast: true, float32),
    _ => new(ChannelsLast: true, bfloat16),
};
set_num_threads(threads);
backends.cuda.matmul.allow_tf32 = backends.cudnn.allow_tf32 = precision == "tf32";

var device = new torch.Device(options["--device"]);
var preset = Preset.Named(options["--preset"]);
var size = preset.Batch(clips);
var network = new TwoStreamNetwork(preset, device, form);
using var adam = optim.Adam(network.Parameters, lr: 1e-4, beta1: 0.9, beta2: 0.999, eps: 1e-8);
using var frameCounts = full([clips], size.Frames, dtype: int64, device: device);
using var stepCounts = full([clips], TwoStreamNetwork.VoiceSteps(size.MelSteps), dtype: int64, device: device);
Tensor[][] batches =
[
    .. Enumerable.Range(0, 2).Select(number => new[]
    {
        tensor(GoldenFormula.Faces(number, size), [clips, size.Frames, size.Pixels, size.Pixels], dtype: uint8),
        tensor(GoldenFormula.Mels(number, size), [clips, size.Mels, size.MelSteps]),
        tensor(Array.ConvertAll(GoldenFormula.EmotionLabels(number, size), label => (long)label)),
        tensor(Array.ConvertAll(GoldenFormula.SpeakerLabels(number, size), label => (long)label)),
    }),
];
int done = 0;

var first = Step();
bool warm = first.Seconds <= Limit;
double[] losses = [first.Loss, .. Enumerable.Range(1, warm ? FingerprintSteps - 1 : 0).Select(_ => Step().Loss)];
string version = $"{typeof(torch).Assembly.GetName().Version!.ToString(3)} (libtorch {Version.Parse(__version__).ToString(3)})";
string?[] notes =
[
    device.type == DeviceType.CUDA ? "peak memory is the host's: TorchSharp does not tell the GPU's" : null,
    warm ? null : $"one step without warm-up: it took more than {Limit} s",
];
Say(new EngineReport(
    $"torchsharp-{mode}", version, options["--preset"], precision, clips, get_num_threads(), losses, ProcessMemory.PeakRssBytes,
    warm ? null : first.Seconds, string.Join("; ", notes.OfType<string>()) is { Length: > 0 } note ? note : null));
while (Console.In.ReadLine() is { } line)
    Say(new Timing([.. Enumerable.Range(0, int.Parse(line, CultureInfo.InvariantCulture)).Select(_ => Step().Seconds)], ProcessMemory.PeakRssBytes));
return 0;

// one training step on batches 0, 1, 0, ...
(double Loss, double Seconds) Step()
{
    var batch = batches[done++ % 2];
    var watch = Stopwatch.StartNew();
    // what a step makes is given back with it: without this the memory of each step stays until the collector comes
    using var scope = NewDisposeScope();
    Tensor[] inputs = [.. batch.Select(input => input.to(device))];
    var loss = network.Loss(inputs[0], inputs[1], frameCounts, stepCounts, inputs[2], inputs[3]);
    adam.zero_grad();
    loss.backward();
    adam.step();
    double value = loss.item<float>();
    if (device.type == DeviceType.CUDA)
        cuda.synchronize();
    return (value, watch.Elapsed.TotalSeconds);
}

static void Say<T>(T message)
{
    Console.Out.WriteLine(JsonSerializer.Serialize(message, BenchJson.Options));
    Console.Out.Flush();
}

static int Fail(string reason)
{
    Console.Error.WriteLine(reason);
    return ExitCode.DeviceUnavailable;
}
