using Avedis.Engine;
using NUnit.Framework;

namespace Avedis.Tests.Ranks;

/// <summary>The slices of one process; several processes are in <see cref="RanksTests"/>.</summary>
public sealed class FixedOrderTests
{
    /// <summary>What each slice's work returns.</summary>
    private static T[] On<T>(int slices, Func<ICollective, T> work)
    {
        var ranks = FixedOrder.Create(slices, processes: null);
        var results = new T[slices];
        var failures = new Exception?[slices];
        var threads = ranks.Select((rank, i) => new Thread(() =>
        {
            try
            {
                results[i] = work(rank);
            }
            catch (Exception failure)
            {
                failures[i] = failure;
                ((FixedOrder)rank).Fail();
            }
            ((FixedOrder)rank).Leave();
        })).ToList();
        threads.ForEach(thread => thread.Start());
        foreach (var thread in threads)
            Assert.That(thread.Join(TimeSpan.FromSeconds(30)), "a slice waits for ever");
        if (failures.FirstOrDefault(failure => failure is not null and not OperationCanceledException) is { } first)
            throw first;
        return results;
    }

    [Test]
    public void Sums_are_those_of_the_slices_in_their_order([Values(1, 2, 3, 7)] int slices, [Values(0, 1, 5, 8, 1000)] int count)
    {
        var random = new Random(count);
        float[][] values = [.. Enumerable.Range(0, slices).Select(s => Enumerable.Range(0, count).Select(_ => (float)(random.NextDouble() * Math.Pow(10, random.Next(8)))).ToArray())];
        float[] expected = [.. values[0]];
        foreach (float[] next in values.Skip(1))
            for (int i = 0; i < count; i++)
                expected[i] += next[i];
        foreach (float[] sums in On(slices, rank =>
        {
            float[] own = [.. values[rank.Rank]];
            rank.AllReduce(own, "test");
            return own;
        }))
            Assert.That(sums, Is.EqualTo(expected));
    }

    [Test]
    public void Rank_0_is_heard_by_all_and_all_by_each()
    {
        var heard = On(3, rank =>
        {
            byte[] own = [(byte)rank.Rank, 7];
            byte[] all = rank.AllGather(own, "test");
            rank.Broadcast(own, "test");
            return (own, all);
        });
        Assert.That(heard.Select(h => h.own), Is.All.EqualTo(new byte[] { 0, 7 }));
        Assert.That(heard.Select(h => h.all), Is.All.EqualTo(new byte[] { 0, 7, 1, 7, 2, 7 }));
    }

    /// <summary>All threads of the processor belong to one slice at a time.</summary>
    [Test]
    public void Slices_compute_one_after_the_other()
    {
        int inside = 0, most = 0;
        var order = new List<int>();
        On(4, rank =>
        {
            for (int step = 0; step < 5; step++)
            {
                rank.AllReduce(new float[1], "test");
                most = Math.Max(most, Interlocked.Increment(ref inside));
                lock (order)
                    order.Add(rank.Rank);
                Thread.Sleep(2);
                Interlocked.Decrement(ref inside);
            }
            return 0;
        });
        Assert.That(most, Is.EqualTo(1));
        Assert.That(order, Is.EqualTo(Enumerable.Range(0, 20).Select(i => i % 4)));
    }

    [Test]
    public void A_slice_that_fails_ends_the_others() => Assert.That(
        () => On<int>(3, rank =>
        {
            rank.AllReduce(new float[1], "test");
            if (rank.Rank == 1)
                throw new InvalidDataException("this one");
            rank.AllReduce(new float[1], "test");
            return 0;
        }),
        Throws.TypeOf<InvalidDataException>());

    [Test]
    public void Slices_that_bring_different_lengths_are_a_mistake_that_is_seen() =>
        Assert.That(() => On(2, rank =>
        {
            rank.AllReduce(new float[1 + rank.Rank], "test");
            return 0;
        }), Throws.InvalidOperationException.With.Message.Contains("slice"));
}
