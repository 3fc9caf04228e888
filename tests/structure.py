"""Counts what the redrawing of the house must bring down, from the syntax trees of `src/lyapunov`.

    python tests/structure.py                # each count beside its goal
    python tests/structure.py --list blocks  # the places behind one count
    python tests/structure.py --json         # counts, goals, places and notes

It is run before and after, so it finds things by what they are, or by the names of both sides. What lowers a count without
changing anything is counted as well: a bag for attributes, `match` or `hasattr` for `isinstance`, a copy for a call. How, is
said where it is counted, in `counts/`; `--list` prints it. Rows without a goal show where things could have gone instead.
"""

import argparse
import json
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from counts.classes import attributes, closed_forms, monitor_parameters, record_fields
from counts.found import Found
from counts.names import dialect, kind_files, kind_tables, method_files, quantity_files, same_names
from counts.text import any_aliases, any_annotations, blocks_calls, code_lines, short_docstrings
from counts.tree import House
from counts.ways import containers, import_cycles

ROOT = Path(__file__).parent.parent / "src" / "lyapunov"
WIDTH, INDENT = 128, " " * 31
"""Of the table, and of the notes in it."""


class Count(NamedTuple):
    """What is counted, how, and how far it is to come down (None: it is only shown)."""

    title: str
    find: Callable[[House], Found]
    goal: int | None = None


COUNTS = {
    "containers": Count("setting containers between the call and the loop", containers, 2),
    "attributes": Count("attributes of the largest class", attributes, 12),
    "fields": Count("fields of the largest frozen record", record_fields),
    "closed-form": Count("branches on the closed form outside systems/", closed_forms, 0),
    "blocks": Count("uses of blocks(...)", blocks_calls, 8),
    "any": Count("Any in annotations", any_annotations, 250),
    "any-aliases": Count("annotations with another name for Any", any_aliases),
    "kind-tables": Count("tables of kinds of layers", kind_tables, 1),
    "monitor": Count("parameters of Monitor.__init__", monitor_parameters, 16),
    "docstrings": Count("docstrings of three words or fewer", short_docstrings, 0),
    "lines": Count("lines of code", code_lines),
    "cycles": Count("import cycles", import_cycles, 0),
    "kind-files": Count("files that know the kinds of layers", kind_files, 3),
    "method-files": Count("files that name ways to orthonormalise", method_files, 1),
    "quantity-files": Count("files that list derived quantities", quantity_files, 1),
    "same-names": Count("types and files that share a name", same_names),
    "dialect": Count("private words that are left", dialect),
}


def main() -> int:
    """The exit status: 0 once everything is counted, whatever the counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--list", choices=COUNTS, metavar="NAME", help=f"places behind one count: {', '.join(COUNTS)}")
    parser.add_argument("--json", action="store_true", help="all of it, to be compared")
    parser.add_argument("--root", type=Path, default=ROOT, help="the package's folder, here src/lyapunov")
    options = parser.parse_args()
    if not (options.root / "__init__.py").is_file():
        parser.error(f"Expected the folder of the package with --root, got {options.root}. Pass .../src/lyapunov.")
    house = House(options.root)
    names = [options.list] if options.list else list(COUNTS)
    found = {name: COUNTS[name].find(house) for name in names}
    if options.json:
        print(json.dumps({name: _record(COUNTS[name], one) for name, one in found.items()}, indent=1))
    elif options.list:
        print(_listed(options.list, found[options.list]))
    else:
        print(_table(found))
    return 0


def _table(found: dict[str, Found]) -> str:
    """A row for each count, and its notes under it."""
    lines = [f"{'name':15} {'count':>6} {'goal':>6}  what is counted"]
    for name, one in found.items():
        lines.append(f"{name:15} {one.count:6} {_goal(COUNTS[name]):>6}  {COUNTS[name].title}")
        notes = () if name == "dialect" else one.notes
        lines += [textwrap.fill(note, WIDTH, initial_indent=INDENT, subsequent_indent=INDENT + "  ") for note in notes]
    return "\n".join(lines)


def _listed(name: str, found: Found) -> str:
    """How it is counted, the places, the notes, and the count."""
    told = (COUNTS[name].find.__doc__ or "").strip()
    total = f"{name}: {found.count} (goal: {_goal(COUNTS[name])})"
    return "\n".join([told, "", *map(str, found.places), "", *found.notes, total])


def _goal(count: Count) -> str:
    return "-" if count.goal is None else f"<= {count.goal}" if count.goal else "0"


def _record(count: Count, found: Found) -> dict[str, object]:
    places = [place._asdict() for place in found.places]
    return {"title": count.title, "count": found.count, "goal": count.goal, "notes": found.notes, "places": places}


if __name__ == "__main__":
    sys.exit(main())
