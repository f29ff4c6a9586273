"""Small records, made through the interface of `RunRecord`, and their damage."""

import json

from ntkode.results import RunRecord, SweepIndex, summarise


def store(
    directory, run_id, *, status="done", rows=3, width=8, sweep=None, scale=1.0, config=None, **choices
):
    record = RunRecord.open(directory, run_id)
    activation = {"choices": {"activation": "tanh", **choices}}
    record.begin({**activation, "model": {"width": width}, "steps": rows, **(config or {})})
    for step in range(rows):
        row = {"step": step, "loss/train": scale / (step + 1), "cost/step_seconds": id(record) / 1e9}
        record.append(row | ({"ntk/lambda_min": float("nan")} if step == 0 else {}))
    record.write_summary(summarise(record.history()))
    record.write_provenance({"python": "3.11"})
    record.finish(status)
    if sweep:
        SweepIndex(directory, sweep).add(run_id, f"run={run_id}")
    return record


def forget_digests(record):
    """Make a record one of an earlier version: without the digests of its files."""
    path = record.directory / "status.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({key: content[key] for key in content if key not in ("files", "sha256")}))
    return record


def numbers(record):
    """The history and summary of a run without costs, as text, so that NaN equals NaN."""
    rows = [*record.history(), record.summary()]
    return [json.dumps({k: v for k, v in row.items() if not k.startswith("cost/")}) for row in rows]
