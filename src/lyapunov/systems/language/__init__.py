"""Language models whose state is their cache."""

from lyapunov.systems.language.huggingface import LanguageModel
