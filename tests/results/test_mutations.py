"""Every file of finished runs and of their sweep, damaged in every way: no wrong number, no traceback.

tests/integration/test_mutations.py does the same with the scripts and a sweep of real runs.
"""

import warnings

import pytest
from tests.results.mutations import MUTATIONS, shelved
from tests.results.stored import store

from ntkode.results import (
    LeftOut,
    NoResults,
    RecordUnreadable,
    SweepIndex,
    load,
    load_history,
    load_verified,
    merge,
)
from ntkode.results.integrity import FILES

RUNS = ("a", "b", "c")


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """Three done runs of one sweep."""
    folder = tmp_path_factory.mktemp("shelf")
    for scale, run_id in enumerate(RUNS, start=1):
        store(folder, run_id, sweep="s", scale=scale)
    return folder


def read(call, *arguments):
    """The runs that a function reads as (run, step, loss), and whether it names what it leaves out."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            table = call(*arguments)
        except (NoResults, RecordUnreadable):
            return [], True
    rows = [(row["run_id"], row["step"], row["loss/train"]) for _, row in table.iterrows()]
    return rows, any(issubclass(warning.category, LeftOut) for warning in caught)


def believed(expected, call, *arguments):
    """Check that a function reads the expected rows, or some of them and names what is missing."""
    rows, named = read(call, *arguments)
    assert set(rows) <= set(expected)
    assert named or sorted(rows) == sorted(expected)


@pytest.mark.parametrize("name", [*FILES, "status.json"])
def test_no_damage_in_a_run_gives_a_wrong_number(shelf, tmp_path, name):
    runs = [(run_id, 2, scale / 3) for scale, run_id in enumerate(RUNS, start=1)]
    history = [(r, s, scale / (s + 1)) for scale, r in enumerate(RUNS, start=1) for s in range(3)]
    for how, mutate in MUTATIONS.items():
        folder = shelved(tmp_path / "results", shelf)
        mutate(folder / "b" / name)
        believed(runs, load, folder)
        believed(runs, load_verified, folder, "s")
        believed(history, load_history, folder, None, "s")
        target = tmp_path / "target" / how
        merged = merge([folder], target)
        assert merged.copied == ["a", "c"], how
        assert str(folder / "b") in merged.skipped, how


def test_no_damage_in_an_index_gives_a_wrong_row(shelf, tmp_path):
    for how, mutate in MUTATIONS.items():
        runs = [(run_id, 2, scale / 3) for scale, run_id in enumerate(RUNS, start=1)]
        folder = shelved(tmp_path / "results", shelf)
        mutate(folder / "sweeps" / "s" / "index.jsonl")
        if how == "a line less":  # not noticed, until the same command adds the job again
            runs = runs[1:]
        believed(runs, load, folder, "s")
        merged = merge([folder], tmp_path / "target" / how)
        assert merged.copied == list(RUNS)
        assert list(load(tmp_path / "target" / how)["run_id"]) == list(RUNS)


def test_the_jobs_added_to_a_damaged_index_are_all_listed(shelf, tmp_path):
    for how, mutate in MUTATIONS.items():
        folder = shelved(tmp_path / "results", shelf)
        index = SweepIndex(folder, "s")
        mutate(index.directory / "index.jsonl")
        if how in ("a folder", "a link"):
            with pytest.raises(OSError, match=r"index\.jsonl"):
                index.add("a", "run=a")
            continue
        index.repair()
        since = index.size()
        for number, run_id in enumerate(RUNS):
            index.add(run_id, f"run={run_id}", number)
        assert list(index.runs(since).values()) == list(index.runs().values()) == list(RUNS), how
