#!/usr/bin/env python3
"""Writes logmel.json: log-mel energies of seven signals by four conventions, at some frames of each, for the tests called LogMelTests.

"torchaudio" and "kaldi" are computed by torchaudio and its port of Kaldi, in double precision. "librosa" and "avedis" are computed
here with numpy's FFT, in double precision too, the former from the formulas that librosa documents for melspectrogram and filters.mel.
All values are natural logarithms. The versions used are in the field "generator" of the file (Debian 12: python3-torchaudio).
"""
import json
import pathlib

import numpy as np
import torch
import torchaudio

RATE, WINDOW, HOP, MELS = 16000, 400, 160, 40
SPEECH_SECONDS = 12


def signals():
    t = np.arange(SPEECH_SECONDS * RATE) / RATE
    noise, state = np.empty(len(t)), 1
    for i in range(len(noise)):
        state = (state * 1664525 + 1013904223) % 2**32
        noise[i] = state / 2**32 - 0.5
    # four syllables a second, each of a voice of gliding pitch and a hiss after it; every three seconds end with a breath of faint noise
    phase = 2 * np.pi * 120 * t - 20 / 3 * (np.cos(2 * np.pi * 3 * t) - 1)
    syllable = np.sin(2 * np.pi * 4 * t)
    voice = sum(np.sin(h * phase) / h for h in range(1, 21)) * 0.3 * np.maximum(syllable, 0)
    speech = np.where(t % 3 < 2.5, voice + 0.1 * noise * np.maximum(-syllable, 0), 0) + 0.001 * noise
    impulse = np.zeros(4000)
    impulse[1000] = 1
    second = t[:RATE]
    return {
        "silence": np.zeros(RATE),
        "dc": np.full(4000, 0.5),
        "impulse": impulse,
        "sweep": 0.8 * np.sin(2 * np.pi * (50 * second + 3925 * second**2)),
        "clipping": np.clip(4 * np.sin(2 * np.pi * 220 * second), -1, 1),
        "one sample": np.array([0.25]),
        "speech": speech,
    }


def centred_power(x, size):
    """Power spectra [frames, size / 2 + 1]: zeros at both ends, the periodic Hann window in the middle of each frame."""
    taper = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    padded = np.concatenate([np.zeros(size // 2), x, np.zeros(size // 2)])
    kernel = np.zeros(size)
    kernel[(size - WINDOW) // 2:(size + WINDOW) // 2] = taper
    frames = [padded[i * HOP:i * HOP + size] * kernel for i in range(1 + len(x) // HOP)]
    return np.abs(np.fft.rfft(frames, axis=1)) ** 2


def triangles(edges, size):
    hertz = np.fft.rfftfreq(size, 1 / RATE)
    return np.array([np.interp(hertz, edges[m:m + 3], [0, 1, 0]) for m in range(MELS)])


def avedis(x):
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + RATE / 2 / 700), MELS + 2) / 2595) - 1)
    return np.log(np.maximum(centred_power(x, 512) @ triangles(edges, 512).T, 1e-6))


def librosa(x):
    step = np.log(6.4) / 27  # Slaney: linear up to 1 kHz = 15 mel, logarithmic above
    mels = np.linspace(0, 15 + np.log(RATE / 2 / 1000) / step, MELS + 2)
    edges = np.where(mels < 15, mels * 200 / 3, 1000 * np.exp(step * (mels - 15)))
    bank = triangles(edges, WINDOW) * (2 / (edges[2:] - edges[:-2]))[:, None]
    return np.log(np.maximum(centred_power(x, WINDOW) @ bank.T, 1e-10))


def with_torchaudio(x):
    whole = len(x) > WINDOW // 2
    if not whole:  # torchaudio mirrors a signal once and refuses one that is shorter than the edge; numpy goes on mirroring
        x = np.pad(x, WINDOW // 2, mode="reflect")
    spectrogram = torchaudio.transforms.MelSpectrogram(
        RATE, n_fft=WINDOW, win_length=WINDOW, hop_length=HOP, n_mels=MELS, center=whole)
    return torch.log(spectrogram(torch.from_numpy(x)) + 1e-6).numpy().T


def kaldi(x):
    if len(x) < WINDOW:
        return np.empty((0, MELS))
    wave = torch.from_numpy(x * 32768).unsqueeze(0)
    return torchaudio.compliance.kaldi.fbank(wave, num_mel_bins=MELS, dither=0.0, sample_frequency=RATE).numpy().reshape(-1, MELS)


def main():
    torch.set_default_dtype(torch.float64)
    cases = []
    for preset, function in {"Avedis": avedis, "Torchaudio": with_torchaudio, "Librosa": librosa, "Kaldi": kaldi}.items():
        for name, signal in signals().items():
            energies = function(signal.astype(np.float32).astype(np.float64))
            count = len(energies)
            picked = {0, 1, 2, 6, count // 3, count // 2, count - 3, count - 2, count - 1}
            if name == "speech":
                picked |= {count * k // 9 for k in range(1, 9)}  # voice, hiss and breath
            picked = sorted(picked & set(range(count)))
            cases.append({"preset": preset, "signal": name, "count": count, "frames": picked,
                          "values": [[round(float(v), 6) for v in energies[i]] for i in picked]})
    generator = f"make_logmel_golden.py with torchaudio {torchaudio.__version__}, numpy {np.__version__}"
    lines = ",\n".join(json.dumps(case) for case in cases)
    path = pathlib.Path(__file__).with_name("logmel.json")
    path.write_text(f'{{"generator": "{generator}",\n"cases": [\n{lines}\n]}}\n')
    print(f"{path.name}: {len(cases)} cases, {path.stat().st_size} bytes; {generator}")


if __name__ == "__main__":
    main()
