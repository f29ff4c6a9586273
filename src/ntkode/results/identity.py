"""Names of runs and sweeps: the same numbers get the same name, whatever was typed to ask for them."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

NOT_IDENTIFYING = (
    # Names of YAML files: what they hold is in the resolved config.
    "choices",
    # What experiments may sweep: a run holds its own value.
    "axes",
    "data_root",
    # Where numbers are sent or kept, and how the computing is organised; no number changes with these.
    "logger",
    "hydra",
    "sweep",
    "results_dir",
    "rerun",
    "objective",
    "checkpoint",
    "timeout",
    "progress",
)
"""Top-level config keys that do not determine the numbers of a run."""

HASH_DIGITS = 10
LONGEST_RUN_ID = 100
LONGEST_SWEEP_NAME = 60


def run_id(config: Mapping[str, Any]) -> str:
    """The name of the run that `config` determines, such as `mnist-neural_ode-tanh-w256-s0-1f0c52a9be`.

    The readable prefix comes from `config["choices"]`, `config["model"]["width"]` and `config["seed"]`, each
    left out where missing. The digits are the head of the sha256 of the config without `NOT_IDENTIFYING`, as
    JSON with sorted keys: key order does not matter, the type of a number does (1 is not 1.0).

    Args:
        config: the resolved config as plain dicts, lists and scalars.

    Raises:
        TypeError: a value is not plain (an unresolved DictConfig, an object).
    """
    identifying = {key: value for key, value in config.items() if key not in NOT_IDENTIFYING}
    try:
        canonical = json.dumps(identifying, sort_keys=True, separators=(",", ":"))
    except TypeError as error:
        raise TypeError(
            f"a run's config must hold plain values only ({error}): "
            "pass OmegaConf.to_container(config, resolve=True)"
        ) from error
    digits = hashlib.sha256(canonical.encode()).hexdigest()[:HASH_DIGITS]
    prefix = _readable_prefix(config)[: LONGEST_RUN_ID - HASH_DIGITS - 1]
    return f"{prefix}-{digits}"


def sweep_name(overrides: Sequence[str]) -> str:
    """A readable name for the sweep that a command line's `overrides` ask for.

    The order of the overrides does not matter, nor do those that only say where results go (`logger=…`,
    `hydra/launcher=…`, `sweep=…`). Without any other the name is `default`. `=` becomes `-` and `,` becomes
    `+`, so the name is a valid file name and a valid Hydra value. At most 60 characters: longer names are cut
    and end in 8 hex digits of what was cut.
    """
    kept = sorted(_identifying(overrides))
    name = _file_name("_".join(kept).replace("=", "-").replace(",", "+"))
    if len(name) > LONGEST_SWEEP_NAME:
        digits = hashlib.sha256("\n".join(kept).encode()).hexdigest()[:8]
        name = f"{name[: LONGEST_SWEEP_NAME - 9].rstrip('.+_-')}-{digits}"
    return name or "default"


def job_name(overrides: Sequence[str]) -> str:
    """A job's own overrides as typed, without those that only say where results go."""
    return " ".join(_identifying(overrides))


def _identifying(overrides: Sequence[str]) -> list[str]:
    return [override for override in overrides if _top_level_key(override) not in NOT_IDENTIFYING]


def _readable_prefix(config: Mapping[str, Any]) -> str:
    choices = config.get("choices") or {}
    model = config.get("model") or {}
    parts = [str(choices[group]) for group in ("dataset", "model", "activation") if choices.get(group)]
    if model.get("width") is not None:
        parts.append(f"w{model['width']}")
    if config.get("seed") is not None:
        parts.append(f"s{config['seed']}")
    return _file_name("-".join(parts)) or "run"


def _top_level_key(override: str) -> str:
    """`hydra` of `hydra/launcher=joblib`, `logger` of `+logger.mode=online` or `~logger`."""
    key = override.partition("=")[0].lstrip("+~")
    return re.split(r"[./@]", key)[0]


def _file_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._+-]+", "-", text).strip(".+_-")
