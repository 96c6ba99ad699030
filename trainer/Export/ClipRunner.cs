using Avedis.Trainer.Data;
using Avedis.Trainer.Features;
using Avedis.Trainer.Media;
using Avedis.Trainer.Model;

namespace Avedis.Trainer.Export;

/// <summary>A stretch of a media file that the network takes at once, in seconds.</summary>
/// <param name="End">null for whatever there is, up to the network's clip length.</param>
public sealed record ClipWindow(string Path, double Start = 0, double? End = null)
{
    public override string ToString() => End is { } end ? $"{Path} at {Start:0.##} to {end:0.##} s" : Path;
}

/// <summary>
/// Runs a network over media files: several decoders fill a batch while the network works on the one before. Results come in the order of the windows. A window
/// that cannot be read is reported and its row left blank; the others go on.
/// </summary>
public sealed class ClipRunner(TrainedModel model, FfmpegTool tool, TextWriter error) : IDisposable
{
    private readonly List<(ClipDecoder Decoder, LogMel LogMel, float[] Mels)> decoders =
        [.. Enumerable.Range(0, Environment.ProcessorCount).Select(_ => (
            new ClipDecoder(tool, model.Config.Features), new LogMel(model.Config.Features), new float[model.Config.Features.MelCount]))];

    private int silent; // windows of a run

    /// <summary>Clips per batch for so many windows; never more than the network was trained with, which is known to fit.</summary>
    public static int BatchSize(Config config, int windows) => Math.Clamp(windows, 1, config.Training.BatchSize);

    /// <param name="found">Called behind the prediction of each window that could be read, with it and its row.</param>
    /// <param name="done">Called behind each batch with the windows done so far.</param>
    /// <remarks>Silence is an answer too when a film is gone through: silent windows are counted and said, never left out.</remarks>
    /// <returns>The windows that could not be read.</returns>
    /// <exception cref="OperationCanceledException">Stopped before the end.</exception>
    public int Run(IReadOnlyList<ClipWindow> windows, Action<ClipWindow, int> found, Action<int>? done = null, CancellationToken stop = default)
    {
        var shape = model.Runtime.Network.Shape;
        Batch[] batches = [.. Enumerable.Range(0, 2).Select(_ => new Batch(shape.Batch, shape.FaceFrames, shape.FaceSize, shape.MelBins, shape.MelFrames, shape.Factors.Count))];
        ClipWindow[][] chunks = [.. windows.Chunk(shape.Batch)];
        int failures = 0;
        silent = 0;
        var next = chunks.Length == 0 ? null : Fill(batches[0], chunks[0], stop);
        for (int i = 0; i < chunks.Length; i++)
        {
            var problems = next!.GetAwaiter().GetResult();
            var batch = batches[i % 2];
            next = i + 1 < chunks.Length ? Fill(batches[(i + 1) % 2], chunks[i + 1], stop) : null;
            model.Runtime.Predict(batch);
            for (int row = 0; row < chunks[i].Length; row++)
                if (problems[row] is { } problem)
                {
                    error.WriteLine($"avedis: {Printable.Line($"{chunks[i][row]}: {problem.Message}")}");
                    failures++;
                }
                else
                {
                    found(chunks[i][row], row);
                }
            done?.Invoke((i * shape.Batch) + chunks[i].Length);
        }
        if (silent > 0 && model.Config.Features.Silence != SilenceMode.Keep)
            error.WriteLine($"avedis: warning: nothing is heard in {silent:N0} of {windows.Count:N0} "
                + $"{(windows.Any(window => window.End is not null) ? "windows" : "clips")}");
        return failures;
    }

    public void Dispose()
    {
        foreach (var (decoder, _, _) in decoders)
            decoder.Dispose();
    }

    private async Task<MediaException?[]> Fill(Batch batch, ClipWindow[] windows, CancellationToken stop)
    {
        var problems = new MediaException?[windows.Length];
        int next = -1;
        // of a batch of one clip one decoder is enough
        await Task.WhenAll(decoders.Take(windows.Length).Select(own => Task.Factory.StartNew(() =>
        {
            for (int row; (row = Interlocked.Increment(ref next)) < windows.Length;)
                problems[row] = FillRow(batch, row, windows[row], own.Decoder, own.LogMel, own.Mels, stop);
        }, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default)));
        for (int row = 0; row < batch.Capacity; row++)
            if (row >= windows.Length || problems[row] is not null)
                Blank(batch, row);
        return problems;
    }

    private MediaException? FillRow(Batch batch, int row, ClipWindow window, ClipDecoder decoder, LogMel logMel, float[] mels,
        CancellationToken stop)
    {
        try
        {
            decoder.Decode(new ClipSource(window.Path, Start: window.Start), stop);
            if (decoder.Silent)
                Interlocked.Increment(ref silent);
            int valid = logMel.Compute(decoder.Samples, mels);
            if (valid == 0)
                throw new MediaException("too short", "not one analysis window of sound");
            decoder.Faces.CopyTo(batch.Faces.AsSpan(row * decoder.Faces.Length));
            mels.CopyTo(batch.Mels.AsSpan(row * mels.Length));
            Describe(batch, row, decoder.FaceCount, valid, 1);
            return null;
        }
        catch (MediaException problem)
        {
            // a signal from the terminal also reaches ffmpeg, whose end then says nothing about the clip
            stop.ThrowIfCancellationRequested();
            return problem;
        }
    }

    private static void Blank(Batch batch, int row)
    {
        batch.Faces.AsSpan(row * (batch.Faces.Length / batch.Capacity), batch.Faces.Length / batch.Capacity).Clear();
        batch.Mels.AsSpan(row * (batch.Mels.Length / batch.Capacity), batch.Mels.Length / batch.Capacity).Clear();
        Describe(batch, row, 1, 1, 0);
    }

    private static void Describe(Batch batch, int row, int faces, int mels, float weight)
    {
        (batch.FaceLengths[row], batch.MelLengths[row], batch.Weights[row]) = (faces, mels, weight);
        foreach (int[] labels in batch.Labels)
            labels[row] = -1;
    }
}
