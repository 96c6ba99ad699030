using Avedis.Bench.Kernels;
using Avedis.Engine;
using Avedis.Tests.Ops;
using NUnit.Framework;

namespace Avedis.Tests.Bench;

/// <summary>Tables of measured cuts, and what makes them.</summary>
[NonParallelizable]
public sealed class ConvolutionTuningTests
{
    private static readonly Conv2dGeometry geometry = new(2, 10, 12, 64, 128, 3, 3, 1, 1, 1, 1);
    private static readonly Conv2dPass[] passes = Enum.GetValues<Conv2dPass>();

    private static CudaBackend Open(int capability = 90, bool tf32 = false)
    {
        if (Backends.Forced is not null)
            Assert.Ignore("the emulated driver is not the one of this run");
        if (Emulation.Absence is { } absence)
            Assert.Ignore(absence);
        return (CudaBackend)Emulation.Open(tf32, capability);
    }

    private static Conv2dTuning Table(params Conv2dTuningRow[] rows) => new("sm90", "a GPU", rows);

    private static Conv2dTuningRow Row(Conv2dPass pass, Conv2dCut cut, string precision = "bf16") => new(pass, precision, geometry, cut, 1, 2);

    private static Conv2dCut CutOf(Conv2dPlan plan, Conv2dPass pass) =>
        pass == Conv2dPass.Forward ? plan.Forward.Cut : pass == Conv2dPass.BackwardData ? plan.BackwardData.Cut : plan.WeightCut;

    [TestCase(90, "bf16")]
    [TestCase(80, "bf16", Category = Tier.Long)]
    [TestCase(80, "fp32", Category = Tier.Long)]
    [TestCase(80, "tf32", Category = Tier.Long)]
    public void A_row_changes_the_plan_and_the_result_holds(int capability, string precision)
    {
        using var backend = Open(capability, tf32: precision == "tf32");
        using var tuner = new ConvolutionTuner(backend, rounds: 1, TextWriter.Null);
        using var rig = new ConvolutionRig(backend, precision, geometry);
        var plan = backend.Conv2dPlanOf(geometry, rig.Act);
        foreach (var pass in passes)
        {
            var families = new HashSet<(bool, int, int)>();
            foreach (var cut in tuner.Candidates(plan, pass, rig.Act).Where(cut => cut.Slices is 1 or 3))
            {
                backend.Tuning = Table(Row(pass, cut, precision));
                Assert.That(CutOf(backend.Conv2dPlanOf(geometry, rig.Act), pass), Is.EqualTo(cut));
                rig.Tensors.RequireWorkspace(backend.Conv2dWorkspace(geometry, rig.Act));
                Assert.DoesNotThrow(() => rig.Check(pass), $"{pass}, {cut}");
                families.Add((cut.Hopper, cut.TileRows, cut.TileColumns));
            }
            bool weights = pass == Conv2dPass.BackwardWeight;
            int ordinary = weights ? 2 : 4, hopper = weights ? 2 : 5;
            Assert.That(families, Has.Count.EqualTo(capability == 90 && precision == "bf16" ? ordinary + hopper : ordinary), $"{pass}");
        }
    }

    [Test]
    public void Other_shapes_passes_and_precisions_keep_the_plan_of_their_geometry()
    {
        var cut = new Conv2dCut(false, 128, 32, 2);
        var table = Table(Row(Conv2dPass.Forward, cut));
        var planned = new Conv2dPlan(geometry, DType.BF16, hopper: true);
        var tuned = new Conv2dPlan(geometry, DType.BF16, hopper: true, table[geometry, "bf16"]);
        Assert.That((tuned.Forward.Cut, tuned.BackwardData.Cut, tuned.WeightCut), Is.EqualTo((cut, planned.BackwardData.Cut, planned.WeightCut)));
        Assert.That(tuned.Forward.Cut, Is.Not.EqualTo(planned.Forward.Cut));
        Assert.That(table[geometry, "fp32"], Is.EqualTo(default(Conv2dCuts)));
        Assert.That(table[geometry with { N = 3 }, "bf16"], Is.EqualTo(default(Conv2dCuts)));
    }

    [TestCase(true, 128, 100, 1, "there is no such tile here")]
    [TestCase(false, 64, 64, 1, "there is no such tile here")]
    [TestCase(false, 128, 128, 0, "1 to")]
    [TestCase(false, 128, 128, 19, "the depth has 1 to 18 slices")]
    public void An_impossible_row_is_refused(bool hopper, int rows, int columns, int slices, string reason)
    {
        using var backend = Open();
        backend.Tuning = Table(Row(Conv2dPass.Forward, new(hopper, rows, columns, slices)));
        Assert.That(
            Assert.Throws<InvalidOperationException>(() => backend.Conv2dWorkspace(geometry, DType.BF16))!.Message,
            Does.StartWith("conv2d-tuning-sm90.json, bf16, Conv2dGeometry").And.Contain(reason));
    }

    [Test]
    public void A_row_that_takes_too_much_workspace_is_refused()
    {
        var large = new Conv2dGeometry(800, 54, 54, 96, 256, 5, 5, 2, 2, 1, 1);
        Assert.That(
            Assert.Throws<ArgumentException>(() => new Conv2dPlan(large, DType.BF16, hopper: true, new(null, new(true, 256, 96, 2), null)))!.Message,
            Does.Contain("bytes of workspace"));
    }

    [Test]
    public void On_a_GPU_without_Hoppers_instructions_there_are_none_of_its_tiles()
    {
        Assert.Throws<ArgumentException>(() => new Conv2dPlan(geometry, DType.BF16, hopper: false, Conv2dCuts.Of(Conv2dPass.Forward, new(true, 128, 256, 1))));
        Assert.Throws<ArgumentException>(() => new Conv2dPlan(geometry, DType.F32, hopper: true, Conv2dCuts.Of(Conv2dPass.BackwardWeight, new(true, 128, 256, 1))));
    }

    /// <summary>The tables that are part of the program: well-formed, possible, and measured on the architecture that they are for.</summary>
    [TestCase(8, 0)]
    [TestCase(9, 0)]
    public void The_committed_tables_hold_possible_rows_of_real_GPUs(int major, int minor)
    {
        string architecture = Conv2dTuning.ArchitectureOf((major, minor));
        Assert.That(typeof(Conv2dTuning).Assembly.GetManifestResourceNames(), Does.Contain(Conv2dTuning.FileName(architecture)));
        var table = Conv2dTuning.Of((major, minor));
        Assert.That(table.Architecture, Is.EqualTo(architecture));
        Assert.That(table.Device ?? "", Does.Not.Contain("emulated"));
        Assert.That(table.Device is null, Is.EqualTo(table.Rows.Length == 0), "rows have been measured somewhere");
        foreach (var row in table.Rows)
            Assert.DoesNotThrow(
                () => new Conv2dPlan(row.Geometry, row.Precision == "bf16" ? DType.BF16 : DType.F32, major == 9, Conv2dCuts.Of(row.Pass, row.Cut)), $"{row}");
    }

    [Test]
    public void A_GPU_without_a_table_has_an_empty_one() => Assert.That(Conv2dTuning.Of((12, 0)).Rows, Is.Empty);

    [Test]
    public void The_tuner_writes_a_table_that_the_engine_reads()
    {
        string folder = Directory.CreateTempSubdirectory("avedis-tuning").FullName;
        try
        {
            using var backend = Open();
            var log = new StringWriter();
            using var tuner = new ConvolutionTuner(backend, rounds: 1, log);
            var small = new Conv2dGeometry(1, 4, 5, 64, 64, 3, 3, 1, 1, 1, 1);
            var found = tuner.Tune("face.conv3", small, "bf16", passes).ToList();
            Assert.That(log.ToString(), Does.Contain("bf16 face.conv3 conv2d backward weight: planned Hopper").And.Not.Contain("WRONG"));
            Assert.That(backend.Tuning.Rows, Is.Empty, "trials leave nothing behind");
            string launches = string.Join('\n', backend.TakeLaunches());
            foreach (string tile in new[] { "hopper_gather_bf16_128x256", "hopper_gather_bf16_256x64", "gather_bf16_128x128", "gather_bf16_128x32", "hopper_weight_bf16_128x256", "weight_bf16_64x64" })
                Assert.That(launches, Does.Contain($"conv2d_{tile} "));

            // which cut is faster under emulation is chance: rows of known cuts stand for what was found
            Assert.That(found.All(each => each.Microseconds < each.PlannedMicroseconds));
            var row = new Conv2dTuningRow(Conv2dPass.Forward, "bf16", small, new(false, 128, 64, 2), 10, 20);
            string path = tuner.Write(folder, [(Conv2dPass.Forward, "bf16", small)], [row]);
            Assert.That(Path.GetFileName(path), Is.EqualTo("conv2d-tuning-sm90.json"));
            var other = row with { Pass = Conv2dPass.BackwardData };
            tuner.Write(folder, [(Conv2dPass.BackwardData, "bf16", small)], [other]);
            Assert.That(Conv2dTuning.Parse(File.ReadAllText(path)).Rows, Is.EqualTo(new[] { row, other }));
            tuner.Write(folder, [(Conv2dPass.Forward, "bf16", small)], []);
            var read = Conv2dTuning.Parse(File.ReadAllText(path));
            Assert.That(read.Rows, Is.EqualTo(new[] { other }), "a pass whose plan was best loses its row");
            Assert.That(read.Device, Does.Contain("emulated"));
            backend.Tuning = read;
            Assert.That(backend.Conv2dPlanOf(small, DType.BF16).BackwardData.Cut, Is.EqualTo(other.Cut));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }
}
