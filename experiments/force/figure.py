"""The figure of the remark: whole spectra by rule, and the variance against the error under noise."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator
from safetensors.numpy import load_file

from experiments.figures.outputs import RESULTS, Outcome, panels
from experiments.force.claims import TASKS, TRAINED, Table, difference, minutes, tables, verdict
from experiments.force.network import Numbers
from experiments.force.presets import RULES
from experiments.force.sweep import run
from experiments.sweeps.presets import Preset

COLORS = dict(zip(RULES, ("0.6", "tab:red", "tab:blue", "tab:green", "tab:orange"), strict=True))
MARKERS = dict(zip(TRAINED, ("o", "s", "^"), strict=True))


def make(preset: Preset, results: Path = RESULTS) -> Outcome:
    """Runs what is missing, and draws all of it."""
    rows = run(preset, results)
    spectra = load_file(results / f"force-{preset}.safetensors")
    figure, axes = panels(4)
    words = []
    for at, table in enumerate(tables(preset, results)):
        draw_spectra(axes[2 * at], table, spectra)
        draw_variances(axes[2 * at + 1], table)
        words.append(f"{TASKS[table.task]}: {in_short(table)}")
    words.append(f"all networks together: {minutes(rows):.0f} minutes of one core")
    theirs = "largest, least and mean as by back-propagation, variance much lower; no numbers"
    return Outcome(rows, figure, "; ".join(words), theirs)


def in_short(table: Table) -> str:
    """Full-FORCE against back-propagation."""
    found = {name: difference(table, "back-propagation", name) for name in ("largest", "least", "mean", "variance")}
    ratio = math.exp(found["variance"].value)
    said = ", ".join(f"{name} {found[name]} ({verdict(name, found[name])})" for name in ("largest", "least", "mean"))
    return f"{said}, variance {ratio:.2f} times ({verdict('variance', found['variance'])})"


def draw_spectra(ax: Axes, table: Table, spectra: dict[str, Any]) -> None:
    """Median over seeds of every exponent, and its range."""
    for rule in RULES:
        seeds = table.controlled if rule == RULES[-1] else table.seeds
        if seeds:
            found: Numbers = np.stack([spectra[f"{table.task}/{rule}/{seed}"] for seed in seeds]).astype(np.float64)
            ranks = (np.arange(found.shape[1]) + 0.5) / found.shape[1]
            ax.plot(ranks, np.median(found, axis=0), color=COLORS[rule], label=rule, linewidth=1.2)
            ax.fill_between(ranks, found.min(axis=0), found.max(axis=0), color=COLORS[rule], alpha=0.15, linewidth=0)
    ax.axhline(0.0, color="0.4", linewidth=0.6)
    ax.set_ylim(-4.0, 0.8)
    ax.set_xlabel("rank / N")
    ax.set_ylabel("exponent (nats per time constant)")
    ax.set_title(f"{TASKS[table.task]}: median, range over seeds")
    ax.legend(frameon=False, fontsize="x-small")


def draw_variances(ax: Axes, table: Table) -> None:
    """A point per trained network."""
    for rule in TRAINED:
        ax.scatter(
            table.of(rule, "variance"),
            table.of(rule, "noise_error"),
            s=14,
            color=COLORS[rule],
            marker=MARKERS[rule],
            label=rule,
        )
    ax.set_xscale("log")
    ax.set_yscale("log")
    limits = ax.get_xlim()
    ax.set_xticks([0.01, 0.02, 0.05, 0.1, 0.2, 0.5], ["0.01", "0.02", "0.05", "0.1", "0.2", "0.5"])
    ax.set_xlim(limits)
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel("variance of the exponents")
    ax.set_ylabel("normalized error under noise")
    ax.set_title(f"{TASKS[table.task]}: a point per network")
    ax.legend(frameon=False, fontsize="x-small")
