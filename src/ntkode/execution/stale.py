"""Which stored runs were computed with other code or data than the present ones."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ntkode.execution.fork_server import job_context
from ntkode.orphans import interrupt_with_parent
from ntkode.results import SOURCES_SHA256, RecordUnreadable, RunRecord, user_code

DATA = "data"


@dataclass
class StaleRuns:
    """Stored runs that would give other numbers today, if these depend on their code and data.

    Attributes:
        by_ntkode: ids of runs computed by other sources of ntkode.
        by_user: ids of runs computed with other code outside ntkode, or with other data.
        changed: names of the modules that differ, and "data" if data differ.
    """

    by_ntkode: list[str] = field(default_factory=list)
    by_user: list[str] = field(default_factory=list)
    changed: set[str] = field(default_factory=set)


def stale_runs(records: Iterable[RunRecord]) -> StaleRuns:
    """Compare stored runs with the present code and data.

    Data are compared if a class outside ntkode reads them, or if they come from a folder: a process reads
    each such data set once. Data that cannot be read any more are not compared.

    Args:
        records: the stored runs; those without a readable provenance and config are left out.
    """
    stale, digests = StaleRuns(), {}
    for record in records:
        try:
            stored, config = record.provenance(), record.config
        except RecordUnreadable:  # the report names it
            continue
        if stored is None or config is None:  # it failed early
            continue
        if stored.get("sources_sha256") != SOURCES_SHA256:
            stale.by_ntkode.append(record.run_id)
        changed = _changed_modules(stored, config)
        if _is_external(config, stored):
            key = json.dumps([config.get("dataset"), config.get("data_root")], sort_keys=True)
            if key not in digests:
                digests[key] = _data_digest(config)
            before = (stored.get("dataset") or {}).get("sha256")
            if before is not None and digests[key] not in (None, before):
                changed.add(DATA)
        if changed:
            stale.by_user.append(record.run_id)
            stale.changed |= changed
    return stale


def _changed_modules(stored: Mapping[str, Any], config: Mapping[str, Any]) -> set[str]:
    before = stored.get("user_code")
    if before is None:  # stored by a version of ntkode that did not record it
        return set()
    now = user_code(config)
    return {name for name in before.keys() | now.keys() if before.get(name) != now.get(name)}


def _is_external(config: Mapping[str, Any], stored: Mapping[str, Any]) -> bool:
    """Whether the data may change although ntkode does not."""
    reader = str((config.get("dataset") or {}).get("_target_", "ntkode."))
    origin = str((stored.get("dataset") or {}).get("source", ""))
    return not reader.startswith("ntkode.") or origin.startswith("directory:")


def _data_digest(config: Mapping[str, Any]) -> str | None:
    """The digest of a data set, read by another process; None if it cannot be read."""
    context = job_context()
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_send_digest, args=(sending, dict(config)), daemon=True)
    process.start()
    sending.close()
    try:
        digest: str | None = receiving.recv()
    except EOFError:
        digest = None
    process.join()
    return digest


def _send_digest(sending: Connection, config: dict[str, Any]) -> None:
    from ntkode.studies.preparation import read_data  # here: the main process does not need these imports

    interrupt_with_parent(signal.SIGKILL)
    with Path(os.devnull).open("w") as nowhere:  # the warnings on these data belong to runs
        for stream in (1, 2):
            os.dup2(nowhere.fileno(), stream)
    try:
        sending.send(read_data(config).description["sha256"])
    except Exception:
        sending.send(None)
