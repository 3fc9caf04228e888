"""The command line: parsing only, no mathematics."""

import sys
from collections.abc import Sequence

from cyclopts import App

from lyapunov.errors import LyapunovError

app = App(
    name="lyapunov",
    help="Lyapunov spectra of recurrent networks, driven by their real inputs. Exponents are in nats per step.",
)
COMMANDS = {
    "demo": "Train a character LSTM on real text and watch its Lyapunov spectrum move.",
    "spectrum": "Print the Lyapunov spectrum of the RNN, GRU or LSTM in a checkpoint, driven by the inputs of a file.",
    "report": "Write one page about one or several runs: figures, tables and words, in a file that needs no network.",
    "tune": "Search the hyperparameters of your own training function, on one machine or many.",
    "data": "Fetch the data of the experiments, or say where it is.",
    "watch": "Show the readings of a run while it goes on; Ctrl-C ends the watching, not the training.",
}
"""Each in a file of its own, which is imported when it is called; what is said here is the first sentence there."""
for name, about in COMMANDS.items():
    app.command(f"lyapunov.cli.{name}:{name}", name=name, help=about)

INTERRUPTED = 130
"""The exit code of a run that Ctrl-C ended."""


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point: what goes wrong is one sentence on standard error and a non-zero exit."""
    try:
        app(arguments)
    except LyapunovError as error:
        print(f"lyapunov: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        print(f"lyapunov: Expected to read and write files, got: {error}. Check the path and the disk.", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("lyapunov: stopped.", file=sys.stderr)
        sys.exit(INTERRUPTED)
