"""The ways a frame can go, each forced on small systems that would not take it by themselves."""

import importlib

import pytest
import torch

from lyapunov import _frames
from lyapunov.systems import closed
from lyapunov.tangent.frames import orthonormal

loop = importlib.import_module("lyapunov.tangent.loop.rollout")
PATHS = ("usual", "eliminated", "eliminated, dealt out", "Cholesky", "dealt out, with Jacobians")


def force(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`path` for every system of a test."""
    if path.startswith("eliminated"):
        monkeypatch.setattr(loop, "suited_to", lambda *_, **__: orthonormal.ELIMINATION)
    if path == "Cholesky":
        monkeypatch.setattr(loop, "suited_to", lambda *_, **__: orthonormal.CHOLESKY)
    if "dealt out" in path:
        monkeypatch.setattr(_frames, "WIDE", 1)
        monkeypatch.setattr(_frames, "LARGE", 1)
        monkeypatch.setattr(closed, "WORTH_THREADS", 0)
        monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    if "Jacobians" in path:
        monkeypatch.setattr(closed, "DENSE", 1)
