"""The table that grows, on a terminal and elsewhere."""

import io

import pytest
from rich.console import Console

from lyapunov.report import ReadingTable
from lyapunov.report.terminal import bars
from lyapunov.training import Alarm, Reading

MEMORY = ["8.1", "(7.41-8.93)"]


def reading(epoch: int, **changes) -> Reading:
    losses = changes.pop("losses", None) or ({"held_out": 2.5} if epoch == 0 else {"train": 2.0, "held_out": 2.5})
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


VERDICT = "? not converged: " + " ".join(UNSURE["verdict"].split())
CONTRACTING, SHORT = "so it is, " * 20, "the task needs more of it. " * 4


def screen(width: int, height: int, *, losses=("train", "held_out"), count: int = 2, title: str = "A title") -> list[str]:
    """The lines of a table of 40 readings, the last one with alarms and a long verdict."""
    console = Console(force_terminal=True, width=width, height=height, file=io.StringIO())
    table = ReadingTable(title, losses=losses, console=console)
    alarms = tuple(Alarm(kind, text.strip()) for kind, text in [("contracting", CONTRACTING), ("short memory", SHORT)] * 9)
    for epoch in range(40):
        table.add(reading(epoch, losses=dict.fromkeys(losses, 2.0), alarms=alarms[:count], **UNSURE))
    table.status("watching")
    return ["".join(part.text for part in line) for line in console.render_lines(table._render())]


@pytest.mark.parametrize(("width", "height"), [(80, 24), (100, 24), (120, 24), (140, 24), (80, 20), (200, 50)])
def test_the_newest_rows_the_alarms_and_the_verdict_are_seen_whole(width: int, height: int) -> None:
    lines = screen(width, height)
    assert len(lines) <= height
    rows = [line.split() for line in lines if "? -0.1234 ± 0.0056" in line]
    assert [row[0] for row in rows] == list(map(str, range(0, 400, 10)))[-len(rows) :]
    assert len(rows) >= (3 if height >= 24 else 1)
    assert all("(7.41-8.93)" in row for row in rows)
    words = " ".join(" ".join(lines).split())
    for whole in (VERDICT, f"contracting: {CONTRACTING.strip()}", f"short memory: {SHORT.strip()}"):
        assert whole in words
    assert not any("…" in line for line in lines)
    assert lines[-1].strip() == "watching"
    assert any("training" in line for line in lines[:5]) == (width > 80)


@pytest.mark.parametrize("width", [40, 60, 80])
def test_a_narrow_screen_keeps_the_step_and_the_largest_exponent(width: int) -> None:
    losses = ("train", "held_out", "test", "perplexity_of_validation")
    lines = screen(width, 24, losses=losses, count=0, title="a long title " * 9)
    assert len(lines) <= 24
    assert lines[0].rstrip().endswith("…")
    rows = [line for line in lines if line.split()[:1] == ["390"]]
    assert len(rows) == 1
    assert "? -0.1234 ± 0.0056" in rows[0]
    assert not any("…" in line for line in lines[1:])


def test_alarms_without_end_have_a_line_each() -> None:
    lines = screen(80, 24, count=8)
    assert len(lines) <= 24
    assert "? -0.1234 ± 0.0056" in "".join(lines)
    assert sum(line.startswith(("contracting: ", "short memory: ")) for line in lines) == 8


def test_a_reading_that_is_converged_says_so_while_it_is_watched() -> None:
    assert "verdict: converged" in shown(terminal=True, rows=[reading(0, verdict="converged", kinds=())])
