"""Merging the results folders of several machines."""

import json

import pytest
from tests.results.stored import forget_digests, store

from ntkode.results import NoResults, RunRecord, SweepIndex, copying, damage, load, merge


@pytest.fixture
def folders(tmp_path):
    return [tmp_path / name for name in ("one", "two", "target")]


def contents(directory):
    return {path.relative_to(directory): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_whole_records_are_copied_and_sweeps_joined(folders):
    one, two, target = folders
    first = store(one, "a", sweep="s").directory
    (first / "wandb" / "offline-run-1-a").mkdir(parents=True)
    (first / "wandb" / "offline-run-1-a" / "run-a.wandb").write_bytes(b"\0")
    store(two, "b", sweep="s")
    store(two, "c", status="diverged", sweep="t")
    before = contents(one) | contents(two)
    merged = merge([one, two], target)
    assert merged.copied == ["a", "b", "c"]
    assert not merged.conflicts
    assert not merged.skipped
    assert contents(first) == contents(target / "a")
    assert list(load(target, "s")["run_id"]) == ["a", "b"]
    assert SweepIndex(target, "t").runs() == {"run=c": "c"}
    assert before == contents(one) | contents(two)
    assert sorted(path.name for path in target.iterdir()) == ["a", "b", "c", "sweeps"]


def test_merging_again_changes_nothing(folders):
    one, _, target = folders
    store(one, "a", sweep="s")
    merge([one], target)
    before = contents(target)
    assert merge([one], target).kept == ["a"]
    after = contents(target)
    assert {path: data for path, data in after.items() if path.name != ".lock"} == before


@pytest.mark.parametrize(
    ("ours", "theirs", "outcome"),
    [
        ({"status": "interrupted", "rows": 2}, {"status": "done"}, "replaced"),
        ({"status": "done"}, {"status": "interrupted", "rows": 2}, "kept"),
        ({"status": "done"}, {"status": "diverged", "scale": 2.0}, "kept"),
        ({"status": "interrupted", "rows": 2}, {"status": "killed", "rows": 3}, "replaced"),
        ({"status": "killed", "rows": 3}, {"status": "interrupted", "rows": 3}, "kept"),
        ({"status": "done"}, {"status": "done"}, "kept"),  # costs may differ, and NaN equals NaN
    ],
    ids=str,
)
def test_the_better_record_stays(folders, ours, theirs, outcome):
    one, _, target = folders
    store(target, "a", **ours)
    store(one, "a", **theirs)
    merged = merge([one], target)
    assert getattr(merged, outcome) == ["a"]
    stayed = theirs if outcome == "replaced" else ours
    record = RunRecord.open(target, "a")
    assert record.status["status"] == stayed["status"]
    assert len(record.history()) == stayed.get("rows", 3)


@pytest.mark.parametrize(
    ("theirs", "message"),
    [
        ({"scale": 1.5}, "step 0: loss/train is 1.5 against 1.0"),
        ({"rows": 2}, "2 rows against 3"),
    ],
    ids=str,
)
def test_other_numbers_of_one_run_are_a_conflict(folders, theirs, message):
    one, _, target = folders
    before = store(target, "a").history()
    store(one, "a", **theirs)
    merged = merge([one], target)
    assert message in merged.conflicts["a"]
    assert str(one) in merged.conflicts["a"]
    assert "conflict: a: " in str(merged)
    assert RunRecord.open(target, "a").history() == before


def test_corrupt_and_unfinished_records_are_named_and_not_copied(folders):
    one, _, target = folders
    contents = {
        "status.json": '{"status": ',
        "config.json": "[]",
        "history.jsonl": '{"step": 0}\nx\n{"step": 2}\n',
        "summary.json": "",
    }
    for number, (file, content) in enumerate(contents.items()):
        (forget_digests(store(one, f"bad{number}", sweep="s")).directory / file).write_text(content)
    (store(one, "half", sweep="s").directory / "config.json").unlink()
    RunRecord.open(one, "runs").begin({"steps": 1})
    store(one, "good", sweep="s")
    merged = merge([one], target)
    assert merged.copied == ["good"]
    assert set(merged.skipped) == {
        str(one / name) for name in ("bad0", "bad1", "bad2", "bad3", "half", "runs")
    }
    assert "line 2" in merged.skipped[str(one / "bad2")]
    assert list(load(target, "s")["run_id"]) == ["good"]


def test_a_corrupt_record_of_the_target_is_named_and_replaced(folders):
    one, _, target = folders
    (store(target, "a").directory / "status.json").write_text("x")
    store(one, "a")
    merged = merge([one], target)
    assert merged.replaced == ["a"]
    assert str(target / "a") in merged.skipped
    assert RunRecord.open(target, "a").status["status"] == "done"


def test_a_record_that_is_being_computed_is_left_alone(folders):
    one, _, target = folders
    store(one, "a")
    record = store(target, "a", status="interrupted", rows=1)
    with record.lock():
        merged = merge([one], target)
    assert "another process" in merged.skipped[str(one / "a")]
    assert len(record.history()) == 1


def test_a_copy_that_fails_leaves_what_was_there(folders, monkeypatch):
    one, _, target = folders
    store(one, "a")
    store(target, "a", status="interrupted", rows=1)

    def full(*args, **kwargs):
        raise OSError("no space left on device")

    monkeypatch.setattr(copying, "open_regular", full)
    merged = merge([one], target)
    assert "no space left" in merged.skipped[str(one / "a")]
    assert RunRecord.open(target, "a").status["status"] == "interrupted"
    assert [path.name for path in target.iterdir()] == ["a"]


@pytest.mark.parametrize("name", ["history.jsonl", "summary.json", "config.yaml"])
@pytest.mark.parametrize("damaged_first", [True, False])
@pytest.mark.parametrize("digests", [True, False])
def test_of_two_records_the_whole_one_is_kept(folders, name, damaged_first, digests):
    one, two, target = folders
    damaged, whole = store(one, "a"), store(two, "a")
    if not digests:
        for record in (damaged, whole):
            forget_digests(record)
    (damaged.directory / name).write_text('{"step": 0, "loss/train": 2.0}\n')
    merged = merge([one, two] if damaged_first else [two, one], target)
    if name != "config.yaml" or digests:  # records without digests are not compared with config.yaml
        assert str(merged).count("skipped: ") == 1
    record = RunRecord.open(target, "a")
    assert len(record.history()) == 3
    assert record.summary()["loss/train"] == pytest.approx(1 / 3)
    assert damage(record) is None


def test_a_damaged_record_of_the_target_is_replaced_by_a_whole_one(folders):
    one, _, target = folders
    (store(target, "a").directory / "history.jsonl").write_text("")
    store(one, "a")
    merged = merge([one], target)
    assert merged.replaced == ["a"]
    assert "history.jsonl is damaged" in merged.skipped[str(target / "a")]
    assert damage(RunRecord.open(target, "a")) is None


def test_lines_of_an_index_that_are_not_jobs_are_named(folders):
    one, _, target = folders
    store(one, "a", sweep="s")
    with (one / "sweeps" / "s" / "index.jsonl").open("a") as file:
        file.write(json.dumps({"job": "half"}) + '\n[1]\nnull\n7\n{"run_id": "b", ')
    merged = merge([one], target)
    assert merged.skipped[str(one / "sweeps" / "s")].count("is not a job") == 5
    assert SweepIndex(target, "s").runs() == {"run=a": "a"}


def test_folders_that_cannot_be_merged_are_named_before_anything_is_copied(folders):
    one, two, target = folders
    store(one, "a")
    with pytest.raises(NoResults, match=str(two)):
        merge([one, two], target)
    assert not target.exists()
    with pytest.raises(ValueError, match="both a source and the target"):
        merge([one], one)
