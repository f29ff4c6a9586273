"""Trackers: where a run's numbers go besides its record (Weights & Biases, CSV).

The trackers import Lightning, which takes 4 seconds. They load on first use: uploads and dashboards start
without them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ntkode.tracking.trackers import (
        CSVTracker,
        HistoryLogger,
        NoTracker,
        SafeWandbLogger,
        Tracker,
        TrackerUnavailable,
        WandbTracker,
    )

__all__ = [
    "CSVTracker",
    "HistoryLogger",
    "NoTracker",
    "SafeWandbLogger",
    "Tracker",
    "TrackerUnavailable",
    "WandbTracker",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("ntkode.tracking.trackers"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
