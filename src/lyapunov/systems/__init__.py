"""What is stepped: driven maps and how they move small changes."""

from lyapunov.systems.arguments import require_order
from lyapunov.systems.casting import CastCall, attribute_restorer, cast_tensor, content_restorer, eval_mode
from lyapunov.systems.closed import Layer, Linearization, ModuleLayer, joined
from lyapunov.systems.closed_loop import FedBack, fed_back
from lyapunov.systems.compiled import compiled
from lyapunov.systems.contract import check_contract
from lyapunov.systems.diagonal import Diagonal
from lyapunov.systems.faults import explained
from lyapunov.systems.feed import Feed
from lyapunov.systems.gru import GRU
from lyapunov.systems.language import LanguageModel
from lyapunov.systems.loop import Loop, TokenStep
from lyapunov.systems.lstm import LSTM
from lyapunov.systems.rnn import RNN
from lyapunov.systems.stack import CoupledStack, IndependentLayers, Stack
from lyapunov.systems.step import Step
from lyapunov.systems.system import Label, StepByStep, System, forward_mode_push, jacobians, total_size
from lyapunov.systems.trace import Trace

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "CastCall",
    "CoupledStack",
    "Diagonal",
    "FedBack",
    "Feed",
    "IndependentLayers",
    "Label",
    "LanguageModel",
    "Layer",
    "Linearization",
    "Loop",
    "ModuleLayer",
    "Stack",
    "Step",
    "StepByStep",
    "System",
    "TokenStep",
    "Trace",
    "attribute_restorer",
    "cast_tensor",
    "check_contract",
    "compiled",
    "content_restorer",
    "eval_mode",
    "explained",
    "fed_back",
    "forward_mode_push",
    "jacobians",
    "joined",
    "require_order",
    "total_size",
]
