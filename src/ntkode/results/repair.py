"""Records of which a file is damaged, as by a failing disk: told as a failed run, with all else kept."""

from collections.abc import Mapping
from typing import Any

from ntkode.results.records import RunRecord, Status, summarise
from ntkode.results.storage import RecordUnreadable


def damaged_file(record: RunRecord) -> str | None:
    """The name of a file of the record that cannot be read; None where all can, or are not there."""
    readers = {
        "status.json": lambda: record.standing,
        "config.json": lambda: record.config,
        "summary.json": record.summary,
        "provenance.json": record.provenance,
    }
    for name, read in readers.items():
        try:
            read()
        except (RecordUnreadable, KeyError, ValueError):
            return name
    return None


def mend(record: RunRecord, config: Mapping[str, Any]) -> None:
    """Make a damaged record a readable one with status `error`, which `rerun=failed` computes again.

    The history stays as it is, and the summary is made from it, without what only the run itself knew.
    """
    damaged = damaged_file(record)
    if damaged is None:
        return
    record.finish(Status.ERROR, f"{damaged} is damaged; the history is kept", "rerun=failed")
    record.store_config(config)
    for name, read in (("summary.json", record.summary), ("provenance.json", record.provenance)):
        try:
            read()
        except RecordUnreadable:
            (record.directory / name).unlink()
    if record.summary() is None:
        try:
            record.write_summary(summarise(record.history()))
        except RecordUnreadable:
            return  # nor can the history be read
