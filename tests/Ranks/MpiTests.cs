using Avedis.Engine;
using NUnit.Framework;

namespace Avedis.Tests.Ranks;

/// <summary>Who is thought to be missing. <see cref="RanksTests"/> and <see cref="NcclFaultTests"/>: that it ends a training.</summary>
public sealed class MpiTests
{
    private static readonly string[] Hosts = ["left", "right", "right"];

    private static string? Missing(double[] silent, long[] made, string? name = null, double waited = 0) => Mpi.Missing(
        0, Hosts, [.. silent.Select(TimeSpan.FromSeconds)], made, name, TimeSpan.FromSeconds(waited), silence: TimeSpan.FromSeconds(15), patience: TimeSpan.FromSeconds(60));

    [Test]
    public void All_is_well_while_all_live_and_nobody_waits_for_long()
    {
        Assert.That(Missing([0, 14, 0], [5, 3, 4]), Is.Null);
        Assert.That(Missing([0, 0, 0], [5, 3, 4], "losses", waited: 59), Is.Null);
        Assert.That(Missing([99, 0, 0], [5, 5, 5]), Is.Null, "it hears itself");
    }

    [Test]
    public void A_silent_rank_is_named_with_its_machine_and_what_is_waited_in()
    {
        Assert.That(Missing([0, 0, 16], [5, 5, 4], "losses", waited: 2), Is.EqualTo("rank 2 on right has given no sign of life for 16 s; rank 0 waits for it in losses (call 5)"));
        Assert.That(Missing([0, 16, 0], [5, 5, 5]), Is.EqualTo("rank 1 on right has given no sign of life for 16 s"));
    }

    [Test]
    public void Who_lives_but_does_not_come_is_named() =>
        Assert.That(Missing([0, 0, 0], [7, 7, 4], "losses", waited: 61), Is.EqualTo("rank 2 on right lives but has not come to losses (call 7; it has made 4) for 61 s"));

    [Test]
    public void If_all_have_come_it_is_the_network() =>
        Assert.That(Missing([0, 0, 0], [7, 7, 7], "losses", waited: 61), Does.Contain("all ranks are in losses").And.Contain("network"));

    [Test]
    public void Who_is_silent_behind_another_reason_is_named_too()
    {
        string Silent(params double[] silent) => Mpi.Silent(0, Hosts, [.. silent.Select(TimeSpan.FromSeconds)], TimeSpan.FromSeconds(1.5));
        Assert.That(Silent(9, 1, 0.5), Is.Empty);
        const string Both = "; rank 1 on right has given no sign of life for 2 s; rank 2 on right has given no sign of life for 3 s";
        Assert.That(Silent(9, 2, 3), Is.EqualTo(Both));
    }
}
