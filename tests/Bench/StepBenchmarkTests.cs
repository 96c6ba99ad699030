using System.Runtime.InteropServices;
using Avedis.Bench;
using Avedis.Tests.Ops;
using Avedis.Trainer;
using Avedis.Trainer.Benchmark;
using NUnit.Framework;

namespace Avedis.Tests;

[NonParallelizable]
public sealed class StepBenchmarkTests
{
    private static readonly Dictionary<string, string> NoVariables = [];

    private static EngineReport Report(string engine, string precision, params double[] losses) =>
        new(engine, "1", "demo", precision, 8, 2, losses, 1000);

    [Test]
    public void Engines_whose_first_losses_agree_are_compared()
    {
        var ours = Report("avedis", "fp32", 2.3950, 2.3840, 2.2837);
        Assert.DoesNotThrow(() => StepBenchmark.CompareLosses(ours, Report("pytorch", "fp32", 2.3951, 2.3839)));
    }

    [TestCase(2.40, 2.38)]
    [TestCase(2.395, 2.40)]
    [TestCase(2.395, double.NaN)]
    public void Engines_whose_first_losses_differ_are_not_compared(double first, double second)
    {
        var failure = Assert.Throws<UserException>(
            () => StepBenchmark.CompareLosses(Report("avedis", "fp32", 2.395, 2.384), Report("pytorch", "fp32", first, second)));
        Assert.That(failure!.Message, Does.StartWith("the engines do different work"));
    }

    [Test]
    public void Bf16_losses_may_differ_by_what_its_rounding_costs() =>
        Assert.DoesNotThrow(() => StepBenchmark.CompareLosses(Report("avedis", "bf16", 2.40), Report("pytorch", "bf16", 2.43)));

    [TestCase(2.41)]
    public void Tf32_losses_may_differ_by_more_than_fp32_ones(double loss)
    {
        Assert.DoesNotThrow(() => StepBenchmark.CompareLosses(Report("avedis", "tf32", 2.40), Report("pytorch", "tf32", loss)));
        Assert.Throws<UserException>(() => StepBenchmark.CompareLosses(Report("avedis", "fp32", 2.40), Report("pytorch", "fp32", loss)));
    }

    [Test]
    public void An_engine_is_started_asked_for_steps_and_ended()
    {
        const string Script = """
            echo '{"engine":"fake","version":"1","preset":"demo","precision":"fp32","batch":8,"threads":2,"losses":[2.5],"peak_bytes":7}'
            while read n; do echo "{\"seconds\":[$n],\"peak_bytes\":9}"; done
            """;
        using var engine = EngineProcess.Start("fake", "/bin/sh", ["-c", Script], NoVariables, TimeSpan.FromSeconds(30));
        Assert.That(engine.Report.Losses, Is.EqualTo(new[] { 2.5 }));
        Assert.That(engine.Report.SecondsPerStep, Is.Null);
        Timing timing = engine.Run(3);
        Assert.That(timing.Seconds, Is.EqualTo(new[] { 3.0 }));
        Assert.That(timing.PeakBytes, Is.EqualTo(9));
    }

    // a peer that says how often it was started, with which arguments, and reports whatever setting it is asked for
    private const string PeerScript = """
        echo started "$@" >>"$STARTS"
        rest='"version":"1","preset":"demo","precision":"fp32","batch":1,"threads":2,"peak_bytes":7'
        report() {
            [ "$1" = differs ] && losses=1000 || losses=
            echo "{\"engine\":\"$1\",\"losses\":[$losses],$rest}"
        }
        report "$3"
        while read -r line; do
            case $line in
                *dies*) echo 'out of memory' >&2; exit 1 ;;
                \[*) name=${line#*--mode\",\"}; report "${name%%\"*}" ;;
                *) echo '{"seconds":[0.5],"peak_bytes":9}' ;;
            esac
        done
        """;

    [Test]
    public void An_engine_takes_another_setting_in_the_same_process()
    {
        string starts = Path.GetTempFileName();
        var variables = new Dictionary<string, string> { ["STARTS"] = starts };
        using (var engine = EngineProcess.Start("fake", "/bin/bash", ["-c", PeerScript, "fake", "--serve", "--mode", "first"], variables,
            TimeSpan.FromSeconds(30)))
        {
            Assert.That(engine.Report.Engine, Is.EqualTo("first"));
            engine.Switch("fake", ["--serve", "--mode", "second"], TimeSpan.FromSeconds(30));
            Assert.That(engine.Report.Engine, Is.EqualTo("second"));
            Assert.That(engine.Run(1).Seconds, Is.EqualTo(new[] { 0.5 }));
            var failure = Assert.Throws<EngineAbsentException>(() => engine.Switch("third", ["--mode", "dies"], TimeSpan.FromSeconds(30)));
            Assert.That(failure!.Message, Is.EqualTo("third: out of memory"));
        }
        Assert.That(File.ReadLines(starts).Count(), Is.EqualTo(1));
        File.Delete(starts);
    }

    [Test]
    [Category(Tier.Long)]
    public void On_a_gpu_our_figure_is_kept_before_a_peer_starts_and_one_process_does_for_all_modes()
    {
        if (Emulation.AbsenceToPrograms is { } absence)
            Assert.Ignore(absence);
        Emulation.Choose();
        var folder = Directory.CreateTempSubdirectory("avedis-step");
        string script = Path.Combine(folder.FullName, "peer"), starts = Path.Combine(folder.FullName, "starts");
        File.WriteAllText(script, PeerScript);
        File.WriteAllText(starts, "");
        var variables = new Dictionary<string, string> { ["STARTS"] = starts };
        Peer[] peers =
        [
            .. new[] { "differs", "first", "dies" }.Select(
                mode => new Peer(mode, "/bin/bash", [script, "--serve", "--mode", mode], variables) { Switches = true }),
        ];
        var kept = new List<(string Engines, int Starts)>();
        void Keep(ResultFile sofar) => kept.Add((string.Join(' ', sofar.Rows.Select(row => row.Engine)), File.ReadLines(starts).Count()));
        var options = new StepOptions("cuda", 2, peers, InstructionSet.Native, 1, 0, 1, TimeSpan.FromMinutes(5), 0);
        using (var benchmark = new StepBenchmark(options, TextWriter.Null))
        {
            var failure = Assert.Throws<UserException>(() => benchmark.Run("demo", 1, "fp32", Keep));
            Assert.That(failure!.Message, Does.StartWith("the engines do different work").And.Contain("in differs"));
        }
        folder.Delete(recursive: true);
        Assert.That(kept, Is.EqualTo(new[] { ("avedis", 0), ("avedis first", 1) }));
    }

    [Test]
    public void Batches_in_a_file_are_those_of_the_formula()
    {
        var size = new GoldenBatchSize(2, 3, 8, 4, 16, 5, 6);
        string file = Path.GetTempFileName();
        GoldenFormula.WriteBatches(file, size);
        byte[] bytes = File.ReadAllBytes(file);
        File.Delete(file);
        const int Faces = 2 * 3 * 8 * 8, Mels = 2 * 4 * 16 * 4, Labels = 2 * 8;
        Assert.That(bytes, Has.Length.EqualTo(2 * (Faces + Mels + 2 * Labels)));
        var second = bytes.AsSpan(bytes.Length / 2);
        Assert.That(second[..Faces].ToArray(), Is.EqualTo(GoldenFormula.Faces(1, size)));
        Assert.That(MemoryMarshal.Cast<byte, float>(second.Slice(Faces, Mels)).ToArray(), Is.EqualTo(GoldenFormula.Mels(1, size)));
        Assert.That(MemoryMarshal.Cast<byte, long>(second.Slice(Faces + Mels, Labels)).ToArray(),
            Is.EqualTo(GoldenFormula.EmotionLabels(1, size)));
        Assert.That(MemoryMarshal.Cast<byte, long>(second[(Faces + Mels + Labels)..]).ToArray(),
            Is.EqualTo(GoldenFormula.SpeakerLabels(1, size)));
    }

    [Test]
    public void An_engine_that_fails_to_start_says_why_in_one_line()
    {
        var failure = Assert.Throws<EngineAbsentException>(() => EngineProcess.Start(
            "fake", "/bin/sh", ["-c", "echo Traceback >&2; echo 'ModuleNotFoundError: no torch' >&2; exit 1"], NoVariables, TimeSpan.FromSeconds(30)));
        Assert.That(failure!.Message, Is.EqualTo("fake: ModuleNotFoundError: no torch"));
    }

    [Test]
    public void An_engine_without_its_program_says_so()
    {
        var failure = Assert.Throws<EngineAbsentException>(
            () => EngineProcess.Start("fake", "/nowhere/python3", [], NoVariables, TimeSpan.FromSeconds(30)));
        Assert.That(failure!.Message, Does.StartWith("fake: /nowhere/python3 cannot be started"));
    }

    [Test]
    public void An_engine_that_never_gets_ready_is_given_up()
    {
        var failure = Assert.Throws<EngineAbsentException>(
            () => EngineProcess.Start("fake", "/bin/sh", ["-c", "exec sleep 60"], NoVariables, TimeSpan.FromMilliseconds(200)));
        Assert.That(failure!.Message, Does.Contain("given up"));
    }

    [Test]
    public void Busy_seconds_are_those_of_the_processors_that_we_may_use()
    {
        string[] stat = ["cpu  9 9 9 9 9 9 9 9 0 0", "cpu0 100 20 30 5000 7 1 2 3 50 0", "cpu1 1000 0 0 1 0 0 0 0 0 0", "cpu10 0 0 600 0 0 0 0 0 0 0", "ctxt 1"];
        Assert.That(ProcessorLoad.BusySeconds(stat, new HashSet<int> { 0, 10 }), Is.EqualTo((100 + 20 + 30 + 1 + 2 + 3 + 600) / 100.0).Within(1e-9));
    }

    [Test]
    public void A_list_of_processors_is_read()
    {
        Assert.That(ProcessorLoad.Allowed(["Name:\tx", "Cpus_allowed_list:\t0-2,8"]), Is.EquivalentTo(new[] { 0, 1, 2, 8 }));
    }

    [Test]
    public void An_engine_gets_the_variables_that_it_is_started_with()
    {
        const string Script = """
            echo "{\"engine\":\"$DNNL_MAX_CPU_ISA\",\"version\":\"$HOME\",\"preset\":\"demo\",\"precision\":\"fp32\",\"batch\":8,\"threads\":2,\"losses\":[],\"peak_bytes\":7}"
            """;
        using var engine = EngineProcess.Start("fake", "/bin/sh", ["-c", Script], InstructionSet.Environment("avx2"), TimeSpan.FromSeconds(30));
        Assert.That((engine.Report.Engine, engine.Report.Version), Is.EqualTo(("AVX2", Environment.GetEnvironmentVariable("HOME") ?? "")));
    }

    [Test]
    public void Every_cap_but_native_names_a_set_to_every_library()
    {
        Assert.That(InstructionSet.Environment(InstructionSet.Native), Is.Empty);
        foreach (string cap in InstructionSet.Choices.Where(cap => cap != InstructionSet.Native))
            Assert.That(
                InstructionSet.Environment(cap).Keys,
                Is.SupersetOf(new[] { "DNNL_MAX_CPU_ISA", "ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY" }), cap);
    }

    [Test]
    public void A_peer_that_is_not_installed_says_so()
    {
        var failure = Assert.Throws<EngineAbsentException>(() => PyTorchPeers.Find(["/nowhere/python3"], [], "cpu"));
        Assert.That(failure!.Message, Does.StartWith("pytorch: no interpreter of /nowhere/python3 can import torch"));
    }

    [Test]
    public void PyTorch_takes_part_in_every_mode_that_the_installed_version_has()
    {
        // one that has nothing to say of the question what it has, and one that repeats it
        const string Older = "/bin/true", Newer = "/bin/echo";
        string[] Names(string interpreter, string device, params string[] modes) => [.. PyTorchPeers.Find([interpreter], modes, device).Select(peer => peer.Name)];

        Assert.That(Names(Older, "cpu"), Is.EqualTo(new[] { "pytorch-eager-nchw", "pytorch-channels-last" }));
        Assert.That(Names(Newer, "cpu"), Is.EqualTo(new[] { "pytorch-eager-nchw", "pytorch-channels-last", "pytorch-compile" }));
        Assert.That(Names(Newer, "cuda"), Has.Length.EqualTo(4).And.Contains("pytorch-cuda-graph"));
        Assert.That(Names(Newer, "cpu", "channels-last"), Is.EqualTo(new[] { "pytorch-channels-last" }));
    }

    [Test]
    public void TorchSharp_takes_part_in_bf16_by_casts_alone()
    {
        Peer[] peers = [.. TorchSharpPeers.Modes.Select(mode => TorchSharpPeers.Start("peer.dll", mode, "cpu"))];
        string[] Taking(string precision) => [.. peers.Where(peer => peer.Takes(precision)).Select(peer => peer.Name)];
        Assert.That(Taking("fp32"), Is.EqualTo(new[] { "torchsharp-eager-nchw", "torchsharp-channels-last" }));
        Assert.That(Taking("bf16"), Is.EqualTo(new[] { "torchsharp-bf16-cast" }));
        Assert.That(peers[1].Arguments, Is.EqualTo(new[] { "peer.dll", "step", "--device", "cpu", "--mode", "channels-last" }));
        Assert.That(PyTorchPeers.Find(["/bin/true"], [], "cpu").All(peer => peer.Takes("fp32") && peer.Takes("bf16")));
    }

    // a peer whose steps take 0.3 s as it comes and 0.1 s where glibc keeps blocks and threads wait as they come; or 0.2 s in any case
    private const string TriedPeer = """
        echo "$1" >>"$STARTS"
        seconds=0.3
        [ -z "$MALLOC_MMAP_MAX_" ] || seconds=0.1
        [ -z "$GOMP_SPINCOUNT" ] || seconds=0.4
        [ "$1" = varies ] || seconds=0.2
        rest='"version":"1","preset":"demo","precision":"fp32","batch":1,"threads":2,"losses":[]'
        echo "{\"engine\":\"$1\",$rest,\"peak_bytes\":$PEAK}"
        while read -r line; do echo "{\"seconds\":[$seconds],\"peak_bytes\":$PEAK}"; done
        """;

    [TestCase(2)]
    [TestCase(0)]
    public void A_peer_takes_part_with_the_settings_that_suit_it_and_the_table_has_it_as_it_comes_too(int trialSteps)
    {
        string starts = Path.GetTempFileName();
        var variables = new Dictionary<string, string> { ["STARTS"] = starts, ["PEAK"] = "7" };
        Peer Of(string name) => new(name, "/bin/bash", ["-c", TriedPeer, "peer", name], variables);
        Peer[] peers = [Of("varies"), Of("does not"), Of("bf16 only") with { Precisions = ["bf16"] }];
        var options = new StepOptions("cpu", 2, peers, InstructionSet.Native, 1, 0, double.PositiveInfinity, TimeSpan.FromMinutes(2),
            trialSteps);
        ResultRow[] rows;
        using (var benchmark = new StepBenchmark(options, TextWriter.Null))
            rows = benchmark.Run("demo", 1, "fp32", _ => { }).Rows;
        string[] started = File.ReadAllLines(starts);
        File.Delete(starts);

        Assert.That(rows.Select(row => row.Engine), Is.EqualTo(new[] { "avedis", "varies", "does not" }));
        Assert.That(rows.Select(row => row.SecondsAsItComes), Is.EqualTo(new double?[] { null, 0.3, 0.2 }));
        Assert.That(rows.Skip(1).Select(row => row.SecondsPerStep), Is.EqualTo(new[] { trialSteps == 0 ? 0.3 : 0.1, 0.2 }));
        Assert.That(rows[1].Note, Is.EqualTo(trialSteps == 0 ? null : "MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=68719476736"));
        Assert.That(rows[2].Note, Is.Null);
        Assert.That(started, Has.Length.EqualTo(trialSteps == 0 ? 2 : 2 * (1 + PeerSettings.All.Count)).And.None.EqualTo("bf16 only"));
    }

    [Test]
    public void Peers_that_memory_does_not_hold_at_once_take_turns_with_us_one_after_the_other()
    {
        var variables = new Dictionary<string, string> { ["STARTS"] = "/dev/null", ["PEAK"] = $"{1L << 50}" };
        Peer Of(string name) => new(name, "/bin/bash", ["-c", TriedPeer, "peer", name], variables);
        Peer[] peers = [Of("first"), Of("second")];
        var options = new StepOptions("cpu", 2, peers, InstructionSet.Native, 1, 0, double.PositiveInfinity, TimeSpan.FromMinutes(2), 0);
        using var benchmark = new StepBenchmark(options, TextWriter.Null);
        var rows = benchmark.Run("demo", 1, "fp32", _ => { }).Rows;
        Assert.That(rows.Select(row => (row.Engine, row.Steps)), Is.EqualTo(new[] { ("avedis", 2), ("first", 1), ("second", 1) }));
    }

    [Test]
    public void What_a_build_says_becomes_one_line()
    {
        Assert.That(
            Tool.FirstError("  Determining projects\n/a/b.csproj : error NU1101: Unable to find package X. [/a/b.csproj]\nmore : error NU1102: y"),
            Is.EqualTo("NU1101: Unable to find package X. [/a/b.csproj]"));
        Assert.That(Tool.FirstError(""), Is.EqualTo("without a word"));
    }

    [TestCase("--rounds", "0", "--rounds is 0; it has to be 1 or more.")]
    [TestCase("--batch", "-3", "--batch is -3; it has to be 1 or more.")]
    [TestCase("--peers", "pytorch,jax", "--peers: 'jax' is none of pytorch, torchsharp, none.")]
    [TestCase("--mode", "fast", "--mode: 'fast' is none of eager-nchw, channels-last, compile, cuda-graph, bf16-cast.")]
    [TestCase("--isa", "avx3", "avx3")]
    public void A_wrong_option_is_one_line_and_the_exit_code_of_usage(string option, string value, string message)
    {
        using StringWriter output = new(), error = new();
        Assert.That(Commands.Run(["step", option, value], output, error), Is.EqualTo(ExitCode.Usage));
        Assert.That(error.ToString().TrimEnd(), Does.StartWith("bench: ").And.Contain(message).And.EndWith("(try: step --help)").And.Not.Contain("\n"));
    }
}
