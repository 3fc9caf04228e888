"""The command line as a module: `python -m lyapunov` is `lyapunov`."""

from lyapunov.cli import main

if __name__ == "__main__":
    main()
