#!/usr/bin/env python3
"""A network that Avedis trained, in plain PyTorch: built from config.json beside this file, with the weights of model.safetensors.

    python3 load_in_pytorch.py                              says what the network is
    python3 load_in_pytorch.py inputs.npz [outputs.npz]     runs it; prints the classes, writes embeddings and probabilities

    from load_in_pytorch import load
    network, config = load()
    outputs = network(faces, mels, face_lengths, mel_lengths)

Shapes: N clips, F pictures of S x S pixels, M mel bins, T mel frames; S and M are those of config.json, F and T are free.
    faces         uint8 [N, F, S, S], grey
    mels          float32 [N, M, T]
    face_lengths  int64 [N], pictures of each clip that are not padding, 1..F
    mel_lengths   int64 [N], mel frames of each clip that are not padding, 1..T
    outputs       FACTOR_embedding [N, width], FACTOR_logits and FACTOR_probabilities [N, classes]
Needs PyTorch 1.13 or later; numpy for the .npz files; the package safetensors is used if it is there.
"""
import json
import pathlib
import sys

import torch
from torch import nn
from torch.nn import functional

HERE = pathlib.Path(__file__).resolve().parent


class Stream(nn.Module):
    """Convolutions, each with batch norm, ReLU and, for some, max pooling."""

    def __init__(self, blocks, epsilon):
        super().__init__()
        self.blocks = blocks
        inputs = 1
        for i, block in enumerate(blocks, start=1):
            window = block["conv"]
            convolution = nn.Conv2d(inputs, block["channels"], window["kernel"], window["stride"], window["padding"], bias=False)
            setattr(self, f"conv{i}", convolution)
            setattr(self, f"bn{i}", nn.BatchNorm2d(block["channels"], eps=epsilon))
            inputs = block["channels"]

    def forward(self, x):
        for i, block in enumerate(self.blocks, start=1):
            x = functional.relu(getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(x)))
            if block["pool"]:
                x = functional.max_pool2d(x, block["pool"]["kernel"], block["pool"]["stride"], block["pool"]["padding"])
        return x

    def steps(self, columns):
        """Columns of the output that come from so many columns of the input: how often each window fits, at least one."""
        for block in self.blocks:
            for window in filter(None, (block["conv"], block["pool"])):
                kernel, stride, padding = (window[key][1] for key in ("kernel", "stride", "padding"))
                columns = torch.div((columns + 2 * padding - kernel + stride).clamp(min=0), stride, rounding_mode="floor")
        return columns.clamp(min=1)


class Branch(nn.Module):
    """One factor: a hidden layer where there is one, the embedding, and the head that reads it."""

    def __init__(self, inputs, factor):
        super().__init__()
        self.hidden = nn.Linear(inputs, factor["hidden"]) if factor["hidden"] else None
        self.embedding = nn.Linear(factor["hidden"] or inputs, factor["embedding"])
        self.head = nn.Linear(factor["embedding"], len(factor["classes"]))

    def forward(self, x):
        if self.hidden is not None:
            x = functional.relu(self.hidden(x))
        embedding = functional.relu(self.embedding(x))
        return embedding, self.head(embedding)


class Network(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.pixel_scale, self.pixel_shift = config["pixelScale"], config["pixelShift"]
        self.face = Stream(config["face"], config["batchNormEpsilon"])
        self.voice = Stream(config["voice"], config["batchNormEpsilon"])
        self.factors = [factor["name"] for factor in config["factors"]]
        joint = config["face"][-1]["channels"] + config["voice"][-1]["channels"]
        for factor in config["factors"]:
            self.add_module(module_of(factor["name"]), Branch(joint, factor))

    def forward(self, faces, mels, face_lengths, mel_lengths):
        clips, frames = faces.shape[:2]
        pictures = faces.flatten(0, 1)[:, None].to(mels.dtype) * self.pixel_scale + self.pixel_shift
        face = self.face(pictures).flatten(1).view(clips, frames, -1)
        voice = self.voice(mels[:, None]).squeeze(2).transpose(1, 2)
        joint = torch.cat([masked_mean(face, face_lengths), masked_mean(voice, self.voice.steps(mel_lengths))], 1)
        outputs = {}
        for name in self.factors:
            embedding, logits = getattr(self, module_of(name))(joint)
            outputs[f"{name}_embedding"], outputs[f"{name}_logits"] = embedding, logits
            outputs[f"{name}_probabilities"] = logits.softmax(1)
        return outputs


def module_of(factor):
    """The factor's part of the network. A module has attributes of its own (type, half, training, ...): a factor may be called like one."""
    return f"factor_{factor}"


def masked_mean(x, lengths):
    """Mean of x [N, steps, C] over the first lengths[n] steps."""
    valid = (torch.arange(x.shape[1], device=x.device)[None, :] < lengths[:, None]).to(x.dtype)
    return (x * valid[:, :, None]).sum(1) / lengths[:, None].to(x.dtype)


def read_tensors(path):
    """The tensors of a safetensors file: a u64 header length, a JSON header with types, shapes and places, then their bytes."""
    try:
        from safetensors.torch import load_file
        return load_file(path)
    except ImportError:
        pass
    types = {"F32": torch.float32, "I64": torch.int64}
    data = pathlib.Path(path).read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    tensors = {}
    for name, entry in json.loads(data[8:start]).items():
        if name != "__metadata__":
            first, last = entry["data_offsets"]
            flat = torch.frombuffer(bytearray(data[start + first:start + last]), dtype=types[entry["dtype"]])
            tensors[name] = flat.reshape(entry["shape"])
    return tensors


def load(folder=HERE):
    """The network, ready for use, and its config: features, factors with the names of their classes."""
    folder = pathlib.Path(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    network = Network(config)
    tensors = {}
    for name, tensor in read_tensors(str(folder / "model.safetensors")).items():
        part, rest = name.split(".", 1)
        tensors[f"{module_of(part) if part in network.factors else part}.{rest}"] = tensor
    network.load_state_dict(tensors, strict=True)
    return network.eval(), config


def main(arguments):
    network, config = load()
    parameters = sum(p.numel() for p in network.parameters())
    if not arguments:
        print(f"{parameters:,} parameters; " + "; ".join(f"{f['name']}: {', '.join(f['classes'][:8])}" for f in config["factors"]))
        return
    import numpy
    with numpy.load(arguments[0]) as given, torch.no_grad():
        outputs = network(*(torch.from_numpy(given[name]) for name in ("faces", "mels", "face_lengths", "mel_lengths")))
    for factor in config["factors"]:
        best = outputs[f"{factor['name']}_probabilities"].max(1)
        print(f"{factor['name']}: " + ", ".join(f"{factor['classes'][c]} {p:.3f}" for p, c in zip(best.values.tolist(), best.indices.tolist())))
    if len(arguments) > 1:
        numpy.savez(arguments[1], **{name: value.numpy() for name, value in outputs.items()})


if __name__ == "__main__":
    main(sys.argv[1:])
