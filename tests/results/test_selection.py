"""Filters of `load` and `load_history`."""

import pytest
from tests.results.stored import store

from ntkode.results import NoResults, load, load_history


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    store(folder, "a", sweep="s")
    store(folder, "b", sweep="s", width=16, status="diverged")
    store(folder, "c", activation="relu", width=16)
    store(folder, "d", activation="relu", width=32, model="resnet", sweep="s")
    return folder


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, "abcd"),
        ({"status": "done"}, "acd"),
        ({"status": ["done", "diverged"]}, "abcd"),
        ({"where": {"activation": "relu"}}, "cd"),
        ({"where": {"choices.activation": "relu"}}, "cd"),
        ({"where": {"model.width": 16}}, "bc"),
        ({"where": {"config.model.width": (16, 32), "activation": "relu"}}, "cd"),
        ({"where": {"model": "resnet"}}, "d"),  # a key that not all runs have
        ({"where": {"model.width": 16}, "status": "done", "sweep": None}, "c"),
        ({"where": {"activation": "relu"}, "sweep": "s"}, "d"),
    ],
    ids=str,
)
def test_filters_join(folder, filters, expected):
    assert "".join(load(folder, **filters)["run_id"]) == expected
    assert "".join(load_history(folder, **filters)["run_id"].unique()) == expected


def test_the_history_of_some_runs_of_a_sweep(folder):
    assert set(load_history(folder, ["a", "c"], "s")["run_id"]) == {"a"}


@pytest.mark.parametrize("read", [load, load_history])
@pytest.mark.parametrize(
    ("filters", "error", "message"),
    [
        ({"status": "don"}, ValueError, r"status=don is not one of running, done, .* as in status=done"),
        ({"where": {"activatoin": "tanh"}}, ValueError, r"key activatoin \(did you mean activation\?\)"),
        ({"where": {"activation": "erf"}}, NoResults, r"none of 4 runs has activation=erf.*relu, tanh"),
        ({"status": "killed"}, NoResults, r"status=killed.*status is diverged, done"),
        ({"sweep": "t"}, NoResults, r"no sweep 't'.*stored sweeps: s"),
    ],
    ids=str,
)
def test_a_filter_that_nothing_passes_says_what_there_is(folder, read, filters, error, message):
    with pytest.raises(error, match=message):
        read(folder, **filters)


def test_corrupt_records_are_named_with_their_folder_and_skipped(tmp_path):
    store(tmp_path, "a")
    for run_id, file, content in (
        ("b", "status.json", '{"status": "do'),
        ("c", "status.json", '{"status": "finished"}'),
        ("d", "config.json", "\udcff"),
        ("e", "config.json", "[]"),
    ):
        path = store(tmp_path, run_id).directory / file
        path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.warns(UserWarning, match="left out unreadable") as caught:
        runs = load(tmp_path, where={"activation": "tanh"})
    assert list(runs["run_id"]) == ["a"]
    assert all(str(tmp_path / name) in str(caught[0].message) for name in "bcde")
