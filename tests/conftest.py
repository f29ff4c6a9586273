"""Shared by the tests: the scripts of benchmarks/, and configs composed as run.py composes them."""

import runpy
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Long, and of few tests: begun last, one of them would run on while the other worker has nothing left.
LONGEST = (
    "integration/test_sweeps_that_suffer.py",
    "studies/test_resume.py",
    "benchmarks/test_run.py",
    "benchmarks/test_experiments.py",
    "benchmarks/test_paper_training.py",
    "execution/test_distribution.py",
    "benchmarks/test_paper_script.py",
    "ntk/empirical/test_kernel.py",
    "test_readme.py",
    "benchmarks/test_perf_ntk.py",
    "test_conf.py",
    "tracking/test_trackers.py",
    "tracking/test_wandb_sync.py",
)


def pytest_configure():
    """Let Ctrl-C through to what tests start: jobs in a shell's background, as CI's may be, ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    """The longest files first (with xdist's --no-loadscope-reorder, which keeps the order)."""
    place = {ROOT / "tests" / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))


@pytest.fixture(scope="session")
def entry():
    """The module of benchmarks/run.py, with the resolvers of conf/ registered."""
    from ntkode.cli import resolvers, sweep

    resolvers.register_resolvers()
    return sweep


@pytest.fixture(scope="session")
def composed(entry):
    """The resolved config of a job with these overrides, as `run_job` takes it."""
    from ntkode.advice.composing import composer  # for the tests that need it: it imports all that trains

    @cache
    def call(*overrides):
        with composer(ROOT / "conf", overrides) as compose:
            return compose([])

    return call


@pytest.fixture
def script(monkeypatch, capsys, tmp_path):
    """Run a script of benchmarks/ in the test's folder, as `python` does but in this process.

    That spares the imports, seconds a script. Where a process of its own matters (signals, the workers of a
    sweep) a test starts one.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)  # set by pytest's readline, whatever the terminal
    on_term = signal.getsignal(signal.SIGTERM)

    def run(name, *arguments):
        path = ROOT / "benchmarks" / f"{name}.py"
        monkeypatch.syspath_prepend(path.parent)  # the scripts of perf/ import one another
        monkeypatch.setattr(sys, "argv", [str(path), *map(str, arguments)])
        try:
            runpy.run_path(str(path), run_name="__main__")
            code = 0
        except SystemExit as end:
            code = end.code or 0
            if isinstance(code, str):
                print(code, file=sys.stderr)
                code = 1
        return subprocess.CompletedProcess(sys.argv, code, *capsys.readouterr())

    yield run
    signal.signal(signal.SIGTERM, on_term)
