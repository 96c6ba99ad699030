using System.CommandLine;
using Avedis.Trainer.Training;

namespace Avedis.Trainer.Commands;

/// <summary>Options that several commands share, with one wording.</summary>
public sealed class CommonOptions
{
    public Option<string> Run { get; } = new("--run") { Description = "Run folder that avedis train wrote.", Required = true };

    public Option<string> Checkpoint { get; } = new("--checkpoint")
    {
        Description = "best (primary score), clean (lowest leak), latest, or a checkpoint folder.",
        DefaultValueFactory = _ => "best",
    };

    public Option<string?> Preset { get; } = new("--preset")
    {
        Description = "Settings to start from: demo (small, minutes on two cores), grid (smaller still, for avedis reproduce) or paper. [default: demo]",
    };

    public Option<string?> ConfigFile { get; } = new("--config") { Description = "JSON file with any part of the settings." };

    public Option<string[]> Set { get; } = new("--set")
    {
        Description = "Overrides one setting, for example --set training.epochs=5; null takes an entry of a dictionary away. "
            + "May be repeated.",
        AllowMultipleArgumentsPerToken = false,
    };

    public Option<string?> Device { get; } = new("--device") { Description = "auto, cpu or cuda. auto says what it chose. [default: auto]" };

    public Option<string?> Precision { get; } = new("--precision")
    {
        Description = "auto, fp32, tf32 (GPU only) or bf16: number format of activations. auto measures, and takes bf16 where " +
            "convolutions are clearly faster in it, else fp32. [default: auto]",
    };

    public Option<ulong?> Seed { get; } = new("--seed") { Description = "Seed of weights and data order. [default: 1]" };

    public Option<string?> Ffmpeg { get; } = new("--ffmpeg")
    {
        Description = "The ffmpeg program or its folder. [default: AVEDIS_FFMPEG, else PATH]",
    };

    public void AddConfig(Command command)
    {
        command.Options.Add(Preset);
        command.Options.Add(ConfigFile);
        command.Options.Add(Set);
    }

    public void AddDevice(Command command)
    {
        command.Options.Add(Device);
        command.Options.Add(Precision);
    }

    /// <summary>The settings that the command line stands for; its flags win over --set, the file and the preset.</summary>
    /// <param name="file">Config file to use when none is named.</param>
    public Config Load(ParseResult parsed, string? file = null)
    {
        var sets = new List<string>(parsed.GetValue(Set) ?? []);
        AddFlag(sets, "training.device", parsed.GetValue(Device));
        AddFlag(sets, "training.precision", parsed.GetValue(Precision));
        AddFlag(sets, "training.seed", parsed.GetValue(Seed)?.ToString());
        return Config.Load(parsed.GetValue(Preset), parsed.GetValue(ConfigFile) ?? file, sets);
    }

    private static void AddFlag(List<string> sets, string key, string? value)
    {
        if (value is not null)
            sets.Add($"{key}={value}");
    }

    /// <summary>The run folder of --run, with its settings.</summary>
    public static (RunFolder Folder, Config Config) OpenRun(string path)
    {
        var folder = new RunFolder(path);
        if (!File.Exists(folder.ConfigPath))
            throw new UserException(ExitCode.BadCheckpoint, $"{path} is not a run: it has no config.json; train one with avedis train --run {path}");
        return (folder, Config.Load(null, folder.ConfigPath, []));
    }
}
