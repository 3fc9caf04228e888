"""`import lyapunov` fetches nothing before it is asked for, and looks as if it had fetched everything."""

import ast
import importlib
import inspect
import os
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import lyapunov
from lyapunov.cli import COMMANDS, INTERRUPTED

SOURCE = Path(lyapunov.__file__)
HEAVY = {"torch", "numpy", "matplotlib", "optuna", "plotly", "safetensors"}


def fresh(code: str, *arguments: str) -> subprocess.CompletedProcess:
    """A new interpreter, of which nothing has been imported yet."""
    environment = {**os.environ, "PYTHONPATH": str(SOURCE.parent.parent), "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=environment)


def test_the_lists_of_public_names_agree() -> None:
    tree = ast.parse(SOURCE.read_text())
    checked = next(node for node in tree.body if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
    named = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in checked.body
        if isinstance(node, ast.ImportFrom) and node.module.startswith("lyapunov")
        for alias in node.names
    }
    assert set(named) | {"__version__"} == set(lyapunov.__all__)
    for name, place in named.items():
        module, _, own = place.rpartition(".")
        found = importlib.import_module(place) if inspect.ismodule(getattr(lyapunov, name)) else None
        assert getattr(lyapunov, name) is (found or getattr(importlib.import_module(module), own))


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_needs_no_pytorch(command: str) -> None:
    code = (
        "import sys; from lyapunov.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: print(sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    found = fresh(code, *command.split(), "--help")
    assert "Usage: lyapunov" in found.stdout, found.stderr
    assert not HEAVY & set(ast.literal_eval(found.stderr)), command


@pytest.mark.parametrize("command", ["", "spectrum"])
def test_as_a_module_it_is_the_same_command_and_as_light(command: str) -> None:
    code = (
        "import runpy, sys\n"
        "try: runpy.run_module('lyapunov', run_name='__main__', alter_sys=True)\n"
        "finally: print(sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    found = fresh(code, *command.split(), "--help")
    same = fresh("import sys; from lyapunov.cli import main; main(sys.argv[1:])", *command.split(), "--help")
    assert found.stdout == same.stdout != ""
    assert not HEAVY & set(ast.literal_eval(found.stderr)), command


def test_a_wrong_command_needs_none_either() -> None:
    code = "import sys; from lyapunov.cli import main\ntry: main(['nothing'])\nfinally: print('torch' in sys.modules)"
    assert fresh(code).stdout.strip().endswith("False")


def test_everything_is_there_as_if_it_had_been_imported() -> None:
    code = """
import pickle, sys, lyapunov
assert not {'torch', 'numpy'} & set(sys.modules)
assert set(lyapunov.__all__) <= set(dir(lyapunov))
assert callable(lyapunov.spectrum) and lyapunov.plots.spectrum and lyapunov.init.to_exponent_ and lyapunov.schedules
from lyapunov import *
assert Spectrum is lyapunov.Spectrum and pickle.loads(pickle.dumps(Settings)) is Settings
assert lyapunov.systems.System is lyapunov.System and lyapunov.integrations and lyapunov.errors
assert all(name in vars(lyapunov) for name in lyapunov.__all__)
assert not hasattr(lyapunov, 'nothing') and not hasattr(lyapunov, '__wrapped__')
"""
    assert fresh(code).stderr == ""


def test_where_pytorch_is_there_already_nothing_is_put_off() -> None:
    assert fresh("import torch, lyapunov; assert 'spectrum' in vars(lyapunov)").stderr == ""
    public = {name for name, value in vars(lyapunov).items() if not name.startswith("_") and not inspect.ismodule(value)}
    assert public <= set(lyapunov.__all__)


@pytest.mark.parametrize("module", ["cyclopts", "torch", "torch.nn", "numpy", "lyapunov.tangent"])
def test_ctrl_c_during_an_import_is_one_word(module: str) -> None:
    code = f"""
import os, signal, sys
class Interrupting:
    def find_spec(name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupting)
from lyapunov.cli import main
main(['spectrum', 'nowhere.pt', '--inputs', 'nowhere.npy'])
"""
    found = fresh(code)
    assert (found.returncode, found.stderr, found.stdout) == (INTERRUPTED, "lyapunov: stopped.\n", "")


def test_choices_that_the_command_line_repeats_are_those_of_the_package() -> None:
    from lyapunov import tuning
    from lyapunov.cli import tune

    assert typing.get_args(tune.Engine) == typing.get_args(tuning.Engine) == tuning.ENGINES
