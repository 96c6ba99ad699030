"""The two-stream network of Avedis in plain PyTorch: the reference that Avedis is checked against, and the peer that it is timed against.

    network = TwoStreamNetwork(PRESETS["demo"], speakers=6, emotions=5)
    output = network(faces, mels, face_lengths, mel_lengths)
    loss = losses(output, emotion_labels, speaker_labels)["total"]

Shapes: N clips, F frames of S x S pixels, M mel bins, T mel steps.
    faces         uint8 or float [N, F, S, S]; bytes are scaled to -1..1
    mels          float [N, M, T]
    face_lengths  [N], valid frames of each clip, 1..F
    mel_lengths   [N], valid mel steps of each clip, 1..T
The names of parameters and buffers are those of an Avedis checkpoint, so load_state_dict takes one as it is.
"""
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional


@dataclass(frozen=True)
class Preset:
    face_channels: tuple
    voice_channels: tuple
    pixels: int
    frames: int
    mel_steps: int
    emotion_width: int
    speaker_width: int
    speakers: int
    emotions: int = 5
    mels: int = 40


PRESETS = {
    "paper": Preset((96, 256, 256, 256, 256, 512), (96, 256, 384, 256, 256, 512), 224, 50, 1200, 2048, 64, 1251),
    "demo": Preset((24, 64, 64, 64, 64, 128), (24, 64, 96, 64, 64, 128), 64, 8, 300, 256, 64, 24),
}


def extent(size, window, stride, pad):
    """Output extent of a sliding window: how often it fits. A number, or a tensor of integers."""
    return (size + 2 * pad - window) // stride + 1


class Stream(nn.Module):
    """Six convolutions, each with batch norm and ReLU, with a max pooling behind the first, second and fifth."""

    def __init__(self, convolutions, pools):
        super().__init__()
        for i, convolution in enumerate(convolutions, start=1):
            setattr(self, f"conv{i}", convolution)
            setattr(self, f"bn{i}", nn.BatchNorm2d(convolution.out_channels, eps=1e-5, momentum=0.1))
        self.pools = pools

    def forward(self, x):
        for i in range(1, 7):
            x = functional.relu(getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(x)))
            if i in self.pools:
                window, stride, pad = self.pools[i]
                x = functional.max_pool2d(x, window, stride, pad)
        return x


def face_stream(channels, pixels):
    c1, c2, c3, c4, c5, c6 = channels
    size = extent(extent(pixels, 7, 2, 0), 3, 2, 0)
    size = extent(extent(size, 5, 2, 1), 3, 2, 1)
    size = extent(size, 3, 2, 0)
    if size < 1:
        raise ValueError(f"faces of {pixels} pixels leave nothing for conv6")
    return Stream(
        [
            nn.Conv2d(1, c1, 7, 2, 0, bias=False),
            nn.Conv2d(c1, c2, 5, 2, 1, bias=False),
            nn.Conv2d(c2, c3, 3, 1, 1, bias=False),
            nn.Conv2d(c3, c4, 3, 1, 1, bias=False),
            nn.Conv2d(c4, c5, 3, 1, 1, bias=False),
            nn.Conv2d(c5, c6, size, 1, 0, bias=False),
        ],
        {1: (3, 2, 0), 2: (3, 2, 1), 5: (3, 2, 0)},
    )


def voice_stream(channels, mels):
    c1, c2, c3, c4, c5, c6 = channels
    rows = extent(extent(mels, 5, 2, 1), 3, 2, 0)
    rows = extent(rows, 3, 2, 0)
    if rows < 1:
        raise ValueError(f"{mels} mel bins leave nothing for conv6")
    return Stream(
        [
            nn.Conv2d(1, c1, (5, 7), 1, 2, bias=False),
            nn.Conv2d(c1, c2, 5, (2, 1), 1, bias=False),
            nn.Conv2d(c2, c3, 3, 1, 1, bias=False),
            nn.Conv2d(c3, c4, 3, 1, 1, bias=False),
            nn.Conv2d(c4, c5, 3, 1, 1, bias=False),
            nn.Conv2d(c5, c6, (rows, 1), 1, 0, bias=False),
        ],
        {1: ((1, 3), (1, 2), 0), 2: (3, (2, 1), 0), 5: (3, 2, 0)},
    )


def voice_steps(mel_steps):
    """Output steps of the voice stream for clips of that many mel steps, a number or a tensor; 0 or less below the receptive field."""
    steps = extent(mel_steps, 7, 1, 2)
    steps = extent(steps, 3, 2, 0)
    steps = extent(steps, 5, 1, 1)
    steps = extent(steps, 3, 1, 0)
    return extent(steps, 3, 2, 0)


def masked_mean(x, lengths):
    """Mean of x [N, T, C] over the first lengths[n] steps."""
    valid = (torch.arange(x.shape[1], device=x.device)[None, :] < lengths[:, None]).to(x.dtype)
    return (x * valid[:, :, None]).sum(1) / lengths[:, None].to(x.dtype)


class ReverseGradient(torch.autograd.Function):
    """The identity forwards; backwards the gradient times -strength (Ganin and Lempitsky 2015)."""

    @staticmethod
    def forward(context, x, strength):
        context.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(context, gradient):
        return -context.strength * gradient, None


class Branch(nn.Module):
    """One factor: its embedding, the head that reads it, and auxiliary heads that try to read other factors (names and classes) from it."""

    def __init__(self, inputs, width, classes, others):
        super().__init__()
        self.embedding = nn.Linear(inputs, width)
        self.head = nn.Linear(width, classes)
        self.auxiliary = nn.ModuleDict({name: nn.ModuleDict({"head": nn.Linear(width, count)}) for name, count in others.items()})


class TwoStreamNetwork(nn.Module):
    def __init__(self, preset, speakers=None, emotions=None, auxiliary=True):
        super().__init__()
        speakers, emotions = speakers or preset.speakers, emotions or preset.emotions
        self.face = face_stream(preset.face_channels, preset.pixels)
        self.voice = voice_stream(preset.voice_channels, preset.mels)
        joint = preset.face_channels[5] + preset.voice_channels[5]
        self.emotion = Branch(joint, preset.emotion_width, emotions, {"speaker": speakers} if auxiliary else {})
        self.speaker = Branch(joint, preset.speaker_width, speakers, {"emotion": emotions} if auxiliary else {})

    def forward(self, faces, mels, face_lengths, mel_lengths, reversal=None):
        """reversal: None leaves the auxiliary heads out; a number is the strength of the gradient reversal in front of them."""
        if faces.dtype == torch.uint8:
            faces = faces.to(mels.dtype) * (2 / 255) - 1
        clips, frames = faces.shape[:2]
        # one channel: [N * F, 1, S, S] is channels-last as well as channels-first; the first convolution decides
        face = self.face(self.as_input(faces.flatten(0, 1)[:, None])).flatten(1).view(clips, frames, -1)
        voice = self.voice(self.as_input(mels[:, None])).squeeze(2).transpose(1, 2)
        # on the device of the lengths: nothing waits
        voice_lengths = voice_steps(mel_lengths).clamp(1, voice.shape[1])
        joint = torch.cat([masked_mean(face.to(mels.dtype), face_lengths), masked_mean(voice.to(mels.dtype), voice_lengths)], 1)
        emotion = functional.relu(self.emotion.embedding(joint))
        speaker = functional.relu(self.speaker.embedding(joint))
        output = {
            "emotion_embedding": emotion,
            "speaker_embedding": speaker,
            "emotion_logits": self.emotion.head(emotion),
            "speaker_logits": self.speaker.head(speaker),
        }
        if reversal is not None:
            output["speaker_from_emotion_logits"] = self.emotion.auxiliary["speaker"]["head"](ReverseGradient.apply(emotion, reversal))
            output["emotion_from_speaker_logits"] = self.speaker.auxiliary["emotion"]["head"](ReverseGradient.apply(speaker, reversal))
        return output

    def as_input(self, x):
        """x in the memory format of the first convolution's weights, which to(memory_format=...) chose."""
        channels_last = self.face.conv2.weight.is_contiguous(memory_format=torch.channels_last)
        return x.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


def losses(output, emotion_labels, speaker_labels, primary=0.5, auxiliary=0.3):
    """Mean cross-entropies of the batch: each term unweighted, and the weighted total."""
    def term(logits, labels):
        return functional.cross_entropy(output[logits], labels)

    terms = {"emotion": term("emotion_logits", emotion_labels), "speaker": term("speaker_logits", speaker_labels)}
    total = primary * (terms["emotion"] + terms["speaker"])
    if "emotion_from_speaker_logits" in output:
        terms["emotion_from_speaker"] = term("emotion_from_speaker_logits", emotion_labels)
        terms["speaker_from_emotion"] = term("speaker_from_emotion_logits", speaker_labels)
        total = total + auxiliary * (terms["emotion_from_speaker"] + terms["speaker_from_emotion"])
    terms["total"] = total
    return terms


def optimiser(network, rate=1e-4, auxiliary_rate=1e-3, **options):
    """Adam with the auxiliary heads, if there are any, in a group of their own."""
    named = list(network.named_parameters())
    groups = [
        {"params": [p for name, p in named if ".auxiliary." not in name], "lr": rate},
        {"params": [p for name, p in named if ".auxiliary." in name], "lr": auxiliary_rate},
    ]
    return torch.optim.Adam([g for g in groups if g["params"]], betas=(0.9, 0.999), eps=1e-8, **options)
