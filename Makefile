# make demo and make test each do all their set-up in .venv. The rest builds on the same.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# A package index that has a CPU-only torch, for machines where the default one brings CUDA:
#   make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
# What to pass to the benchmark: make bench BENCH='--only forward,memory', BENCH=--missing to go on with a run that was ended
BENCH ?=
# What to pass to pytest: make test PYTEST=tests/test_laws.py, PYTEST="-k memory"
PYTEST ?=
# Tests of what is around the library
WITHOUT_ANNOTATIONS := benchmarks docs experiments tuning cli test_documentation.py test_examples.py test_gallery.py
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

# The site is built without a network. Each check is an error: warnings of Sphinx, links and anchors, anything fetched from outside.
# One thread: networks this small gain nothing from more, and lose much beside other work.
SPHINX := OMP_NUM_THREADS=1 $(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going --doctree-dir build/doctrees

.PHONY: docs dist demo test core mutants test-all slow annotations trackers strangers bench check format clean help

help:  ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

demo: $(VENV)/.demo  ## train an LSTM on real text and watch its Lyapunov spectrum move (about five minutes)
	$(BIN)/lyapunov demo

test: $(VENV)/.dev  ## prove the numbers against known answers, and one of each part
	$(BIN)/python -m pytest -n auto -m "not slow" -o addopts=--strict-markers $(PYTEST)

core: $(VENV)/.dev  ## known answers, laws, conformance, every kind of network (under two minutes)
	$(BIN)/python -m pytest -n auto -m core -o addopts=--strict-markers

# Checking annotations and counting lines at once takes three times as long as one after the other. The slow ones go without
# either: they reach few lines that the others do not.
test-all:  ## every test, with annotations checked, and coverage (three quarters of an hour on two slow cores)
	$(MAKE) test PYTEST="--cov --cov-report=term:skip-covered"
	$(MAKE) slow annotations

slow: $(VENV)/.dev  ## the tests that `make test` leaves out
	$(BIN)/python -m pytest -n auto --dist worksteal -m slow -o addopts=--strict-markers

annotations: $(VENV)/.dev  ## one case of each test of `make test` that calls the library, with the annotations of every call checked
	$(BIN)/python -m pytest -n auto -m "not slow" --first-cases $(addprefix --ignore=tests/,$(WITHOUT_ANNOTATIONS))

docs: $(VENV)/.docs  ## build the site into build/docs: warnings are errors, links are checked
	$(SPHINX) -b html docs build/docs
	$(BIN)/python docs/check_links.py build/docs

dist: $(VENV)/.dist  ## build wheel and sdist into dist/, and try the wheel alone in fresh environments (a quarter of an hour)
	rm -rf dist
	$(BIN)/python -m build --outdir dist
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/python release/check.py dist

mutants: $(VENV)/.dev  ## make 300 small mistakes in the loop and the statistics, and list those no test notices (two hours)
	$(BIN)/python tests/mutants.py

trackers: $(VENV)/.dev  ## read back what run trackers were told, each in an environment of its own
	tests/trackers/run.sh

strangers: $(VENV)/.dev  ## try published packages in an environment of their own, and write docs/strangers.md (long)
	benchmarks/strangers.sh

bench: $(VENV)/.bench  ## measure speed against training, the plain way and other packages (long; see BENCH)
	$(BIN)/python benchmarks/spectrum_speed.py $(BENCH)

check: $(VENV)/.dev  ## formatting, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyrefly check

format: $(VENV)/.dev  ## put the code into its form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## remove what make made
	rm -rf $(VENV) build dist .mutants .trackers .strangers .coverage .pytest_cache .ruff_cache

$(VENV)/.torch: constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Expected Python 3.11 or newer, got $$($(PYTHON) --version). Pass another one: make PYTHON=python3.11 ..."; exit 1; }
	@echo "Setting up $(VENV) (once; downloads PyTorch)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	@touch $@

$(VENV)/.demo: $(VENV)/.torch pyproject.toml
	@$(PIP) -e '.[plot]'
	@touch $@

$(VENV)/.dev: $(VENV)/.torch pyproject.toml
	@$(PIP) -e '.[dev]'
	@touch $@ $(VENV)/.demo

$(VENV)/.docs: $(VENV)/.torch pyproject.toml
	@$(PIP) -e '.[docs]'
	@touch $@

$(VENV)/.dist: $(VENV)/.torch pyproject.toml
	@$(PIP) -e '.[release]'
	@touch $@

# The other packages agree with the pinned NumPy and PyTorch, so they lie beside them.
$(VENV)/.bench: $(VENV)/.torch pyproject.toml
	@$(PIP) -e '.[bench]'
	@touch $@
