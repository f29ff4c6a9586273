# Everything runs in .venv, made by `make install` with the tested versions of constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One BLAS thread per process, so that two jobs (or two test workers) do not compete for two cores.
export OMP_NUM_THREADS := 1
export MKL_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1

.DEFAULT_GOAL := help
.PHONY: help install launchers run paper evidence report smoke perf perf-gradients perf-sweep perf-peers gpu lint format test \
	test-integration docs sync clean

help:  ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ntkode needs Python 3.11 or newer: make install PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

install: $(VENV)/installed  ## Create .venv with the tested versions

launchers: install  ## Add the optional launchers and the search (SLURM, Ray, Optuna)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[slurm,ray,optuna]'

run: install  ## The main sweep: three activations on MNIST (about 4 minutes on 2 cores)
	$(BIN)/python benchmarks/run.py -m activation=tanh,softplus,relu

paper: install  ## The paper's experiments and their verdicts (about 40 minutes on 2 cores; run again to resume)
	$(BIN)/python benchmarks/paper.py $(PAPER)

evidence: install  ## Measure the evidence of benchmarks/advise.py (src/ntkode/advice/advice_data.json)
	for part in $(basename $(notdir $(wildcard conf/experiment/advice/*.yaml))); do \
		$(BIN)/python benchmarks/run.py experiment=advice/$$part || exit 1; done
	$(BIN)/python benchmarks/advice_evidence.py

report: install  ## Redraw the newest sweep; write results/report/report.html on the newest sweep of each experiment or study
	$(BIN)/python benchmarks/report.py

sync: install  ## Upload the newest sweep's offline W&B runs, once each (SWEEP=NAME: another sweep)
	$(BIN)/python benchmarks/sync.py $(if $(SWEEP),sweep=$(SWEEP))

smoke: install  ## The CI smoke benchmark: every metric must exist and be finite
	$(BIN)/python benchmarks/run.py experiment=smoke

perf: install  ## Compare the NTK engine with other libraries, on an idle machine (about an hour; docs/perf)
	$(BIN)/python benchmarks/perf/ntk.py

perf-gradients: install  ## Compare the gradient methods with other libraries, on an idle machine (about 10 minutes)
	$(BIN)/python benchmarks/perf/gradients.py

perf-sweep: install  ## Measure launchers and overhead per job, on an idle machine (about 4 minutes; docs/perf)
	$(BIN)/python benchmarks/perf/sweep.py

# Tested versions, for Python 3.11. A separate venv, because they install TensorFlow.
.venv-peers/installed:
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet jax==0.4.38 jaxlib==0.4.38 neural-tangents==0.6.5
	@touch $@

# Tested versions, for torch 2.13.0. They go into a separate folder and without dependencies: torchdyn declares
# more than it needs, and .venv has the rest.
.torch-peers/installed: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --no-deps --target .torch-peers torchdyn==1.0.6 torchcde==0.2.5 \
		torchsde==0.2.6 trampoline==0.1.2 torchode==1.0.1 torchtyping==0.1.5 typeguard==2.13.3
	@touch $@

perf-peers: .venv-peers/installed .torch-peers/installed  ## Install the optional peers: neural-tangents, torchdyn, torchode

# On a machine without network: docs/running/launchers.md.
gpu: install  ## Check and measure on a GPU, in at most 9 minutes (docs/perf/gpu.md); DEVICE=cpu rehearses at small sizes
	$(BIN)/python benchmarks/perf/gpu.py --device $(or $(DEVICE),cuda)

lint: install  ## Run ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install  ## Format with ruff and apply its fixes
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: lint  ## Run lint and tests
	$(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder

# For SLURM, as root: apt-get install --no-install-recommends slurm-wlm munge. Tests of missing programs are skipped.
test-integration: install  ## Run slow tests: killed sweeps, full disks, SLURM, Ray (make launchers first); minutes
	$(BIN)/python -m pytest -m integration -n 2 --dist loadscope --no-loadscope-reorder

$(VENV)/docs-installed: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	@touch $@

# --strict: warnings are errors. The variable silences a notice about MkDocs' successors.
docs: $(VENV)/docs-installed  ## Build the documentation into site/ (open site/index.html; no server needed)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

clean:  ## Remove .venv, the peers, site and caches; keep results
	rm -rf site $(VENV) .venv-peers .torch-peers .mypy_cache .ruff_cache .pytest_cache
