# Everything runs in .venv, made by `make install` with the tested versions of constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One BLAS thread a process: two jobs (or two test workers) then share two cores without fighting.
export OMP_NUM_THREADS := 1
export MKL_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1

.DEFAULT_GOAL := help
.PHONY: help install launchers run report smoke perf perf-sweep perf-peers lint format test test-integration clean

help:  ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ntkode needs Python 3.11 or newer: make install PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

install: $(VENV)/installed  ## Make .venv with the tested versions

launchers: install  ## Add the optional launchers and the search (SLURM, Ray, Optuna)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[slurm,ray,optuna]'

run: install  ## The main job: three activations on MNIST (about 4 minutes on 2 cores)
	$(BIN)/python benchmarks/run.py -m activation=tanh,softplus,relu

report: install  ## Redraw table and picture of the newest sweep from its stored results
	$(BIN)/python benchmarks/report.py

smoke: install  ## The CI smoke benchmark: every metric must be there and finite
	$(BIN)/python benchmarks/run.py experiment=smoke

perf: install  ## The NTK engine beside other libraries, on a quiet machine (about an hour; docs/perf)
	$(BIN)/python benchmarks/perf/ntk.py

perf-sweep: install  ## Launchers, and the suite's cost a job, on a quiet machine (some 4 minutes; docs/perf)
	$(BIN)/python benchmarks/perf/sweep.py

# The pair that was tried, with Python 3.11. In a venv of its own: it brings TensorFlow.
.venv-peers/installed:
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet jax==0.4.38 jaxlib==0.4.38 neural-tangents==0.6.5
	@touch $@

perf-peers: .venv-peers/installed  ## Make .venv-peers with neural-tangents, an optional peer of `make perf`

lint: install  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install  ## Let ruff format and mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: lint  ## Lint and tests
	$(BIN)/python -m pytest -n 2 --dist loadscope

# With SLURM: apt-get install --no-install-recommends slurm-wlm munge, as root. What is missing is skipped.
test-integration: install  ## Tests with other programs; make launchers first for SLURM, Ray and Optuna
	$(BIN)/python -m pytest -m integration

clean:  ## Remove .venv, .venv-peers and caches; results stay
	rm -rf $(VENV) .venv-peers .mypy_cache .ruff_cache .pytest_cache
