"""A spectrum as a table: plain text for `print`, HTML for notebooks."""

from lyapunov._shown import Parts, number, shown_rows
from lyapunov.estimate.quantities import QUANTITIES, Quantity, SpectrumQuantities
from lyapunov.estimate.timescales import exponent_unit

COLUMNS = ("i", "exponent", "± error", "memory (95 %)", "layer", "")


def parts_of(spectrum: SpectrumQuantities) -> Parts:
    """Title, how it was computed, rows, derived quantities."""
    return Parts([_title(spectrum), _method(spectrum)], [COLUMNS, *_rows(spectrum)], _summary(spectrum))


def _title(spectrum: SpectrumQuantities) -> str:
    settings = spectrum.settings
    counted = f"{len(spectrum.exponents)} of {settings.size} exponents"
    return f"Lyapunov spectrum of {settings.system}: {counted}, {exponent_unit(settings.dt)}"


def _method(spectrum: SpectrumQuantities) -> str:
    settings = spectrum.settings
    batch = len(spectrum.per_sequence)
    sequences = "1 sequence" if batch == 1 else f"{batch} sequences"
    before = f"after {settings.settle} to settle and {settings.align} to align"
    if settings.from_initial_state:
        before = "finite-time: from the initial state, nothing discarded"
    way = "closed form" if settings.method == "closed" else f"QR every {settings.qr_every}"
    return f"{sequences} x {_counted(spectrum)} counted, {before}; {way}; {settings.dtype}"


def _counted(spectrum: SpectrumQuantities) -> str:
    """Steps, from the shortest sequence to the longest where they differ."""
    steps = spectrum.history_steps.sum(0)
    least, most = int(steps.min()), int(steps.max())
    return f"{most} step{'s' * (most != 1)}" if least == most else f"{least} to {most} steps ({int(steps.sum())} in all)"


def _rows(spectrum: SpectrumQuantities) -> list[tuple[str, ...]]:
    timescales = spectrum.timescales
    rows: list[tuple[str, ...]] = []
    for i in shown_rows(len(spectrum.exponents)):
        if i is None:
            rows.append(("...", "...", "", "", "", ""))
            continue
        flag = "" if bool(spectrum.reliable[i]) else "below the precision floor"
        if int(spectrum.lost_at[i]) >= 0:
            flag = f"lost by step {int(spectrum.lost_at[i])}"
        estimate, error = number(float(spectrum.exponents[i])), number(float(spectrum.standard_errors[i]))
        rows.append((str(i + 1), estimate, error, timescales[i].cell, str(int(spectrum.layer[i])), flag))
    return rows


def _summary(spectrum: SpectrumQuantities) -> list[str]:
    count, size = spectrum.mean_count, spectrum.settings.size
    over = "" if count in (0, size) else f" (over {count} of {size})"
    mean = f"mean {number(spectrum.mean)} ± {number(spectrum.mean_standard_error)}{over}"
    parts = [mean, *(_derived(spectrum, one, one.digits) for one in QUANTITIES if one.digits is not None)]
    if spectrum.rank is not None and spectrum.rank < size:
        parts.append(f"rank {spectrum.rank}")
    return ["; ".join(parts), f"verdict: {spectrum.verdict}"]


def _derived(spectrum: SpectrumQuantities, quantity: Quantity, digits: int) -> str:
    """A derived quantity with its error, where it has one that is not nothing."""
    error = quantity.standard_error(spectrum)
    tail = f" ± {number(error, digits)}" if error else ""
    return f"{quantity.label} {number(quantity.value(spectrum), digits)}{tail}"
