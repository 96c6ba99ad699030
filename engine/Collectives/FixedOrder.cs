using System.Numerics;
using System.Runtime.InteropServices;

namespace Avedis.Engine;

/// <summary>
/// Sums in the order of the ranks, so that their bits do not depend on who computes what: a batch is cut into so many slices, each slice is a rank, and a process
/// computes one or several of them, in turn. One process with four slices trains what four processes with one slice each do, to the bit.
/// <para>
/// Between processes each sums a part of the values for all, after every process has sent it that part of each of its slices.
/// </para>
/// </summary>
public sealed unsafe class FixedOrder : ICollective
{
    private readonly Meeting meeting;
    private readonly int local; // number among the process's slices

    private FixedOrder(Meeting meeting, int local) => (this.meeting, this.local) = (meeting, local);

    /// <summary>The slices that this process computes: each belongs to a thread.</summary>
    /// <param name="slices">Of all processes; at least one for each.</param>
    /// <param name="processes">Null if there is one.</param>
    public static IReadOnlyList<ICollective> Create(int slices, Mpi? processes)
    {
        var meeting = new Meeting(slices, processes);
        return [.. Enumerable.Range(0, meeting.Locals).Select(local => new FixedOrder(meeting, local))];
    }

    public int Rank => meeting.First + local;

    public int Size => meeting.Slices;

    public int LocalRank => meeting.Processes?.LocalRank ?? 0;

    public bool Overlaps => meeting is { Locals: 1, Slices: > 1 };

    public string Description => $"{Size} slices of a batch in fixed order, {meeting.Processes?.Description ?? "one process"}";

    public string NameOf(int rank) => meeting.Processes is { } processes ? $"slice {rank} of {processes.NameOf(meeting.ProcessOf(rank))}" : $"slice {rank}";

    public void AllReduce(Span<float> values, string name)
    {
        fixed (float* address = values)
            meeting.Join(local, (nint)address, addresses => meeting.Sum(addresses, name), values.Length);
    }

    public void Broadcast(Span<byte> bytes, string name)
    {
        fixed (byte* address = bytes)
            meeting.Join(local, (nint)address, addresses => meeting.Spread(addresses, name), bytes.Length);
    }

    public byte[] AllGather(ReadOnlySpan<byte> bytes, string name)
    {
        fixed (byte* address = bytes)
            return meeting.Join(local, (nint)address, addresses => meeting.Gather(addresses, name), bytes.Length);
    }

    /// <summary>This slice is done: the next has its turn.</summary>
    public void Leave() => meeting.Leave(local);

    /// <summary>The other slices of this process end with an <see cref="OperationCanceledException"/>, because this one fails.</summary>
    public void Fail() => meeting.Fail();

    /// <summary>Where the slices of a process wait for each other; the last to come does what is to be done.</summary>
    private sealed class Meeting
    {
        private readonly object pulse = new();
        private readonly int[] locals; // slices of each process
        private readonly nint[] addresses;
        private float[] parts = [], sums = [], everything = [];
        private byte[] result = [];
        private int arrived, turn;
        private long round;
        private bool failed, begun;
        private int length;

        public Meeting(int slices, Mpi? processes)
        {
            (Slices, Processes) = (slices, processes);
            int all = processes?.Size ?? 1, rank = processes?.Rank ?? 0;
            locals = [.. Enumerable.Range(0, all).Select(p => FirstOf(p + 1, all) - FirstOf(p, all))];
            (First, Locals) = (FirstOf(rank, all), locals[rank]);
            addresses = new nint[Locals];

            int FirstOf(int process, int all) => (int)((long)slices * process / all);
        }

        /// <summary>Process that computes a slice.</summary>
        public int ProcessOf(int slice)
        {
            int process = 0;
            for (int end = locals[0]; slice >= end; end += locals[process])
                process++;
            return process;
        }

        public int Slices { get; }

        public int First { get; }

        public int Locals { get; }

        public Mpi? Processes { get; }

        /// <summary>Waits for the other slices and for its turn to go on: they compute one after the other, each with all threads.</summary>
        public byte[] Join(int local, nint address, Action<nint[]> exchange, int length)
        {
            lock (pulse)
            {
                Check();
                addresses[local] = address;
                if (arrived == 0)
                    this.length = length;
                else if (this.length != length)
                    throw new InvalidOperationException($"slice {First + local} brings {length} values, the others {this.length}");
                long mine = round;
                if (++arrived == Locals)
                {
                    exchange(addresses);
                    (arrived, turn, begun) = (0, 0, true);
                    round++;
                }
                else if (begun)
                {
                    turn = local + 1;
                }
                Monitor.PulseAll(pulse);
                while (round == mine || turn != local)
                {
                    Check();
                    Monitor.Wait(pulse);
                }
                return result;
            }
        }

        public void Leave(int local)
        {
            lock (pulse)
            {
                if (begun && turn == local)
                    turn++;
                Monitor.PulseAll(pulse);
            }
        }

        public void Fail()
        {
            lock (pulse)
            {
                failed = true;
                Monitor.PulseAll(pulse);
            }
        }

        /// <summary>In each slice's values the sums of all slices', in their order.</summary>
        public void Sum(nint[] slices, string name)
        {
            if (Processes is null)
            {
                Fit(ref sums, length);
                for (int s = 0; s < Locals; s++)
                    Take(sums, new((void*)slices[s], length), first: s == 0);
                foreach (nint slice in slices)
                    sums.AsSpan(0, length).CopyTo(new((void*)slice, length));
                return;
            }
            int all = Processes.Size, own = PartOf(Processes.Rank);
            var sendCounts = new int[all];
            var receiveCounts = new int[all];
            Fit(ref parts, length * Locals);
            Fit(ref everything, own * Slices);
            for (int p = 0, at = 0; p < all; p++)
            {
                (sendCounts[p], receiveCounts[p]) = (PartOf(p) * Locals, own * locals[p]);
                foreach (nint slice in slices)
                {
                    new ReadOnlySpan<float>((float*)slice + StartOf(p), PartOf(p)).CopyTo(parts.AsSpan(at));
                    at += PartOf(p);
                }
            }
            Processes.AllToAll(parts, sendCounts, everything, receiveCounts, name);
            Fit(ref sums, length);
            for (int s = 0; s < Slices; s++)
                Take(sums, everything.AsSpan(s * own, own), first: s == 0);
            int[] bytes = [.. Enumerable.Range(0, all).Select(p => PartOf(p) * sizeof(float))];
            Processes.AllGather(MemoryMarshal.AsBytes(sums.AsSpan(0, own)), MemoryMarshal.AsBytes(parts.AsSpan(0, length)), bytes, name);
            foreach (nint slice in slices)
                parts.AsSpan(0, length).CopyTo(new((void*)slice, length));

            int StartOf(int process) => (int)((long)length * process / all);
            int PartOf(int process) => StartOf(process + 1) - StartOf(process);
        }

        public void Spread(nint[] slices, string name)
        {
            var first = new Span<byte>((void*)slices[0], length);
            Processes?.Broadcast(first, name);
            foreach (nint slice in slices)
                first.CopyTo(new((void*)slice, length));
        }

        public void Gather(nint[] slices, string name)
        {
            var own = new byte[length * Locals];
            for (int s = 0; s < Locals; s++)
                new ReadOnlySpan<byte>((void*)slices[s], length).CopyTo(own.AsSpan(s * length));
            result = own;
            if (Processes is null)
                return;
            result = new byte[length * Slices];
            Processes.AllGather(own, result, [.. locals.Select(count => count * length)], name);
        }

        private void Check()
        {
            if (failed)
                throw new OperationCanceledException("another slice of the batch failed");
        }

        private static void Fit(ref float[] array, int count)
        {
            if (array.Length < count)
                array = new float[count];
        }

        // sums = values, or sums += values
        private static void Take(float[] sums, ReadOnlySpan<float> values, bool first)
        {
            if (first)
            {
                values.CopyTo(sums);
                return;
            }
            int i = 0;
            var target = sums.AsSpan(0, values.Length);
            for (; i + Vector<float>.Count <= values.Length; i += Vector<float>.Count)
                (new Vector<float>(target[i..]) + new Vector<float>(values[i..])).CopyTo(target[i..]);
            for (; i < values.Length; i++)
                target[i] += values[i];
        }
    }
}
