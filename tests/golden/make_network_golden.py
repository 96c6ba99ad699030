#!/usr/bin/env python3
"""Writes network_demo.json: what PyTorch computes, in double precision, for one small setting of the two-stream network.

    python3 make_network_golden.py                 write the file (PyTorch 1.13 or later, 15 s)
    python3 make_network_golden.py --search 0 600  look for batch numbers that are far from every kink, see BATCH

Weights and inputs come from the formula of bench/peers/pytorch/golden.py, not from the file. The file holds
    setting      sizes, lengths and settings of the batch
    formula      test vectors of the formula
    outputs      embeddings and logits in training mode, in evaluation mode after that one step, and the auxiliary logits
    running      running statistics after one training step
    baseline     without auxiliary heads: losses, gradients, losses of ten Adam steps on batches BATCH, BATCH + 1, BATCH, ...
    auxiliary    the same with the auxiliary terms behind gradient reversal
    alt, conf, projected    alternate training, the confusion loss and gradient projection: losses and gradients of the first step, the heads' from
                 step A and all others' from step B; "adam" holds the weighted primary losses of ten steps, "primary" in double precision
    agreement    how far PyTorch's own single precision is from these values
A gradient is {count, sum, norm, values}: every element up to 512, else 256 samples, sample k at element k * count // 256 in PyTorch's order. Those of
"projected" have "single" besides, how far PyTorch's own single precision is from it: where the primary gradient lies almost along the adversary's, what is
left of it is a small difference, of which single precision knows few digits.
"""
import json
import math
import pathlib
import re
import sys
from dataclasses import asdict

import torch

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "bench" / "peers" / "pytorch"))
import golden  # noqa: E402
import network  # noqa: E402

PRESET = network.PRESETS["demo"]
CLIPS, SPEAKERS, EMOTIONS = 4, 6, 5
FACE_LENGTHS = torch.tensor([8, 5, 8, 1])
MEL_LENGTHS = torch.tensor([300, 171, 40, 7])  # 7 is shorter than the receptive field: one output step all the same
REVERSAL = 0.7

# Gradients jump where a ReLU's input crosses 0 or two elements of a pooling window tie. Of two million such places a few lie within the rounding
# error of single precision for most inputs, and then two correct programs differ by 1e-3. This batch was picked for having none, see --search, and
# because ten Adam steps in single precision stay close to those in double precision.
BATCH = 115


def add_hook(model, hook):
    """Passes the output of every batch norm through hook."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.register_forward_hook(lambda module, inputs, output: hook(output))


def run(dtype, number, reversal, hook=None):
    """One training step without the optimiser: the network, its outputs, losses, and gradients by name in double precision."""
    model = golden.load_golden_weights(network.TwoStreamNetwork(PRESET, SPEAKERS, EMOTIONS)).to(dtype)
    if hook:
        add_hook(model, hook)
    faces, mels, emotions, speakers = golden.batch(number, CLIPS, PRESET, SPEAKERS, EMOTIONS)
    output = model(faces, mels.to(dtype), FACE_LENGTHS, MEL_LENGTHS, reversal)
    losses = network.losses(output, emotions, speakers)
    losses["total"].backward()
    gradients = {name: p.grad.double() for name, p in model.named_parameters() if p.grad is not None}
    return model, output, losses, gradients


def adam_losses(dtype, reversal, steps=10, hook=None):
    model = golden.load_golden_weights(network.TwoStreamNetwork(PRESET, SPEAKERS, EMOTIONS)).to(dtype)
    if hook:
        add_hook(model, hook)
    adam = network.optimiser(model)
    totals = []
    for step in range(steps):
        faces, mels, emotions, speakers = golden.batch(BATCH + step % 2, CLIPS, PRESET, SPEAKERS, EMOTIONS)
        adam.zero_grad()
        total = network.losses(model(faces, mels.to(dtype), FACE_LENGTHS, MEL_LENGTHS, reversal), emotions, speakers)["total"]
        total.backward()
        adam.step()
        totals.append(total.item())
    return totals


def projected(primary, adversary):
    """The gradient of a tensor without its part along the adversary's, and less alpha times that."""
    if adversary is None:
        return primary
    return primary - ((primary * adversary).sum() / (adversary * adversary).sum() + REVERSAL) * adversary


def alternate(dtype, kind, steps):
    """Steps A and B of "alt", "conf" or "projected": losses of each step as step A finds them, and the gradients of the first."""
    model = golden.load_golden_weights(network.TwoStreamNetwork(PRESET, SPEAKERS, EMOTIONS)).to(dtype)
    heads = {name: p for name, p in model.named_parameters() if ".auxiliary." in name}
    others = {name: p for name, p in model.named_parameters() if ".auxiliary." not in name}
    step_a, step_b = torch.optim.Adam(heads.values(), lr=1e-3), torch.optim.Adam(others.values(), lr=1e-4)
    losses, gradients = [], {}
    for step in range(steps):
        faces, mels, emotions, speakers = golden.batch(BATCH + step % 2, CLIPS, PRESET, SPEAKERS, EMOTIONS)
        output = model(faces, mels.to(dtype), FACE_LENGTHS, MEL_LENGTHS)

        def read(embedding):
            """What the auxiliary heads say of the embeddings, each of which embedding() may cut off from the network."""
            return {
                "emotion_from_speaker": (model.speaker.auxiliary["emotion"]["head"](embedding(output["speaker_embedding"])), emotions),
                "speaker_from_emotion": (model.emotion.auxiliary["speaker"]["head"](embedding(output["emotion_embedding"])), speakers),
            }

        terms = network.losses(output, emotions, speakers)
        known = {name: torch.nn.functional.cross_entropy(logits, labels) for name, (logits, labels) in read(lambda e: e.detach()).items()}
        model.zero_grad()
        (0.3 * sum(known.values())).backward()
        if step == 0:
            gradients.update({name: p.grad.double().clone() for name, p in heads.items()})
        step_a.step()

        told = read(lambda e: e).values()
        if kind == "conf":
            adversary = sum(-logits.log_softmax(1).mean() for logits, labels in told)
        else:
            adversary = -sum(torch.nn.functional.cross_entropy(logits, labels) for logits, labels in told)
        model.zero_grad()
        if kind == "projected":
            own = torch.autograd.grad(terms["total"], others.values(), retain_graph=True)
            against = torch.autograd.grad(-0.3 * adversary, others.values(), allow_unused=True)
            for p, primary, gradient in zip(others.values(), own, against):
                p.grad = projected(primary, gradient)
        else:
            (terms["total"] + REVERSAL * 0.3 * adversary).backward()
        if step == 0:
            gradients.update({name: p.grad.double().clone() for name, p in others.items()})
        step_b.step()
        losses.append({**{k: v.item() for k, v in terms.items() if k != "total"}, **{k: v.item() for k, v in known.items()}})
        losses[-1]["total"] = terms["total"].item()
    return losses, gradients


def difference(gradients, reference):
    """Largest difference of any element, relative to the largest element of that parameter's gradient; and which parameter it is."""
    return max((relative(gradients[n], g), n) for n, g in reference.items())


def relative(gradient, reference):
    return (gradient - reference).abs().max().item() / reference.abs().max().item()


def shake(seed):
    """Moves the output of a batch norm by a few roundings: another program's single precision."""
    generator = torch.Generator().manual_seed(seed)
    return lambda z: z + 4e-7 * (2 * torch.rand(z.shape, generator=generator) - 1)


def shaken(number, seed):
    """Gradients in such a precision."""
    return run(torch.float32, number, REVERSAL, shake(seed))[3]


def shaken_adam_losses(reversal, reference):
    """Largest relative difference of each step's loss from the reference, of ten such programs: how far single precisions part."""
    runs = [adam_losses(torch.float32, reversal, hook=shake(seed)) for seed in range(10)]
    return [max(abs(r[step] - loss) / loss for r in runs) for step, loss in enumerate(reference)]


def search(first, last):
    for number in range(first, last):
        reference = run(torch.float64, number, REVERSAL)[3]
        if min(g.abs().max().item() for g in reference.values()) < 1e-3:
            continue  # a gradient that is nearly zero has no meaningful relative error
        worst = difference(run(torch.float32, number, REVERSAL)[3], reference)
        for seed in range(6):
            if worst[0] > 5e-5:
                break
            worst = max(worst, difference(shaken(number, seed), reference))
        else:
            print(number, worst, flush=True)


def numbers(tensor):
    return [float(f"{v:.12g}") for v in tensor.detach().double().flatten().tolist()]


def summary(gradient):
    flat = gradient.flatten()
    count = flat.numel()
    samples = flat if count <= 512 else flat[[k * count // 256 for k in range(256)]]
    return {"count": count, "sum": numbers(flat.sum())[0], "norm": numbers(flat.norm())[0], "values": numbers(samples)}


def vectors():
    weights = golden.load_golden_weights(network.TwoStreamNetwork(PRESET, SPEAKERS, EMOTIONS)).state_dict()
    faces, mels, emotions, speakers = golden.batch(BATCH, CLIPS, PRESET, SPEAKERS, EMOTIONS)

    def elements(tensor):
        flat = tensor.flatten()
        return [[i, flat[i].item()] for i in sorted({0, 1, flat.numel() // 2, flat.numel() - 1})]

    return {
        "bits": [[name, i, f"{int(golden.bits(name, [i])[0]):016x}"] for name in ("face.conv1.weight", "é") for i in (0, 1, 123456789)],
        "parameters": {name: elements(weights[name]) for name in (
            "face.conv1.weight", "voice.conv6.weight", "voice.bn3.weight", "voice.bn3.bias", "emotion.embedding.weight", "speaker.auxiliary.emotion.head.bias")},
        "faces": elements(faces), "mels": elements(mels), "emotions": emotions.tolist(), "speakers": speakers.tolist(),
    }


def main():
    document = {
        "about": "Written by make_network_golden.py, which says what everything is.",
        "pytorch": torch.__version__,
        "setting": {
            **{k: v for k, v in asdict(PRESET).items() if k != "speakers" and k != "emotions"},
            "clips": CLIPS, "speakers": SPEAKERS, "emotions": EMOTIONS, "batch": BATCH, "face_lengths": FACE_LENGTHS.tolist(),
            "mel_lengths": MEL_LENGTHS.tolist(), "reversal": REVERSAL, "primary_weight": 0.5, "auxiliary_weight": 0.3,
            "rate": 1e-4, "auxiliary_rate": 1e-3,
        },
        "formula": vectors(),
    }
    agreement = {}
    for kind in ("alt", "conf", "projected"):
        losses, gradients = alternate(torch.float64, kind, 10)
        single = alternate(torch.float32, kind, 10)
        adam = {"primary": [step["total"] for step in losses], "float32": [step["total"] for step in single[0]]}
        document[kind] = {"losses": losses[0], "gradients": {n: summary(g) for n, g in gradients.items()}, "adam": adam}
        if kind == "projected":
            for n, g in gradients.items():
                document[kind]["gradients"][n]["single"] = relative(single[1][n], g)
        agreement[kind] = {"gradient": difference(single[1], gradients), "adam_losses": max(abs(a - b) for a, b in zip(*adam.values()))}
    for name, reversal in (("baseline", None), ("auxiliary", REVERSAL)):
        model, output, losses, gradients = run(torch.float64, BATCH, reversal)
        single = run(torch.float32, BATCH, reversal)
        adam = {"float64": adam_losses(torch.float64, reversal), "float32": adam_losses(torch.float32, reversal)}
        adam["shaken"] = shaken_adam_losses(reversal, adam["float64"])
        document[name] = {
            "losses": {term: value.item() for term, value in losses.items()},
            "gradients": {n: summary(g) for n, g in gradients.items()},
            "adam": adam,
        }
        agreement[name] = {
            "output": max((single[1][k].double() - v).abs().max().item() for k, v in output.items()),
            "gradient": difference(single[3], gradients),
            "shaken_gradient": max(difference(shaken(BATCH, seed), gradients) for seed in range(6)) if reversal else None,
            "adam_losses": max(abs(a - b) for a, b in zip(adam["float64"], adam["float32"])),
        }
    faces, mels, _, _ = golden.batch(BATCH, CLIPS, PRESET, SPEAKERS, EMOTIONS)
    evaluated = model.eval()(faces, mels.double(), FACE_LENGTHS, MEL_LENGTHS)
    document["outputs"] = {"training": {k: numbers(v) for k, v in output.items()},
                           "evaluation": {k: numbers(v) for k, v in evaluated.items()}}
    document["running"] = {k: numbers(v) for k, v in model.state_dict().items() if "running" in k}
    document["agreement"] = agreement
    text = json.dumps(document, indent=1)
    text = re.sub(r"\[[^][{}]*]", lambda found: " ".join(found[0].split()), text)  # one line per list of numbers
    (HERE / "network_demo.json").write_text(text + "\n")
    print(f"network_demo.json: {len(text) / 1e6:.2f} MB, single against double precision: {json.dumps(agreement, indent=1)}")
    assert all(math.isfinite(v) for v in adam["float64"])


if __name__ == "__main__":
    torch.set_num_threads(2)
    if "--search" in sys.argv:
        search(*map(int, sys.argv[2:4]))
    else:
        main()
