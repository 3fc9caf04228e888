"""The directions that belong to exponents, and growth step by step."""

from lyapunov.analysis.directions.covariant import CovariantVectors, covariant_vectors
from lyapunov.analysis.directions.local import LocalExponents, local_exponents
