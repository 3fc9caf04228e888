"""Packages of the extras, imported where they are needed, with a word where they are not there."""

from importlib import import_module
from types import ModuleType

from lyapunov.errors import Unsupported


def import_optional(module: str, extra: str) -> ModuleType:
    """A module of a package that an extra brings; raises Unsupported with how to get it."""
    try:
        return import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        raise Unsupported(f"Expected {package} for this, found none. Install it: pip install 'lyapunov[{extra}]'.") from error
