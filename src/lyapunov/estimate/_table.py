"""A spectrum as a table: plain text for `print`, HTML for notebooks."""

import html
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lyapunov.estimate.result import Spectrum

HEAD, TAIL = 8, 3
"""Rows shown of a long spectrum, from its start and its end."""
COLUMNS = ("i", "exponent", "± error", "memory", "layer", "")


def text_table(spectrum: "Spectrum") -> str:
    """Title, how it was computed, rows, derived quantities."""
    rows = [COLUMNS, *_rows(spectrum)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(COLUMNS))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([_title(spectrum), _method(spectrum), "", *lines, "", *_summary(spectrum)])


def html_table(spectrum: "Spectrum") -> str:
    """The same as an HTML table."""

    def row(cells: tuple[str, ...], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    body = row(COLUMNS, "th") + "".join(row(cells, "td") for cells in _rows(spectrum))
    caption = f"<caption>{html.escape(_title(spectrum))}<br>{html.escape(_method(spectrum))}</caption>"
    return f"<table>{caption}{body}</table><p>{'<br>'.join(html.escape(line) for line in _summary(spectrum))}</p>"


def number(value: float | None, digits: int = 5) -> str:
    """A number for people: "-" where there is none."""
    if value is None or math.isnan(value):
        return "-"
    return f"{value:.{digits}f}" if math.isfinite(value) else str(value)


def _title(spectrum: "Spectrum") -> str:
    settings = spectrum.settings
    unit = "nats per step" if settings.dt == 1 else "nats per unit of time"
    return f"Lyapunov spectrum of {settings.system}: {len(spectrum.exponents)} of {settings.size} exponents, {unit}"


def _method(spectrum: "Spectrum") -> str:
    settings = spectrum.settings
    batch = len(spectrum.per_sequence)
    sequences = "1 sequence" if batch == 1 else f"{batch} sequences"
    return (
        f"{sequences} x {settings.count} steps counted, after {settings.settle} to settle and {settings.align} to align; "
        f"QR every {settings.qr_every}; {settings.dtype}"
    )


def _rows(spectrum: "Spectrum") -> list[tuple[str, ...]]:
    count = len(spectrum.exponents)
    everything = count <= HEAD + TAIL + 1
    shown = range(count) if everything else (*range(HEAD), *range(count - TAIL, count))
    memory = spectrum.memory_times.tolist()
    rows: list[tuple[str, ...]] = []
    for i in shown:
        if not everything and i == count - TAIL:
            rows.append(("...", "...", "", "", "", ""))
        flag = "" if bool(spectrum.reliable[i]) else "below the precision floor"
        error = number(float(spectrum.standard_errors[i]))
        row = (
            str(i + 1),
            number(float(spectrum.exponents[i])),
            error,
            number(memory[i], 1),
            str(int(spectrum.layer[i])),
            flag,
        )
        rows.append(row)
    return rows


def _summary(spectrum: "Spectrum") -> list[str]:
    count, size = spectrum.mean_count, spectrum.settings.size
    over = "" if count in (0, size) else f" (over {count} of {size})"
    mean = f"mean {number(spectrum.mean)} ± {number(spectrum.mean_standard_error)}{over}"
    parts = [
        mean,
        f"variance {number(spectrum.variance)}",
        f"sum {number(spectrum.sum)}",
        f"Kaplan-Yorke dimension {number(spectrum.kaplan_yorke_dimension, 3)}",
        f"entropy rate {number(spectrum.entropy_rate)}",
    ]
    lines = ["; ".join(parts)]
    if not bool(spectrum.reliable.all()):
        remedy = "use a smaller qr_every" if spectrum.settings.qr_every > 1 else "they are lost, or too small to resolve"
        lines.append(f"Exponents below the precision floor are only known to be about what is shown or less: {remedy}.")
    if len(spectrum.per_sequence) == 1:
        lines.append("One sequence: no standard errors; several sequences (or initial states) give them.")
    return lines
