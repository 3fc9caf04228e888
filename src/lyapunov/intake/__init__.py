"""From what users have to a System, the sequences that drive it, and the state it starts from."""

from lyapunov.intake.capturing import Captured, capture, cores_of, is_captured, preserving_state
from lyapunov.intake.checkpoint import Checkpoint, Nonlinearity, load_checkpoint
from lyapunov.intake.closed_loops import ClosedLoop, closed_loop
from lyapunov.intake.encoding import Encoded, core_inputs
from lyapunov.intake.files import encode, one_hot_sequences, read_inputs, read_text, require_file
from lyapunov.intake.foreign import require_whole, unwrapped
from lyapunov.intake.inputs import PaddedSequences, digest, independent
from lyapunov.intake.layers import CELLS, LAYERS, kind_of, layer_system, only_watches, split_layers
from lyapunov.intake.problem import Problem, SystemInputs, compute_device
from lyapunov.intake.recognize import recognize

__all__ = [
    "CELLS",
    "LAYERS",
    "Captured",
    "Checkpoint",
    "ClosedLoop",
    "Encoded",
    "Nonlinearity",
    "PaddedSequences",
    "Problem",
    "SystemInputs",
    "capture",
    "closed_loop",
    "compute_device",
    "core_inputs",
    "cores_of",
    "digest",
    "encode",
    "independent",
    "is_captured",
    "kind_of",
    "layer_system",
    "load_checkpoint",
    "one_hot_sequences",
    "only_watches",
    "preserving_state",
    "read_inputs",
    "read_text",
    "recognize",
    "require_file",
    "require_whole",
    "split_layers",
    "unwrapped",
]
