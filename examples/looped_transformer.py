"""Is a looped transformer stable beyond the loops it was trained with? Exponents beside accuracy, and two penalties.

A transformer block is looped 4 times to find the sums modulo 2 of all prefixes of 8 bits. It is trained in four ways, each for
the same processor time: plainly; with 2 to 8 loops drawn at random; with 4 loops and the penalty of STARS (arXiv 2605.26733),
|J^T v|^2 for one random unit vector v and the Jacobian J of one more loop; and with 4 loops and `lyapunov.exponent_sum` of
those that follow. Then accuracy is measured at 1 to 16 loops, and the largest exponent per loop with it. It takes about five
minutes on two cores.

python examples/looped_transformer.py [--seconds 16] [--seeds 5] [--workers 2] [--directory runs/looped] [--figure looped.png]

Results are kept, one file per training: what is there is not made again. The table goes to looped.md in the same folder.
"""

import argparse
import json
import math
import time
import warnings
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

import lyapunov

BITS, WIDTH, HEADS, BATCH, TRAINED = 8, 32, 4, 64, 4
LOOPS = (1, 2, 3, 4, 5, 6, 8, 12, 16)
WAYS = ("plain", "random loops", "one vector", "exponents")
WEIGHT, TARGET, EVERY, FEW = {"one vector": 0.1, "exponents": 1.0}, -1.0, 8, 16
"""Weights of the penalties; the exponent above which ours acts, at every so many steps, on so many sequences."""


class Norm(nn.Module):
    """Root mean square normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt() * self.scale


class Block(nn.Module):
    """Attention to what came before, then two layers; the normalisation at the end keeps the looped state bounded."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.between, self.end = Norm(), Norm(), Norm()
        self.inward, self.outward = nn.Linear(WIDTH, 3 * WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)
        self.layers = nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH))

    def forward(self, h: Tensor, e: Tensor) -> Tensor:
        x = h + e
        heads = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in self.inward(self.before(x)).chunk(3, -1))
        attended = functional.scaled_dot_product_attention(*heads, is_causal=True)
        x = x + self.outward(attended.transpose(1, 2).flatten(2))
        return self.end(x + self.layers(self.between(x)))


class Looped(nn.Module):
    """Embedded bits, the same block again and again, and a readout of every token."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.position = nn.Embedding(2, WIDTH), nn.Parameter(0.5 * torch.randn(BITS, WIDTH))
        self.block, self.readout = Block(), nn.Sequential(Norm(), nn.Linear(WIDTH, 2))

    def embed(self, bits: Tensor) -> Tensor:
        return self.embedding(bits) + self.position

    def loop(self, e: Tensor, loops: int) -> Tensor:
        h = torch.zeros_like(e)
        for _ in range(loops):
            h = self.block(h, e)
        return h


def one_vector(model: Looped, h: Tensor, e: Tensor) -> Tensor:
    """The penalty of STARS as its code has it: one random unit vector, one product with the Jacobian of a further loop."""
    h = h.detach().requires_grad_()
    vector = torch.randn_like(h)
    with sdpa_kernel(SDPBackend.MATH):  # the fused kernel has no second derivative
        pulled = torch.autograd.grad(model.block(h, e), h, vector / vector.norm(), create_graph=True)[0]
    return pulled.square().sum()


def exponents(model: Looped, h: Tensor, e: Tensor) -> Tensor:
    """The largest exponent of the loops after those trained, where it is above TARGET."""
    loop = lyapunov.Loop(model.block, h[:FEW].detach(), e[:FEW])
    largest = lyapunov.exponent_sum(loop, k=1, steps=4, align=2, dtype=torch.float32, check=False)
    return (largest - TARGET).clamp(min=0).square()


def train(way: str, seed: int, seconds: float) -> tuple[Looped, int]:
    """A model, and how many steps it made in so much processor time."""
    torch.manual_seed(seed)
    model, penalty = Looped(), {"one vector": one_vector, "exponents": exponents}.get(way)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
    start, step, fraction = time.process_time(), 0, 0.0
    while fraction < 1:
        bits = torch.randint(2, (BATCH, BITS))
        e = model.embed(bits)
        h = model.loop(e, int(torch.randint(2, 9, ())) if way == "random loops" else TRAINED)
        loss = functional.cross_entropy(model.readout(h).flatten(0, 1), (bits.cumsum(-1) % 2).flatten())
        if penalty is one_vector or (penalty is exponents and step % EVERY == 0):
            loss = loss + WEIGHT[way] * penalty(model, h, e)
        optimizer.param_groups[0]["lr"] = 3e-3 * min(0.01 + 20 * fraction, 1.0, 2 * (1 - fraction))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step, fraction = step + 1, (time.process_time() - start) / seconds
    return model, step


@torch.no_grad()
def measure(model: Looped) -> dict[str, object]:
    """Accuracy at each number of loops; growth per loop within those trained, and of the loop that goes on."""
    bits = torch.cartesian_prod(*[torch.arange(2)] * BITS)  # all of them
    e, sums = model.embed(bits), bits.cumsum(-1) % 2
    correct = {loops: (model.readout(model.loop(e, loops)).argmax(-1) == sums).all(-1) for loops in LOOPS}
    some = e[:: len(e) // 8]
    loop = lyapunov.Loop(model.block, torch.zeros_like(some), some)
    few = lyapunov.spectrum(loop, steps=TRAINED, k=1, from_initial_state=True)
    many = lyapunov.spectrum(loop, steps=40, settle=60, align=40, k=1)
    return {
        "accuracy": {str(loops): float(right.double().mean()) for loops, right in correct.items()},
        "first loops": few.max,
        "exponent": many.max,
        "error": float(many.standard_errors[0]),
        "verdict": str(many.verdict),
    }


def trial(way: str, seed: int, seconds: float, directory: str) -> str:
    """One training, measured and written down."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", lyapunov.LyapunovWarning)
    model, steps = train(way, seed, seconds)
    found = {"way": way, "seed": seed, "seconds": seconds, "steps": steps, **measure(model)}
    path = place(directory, way, seed, seconds)
    path.with_suffix(".part").write_text(json.dumps(found, indent=1))
    path.with_suffix(".part").replace(path)
    at = found["accuracy"]
    right = f"right at 4 / 16 loops {at['4']:.3f} / {at['16']:.3f}"
    return f"{way}, seed {seed}: {steps} steps, exponent {found['exponent']:+.3f}, {right}"


def place(directory: str, way: str, seed: int, seconds: float) -> Path:
    """Where a training's numbers are kept."""
    return Path(directory) / f"{way.replace(' ', '-')}-{seed}-{seconds:g}.json"


def spread(values: list[float]) -> tuple[float, float]:
    """Mean and half width of the 95 % interval of Student's t over seeds; NaN for a single one."""
    quantile = {1: 12.71, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
    several = torch.tensor(values, dtype=torch.float64)
    half = (
        quantile.get(len(values) - 1, 2.0) * float(several.std(correction=1)) / math.sqrt(len(values))
        if values[1:]
        else math.nan
    )
    return float(several.mean()), half


def interval(values: list[float]) -> str:
    """Both in one cell of the table."""
    mean, half = spread(values)
    return f"{mean:.0f} ± {half:.0f}" if mean > 10 else f"{mean:.2f} ± {half:.2f}"


def table(rows: list[dict[str, object]]) -> str:
    """One column per way: means over seeds with 95 % intervals."""
    ways = [way for way in WAYS if any(row["way"] == way for row in rows)]
    lines = ["| | " + " | ".join(ways) + " |", "|---" * (len(ways) + 1) + "|"]
    of = {way: [row for row in rows if row["way"] == way] for way in ways}
    readings = [
        ("training steps", lambda row: row["steps"]),
        ("growth within the first 4 loops", lambda row: row["first loops"]),
    ]
    readings += [("largest exponent, nats per loop", lambda row: row["exponent"])]
    readings += [(f"right at {loops} loops", lambda row, at=str(loops): row["accuracy"][at]) for loops in LOOPS]
    lines += [
        f"| {name} | " + " | ".join(interval([float(read(row)) for row in of[way]]) for way in ways) + " |"
        for name, read in readings
    ]
    return "\n".join(lines)


def draw(rows: list[dict[str, object]], path: str) -> None:
    """Accuracy by the number of loops, one line per way of training."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5, 3.6), layout="constrained")
    ax = figure.subplots()
    for at, way in enumerate(WAYS):
        values = [spread([row["accuracy"][str(loops)] for row in rows if row["way"] == way]) for loops in LOOPS]
        means, halves = zip(*values, strict=True)
        largest = spread([row["exponent"] for row in rows if row["way"] == way])[0]
        shifted = [loops + 0.08 * (at - 1.5) for loops in LOOPS]
        ax.errorbar(shifted, means, halves, marker="o", markersize=4, capsize=2, label=f"{way} ({largest:.2f} nats per loop)")
    ax.axvline(TRAINED, color="0.8", zorder=0)
    ax.set(
        xlabel="loops (trained with 4, or 2 to 8 at random)", ylabel="sequences that are right", ylim=(0, 1.05), xticks=LOOPS
    )
    ax.legend(title="trained by (largest exponent)", frameon=False, loc="lower right")
    figure.savefig(path, dpi=150)


def main(seconds: float, seeds: int, workers: int, directory: str, figure: str | None) -> None:
    """All trainings that are missing, then the table."""
    Path(directory).mkdir(parents=True, exist_ok=True)
    wanted = [(way, seed) for seed in range(seeds) for way in WAYS]
    missing = [(way, seed) for way, seed in wanted if not place(directory, way, seed, seconds).exists()]
    print(
        f"{len(wanted) - len(missing)} of {len(wanted)} trainings are there; {len(missing)} of {seconds:g} s each to make",
        flush=True,
    )
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        running = [pool.submit(trial, way, seed, seconds, directory) for way, seed in missing]
        for done, one in enumerate(as_completed(running), 1):
            print(f"[{done}/{len(missing)}] {one.result()}", flush=True)
    rows = [json.loads(place(directory, way, seed, seconds).read_text()) for way, seed in wanted]
    shown = table(rows)
    (Path(directory) / "looped.md").write_text(shown + "\n")
    print("\n" + shown)
    if figure is not None:
        draw(rows, figure)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=16.0, help="processor time of each training")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2, help="trainings at a time, one thread each")
    parser.add_argument("--directory", default="runs/looped", help="where results are kept")
    parser.add_argument("--figure", help="where to draw accuracy by loops (needs matplotlib)")
    main(**vars(parser.parse_args()))
