using System.Runtime.InteropServices;
using System.Text.Json;
using Avedis.Engine;
using Avedis.Trainer.Data;
using Avedis.Trainer.Media;

namespace Avedis.Trainer.Ranks;

/// <summary>
/// A preparation that several processes share: each decodes its part, and rank 0 joins them. Once a second they tell each other how far they are, so that all
/// stop soon when one is stopped or fails; finished clips are kept in any case.
/// </summary>
/// <param name="job">Of all ranks: without a part.</param>
internal sealed class RankedPreparation(RankProcesses processes, PrepareJob job, FfmpegTool tool)
{
    // what a rank says in place of an exit code
    private const int Working = -1, Halted = -2; // Halted: for the sake of another

    private static readonly TimeSpan BetweenSigns = TimeSpan.FromSeconds(1);

    /// <summary>How far a rank is: clips of its part as <see cref="Preparer.Run"/> reports them, Total 0 until then.</summary>
    private readonly record struct Sign(int Code, int Done, int Total, int Reused);

    private readonly Lock gate = new();
    private Sign own = new(Working, 0, 0, 0);

    /// <summary>Does the work; all ranks return together, but for the joining, which the others wait for when they leave.</summary>
    /// <param name="report">As <see cref="Preparer.Run"/>'s, of all ranks together.</param>
    /// <param name="stop">Asks this rank to stop, and so all.</param>
    /// <returns>Exit code, and what came out: null but for rank 0 behind a preparation that came to its end.</returns>
    /// <exception cref="UserException">As <see cref="Preparer.Run"/>'s, if this is the first rank that failed.</exception>
    public (int Code, PrepareResult? Result) Run(Action<int, int, int> report, Interrupt stop)
    {
        CheckFolder();
        using var halt = CancellationTokenSource.CreateLinkedTokenSource(stop.Token);
        var part = Task.Factory.StartNew(() => Decode(halt.Token), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        Sign[] all;
        do
        {
            ((IAsyncResult)part).AsyncWaitHandle.WaitOne(BetweenSigns);
            if (part.IsCompleted)
                lock (gate)
                    own = Ended(part, stop);
            all = Exchange();
            if (all.All(sign => sign.Total > 0 || sign.Code != Working) && all.Any(sign => sign.Total > 0))
                report(all.Sum(sign => sign.Done), all.Sum(sign => sign.Total), all.Sum(sign => sign.Reused));
            if (all.Any(sign => sign.Code is not Working and not ExitCode.Ok))
                halt.Cancel();
        }
        while (all.Any(sign => sign.Code == Working));

        int failed = Array.FindIndex(all, sign => sign.Code is not Halted and not ExitCode.Ok && !ExitCode.IsStop(sign.Code));
        if (failed == processes.Rank)
            part.GetAwaiter().GetResult();
        int first = failed >= 0 ? failed : Array.FindIndex(all, sign => sign.Code > ExitCode.Ok);
        if (first >= 0)
            return (all[first].Code, null);
        var rejections = processes.Collective.AllGatherTexts(JsonSerializer.Serialize(part.Result.Rejections, Json.Line), "rejected clips");
        if (!processes.Leads)
            return (ExitCode.Ok, null);
        var joined = new Preparer(job, tool, rejected: [.. rejections.SelectMany(text => JsonSerializer.Deserialize<List<Rejection>>(text, Json.Line)!)]).Run(stop: stop.Token);
        return (ExitCode.Ok, joined with { Reused = all.Sum(sign => sign.Reused) });
    }

    private PrepareResult Decode(CancellationToken stop) => new Preparer(job with { Part = new(processes.Rank + 1, processes.Size) }, tool).Run(
        (_, total, reused) =>
        {
            lock (gate)
                own = own with { Done = Math.Max(own.Done, reused) + 1, Total = total, Reused = reused };
        }, stop);

    private Sign Ended(Task<PrepareResult> part, Interrupt stop)
    {
        if (part.Exception?.InnerException is { } failure)
            return own with { Code = failure is not OperationCanceledException ? Program.CodeOf(failure) : stop.Requested ? stop.ExitCode : Halted };
        int clips = part.Result.Stored + part.Result.Rejections.Count;
        return new(ExitCode.Ok, clips, clips, part.Result.Reused);
    }

    private Sign[] Exchange()
    {
        Sign mine;
        lock (gate)
            mine = own;
        return MemoryMarshal.Cast<byte, Sign>(processes.Collective.AllGather(MemoryMarshal.AsBytes(new ReadOnlySpan<Sign>(in mine)), "clips of all ranks")).ToArray();
    }

    /// <summary>What others decode into a folder that rank 0 does not see would be lost to it.</summary>
    private void CheckFolder()
    {
        string mark = processes.Broadcast($".ranks-{Guid.NewGuid():N}", "name of a mark"), path = Path.Combine(job.Folder, mark);
        if (processes.Leads)
        {
            Directory.CreateDirectory(job.Folder);
            File.WriteAllText(path, "");
        }
        processes.Broadcast(true, "a mark in the folder");
        byte[] seen = processes.Collective.AllGather([File.Exists(path) ? (byte)1 : (byte)0], "who sees the folder");
        if (processes.Leads)
            File.Delete(path);
        if (Array.IndexOf(seen, (byte)0) is >= 0 and var blind)
            throw new UserException(ExitCode.Usage, $"{processes.Collective.NameOf(blind)} does not see {job.Folder} of rank 0: --out has to lie where all machines see it");
    }
}
