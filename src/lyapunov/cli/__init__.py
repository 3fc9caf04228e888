"""The command line: parsing only, no mathematics."""

import sys
from collections.abc import Sequence

from cyclopts import App

from lyapunov.errors import LyapunovError

app = App(
    name="lyapunov",
    help="Lyapunov spectra of recurrent networks, driven by their real inputs. Exponents are in nats per step.",
)
app.command("lyapunov.cli.demo:demo", name="demo")
app.command("lyapunov.cli.spectrum:spectrum", name="spectrum")
app.command("lyapunov.cli.report:report", name="report")
app.command("lyapunov.cli.watch:watch", name="watch")

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
