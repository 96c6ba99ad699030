using System.Runtime.ExceptionServices;

namespace Avedis.Trainer.Data;

/// <summary>
/// Threads that share the parts of one task after another with the thread that asks for them. Nothing is allocated per task. Run belongs to one thread.
/// </summary>
internal sealed class WorkCrew : IDisposable
{
    private readonly Action<int> part;
    private readonly Barrier? barrier; // all meet before a task and behind it
    private readonly Thread[] others;
    private int next, parts;
    private bool ended;
    private ExceptionDispatchInfo? failure;

    /// <param name="size">Threads in all, the asking one included.</param>
    /// <param name="part">Does the part of this number; from any of them.</param>
    public WorkCrew(int size, string name, Action<int> part)
    {
        this.part = part;
        others = [.. Enumerable.Range(1, size - 1).Select(i => new Thread(Follow) { IsBackground = true, Name = $"{name} {i}" })];
        barrier = size > 1 ? new Barrier(size) : null;
        foreach (var thread in others)
            thread.Start();
    }

    /// <summary>Does parts 0 to <paramref name="count"/> - 1, and throws what the first that failed threw.</summary>
    public void Run(int count)
    {
        (next, parts) = (-1, count);
        barrier?.SignalAndWait();
        Share();
        barrier?.SignalAndWait();
        failure?.Throw();
    }

    public void Dispose()
    {
        ended = true;
        barrier?.SignalAndWait();
        foreach (var thread in others)
            thread.Join();
        barrier?.Dispose();
    }

    private void Follow()
    {
        while (true)
        {
            barrier!.SignalAndWait();
            if (ended)
                return;
            Share();
            barrier.SignalAndWait();
        }
    }

    private void Share()
    {
        try
        {
            for (int i; (i = Interlocked.Increment(ref next)) < parts;)
                part(i);
        }
        catch (Exception exception)
        {
            Interlocked.CompareExchange(ref failure, ExceptionDispatchInfo.Capture(exception), null);
            Volatile.Write(ref parts, 0); // what is left need not be done
        }
    }
}
