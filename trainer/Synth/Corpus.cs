using System.Globalization;
using System.Runtime.ExceptionServices;
using System.Text;
using Avedis.Bindings;
using Avedis.Trainer.Data;
using Avedis.Trainer.Media;

namespace Avedis.Trainer.Synth;

/// <summary>
/// Makes a corpus in a folder: corpus.json first (the options), then clips/spkNN/NNNN.mp4, contact-sheet.png, and manifest.csv last, so
/// that a folder without a manifest is unfinished and the same command goes on where it stopped.
/// </summary>
public static class Corpus
{
    public const string Header =
        "path,speaker,emotion,split,gender,intensity,pitch_hz,snr_db,reverb_s,yaw,nod,scale,light_angle,camera_noise";

    /// <summary>Makes what is missing of a corpus and returns the number of clips written.</summary>
    /// <param name="progress">Receives a line now and then.</param>
    /// <exception cref="UserException">Bad options, a folder that holds something else, ffmpeg missing or failing, a full disk.</exception>
    /// <exception cref="OperationCanceledException">Stopped before the end; finished clips are kept.</exception>
    public static int Make(SynthOptions options, string folder, FfmpegTool tool, int jobs, TextWriter progress, CancellationToken stop)
    {
        options.Validate();
        try
        {
            using var claim = Claim(options, folder);
            var missing = CorpusPlan.Make(options).Where(clip => !File.Exists(Path.Combine(folder, clip.Path))).ToArray();
            string manifest = Path.Combine(folder, "manifest.csv"), sheet = Path.Combine(folder, "contact-sheet.png");
            if (missing.Length == 0 && File.Exists(manifest))
                return 0;
            File.Delete(manifest);
            if (missing.Length < options.Clips)
                progress.WriteLine($"synth: {options.Clips - missing.Length} of {options.Clips} clips are there already");
            WriteClips(options, folder, tool, jobs, missing, progress, stop);
            ContactSheet.Write(tool, options, sheet, stop);
            WholeFile.Write(manifest, stream => stream.Write(Encoding.UTF8.GetBytes(Manifest(options))));
            return missing.Length;
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            throw new UserException(ExitCode.DiskOrIo, $"cannot write {folder}: {failure.Message}", failure);
        }
    }

    /// <summary>The table that training reads: one line a clip, then what the clip was made from.</summary>
    public static string Manifest(SynthOptions options)
    {
        var text = new StringBuilder(Header).Append('\n');
        foreach (var clip in CorpusPlan.Make(options))
        {
            var scene = Draw(options, clip);
            string emotion = clip.Emotion.ToString().ToLowerInvariant(), gender = clip.Speaker.Female ? "f" : "m";
            text.Append(CultureInfo.InvariantCulture,
                $"{clip.Path},{clip.Speaker.Name},{emotion},{clip.Split},{gender},{scene.Intensity:0.000},{scene.Pitch:0.0},");
            text.Append(CultureInfo.InvariantCulture,
                $"{scene.SnrDb:0.0},{scene.Reverb:0.000},{scene.Yaw:0.000},{scene.Nod:0.000},{scene.Scale:0.000},");
            text.Append(CultureInfo.InvariantCulture, $"{scene.LightAngle:0.000},{scene.CameraNoise:0.00}\n");
        }
        return text.ToString();
    }

    public static Scene Draw(SynthOptions options, PlannedClip clip) =>
        Scene.Draw(clip.Speaker, clip.Emotion, clip.Index, options.Noise, options.Seed);

    /// <summary>Takes the folder for these options: writes corpus.json, or compares it; the open file keeps a second run out.</summary>
    private static FileStream Claim(SynthOptions options, string folder)
    {
        Directory.CreateDirectory(folder);
        string path = Path.Combine(folder, "corpus.json");
        if (!File.Exists(path) && Directory.EnumerateFileSystemEntries(folder).Any())
            throw new UserException(ExitCode.Usage, $"{folder} is not empty and holds no corpus.json; give --out a new folder");
        FileStream file;
        try
        {
            file = new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (IOException failure) when (File.Exists(path))
        {
            throw new UserException(ExitCode.DiskOrIo,
                $"cannot open {path}: {failure.Message}; is another avedis synth writing this folder?", failure);
        }
        try
        {
            string found = new StreamReader(file, leaveOpen: true).ReadToEnd();
            if (found.Length == 0)
            {
                file.Write(Encoding.UTF8.GetBytes(options.ToJson()));
                file.Flush();
                DurableFiles.Sync(file.SafeFileHandle, path);
            }
            else if (options.DifferenceFrom(found) is { } difference)
            {
                throw new UserException(ExitCode.Usage,
                    $"{folder} holds a corpus made with other options ({difference}); "
                    + "use those, give --out another folder, or delete this one");
            }
            return file;
        }
        catch (System.Text.Json.JsonException failure)
        {
            file.Dispose();
            throw new UserException(ExitCode.BadInput, $"{path} is damaged ({failure.Message}); delete {folder} and make it anew", failure);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    private static void WriteClips(SynthOptions options, string folder, FfmpegTool tool, int jobs, PlannedClip[] clips, TextWriter progress,
        CancellationToken stop)
    {
        foreach (string speaker in clips.Select(clip => Path.GetDirectoryName(Path.Combine(folder, clip.Path))!).Distinct())
            Directory.CreateDirectory(speaker);
        var report = new Progress(progress, "synth", "clips");
        int before = options.Clips - clips.Length, done = before;
        try
        {
            int together = Math.Min(ClipEncoder.Together(options.Seconds), Math.Max(1, (clips.Length + jobs - 1) / jobs));
            Parallel.ForEach(clips.Chunk(together).ToArray(), new ParallelOptions { MaxDegreeOfParallelism = jobs, CancellationToken = stop }, some =>
            {
                ClipEncoder.Write(tool,
                    [.. some.Select(clip => (new Clip(Draw(options, clip), options.Seconds, options.Seed, clip.Index), Path.Combine(folder, clip.Path)))],
                    stop);
                report.Report(Interlocked.Add(ref done, some.Length), options.Clips, before);
            });
        }
        catch (AggregateException failures)
        {
            stop.ThrowIfCancellationRequested();
            ExceptionDispatchInfo.Throw(failures.InnerExceptions[0]);
        }
        finally
        {
            report.End();
        }
    }
}
