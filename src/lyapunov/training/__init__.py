"""A spectrum while training, knowing no framework."""

from lyapunov.training import schedules
from lyapunov.training.alarms import AlarmThresholds
from lyapunov.training.history import NAME, History, Run
from lyapunov.training.monitor import Monitor, Sink
from lyapunov.training.reading import Alarm, Reading

__all__ = ["NAME", "Alarm", "AlarmThresholds", "History", "Monitor", "Reading", "Run", "Sink", "schedules"]
