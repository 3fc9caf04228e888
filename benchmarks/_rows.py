"""All rows, in the order of the table: each file enters its own when it is imported."""

# isort: off
import _rows_work  # noqa: F401
import _rows_peers  # noqa: F401
from _rows_scale import probe_memory
# isort: on

from _row import ROWS, Row, Skipped

__all__ = ["ROWS", "Row", "Skipped", "probe_memory"]
