"""From what users have to a System, the sequences that drive it, and the state it starts from."""

from lyapunov.intake.capturing import Captured, capture, cores_of, is_captured, preserving_state
from lyapunov.intake.checkpoint import Checkpoint, Nonlinearity, load_checkpoint
from lyapunov.intake.closed_loops import ClosedLoop, closed_loop, loop_of
from lyapunov.intake.encoding import Encoded, core_inputs
from lyapunov.intake.files import encode, one_hot_sequences, read_inputs, read_text, require_file
from lyapunov.intake.foreign import require_whole, unwrapped
from lyapunov.intake.inputs import PaddedSequences, digest, independent
from lyapunov.intake.kinds import CELLS, LAYERS, kind_of, known_kind
from lyapunov.intake.layers import layer_system, only_watches, split_layers
from lyapunov.intake.problem import CastProblem, Problem, compute_device, problem, require_full
from lyapunov.intake.recognize import recognize
