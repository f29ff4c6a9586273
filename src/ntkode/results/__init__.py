"""Stored runs: their ids, their records on disk, and functions that read them.

This package imports nothing else of ntkode, and neither torch nor lightning, so that it loads quickly.
"""

from ntkode.results.code_digest import SOURCES_SHA256
from ntkode.results.contents import damage
from ntkode.results.export import export
from ntkode.results.identity import job_name, run_id, sweep_name
from ntkode.results.load import LeftOut, NoResults, load, load_history, load_verified
from ntkode.results.lock import RunLocked
from ntkode.results.merge import Merged, merge
from ntkode.results.provenance import code_version, hardware, package_versions, provenance
from ntkode.results.records import RunRecord
from ntkode.results.status import Status
from ntkode.results.storage import RecordUnreadable, utc_now
from ntkode.results.summary import summarise
from ntkode.results.sweeps import PAGE, SweepIndex
from ntkode.results.user_code import user_code

__all__ = [
    "PAGE",
    "SOURCES_SHA256",
    "LeftOut",
    "Merged",
    "NoResults",
    "RecordUnreadable",
    "RunLocked",
    "RunRecord",
    "Status",
    "SweepIndex",
    "code_version",
    "damage",
    "export",
    "hardware",
    "job_name",
    "load",
    "load_history",
    "load_verified",
    "merge",
    "package_versions",
    "provenance",
    "run_id",
    "summarise",
    "sweep_name",
    "user_code",
    "utc_now",
]
