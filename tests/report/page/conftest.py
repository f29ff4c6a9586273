"""A page from made-up results: claims with each verdict, a failed run, mixed code."""

from types import SimpleNamespace

import pytest
from tests.report.conftest import store_run
from tests.report.page.markup import Markup

from ntkode.report import registry
from ntkode.report.claims.claims import Above, Below, Claim, Claims
from ntkode.report.claims.verdicts import WithVerdicts
from ntkode.report.page import write_page
from ntkode.report.statistics.intervals import Mean
from ntkode.report.statistics.replicates import value
from ntkode.report.training import comparison as training
from ntkode.results import SweepIndex

HOSTILE = "</script><script>alert('λ')</script><b>"


def claims():
    ratio = {name: value("loss/ratio", {"config.choices.activation": name}) for name in ("tanh", "relu")}
    tanh, relu = (Mean(ratio[name], f"runs of {name}") for name in ("tanh", "relu"))
    return Claims(
        "made",
        (
            Claim("falls", "tanh: the loss falls", "the paper", "L/L₀", tanh, Below(0.9)),
            Claim("stays", "tanh: the loss stays", "nobody", "L/L₀", tanh, Above(0.9)),
            Claim("relu_falls", f"relu: λ_min & {HOSTILE}", "nobody", "L/L₀", relu, Below(0.9)),
        ),
    )


def ask(results, sweep, run, number=0, **choices):
    """Add a stored run to the index of a sweep, with these choices."""
    SweepIndex(results, sweep).add(run.run_id, f"job {number} of {run.run_id}", number, choices)


def provenance(sources="a" * 64, commit="c" * 40, dirty=False, **others):
    hardware = {"cpu": "A Processor", "cores": 2, "gpus": []}
    entries = {"git": {"commit": commit, "dirty": dirty}, "sources_sha256": sources, "hardware": hardware}
    packages = {"torch": "2.13.0", "numpy": "2.4.6"}
    data = {"name": "mnist", "source": "embedded", "sha256": "d" * 64}
    return (
        entries | {"packages": packages, "threads": 1, "dataset": data, "command": ["run.py", "x=1"]} | others
    )


def store_made(results):
    """Store the runs: all in sweep `made` as experiment paper/made, some in sweep `plain` as training."""
    runs = [store_run(results, "tanh", seed=seed, steps=40) for seed in (1, 2, 3)]
    for run, sources in zip(runs, "aab", strict=True):
        run.write_provenance(provenance(sources * 64, dirty=sources == "b"))
    failed = store_run(
        results,
        "relu",
        seed=1,
        steps=20,
        status="diverged",
        message=f"the loss is {HOSTILE}",
        remedy="optimizer.lr=0.01",
    )
    for number, run in enumerate([*runs, failed]):
        ask(
            results,
            "made",
            run,
            number,
            experiment="paper/made",
            study="training",
            activation=run.config["activation"]["name"],
        )
    return [*runs, failed]


@pytest.fixture
def experiments(monkeypatch):
    monkeypatch.setitem(registry.EXPERIMENTS, "paper/made", WithVerdicts(training.report, claims()))


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """The page, its folder, its results, its summary and its markup."""
    results, out = tmp_path_factory.mktemp("results"), tmp_path_factory.mktemp("out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.EXPERIMENTS, "paper/made", WithVerdicts(training.report, claims()))
        runs = store_made(results)
        page = write_page(results, out, ["made"])
    text = page.path.read_text("utf-8")
    return SimpleNamespace(
        page=page, text=text, markup=Markup(text), out=out, results=results, runs=[run.run_id for run in runs]
    )
