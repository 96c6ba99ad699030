using System.Diagnostics;
using Avedis.Bench.Peers.TorchSharp;
using Avedis.Engine;
using Avedis.Tests.Ops;
using TorchSharp;

namespace Avedis.Peers;

/// <summary>
/// The engine beside libtorch 2.10 (by TorchSharp): the long comparison, no part of ./test.
/// <para>
/// Draws cases, an operation on a shape with settings and numbers, and runs each forward and backward: on the processor in FP32 and BF16, and a sample of them on
/// the CUDA kernels under the emulated driver, convolutions there in TF32 and on the kernels for GPUs before Hopper as well. What libtorch's autograd computes of the
/// same numbers in float64 is the truth. The bounds are those of the operation tests (tests/Ops), whose harness also sees to guards around every buffer and equal
/// bits in repeated runs. A network of eight layers is compared over ten steps of Adam.
/// </para>
/// <para>
/// tests/peers [--cases N] [--seed S] [--emulated N] [--only N] [--control]. Prints a line for each failure, which names the case, a table with the worst error as a
/// share of its bound, and last "N cases, N failed". --only repeats one case on every backend and prints the share of each result; --emulated 0 leaves emulation out. --control moves what libtorch sees by a
/// thousandth: then most cases must fail. Exit code 0: none failed (of the control: at least half did); 1 otherwise; 2: usage, or no libtorch here.
/// </para>
/// </summary>
internal static class Program
{
    private const int Passed = 0, Failed = 1, Unusable = 2;

    /// <summary>Relative to each input: thousands of roundings of F32, a quarter of one of BF16.</summary>
    private const double Moved = 1e-3;

    private const double ProgressSeconds = 10;

    public static int Main(string[] arguments)
    {
        if (Options.Parse(arguments, out string error) is not { } options)
            return Refuse($"{error}; {Options.Usage}");
        if (options.Emulated > 0 && Emulation.Absence is { } absence)
            return Refuse(absence);
        if (TorchLibrary.Load() is { } reason)
            return Refuse($"libtorch cannot be loaded: {reason}");
        // the cases are small, and sums of one thread are the same on every machine
        torch.set_num_threads(1);
        return Run(options);
    }

    private static int Run(Options options)
    {
        Rig[] processor = [new("cpu", "fp32", DType.F32, () => new CpuBackend()), new("cpu", "bf16", DType.BF16, () => new CpuBackend())];
        Rig[] emulated =
        [
            new("emulated", "fp32", DType.F32, () => Emulation.Open(tf32: false)),
            new("emulated", "tf32", DType.F32, () => Emulation.Open(tf32: true), Tf32: true, Convolving: true),
            new("emulated", "bf16", DType.BF16, () => Emulation.Open(tf32: false)),
            // a GPU that lacks Hopper's instructions
            new("emulated sm_80", "bf16", DType.BF16, () => Emulation.Open(tf32: false, capability: 80), Convolving: true),
        ];
        var table = new Table();
        var clock = Stopwatch.StartNew();
        double told = 0;
        var numbers = options.Numbers();
        int done = 0, failed = 0;
        foreach (var (number, emulate) in numbers)
        {
            var peerCase = Cases.Draw(options.Seed, number);
            bool fails = false;
            foreach (var rig in processor.Concat(emulate ? emulated : []).Where(peerCase.RunsOn))
            {
                var outcome = Trial.Run(peerCase, rig, Cases.SeedOf(options.Seed, number), options.Control ? Moved : 0);
                table.Add(peerCase, rig, outcome);
                fails |= outcome.Failure is not null;
                if (options.Only is not null)
                    Console.WriteLine($"{rig.Backend} {rig.Precision}: {string.Join(", ", outcome.Shares.Select(result => $"{result.Result} {result.Share:0.000}"))}");
                if (outcome.Failure is not null && (!options.Control || options.Only is not null))
                    Console.WriteLine(
                        $"FAILED --seed {options.Seed} --only {number}: {peerCase.Operation} {peerCase.Description}, {rig.Backend} {rig.Precision}: {outcome.Failure}");
            }
            done++;
            failed += fails ? 1 : 0;
            double seconds = clock.Elapsed.TotalSeconds;
            if (seconds - told < ProgressSeconds)
                continue;
            told = seconds;
            Console.Error.WriteLine($"{done:N0} of {numbers.Count:N0} cases, {done / seconds:0.0} a second, {failed} failed");
        }
        foreach (var rig in processor.Concat(emulated))
            rig.Close();
        table.Print(Console.Out);
        if (options.Control)
            Console.WriteLine($"control: what libtorch sees was moved by {Moved}; {failed} of {done} cases noticed, at least half must");
        Console.WriteLine($"{done} cases, {failed} failed");
        return options.Control ? 2 * failed >= done ? Passed : Failed : failed == 0 ? Passed : Failed;
    }

    private static int Refuse(string reason)
    {
        Console.Error.WriteLine(reason);
        return Unusable;
    }
}
