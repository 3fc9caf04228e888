"""Predicts the fresh cells' ranks before any of them is trained: `python -m experiments.cells.predictions --record`.

Both regressors are fitted on R3 of the benchmark's 341 runs and the ranks of their least validation losses; higher is worse.
"""

import sys

from experiments.cells.readouts import R3
from experiments.cells.regression import BOUNDED, REGRESSORS, Regressor, fitted
from experiments.cells.tables import curves, recorded_readouts
from experiments.commands import RECORDED, SCRATCH, arguments, run
from experiments.rows import Row, write
from lyapunov import InvalidInput


def predicted(by: dict[str, Regressor] = REGRESSORS) -> list[Row]:
    """One row per fresh cell."""
    known, asked = curves().joined(recorded_readouts("benchmark")), recorded_readouts("fresh")
    found = fitted(known.matrix(R3), known.columns["best"], asked.matrix(R3), known.structures, by)
    return [
        {
            "cell": name,
            "structure": asked.structures[at],
            **{readout: float(asked.columns[readout][at]) for readout in R3},
            **{regressor.replace(" ", "_"): float(values[at]) for regressor, values in found.items()},
        }
        for at, name in enumerate(asked.names)
    ]


def main() -> None:
    """Parse, predict and write; what is recorded is never written again."""
    parser = arguments(__doc__)
    parser.add_argument(
        "--bounded", action="store_true", help="with the bounded ridge, which came after the freeze: descriptive"
    )
    asked = parser.parse_args()
    record, by = asked.record, BOUNDED if asked.bounded else REGRESSORS
    file = (RECORDED if record else SCRATCH) / f"cells-predictions{'-bounded' * asked.bounded}.csv"

    def made() -> None:
        if record and file.exists():
            raise InvalidInput(f"Expected no predictions in {file} yet, got some. They are frozen: leave them as they are.")
        write(file, predicted(by))

    run(made)
    print(file, file=sys.stderr)


if __name__ == "__main__":
    main()
