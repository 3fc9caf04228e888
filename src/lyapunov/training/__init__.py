"""A spectrum while training, knowing no framework."""

from lyapunov.training import schedules
from lyapunov.training.alarms import AlarmThresholds
from lyapunov.training.history import LOCK, NAME, History, Run, free_places, locked
from lyapunov.training.monitor import Monitor, Sink
from lyapunov.training.reading import Alarm, Reading
