using Avedis.Trainer.Data;

namespace Avedis.Trainer.Corpora;

/// <summary>A published corpus: how its files are named and laid out, and what its labels mean.</summary>
public interface ICorpus
{
    /// <summary>As the command line spells it.</summary>
    string Name { get; }

    /// <summary>What its clips are recognised by, as the object of "looked for".</summary>
    string Marks { get; }

    /// <summary>Whether it comes divided into training and test clips.</summary>
    bool HasSplits { get; }

    /// <summary>Whether its pictures are faces already; else they have to be found in them.</summary>
    bool Cropped { get; }

    /// <summary>Names of the columns that only this corpus has, in the order of <see cref="CorpusClip.Factors"/>.</summary>
    IReadOnlyList<string> Factors { get; }

    /// <summary>Finds the clips, usable or not. Whether the files can be opened is checked afterwards, for all corpora alike.</summary>
    void Collect(CorpusFolder folder, ImportOptions options, Findings findings);
}

/// <summary>The choices that a corpus or its user leaves open.</summary>
public sealed record ImportOptions
{
    /// <summary>RAVDESS: the class of its label calm.</summary>
    public string Calm { get; init; } = "neutral";

    /// <summary>IEMOCAP: the class of its label frustration, or "drop".</summary>
    public string Frustration { get; init; } = DataOptions.Drop;

    /// <summary>EmoVoxCeleb: how the logits of a clip's frames become one label.</summary>
    public DominantEmotion Dominant { get; init; }

    /// <summary>IEMOCAP: the actor who wears markers is in the right half of the picture, not in the left one.</summary>
    public bool SwapHalves { get; init; }

    /// <summary>Speakers that get the split unheard.</summary>
    public int Unheard { get; init; }

    /// <summary>Seed of every split that is made.</summary>
    public ulong Seed { get; init; } = 1;
}

/// <summary>One clip that can be used. Paths are relative to the corpus folder, with forward slashes.</summary>
/// <param name="Name">What tells it from every other clip of the corpus; of several files of that name the first that can be used
/// counts.</param>
/// <param name="Path">Where the picture is: a media file, or a folder of JPEG frames.</param>
/// <param name="Original">The corpus's own label.</param>
/// <param name="Emotion">The class that the label is merged into, or "drop".</param>
public sealed record CorpusClip(string Name, string Path, string Speaker, string Original, string Emotion)
{
    /// <summary>The sound, where it is a file of its own; it holds the utterance and nothing else.</summary>
    public string Audio { get; init; } = "";

    /// <summary>
    /// The same sound in a file of its own, for a video that lost its sound when it was converted; only --check-media sees that.
    /// </summary>
    public string Beside { get; init; } = "";

    /// <summary>Seconds into the picture's file at which the utterance begins and ends; null for the whole.</summary>
    public (double Start, double End)? Span { get; init; }

    /// <summary>The half of the picture that shows the speaker, left or right; empty for the whole.</summary>
    public string Region { get; init; } = "";

    public Split? Split { get; init; }

    /// <summary>female, male, or empty where the corpus does not say.</summary>
    public string Gender { get; init; } = "";

    public IReadOnlyList<string> Factors { get; init; } = [];

    /// <summary>
    /// What is wrong with the clip in the release itself; empty for most. A file that was put in its place can be better.
    /// </summary>
    public string KnownBad { get; init; } = "";

    /// <summary>What is its own: the sound where it has a file, else the picture.</summary>
    public string Own => Audio.Length > 0 ? Audio : Path;
}

/// <summary>What was found in a corpus folder: usable clips, those that are not with the reason, and remarks about the whole.</summary>
public sealed class Findings
{
    public const string NoVideo = "no video", NoSound = "no sound", NoLabel = "no label", NoAgreement = "label without agreement";
    public const string BadName = "unusable name", KnownBad = "known bad clip", DuplicateModality = "duplicate modality", Copy = "copy of another clip";
    public const string NoFaces = "no face frames", LengthMismatch = "length mismatch";

    private readonly List<CorpusClip> clips = [];
    private readonly List<Rejection> rejections = [];
    private readonly List<string> notes = [];

    public IReadOnlyList<CorpusClip> Clips => clips;

    public IReadOnlyList<Rejection> Rejections => rejections;

    public IReadOnlyList<string> Notes => notes;

    public void Add(CorpusClip clip) => clips.Add(clip);

    public void Reject(string path, string reason, string detail) => rejections.Add(new Rejection(path, reason, detail));

    public void Note(string text) => notes.Add(text);
}
