"""How long the voice detector silero-vad remembers, as shipped: .strangers/bin/python benchmarks/silero_memory.py

`make strangers` makes that environment. Many programs reset its state every few seconds by a constant; this says after how
long the state no longer depends on where it started.
"""

import torch
from silero_vad import load_silero_vad

import lyapunov
from published._inputs import sound

STEP = 32.0
"""Milliseconds: 512 samples of 16 kHz."""


def main() -> None:
    """Measures along eight sounds of a minute."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model, waves = load_silero_vad(), sound(8, 1875 * 512)
    captured = lyapunov.capture(model.audio_forward, waves, 16000)
    for tolerance in (1e-3, 1e-2, 1e-1):
        print(lyapunov.memory(captured, tolerance=tolerance, dt=STEP), end="\n\n")


if __name__ == "__main__":
    main()
