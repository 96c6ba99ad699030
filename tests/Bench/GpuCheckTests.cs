using System.Text.Json;
using Avedis.Bench;
using Avedis.Bench.Kernels;
using Avedis.Trainer.Benchmark;
using Avedis.Trainer;
using NUnit.Framework;

namespace Avedis.Tests;

public sealed class GpuCheckTests
{
    private string folder = "";

    [SetUp]
    public void SetUp() => folder = Directory.CreateTempSubdirectory("avedis-check").FullName;

    [TearDown]
    public void TearDown() => Directory.Delete(folder, recursive: true);

    private void Put(string name, string content)
    {
        string path = Path.Combine(folder, name);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllText(path, content);
    }

    [TestCase("========= ERROR SUMMARY: 3 errors", 3)]
    [TestCase("========= ERROR SUMMARY: 1 error", 1)]
    [TestCase("========= RACECHECK SUMMARY: 2 hazards displayed (1 error, 1 warning)", 2)]
    [TestCase("========= ERROR SUMMARY: 0 errors\n========= ERROR SUMMARY: 4 errors", 4)]
    [TestCase("========= COMPUTE-SANITIZER\nkilled", null)]
    public void The_errors_of_the_sanitizer_are_counted_over_its_processes(string log, int? errors) =>
        Assert.That(GpuCheck.SanitizerErrors(log), Is.EqualTo(errors));

    [TestCase("cuda        NVIDIA H100, sm_90", "NVIDIA H100, sm_90")]
    [TestCase("cuda        MISSING: device cuda: no driver", "unknown")]
    [TestCase("cpu         oneDNN", "unknown")]
    public void The_device_is_what_doctor_calls_it(string line, string device) =>
        Assert.That(GpuCheck.DeviceOf(["avedis      0.1.0", line, "ready"]), Is.EqualTo(device));

    [Test]
    public void Everything_that_the_parts_left_is_in_one_file_and_one_table()
    {
        Put("doctor.txt", "cuda        A GPU, sm_90\n");
        Put("parts.tsv", "doctor\tpassed\t1\ntests\tpassed\t60.5\ntrain fp32\tpassed\t12.26\nsanitizer\tskipped\t0\tnot asked for\n");
        Put("tests.jsonl", """
            {"kind":"part","name":"tests fp32"}
            {"kind":"started","name":"Ops.AdamTests.Step"}
            {"kind":"ended","name":"Ops.AdamTests.Step","outcome":"Passed","seconds":0.1}
            {"kind":"ended","name":"Ops.AdamTests.Other","outcome":"Skipped","text":"not here"}

            """);
        Put("sanitizer-memcheck.log", "========= ERROR SUMMARY: 0 errors\n");
        Put("train/fp32/summary.json", """{"emotion_macro_f1": 0.5, "emotion_accuracy": 0.75, "speaker_accuracy": null, "train_clips_per_second": 1000, "precision": "fp32"}""");
        Put("cpu-summary.json", """{"emotion_macro_f1": 0.952, "precision": "fp32"}""");
        ResultTable.Write(folder, new ResultFile("A GPU", "a machine", "1.0", 1, [new(
            "avedis", "1", "demo", "fp32", 32, 2, 6400, 0.005, 1 << 20, [2.5], 10, 5, 0, "2020-01-02")]));
        new BenchReport("A GPU", "a machine", "1", "demo", "bf16", 32, 5, 6400, 0.005, 1 << 20, 1 << 20,
            [new OpRow("conv2d forward", "a", "[1]", 100, 0.5, 300, 10), new OpRow("conv2d forward", "b", "[1]", 300, 0.5, 100, 30)]).Write(folder);
        KernelTable.Write(folder, new KernelFile("A GPU", "a machine", "1", "2020-01-02", 7, [], [
            new("paper", "bf16", 16, "face.conv3", "conv2d forward", "[1]", [new("cuDNN", "9.1.0", "algorithm 1", 180)], 200, 160)]));

        var check = GpuCheck.Read(folder);
        Assert.That(check.Passed);
        Assert.That(check.Emulated, Is.False);
        Assert.That(check.Training, Is.EqualTo(new[]
        {
            new TrainingScore("cpu", "fp32", null, null, 0.952, null, null), new TrainingScore("cuda", "fp32", 12.26, 1000, 0.5, 0.75, null),
        }));

        check.Write(folder);
        var json = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, "check-gpu.json"))).RootElement;
        Assert.That(json.GetProperty("device").GetString(), Is.EqualTo("A GPU, sm_90"));
        Assert.That(json.GetProperty("steps")[0].GetProperty("clips_per_second").GetDouble(), Is.EqualTo(6400));
        Assert.That(json.GetProperty("operations")[0].GetProperty("ops").GetArrayLength(), Is.EqualTo(2));
        string table = File.ReadAllText(Path.Combine(folder, "check-gpu.md"));
        Assert.That(table, Does.Contain("| sanitizer | skipped | 0 | not asked for |"));
        Assert.That(table, Does.Contain("tests fp32: 1 passed, 0 failed, 1 skipped, 0 not tried."));
        Assert.That(table, Does.Contain("| memcheck | 0 |"));
        Assert.That(table, Does.Contain("| cuda | fp32 | 12.3 | 1000.0 | 0.500 | 0.750 |  |"));
        Assert.That(json.GetProperty("kernels")[0].GetProperty("peers")[0].GetProperty("microseconds").GetDouble(), Is.EqualTo(180));
        Assert.That(table, Does.Contain("| conv2d forward | face.conv3 | [1] | 200.0 | 80 % | cuDNN | 180.0 | 0.90 | algorithm 1 |"));
        // 300 GFLOP/s for 100 us and 100 for 300 us are 60 MFLOP in 400 us
        Assert.That(table, Does.Contain("| conv2d forward | 400.0 | 100.0 % | 150 | 25.0 |"));
    }

    [TestCase("tests\tfailed\t1\t3 failed")]
    [TestCase("tests\ttimeout\t60\tlimit")]
    [TestCase("tests\tskipped\t0\tnot chosen")]
    [TestCase("tests\tpassed\t1\t\nstep\tnot tried\t0\ta test hung")]
    public void A_part_that_fails_or_nothing_that_passes_fails_the_check(string part)
    {
        Put("parts.tsv", part + "\n");
        Assert.That(GpuCheck.Read(folder).Passed, Is.False);
    }

    [Test]
    public void A_rehearsal_says_that_no_gpu_took_part()
    {
        Put("doctor.txt", "cuda        Emulated device, sm_80 (/tmp/libcuda_emulated.so)\n");
        Put("parts.tsv", "doctor\tpassed\t1\n");
        Assert.That(GpuCheck.Read(folder).Markdown(), Does.StartWith("# Rehearsal").And.Contain("No GPU took part"));
    }

    [Test]
    public void A_failing_test_is_named_with_the_first_line_of_its_reason()
    {
        Put("parts.tsv", "tests\tfailed\t1\n");
        Put("tests.jsonl", """
            {"kind":"ended","name":"Ops.AdamTests.Step","outcome":"Failed","seconds":1,"text":"off by 3\nat index 5"}

            """);
        var check = GpuCheck.Read(folder);
        Assert.That(check.Markdown(), Does.Contain("- Ops.AdamTests.Step: off by 3\n"));
        Assert.That(check.Brief(), Does.Contain("Ops.AdamTests.Step: off by 3\n"));
    }

    [Test]
    public void A_log_that_somebody_was_killed_over_names_the_test_that_ran()
    {
        Put("parts.tsv", "tests bf16\ttimeout\t1\n");
        Put("tests.jsonl", """
            {"kind":"part","name":"tests bf16"}
            {"kind":"ended","name":"a","outcome":"Hung","text":"no end"}
            {"kind":"ended","name":"b","outcome":"NotTried","text":"not tried: a hung"}
            {"kind":"started","name":"c"}
            {"kind":"en
            """);
        var part = GpuCheck.Read(folder).Tests.Single();
        Assert.That((part.Name, part.Passed, part.NotTried, part.UnderWay), Is.EqualTo(("tests bf16", 0, 1, "c")));
        Assert.That(part.Failures, Is.EqualTo(new[] { new TestFailure("a", "no end") }));
        Assert.That(GpuCheck.Read(folder).Brief(), Does.Contain("c: was running when tests bf16 was ended"));
        Put("tests.jsonl", "{\"kind\":\"en\n{\"kind\":\"started\",\"name\":\"c\"}\n");
        Assert.That(() => GpuCheck.Read(folder), Throws.TypeOf<UserException>().With.Message.Contains("damaged"), "in the middle");
    }

    [TestCase(30, 20, true)]
    [TestCase(60, 300, true)]
    [TestCase(1000, 300, false)]
    public void The_end_of_the_output_is_the_table_of_parts_however_long_it_is(int parts, int note, bool all)
    {
        Put("parts.tsv", string.Concat(Enumerable.Range(0, parts).Select(i =>
            $"part {i}\t{(i % 2 == 0 ? "passed" : "failed")}\t1\t{new string('x', note)}\n")));
        Put("tests.jsonl", string.Concat(Enumerable.Range(0, 1000).Select(i =>
            $"{{\"kind\":\"ended\",\"name\":\"test {i}\",\"outcome\":\"Failed\",\"text\":\"{new string('y', 2000)}\"}}\n")));
        string brief = GpuCheck.Read(folder).Brief();
        Assert.That(brief, Has.Length.LessThanOrEqualTo(GpuCheck.BriefCharacters));
        string[] rows = brief.Split('\n', StringSplitOptions.RemoveEmptyEntries)[^(all ? parts : 50)..];
        Assert.That(rows, Is.All.StartsWith("| part "));
        Assert.That(brief, all ? Does.Contain("| part 0 | passed ") : Does.Contain("500 parts passed").And.Contain("| part 1 | failed "));
    }

    [Test]
    public void Another_folder_is_refused()
    {
        Assert.That(Assert.Throws<UserException>(() => GpuCheck.Read(folder))!.Message, Does.Contain("was not written by check-gpu"));
        Put("parts.tsv", "no tabs here\n");
        Assert.That(Assert.Throws<UserException>(() => GpuCheck.Read(folder))!.Message, Does.Contain("damaged"));
    }
}
