using Avedis.Engine;
using NUnit.Framework;

namespace Avedis.Tests.Ops;

/// <summary>How convolutions are laid out for the GPU: what the numbers of the kernels' arguments must satisfy.</summary>
public sealed class Conv2dPlanTests
{
    private static readonly DType[] activations = [DType.F32, DType.BF16];

    [Test]
    public void A_fast_divisor_divides_every_integer_of_31_bits()
    {
        var random = new Random(1);
        int[] divisors = [.. Enumerable.Range(1, 300), (1 << 30) - 1, 1 << 30, (1 << 30) + 1, int.MaxValue - 1, int.MaxValue];
        foreach (int divisor in divisors)
        {
            var fast = FastDivisor.Of(divisor);
            long last = int.MaxValue / divisor * (long)divisor;
            long[] around = [0, 1, divisor - 1, divisor, divisor + 1L, last - 1, last, last + 1, int.MaxValue - 1, int.MaxValue];
            foreach (long x in around.Concat(Enumerable.Range(0, 100).Select(_ => random.NextInt64(1L << 31))).Where(x => x is >= 0 and <= int.MaxValue))
                Assert.That((ulong)x * fast.Multiplier >> fast.Shift, Is.EqualTo((ulong)(x / divisor)), $"{x} / {divisor}");
        }
    }

    [Test]
    public void The_tests_of_the_passes_meet_every_kernel_with_slices_and_without()
    {
        var gathers = new HashSet<(DType, int Columns, bool General, bool Slices)>();
        var weights = new HashSet<(DType, int Tile, bool General, bool Slices)>();
        foreach (var geometry in Conv2dTests.Geometries)
            foreach (var act in activations)
            {
                var plan = new Conv2dPlan(geometry, act, hopper: false);
                foreach (var pass in new[] { plan.Forward, plan.BackwardData })
                    gathers.Add((act, pass.TileColumns, pass.General, pass.Slices > 1));
                weights.Add((act, plan.WeightTile, plan.WeightGeneral, plan.WeightSlices > 1));
            }
        Assert.Multiple(() =>
        {
            foreach (var act in activations)
                foreach (bool general in new[] { false, true })
                    foreach (bool slices in new[] { false, true })
                    {
                        foreach (int columns in new[] { 128, 96, 64, 32 })
                            Assert.That(gathers, Does.Contain((act, columns, general, slices)));
                        foreach (int tile in new[] { 128, 64 })
                            Assert.That(weights, Does.Contain((act, tile, general, slices)));
                    }
        });
    }

    [Test]
    public void They_meet_every_kernel_for_Hopper_too()
    {
        var gathers = new HashSet<(int Rows, int Columns)>();
        var weights = new HashSet<int>();
        bool slicedGather = false, slicedWeight = false;
        foreach (var geometry in Conv2dTests.Geometries.Concat(Conv2dTests.LargeGeometries))
        {
            var plan = new Conv2dPlan(geometry, DType.BF16, hopper: true);
            foreach (var pass in new[] { plan.Forward, plan.BackwardData }.Where(pass => pass.Hopper))
            {
                gathers.Add((pass.TileRows, pass.TileColumns));
                slicedGather |= pass.Slices > 1;
            }
            if (plan.WeightHopper)
            {
                weights.Add(plan.WeightTile);
                slicedWeight |= plan.WeightSlices > 1;
            }
            Assert.That(new Conv2dPlan(geometry, DType.F32, hopper: true), Has.Property(nameof(Conv2dPlan.WeightHopper)).False, "BF16 only");
        }
        Assert.Multiple(() =>
        {
            Assert.That(gathers, Is.EquivalentTo(new[] { (128, 256), (128, 192), (256, 128), (256, 96), (256, 64) }));
            Assert.That(weights, Is.EquivalentTo(new[] { 256, 128 }));
            Assert.That((slicedGather, slicedWeight), Is.EqualTo((true, true)));
        });
    }

    [Test]
    public void The_tests_of_moments_meet_every_kernel_that_leaves_any()
    {
        var gathers = new HashSet<(DType, int Columns, bool General)>();
        var hopper = new HashSet<(int Rows, int Columns)>();
        foreach (var geometry in MomentsTests.Geometries.Concat(MomentsTests.LargeGeometries))
            foreach (var act in activations)
            {
                var plan = new Conv2dPlan(geometry, act, hopper: false);
                if (plan.MomentRows > 0)
                    gathers.Add((act, plan.Forward.TileColumns, plan.Forward.General));
                plan = new Conv2dPlan(geometry, act, hopper: true);
                if (plan.MomentRows > 0 && plan.Forward.Hopper)
                    hopper.Add((plan.Forward.TileRows, plan.Forward.TileColumns));
            }
        Assert.That(gathers, Has.Count.EqualTo(2 * 4 * 2));
        Assert.That(hopper, Is.EquivalentTo(new[] { (128, 256), (128, 192), (256, 128), (256, 96), (256, 64) }));
    }

    [TestCaseSource(typeof(Conv2dTests), nameof(Conv2dTests.Geometries))]
    public void The_classes_of_the_gradient_of_x_cover_every_pixel_once(Conv2dGeometry geometry)
    {
        var plan = new Conv2dPlan(geometry, DType.F32, hopper: false);
        var g = plan.Geometry;
        var pixels = new HashSet<(int H, int W)>();
        foreach (var each in plan.BackwardData.Classes)
            for (int i = 0; i < each.Image.Divisor; i++)
                Assert.That(
                    pixels.Add((i / each.Row.Divisor * each.OutStrideH + each.OutOffsetH, i % each.Row.Divisor * each.OutStrideW + each.OutOffsetW)),
                    "a pixel in two classes");
        Assert.That(pixels, Has.Count.EqualTo(g.H * g.W));
        Assert.That(pixels.All(p => p.H < g.H && p.W < g.W), Is.True, "a pixel outside");
        Assert.That(g.Output.Count, Is.EqualTo(geometry.Output.Count), "outputs of the simplified geometry");
    }

    /// <summary>The network's layers at 16 clips: what a change of the rules would make slow, not wrong.</summary>
    [Test]
    public void Layers_of_few_tiles_are_sliced_and_wide_windows_do_not_multiply_padding()
    {
        var conv6 = new Conv2dPlan(new(800, 6, 6, 256, 512, 6, 6, 1, 1, 0, 0), DType.BF16, hopper: false);
        Assert.That((conv6.Forward.TileColumns, conv6.Forward.Slices), Is.EqualTo((128, 9)));
        Assert.That(conv6.BackwardData.Classes.Single().Depth, Is.EqualTo(512), "a plain product");
        var voice6 = new Conv2dPlan(new(16, 4, 300, 256, 512, 4, 1, 1, 1, 0, 0), DType.BF16, hopper: false);
        Assert.That(voice6.BackwardData.Classes.Select(each => each.Depth), Is.All.EqualTo(512), "each row of x meets one tap");
        var conv3 = new Conv2dPlan(new(800, 13, 13, 256, 256, 3, 3, 1, 1, 1, 1), DType.BF16, hopper: false);
        Assert.That((conv3.Forward.Slices, conv3.BackwardData.Slices, conv3.WeightSlices), Is.EqualTo((1, 1, 14)));
        Assert.That(conv3.WorkspaceBytes, Is.EqualTo(14L * 256 * 2304 * 4));
    }

    /// <summary>The same on a Hopper: a block on each of 132 multiprocessors.</summary>
    [Test]
    public void On_a_Hopper_tiles_are_wide_and_their_rounds_full()
    {
        var conv2 = new Conv2dPlan(new(800, 54, 54, 96, 256, 5, 5, 2, 2, 1, 1), DType.BF16, hopper: true);
        Assert.That((conv2.Forward.TileColumns, conv2.BackwardData.TileRows, conv2.BackwardData.TileColumns), Is.EqualTo((256, 256, 96)));
        var conv3 = new Conv2dPlan(new(800, 13, 13, 256, 256, 3, 3, 1, 1, 1, 1), DType.BF16, hopper: true);
        Assert.That((conv3.Forward.TileColumns, conv3.Forward.Slices, conv3.WeightTile, conv3.WeightTiles, conv3.WeightSlices), Is.EqualTo((256, 1, 256, 18, 7)));
        Assert.That(conv3.Forward.PreparedElements, Is.EqualTo(256 * 2304));
        var conv6 = new Conv2dPlan(new(800, 6, 6, 256, 512, 6, 6, 1, 1, 0, 0), DType.BF16, hopper: true);
        Assert.That((conv6.Forward.TileColumns, conv6.Forward.Slices), Is.EqualTo((256, 9)));
        var voice3 = new Conv2dPlan(new(16, 9, 594, 256, 384, 3, 3, 1, 1, 1, 1), DType.BF16, hopper: true);
        Assert.That((voice3.Forward.TileRows, voice3.Forward.TileColumns, voice3.Forward.ColumnTiles), Is.EqualTo((256, 128, 3)));
    }
}
