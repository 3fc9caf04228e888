"""How long outputs depend on where a model started, and published measures of its memory."""

from lyapunov.analysis.memory.memory import Memory, memory
from lyapunov.analysis.memory.remembrance import EffectiveRemembrance, effective_remembrance, effective_state_size
