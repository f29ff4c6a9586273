"""Repair of records with a corrupt file, as after a disk error: the run becomes a failed one."""

from collections.abc import Mapping
from typing import Any

from ntkode.results.records import RunRecord, Status
from ntkode.results.storage import RecordUnreadable
from ntkode.results.summary import summarise


def unreadable_file(record: RunRecord) -> str | None:
    """The name of the first file of the record that is corrupt; None if all are readable or absent."""
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
    """Replace the corrupt files of a record and set its status to `error`; `rerun=failed` computes it again.

    The history is not changed. A missing or corrupt summary is computed from it, without the values that only
    the run itself can add.

    Args:
        record: the record, locked by this process; nothing happens if no file is corrupt.
        config: the run's resolved config, which replaces the stored one.
    """
    name = unreadable_file(record)
    if name is None:
        return
    record.finish(Status.ERROR, f"{name} is corrupt; the history is kept", "rerun=failed")
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
            return  # the history is corrupt as well
