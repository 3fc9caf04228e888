"""The command of the sweeps: `python -m experiments.sweeps text --preset small`."""

from experiments.sweeps.training import main

if __name__ == "__main__":
    main()
