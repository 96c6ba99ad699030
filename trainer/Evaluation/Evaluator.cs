using Avedis.Trainer.Data;
using Avedis.Trainer.Model;

namespace Avedis.Trainer.Evaluation;

/// <summary>What a network says of one clip; -1 and NaN where a task is not trained.</summary>
public sealed record Prediction(
    string Id, int Emotion, int PredictedEmotion, float[] EmotionProbabilities, int Speaker, int PredictedSpeaker, float SpeakerProbability);

/// <summary>Scores of one split. Emotion or Speaker is null in a single-task network.</summary>
public sealed record EvaluationResult(ConfusionMatrix? Emotion, ConfusionMatrix? Speaker, IReadOnlyList<Prediction> Predictions)
{
    /// <summary>The selection score: mean of emotion macro-F and speaker accuracy, over the tasks that there are.</summary>
    public double Score => new[] { Emotion?.MacroF1, Speaker?.Accuracy }.OfType<double>().Average();
}

/// <summary>Runs a network over every clip of a split, each once, with running statistics.</summary>
public static class Evaluator
{
    public static EvaluationResult Run(Runtime runtime, BatchLoader loader, CancellationToken cancellation = default)
    {
        var shape = runtime.Network.Shape;
        var emotion = runtime.Network.Emotion is null ? null : new ConfusionMatrix(shape.Emotions);
        var speaker = runtime.Network.Speaker is null ? null : new ConfusionMatrix(shape.Speakers);
        var predictions = new List<Prediction>();
        while (loader.TryNext(out var batch))
        {
            cancellation.ThrowIfCancellationRequested();
            runtime.Predict(batch);
            for (int n = 0; n < batch.Count; n++)
            {
                float[] emotions = emotion is null ? [] : runtime.EmotionProbabilities[(n * shape.Emotions)..((n + 1) * shape.Emotions)];
                var speakers = speaker is null ? [] : runtime.SpeakerProbabilities.AsSpan(n * shape.Speakers, shape.Speakers);
                int predictedEmotion = ArgMax(emotions), predictedSpeaker = ArgMax(speakers);
                if (batch.Emotions[n] >= 0)
                    emotion?.Add(batch.Emotions[n], predictedEmotion);
                if (batch.Speakers[n] >= 0)
                    speaker?.Add(batch.Speakers[n], predictedSpeaker);
                predictions.Add(new Prediction(
                    batch.Ids[n], batch.Emotions[n], predictedEmotion, emotions, batch.Speakers[n], predictedSpeaker,
                    predictedSpeaker < 0 ? float.NaN : speakers[predictedSpeaker]));
            }
            loader.Return(batch);
        }
        return new EvaluationResult(emotion, speaker, predictions);
    }

    /// <summary>Index of the largest value, the first of equals; -1 for none.</summary>
    public static int ArgMax(ReadOnlySpan<float> values)
    {
        int best = values.IsEmpty ? -1 : 0;
        for (int i = 1; i < values.Length; i++)
            if (values[i] > values[best])
                best = i;
        return best;
    }
}
