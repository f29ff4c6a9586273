# Everything runs in .venv, made by `make install` with the tested versions of constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One BLAS thread a process: two jobs (or two test workers) then share two cores without fighting.
export OMP_NUM_THREADS := 1
export MKL_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1

.DEFAULT_GOAL := help
.PHONY: help install launchers run paper evidence report smoke perf perf-gradients perf-sweep perf-peers lint format test \
	test-integration docs sync clean

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

paper: install  ## The paper's experiments and their verdicts (about 40 minutes on 2 cores; goes on where it stopped)
	$(BIN)/python benchmarks/paper.py $(PAPER)

evidence: install  ## What benchmarks/advise.py goes by, measured anew (src/ntkode/advice/advice_data.json)
	for part in $(basename $(notdir $(wildcard conf/experiment/advice/*.yaml))); do \
		$(BIN)/python benchmarks/run.py experiment=advice/$$part || exit 1; done
	$(BIN)/python benchmarks/advice_evidence.py

report: install  ## The newest sweep's table and picture, and the page over all sweeps (results/report/report.html)
	$(BIN)/python benchmarks/report.py

sync: install  ## Upload the newest sweep's offline W&B runs, once each (SWEEP=NAME another one's)
	$(BIN)/python benchmarks/sync.py $(if $(SWEEP),sweep=$(SWEEP))

smoke: install  ## The CI smoke benchmark: every metric must be there and finite
	$(BIN)/python benchmarks/run.py experiment=smoke

perf: install  ## The NTK engine beside other libraries, on a quiet machine (about an hour; docs/perf)
	$(BIN)/python benchmarks/perf/ntk.py

perf-gradients: install  ## The gradient methods beside other libraries, on a quiet machine (about 10 minutes)
	$(BIN)/python benchmarks/perf/gradients.py
perf-sweep: install  ## Launchers, and the suite's cost a job, on a quiet machine (some 4 minutes; docs/perf)
	$(BIN)/python benchmarks/perf/sweep.py

# The pair that was tried, with Python 3.11. In a venv of its own: it brings TensorFlow.
.venv-peers/installed:
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet jax==0.4.38 jaxlib==0.4.38 neural-tangents==0.6.5
	@touch $@

# The versions that were tried, on torch 2.13.0. Into a folder of their own, without what they ask for: torchdyn
# asks for more than it needs, and everything else is in .venv.
.torch-peers/installed: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --no-deps --target .torch-peers torchdyn==1.0.6 torchcde==0.2.5 \
		torchsde==0.2.6 trampoline==0.1.2 torchode==1.0.1 torchtyping==0.1.5 typeguard==2.13.3
	@touch $@

perf-peers: .venv-peers/installed .torch-peers/installed  ## The optional peers: neural-tangents; torchdyn, torchode

lint: install  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install  ## Let ruff format and mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: lint  ## Lint and tests
	$(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder

# With SLURM: apt-get install --no-install-recommends slurm-wlm munge, as root. What is missing is skipped.
test-integration: install  ## Sweeps that are killed or lack disk space, SLURM, Ray (make launchers first); minutes
	$(BIN)/python -m pytest -m integration -n 2 --dist loadscope --no-loadscope-reorder

$(VENV)/docs-installed: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	@touch $@

# Strict: a warning is an error. The variable silences a notice about MkDocs' successors.
docs: $(VENV)/docs-installed  ## Build the documentation into site/ (open site/index.html; no server needed)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

clean:  ## Remove .venv, the peers, site and caches; results stay
	rm -rf site $(VENV) .venv-peers .torch-peers .mypy_cache .ruff_cache .pytest_cache
