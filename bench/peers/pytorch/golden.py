"""Weights and inputs from a formula, the same numbers in Python and in C# (bench/GoldenFormula.cs), so that none have to be stored.

    bits(name, i)   64-bit integers, modulo 2^64:
                    h = FNV-1a of the UTF-8 bytes of name (h = 0xcbf29ce484222325; per byte: h ^= byte, h *= 0x100000001b3)
                    z = h + (i + 1) * 0x9e3779b97f4a7c15          (splitmix64 from seed h, output i)
                    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9
                    z = (z ^ z >> 27) * 0x94d049bb133111eb
                    z ^ z >> 31
    uniform(name, i) = ((bits >> 40) - 2^23) / 2^23, in [-1, 1), exact in single precision

Element i of a parameter or buffer counts in PyTorch's order (a convolution's weights O, I, H, W). In double precision, rounded once to single:
    bn.weight                   1 + 0.1 * uniform
    bn.bias                     0.1 * uniform
    any other weight or bias    uniform * (1 / sqrt(inputs)); inputs = elements of the weight behind one output
    running_mean, running_var, num_batches_tracked     0, 1, 0

Batch number b, of N clips. A coarse pattern makes the frames differ as a whole, a fine one makes every element different; padding is not
blanked, so a mean that took it in would show:
    faces [N, F, S, S]  byte at (n, f, y, x) = (3 * (bits("faces.coarse/b", ((n * F + f) * R + y / 8) * R + x / 8) >> 56)
                        + (bits("faces/b", element index) >> 56)) / 4, integer division, R = S / 8 rounded up
    mels [N, M, T]      1.5 * uniform("mels.coarse/b", (n * (M / 4) + m / 4) * R + t / 16) + uniform("mels/b", element index), in double
                        precision, rounded once to single; M a multiple of 4, R = T / 16 rounded up
    emotion, speaker    label of clip n = (bits("emotions/b" or "speakers/b", n) >> 32) modulo the number of classes
"""
import math

import numpy
import torch

U64 = numpy.uint64


def bits(name, indices):
    """The 64-bit hash of (name, index) for an array of indices."""
    h = 0xCBF29CE484222325
    for byte in name.encode():
        h = (h ^ byte) * 0x100000001B3 % 2**64
    z = U64(h) + (numpy.asarray(indices, U64) + U64(1)) * U64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> U64(30))) * U64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> U64(27))) * U64(0x94D049BB133111EB)
    return z ^ (z >> U64(31))


def uniform(name, indices):
    """Doubles in [-1, 1)."""
    return ((bits(name, indices) >> U64(40)).astype(numpy.float64) - 2**23) / 2**23


def parameter(name, shape, inputs):
    """One parameter as a float32 array; inputs = elements behind one output, None for batch norm."""
    values = uniform(name, numpy.arange(math.prod(shape), dtype=U64))
    if inputs is None:
        values = (1.0 if name.endswith(".weight") else 0.0) + 0.1 * values
    else:
        values = values * (1 / math.sqrt(inputs))
    return values.astype(numpy.float32).reshape(shape)


def load_golden_weights(network):
    """Fills every parameter and buffer of a TwoStreamNetwork; returns the network."""
    with torch.no_grad():
        for path, module in network.named_modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.reset_running_stats()
                inputs = None
            elif isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
                inputs = module.weight[0].numel()
            else:
                continue
            for name, tensor in module.named_parameters():
                tensor.copy_(torch.from_numpy(parameter(f"{path}.{name}", tuple(tensor.shape), inputs)))
    return network


def batch(number, clips, preset, speakers, emotions):
    """faces uint8, mels float32, emotion labels, speaker labels of one batch."""
    size, frames, mels, steps = preset.pixels, preset.frames, preset.mels, preset.mel_steps
    frame, y, x = numpy.ix_(numpy.arange(clips * frames), numpy.arange(size) // 8, numpy.arange(size) // 8)
    across = -(-size // 8)
    coarse = bits(f"faces.coarse/{number}", (frame * across + y) * across + x) >> U64(56)
    fine = bits(f"faces/{number}", numpy.arange(clips * frames * size * size, dtype=U64)).reshape(-1, size, size) >> U64(56)
    faces = ((U64(3) * coarse + fine) // U64(4)).astype(numpy.uint8).reshape(clips, frames, size, size)

    n, m, t = numpy.ix_(numpy.arange(clips), numpy.arange(mels) // 4, numpy.arange(steps) // 16)
    coarse = uniform(f"mels.coarse/{number}", (n * (mels // 4) + m) * -(-steps // 16) + t)
    fine = uniform(f"mels/{number}", numpy.arange(clips * mels * steps, dtype=U64)).reshape(clips, mels, steps)
    mel = (1.5 * coarse + fine).astype(numpy.float32)

    def labels(name, classes):
        return torch.from_numpy((bits(f"{name}/{number}", numpy.arange(clips)) >> U64(32)).astype(numpy.int64) % classes)

    return torch.from_numpy(faces), torch.from_numpy(mel), labels("emotions", emotions), labels("speakers", speakers)
