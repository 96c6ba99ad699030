using System.Runtime.ExceptionServices;

namespace Avedis.Trainer.Data;

/// <summary>
/// Threads that share the parts of one task after another with the thread that asks for them. Nothing is allocated per task. Run belongs to one thread.
/// </summary>
internal sealed class WorkCrew : IDisposable
{
    private readonly Action<int> part;
    private readonly Thread[] others;
    private readonly object gate = new();
    private int task, busy; // tasks begun so far; others who have not finished the present one
    private int next, parts;
    private bool ended;
    private ExceptionDispatchInfo? failure;

    /// <param name="size">Threads in all, the asking one included.</param>
    /// <param name="part">Does the part of this number; from any of them.</param>
    public WorkCrew(int size, string name, Action<int> part)
    {
        this.part = part;
        others = [.. Enumerable.Range(1, size - 1).Select(i => new Thread(Follow) { IsBackground = true, Name = $"{name} {i}" })];
        foreach (var thread in others)
            thread.Start();
    }

    /// <summary>Does parts 0 to <paramref name="count"/> - 1, and throws what the first that failed threw.</summary>
    public void Run(int count)
    {
        lock (gate)
        {
            (next, parts, busy) = (-1, count, others.Length);
            task++;
            Monitor.PulseAll(gate);
        }
        Share();
        lock (gate)
            while (busy > 0)
                Monitor.Wait(gate);
        failure?.Throw();
    }

    public void Dispose()
    {
        lock (gate)
        {
            ended = true;
            Monitor.PulseAll(gate);
        }
        foreach (var thread in others)
            thread.Join();
    }

    private void Follow()
    {
        for (int done = 0; ; done++)
        {
            lock (gate)
            {
                while (task == done && !ended)
                    Monitor.Wait(gate);
                if (ended)
                    return;
            }
            Share();
            lock (gate)
                if (--busy == 0)
                    Monitor.PulseAll(gate);
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
