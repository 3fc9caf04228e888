"""The command line: parsing only, no mathematics. Nothing heavy is imported before a command runs."""

import sys

TYPE_CHECKING = False  # for type checkers it is True; without the module of that name less can be interrupted before `main`
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from cyclopts import App

ABOUT = "Lyapunov spectra of recurrent networks, driven by their real inputs. Exponents are in nats per step."
COMMANDS = {
    "demo": "Train a character LSTM on real text and watch its Lyapunov spectrum move.",
    "spectrum": "Print the Lyapunov spectrum of the recurrent layer in a checkpoint, driven by the inputs of a file.",
    "report": "Write one page about one or several runs: figures, tables and words, in a file that needs no network.",
    "tune": "Search the hyperparameters of your own training function, on one machine or many.",
    "data": "Fetch the data of the experiments, or say where it is.",
    "watch": "Show the readings of a running training; Ctrl-C stops watching, not training.",
}
"""Each in a file of its own, which is imported when it is called; what is said here is the first sentence there."""

INTERRUPTED = 130
"""The exit code of a run that Ctrl-C ended."""


def main(arguments: "Sequence[str] | None" = None) -> None:
    """The entry point: what goes wrong is one sentence on standard error and a non-zero exit."""
    try:
        with Loading():
            from lyapunov.errors import LyapunovError

            app = _app()
        try:
            app(arguments)
        except LyapunovError as error:
            print(f"lyapunov: {error}", file=sys.stderr)
            sys.exit(2)
        except BrokenPipeError:  # whoever read has read enough, as `| head` does
            _leave_quietly()
        except OSError as error:
            print(f"lyapunov: Expected to read and write files, got: {error}. Check the path and the disk.", file=sys.stderr)
            sys.exit(2)
    except KeyboardInterrupt:
        print("lyapunov: stopped.", file=sys.stderr)
        sys.exit(INTERRUPTED)


def _app() -> "App":
    from cyclopts import App

    app = App(name="lyapunov", help=ABOUT)
    for name, about in COMMANDS.items():
        app.command(f"lyapunov.cli.{name}:{name}", name=name, help=about)
    return app


class Loading:
    """While something is imported, Ctrl-C ends the process at once, with one word.

    An exception in the middle of an import of PyTorch is swallowed there, or printed with a traceback, as it happens to fall.
    """

    def __enter__(self) -> None:
        import signal

        self._before = signal.getsignal(signal.SIGINT)
        self._ours = self._before is signal.default_int_handler
        if self._ours:
            try:
                signal.signal(signal.SIGINT, _leave)
            except ValueError:  # not the main thread, which Ctrl-C goes to
                self._ours = False

    def __exit__(self, kind: "type[BaseException] | None", error: object, trace: "TracebackType | None") -> None:
        if self._ours:
            import signal

            signal.signal(signal.SIGINT, self._before)


def _leave_quietly() -> None:
    """Nothing more can be said, and nothing is to be said at the end."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(141)


def _leave(*_: object) -> None:
    import os

    os.write(2, b"lyapunov: stopped.\n")
    os._exit(INTERRUPTED)
