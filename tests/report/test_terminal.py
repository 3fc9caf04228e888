"""The table that grows, on a terminal and elsewhere."""

import io

from rich.console import Console

from lyapunov.report import ReadingTable
from lyapunov.tasks import Reading


def reading(epoch: int, train_loss: float | None = 2.0) -> Reading:
    return Reading(epoch, train_loss, 2.5, -0.1234, 0.0056, -1.5, 0.001, 8.1, 3.0, 0.5, 8)


def shown(*, terminal: bool, rows: int) -> str:
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=140, height=12)
    with ReadingTable("A title", console=console) as table:
        for epoch in range(rows):
            table.status(f"epoch {epoch}: step 1 of 2")
            table.add(reading(epoch, None if epoch == 0 else 2.0))
            table._live.refresh()
    return file.getvalue()


def test_elsewhere_each_row_is_a_line_as_it_comes() -> None:
    lines = shown(terminal=False, rows=3).splitlines()
    assert lines[0] == "A title"
    assert lines[1].split("  ")[0] == "epoch"
    assert lines[2].split() == ["0", "-", "2.500", "-0.1234", "±", "0.0056", "-1.500", "8.1", "3.0", "0.5", "(8)"]
    assert len(lines) == 5


def test_on_a_terminal_all_rows_stand_in_the_end_and_the_status_while_it_runs() -> None:
    text = shown(terminal=True, rows=20)
    assert "step 1 of 2" in text
    final = text[text.rindex("A title") :]
    assert all(f" {epoch} " in final for epoch in range(20))
    assert "step 1 of 2" not in final
