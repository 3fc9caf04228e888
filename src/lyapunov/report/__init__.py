"""Numbers for people: figures and terminal tables."""

from lyapunov.report import plots
from lyapunov.report.page import write_report
from lyapunov.report.terminal import ReadingTable

__all__ = ["ReadingTable", "plots", "write_report"]
