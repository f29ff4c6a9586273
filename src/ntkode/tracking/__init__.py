"""Trackers: where a run's numbers go besides its record (Weights & Biases, CSV)."""

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
