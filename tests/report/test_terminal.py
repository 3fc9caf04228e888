"""The table that grows, on a terminal and elsewhere."""

import io

import pytest
from rich.console import Console

from lyapunov.report import ReadingTable
from lyapunov.report.terminal import bars
from lyapunov.training import Alarm, Reading

MEMORY = ["8.1", "(7.41-8.93)"]


def reading(epoch: int, **changes) -> Reading:
    losses = {"held_out": 2.5} if epoch == 0 else {"train": 2.0, "held_out": 2.5}
    numbers = {"exponents": (-0.1234,), "standard_errors": (0.0056,), "mean": -1.5, "seconds": 0.5}
    numbers["max_interval"] = (-0.135, -0.112)
    return Reading(10 * epoch, epoch, losses, **{**numbers, "training_seconds": 3.0, "taken": 8, **changes})


def shown(*, terminal: bool, rows: list[Reading], losses=("train", "held_out"), height: int = 14) -> str:
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=140, height=height)
    with ReadingTable("A title", losses=losses, console=console) as table:
        for row in rows:
            table.status(f"epoch {row.epoch}: step 1 of 2")
            table.add(row)
            table._live.refresh()
    return file.getvalue()


def test_elsewhere_each_row_is_a_line_as_it_comes() -> None:
    lines = shown(terminal=False, rows=[reading(at) for at in range(3)]).splitlines()
    assert lines[0] == "A title"
    assert lines[1].split("  ")[:4] == ["step", "epoch", "train loss", "held-out loss"]
    assert lines[2].split() == ["0", "0", "-", "2.500", "-0.1234", "±", "0.0056", "-1.500", *MEMORY, "3.0", "0.50", "(8)"]
    assert len(lines) == 5


def test_on_a_terminal_all_rows_stand_in_the_end_and_the_status_while_it_runs() -> None:
    text = shown(terminal=True, rows=[reading(at) for at in range(20)])
    assert "step 1 of 2" in text
    final = text[text.rindex("A title") :]
    assert all(f" {epoch} " in final for epoch in range(20))
    assert "step 1 of 2" not in final


def test_losses_that_come_later_get_a_column_and_alarms_a_line() -> None:
    alarmed = reading(1, alarms=(Alarm("chaos", "the largest exponent is 0.3"),))
    lines = shown(terminal=False, rows=[reading(0), alarmed], losses=("held_out",)).splitlines()
    assert lines[3].split("  ")[:4] == ["step", "epoch", "held-out loss", "train loss"]
    assert lines[4].split()[:4] == ["10", "1", "2.500", "2.000"]
    assert lines[5].strip() == "chaos: the largest exponent is 0.3"
    assert "chaos: the largest exponent" in shown(terminal=True, rows=[alarmed])


def test_a_failed_look_and_a_step_made_again() -> None:
    failed = reading(1, exponents=(), standard_errors=(), mean=None, failure="Diverged: NaN at step 3")
    lines = shown(terminal=False, rows=[reading(0), failed]).splitlines()
    assert "failed" in lines[3]
    assert lines[4].strip() == "failed: Diverged: NaN at step 3"
    final = shown(terminal=True, rows=[reading(0), reading(1), reading(2), reading(1)], height=30)
    final = final[final.rindex("A title") :]
    assert " 10 " in final
    assert " 20 " not in final


def test_bars_go_from_the_least_to_the_largest() -> None:
    assert bars([0.0, 1.0, 2.0, 7.0]) == "▁▂▃█"
    assert bars([1.0, float("nan"), 1.0]) == "▁ ▁"
    assert bars([float("inf")]) == " "
    assert len(bars(list(range(1000)))) == 60
    assert bars(list(range(1000)))[0] + bars(list(range(1000)))[-1] == "▁█"
    text = shown(terminal=True, rows=[reading(at, exponents=(float(at),)) for at in range(4)])
    assert "largest exponent  ▁▃▆█" in text


UNSURE = {"verdict": "too short: " + "about 40 would do. " * 9, "kinds": ("too short",)}


def test_what_is_not_converged_is_marked_and_said_once() -> None:
    rows = [reading(0, verdict="converged", kinds=()), reading(1, **UNSURE), reading(2, **UNSURE)]
    lines = shown(terminal=False, rows=rows).splitlines()
    assert ["?" in line for line in lines[2:]] == [False, True, True, True]
    assert lines[4].strip().startswith("? not converged: too short: about 40 would do.")
    text = shown(terminal=True, rows=rows)
    final = text[text.rindex("A title") :]
    assert final.count("? -0.1234") == 2
    assert "?: not converged" in final
    assert "? not converged: too short" in final
    assert "? " not in shown(terminal=True, rows=rows[:1])


@pytest.mark.parametrize("width", [80, 100, 140])
def test_it_fits_a_terminal_of_24_lines_without_a_number_cut_off(width: int) -> None:
    console = Console(force_terminal=True, width=width, height=24, file=io.StringIO())
    table = ReadingTable("A title", losses=("train", "held_out"), console=console)
    for epoch in range(40):
        table.add(reading(epoch, alarms=(Alarm("contracting", "so it is, " * 20),), **UNSURE))
    table.status("watching")
    lines = ["".join(part.text for part in line) for line in console.render_lines(table._render())]
    assert len(lines) <= 24
    rows = [line.split() for line in lines if "? -0.1234 ± 0.0056" in line]
    assert len(rows) >= 3
    assert all("(7.41-8.93)" in row and row[0] in map(str, range(0, 400, 10)) for row in rows)
    assert [line for line in lines if "…" in line] == [line for line in lines if "? not converged: too short" in line]
    assert any("s training" in table._columns and "training" in line for line in lines) == (width > 80)
