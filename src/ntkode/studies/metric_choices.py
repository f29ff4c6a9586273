"""The metrics of a run, built from its config."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from omegaconf import OmegaConf

from ntkode.checks import SettingError
from ntkode.metrics import Metric
from ntkode.studies.base import Config, build

CHOICES = Path(__file__).resolve().parents[3] / "conf" / "metrics"
"""Config files of the `metrics` group; they exist in a checkout only, and serve the error message."""


def build_metrics(config: Config) -> dict[str, Metric]:
    """The metrics of the config, by name.

    Raises:
        SettingError: the config sets keys of a metric that its choice of `metrics` does not define.
    """
    for name, node in config["metrics"].items():
        if isinstance(node, Mapping) and "_target_" not in node:
            raise _undefined(name, node, config["choices"]["metrics"])
    metrics: dict[str, Metric] = build(config["metrics"])
    return metrics


def _undefined(name: str, node: Mapping[str, object], choice: str) -> SettingError:
    keys = ", ".join(f"metrics.{name}.{key}" for key in node) or f"metrics.{name}"
    defining = [f"metrics={path.stem}" for path in sorted(CHOICES.glob("*.yaml")) if name in _defined(path)]
    return SettingError(
        f"{keys} cannot be set: metrics={choice} does not define the metric {name}",
        " or ".join([*defining, f"~metrics.{name}"]),
    )


def _defined(path: Path) -> set[str]:
    """Names of the metrics that a choice defines, in its file or in those of its defaults."""
    entries = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(entries, dict)
    names = {str(name) for name, node in entries.items() if "_target_" in node}
    return names.union(*(_defined(path.with_name(f"{base}.yaml")) for base in entries.get("defaults", [])))
