"""A sweep's report by the experiment that asked for it, also where two experiments share runs."""

import io

import pandas as pd
import pytest
from rich.console import Console

from ntkode.report import registry, report_sweep
from ntkode.report.claims.claims import Above, Below, Claim, Claims
from ntkode.report.claims.verdicts import WithVerdicts
from ntkode.report.statistics.intervals import Mean
from ntkode.report.statistics.replicates import value
from ntkode.report.training import comparison as training
from ntkode.results import RunRecord, SweepIndex, load, load_history, merge, run_id

TANH = {"config.choices.activation": "tanh"}


def claims(name, expectation):
    estimator = Mean(value("loss/ratio", TANH), "runs of tanh")
    return Claims(name, (Claim("falls", "the loss falls", "nobody", "L/L₀", estimator, expectation),))


@pytest.fixture(autouse=True)
def experiments(monkeypatch):
    for name, expectation in (("one", Below(0.9)), ("two", Above(0.9))):
        printed = WithVerdicts(training.report, claims(name, expectation))
        monkeypatch.setitem(registry.EXPERIMENTS, f"paper/{name}", printed)


def ask(store, sweep, seed, **choices):
    """Have a sweep ask for a run that is stored already, by other names."""
    config = {"choices": {"dataset": "mnist", "model": "neural_ode", "activation": "tanh"}}
    run = next(r for r in store.runs if r.config["seed"] == seed)
    config["choices"] |= choices
    SweepIndex(store.results_dir, sweep).add(run.run_id, f"seed={seed}", seed, config["choices"])


@pytest.fixture
def shared(store):
    """Three runs that no experiment asked for first, and then two experiments and a plain sweep did."""
    store.runs = [store("tanh", seed=seed, steps=3) for seed in (1, 2, 3)]
    for sweep in ("one", "two", "none"):
        for seed in (1, 2, 3):
            experiment = {} if sweep == "none" else {"experiment": f"paper/{sweep}"}
            ask(store, sweep, seed, study="training", **experiment)
    return store


def printed(store, sweep):
    output = io.StringIO()
    report_sweep(store.results_dir, sweep, Console(file=output, width=110))
    return output.getvalue(), store.results_dir / "sweeps" / sweep


@pytest.mark.parametrize(("sweep", "verdict"), [("one", "not supported"), ("two", "supported")])
def test_sweeps_that_share_runs_each_have_separate_claims(shared, sweep, verdict):
    text, folder = printed(shared, sweep)
    [row] = pd.read_csv(folder / f"{sweep}_verdicts.csv").to_dict("records")
    assert row["verdict"] == verdict
    assert row["study"] == sweep
    assert row["replicates"] == 3
    assert (folder / "comparison.png").stat().st_size > 0
    assert f"verdicts: {int(verdict == 'supported')} supported" in text
    assert "the loss falls" in text
    assert [path.name for path in folder.glob("*verdicts*")] == [f"{sweep}_verdicts.csv"]


@pytest.mark.parametrize("sweep", ["none", "s"])  # s has an index without choices, as older ones are
def test_other_sweeps_of_the_same_runs_claim_nothing(shared, sweep):
    text, folder = printed(shared, sweep)
    assert "verdicts" not in text
    assert (folder / "comparison.csv").exists()


def test_a_run_that_stored_an_experiment_keeps_it_in_old_indices(tmp_path):
    config = {"choices": {"experiment": "paper/two", "activation": "tanh"}, "seed": 0}
    record = RunRecord.open(tmp_path, run_id(config))
    SweepIndex(tmp_path, "old").add(record.run_id, "seed=0")
    record.begin(config)
    record.finish("done")
    assert load(tmp_path, "old")["config.choices.experiment"].tolist() == ["paper/two"]


def test_choices_are_those_by_which_the_sweep_asked(shared):
    directory = shared.results_dir
    assert set(load(directory, "two")["config.choices.experiment"]) == {"paper/two"}
    assert len(load(directory, "two", where={"experiment": "paper/two"})) == 3
    assert len(load_history(directory, sweep="two", where={"experiment": "paper/two"})) == 12
    assert "config.choices.experiment" not in load(directory)
    with pytest.raises(ValueError, match="experiment"):
        load(directory, "none", where={"experiment": "paper/two"})


def test_merged_folders_keep_them(shared, tmp_path_factory):
    target = tmp_path_factory.mktemp("target")
    merge([shared.results_dir], target)
    assert set(load(target, "one")["config.choices.experiment"]) == {"paper/one"}


def test_what_an_inconclusive_claim_lacks_is_said(store):
    store.runs = [store("tanh", seed=1, steps=3)]
    ask(store, "one", 1, experiment="paper/one")
    text, _ = printed(store, "one")
    assert "falls: only 1 of the 3 replicates" in text
