"""Stored runs: their ids, their records on disk, and functions that read them.

This package imports nothing else of ntkode, and neither torch nor lightning, so that it loads quickly.
"""

from ntkode.results.code_digest import SOURCES_SHA256
from ntkode.results.export import export
from ntkode.results.identity import job_name, run_id, sweep_name
from ntkode.results.load import NoResults, load, load_history
from ntkode.results.lock import RunLocked
from ntkode.results.merge import Merged, merge
from ntkode.results.provenance import code_version, hardware, package_versions, provenance
from ntkode.results.records import RunRecord, Status
from ntkode.results.repair import mend, unreadable_file
from ntkode.results.storage import RecordUnreadable, utc_now
from ntkode.results.summary import summarise
from ntkode.results.sweeps import PAGE, SweepIndex
from ntkode.results.user_code import user_code

__all__ = [
    "PAGE",
    "SOURCES_SHA256",
    "Merged",
    "NoResults",
    "RecordUnreadable",
    "RunLocked",
    "RunRecord",
    "Status",
    "SweepIndex",
    "code_version",
    "export",
    "hardware",
    "job_name",
    "load",
    "load_history",
    "mend",
    "merge",
    "package_versions",
    "provenance",
    "run_id",
    "summarise",
    "sweep_name",
    "unreadable_file",
    "user_code",
    "utc_now",
]
