"""The overrides of a command line, parsed and checked before Hydra starts."""

from __future__ import annotations

import difflib
import importlib.util
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import cast

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf

from ntkode.cli.choices import CONF, choice_files

RERUN = ("none", "failed", "all")
# Choices that need an optional package: choice → (plugin module, name of the extra).
EXTRAS = {
    "hydra/launcher=slurm": ("hydra_submitit_launcher", "slurm"),
    "hydra/launcher=ray_node": ("hydra_ray_launcher", "ray"),
    "hydra/sweeper=optuna_search": ("hydra_optuna_sweeper", "optuna"),
}


def is_override(argument: str) -> bool:
    """Whether `argument` is `key=value`, `+key=value` or `~key`, rather than a flag or a flag's value."""
    return not argument.startswith("-") and ("=" in argument or argument.startswith("~"))


def given(key: str, overrides: Sequence[str]) -> str | None:
    """The value of the last `key=value` on the command line, as Hydra reads it."""
    typed = [override for override in overrides if override.partition("=")[0] == key]
    if not typed:
        return None
    try:
        value = OverridesParser.create().parse_override(typed[-1]).value()
    except HydraException:  # Hydra reports it
        return None
    if not isinstance(value, str | int | float | bool):  # an axis of a sweep, or null
        return None
    return cast("str | None", OmegaConf.create({key: value})[key])


def unknown(arguments: Sequence[str]) -> str | None:
    """An error message for the first override with an unknown key or choice; None if all are known."""
    if any(a.startswith(("--config-", "-cd", "-cn", "-cp", "hydra.searchpath")) for a in arguments):
        return None  # the key may be defined in another config folder
    size_keys = OmegaConf.load(CONF / "size" / "default.yaml")
    keys = {str(key) for key in [*OmegaConf.load(CONF / "config.yaml"), *size_keys]} | {"width", "hydra"}
    groups = {path.name for path in CONF.iterdir() if path.is_dir()}
    for argument in filter(is_override, arguments):
        path, _, value = argument.lstrip("+~").partition("=")
        key = re.split(r"[./@]", path)[0]
        if key not in keys | groups:
            return f"{argument}: no key {key}{nearest(key, keys | groups)}; --help shows the groups"
        names = [*choice_files(path)] if path in groups else []
        for choice in value.split(",") if names else []:
            if re.fullmatch(r"[a-z][\w/]*", choice) and choice not in (*names, "null"):
                known = ", ".join(names)
                return f"{argument}: {path} has no choice {choice}{nearest(choice, names)}; one of {known}"
    return None


def nearest(name: str, names: Iterable[str]) -> str:
    """`(did you mean …?)` with the most similar name; empty if none is similar."""
    similar = difflib.get_close_matches(name, list(names), n=1)
    return f" (did you mean {similar[0]}?)" if similar else ""


def misused(arguments: Sequence[str]) -> str | None:
    """An error message for overrides that Hydra would misread or reject obscurely; else None."""
    axes = [argument.split("=")[0].split(".")[0] for argument in arguments]
    if given("model", arguments) == "resnet" and {"solver", "gradient"} & set(axes):
        return (
            "model=resnet is the Euler method with model.depth steps and has a single, exact gradient: leave "
            "out solver and gradient, or use model=neural_ode"
        )
    for argument in arguments:
        key, _, value = argument.partition("=")
        choices = value.split(",")
        if key == "data_root" and value != "null" and not Path(value).expanduser().is_dir():
            return f"{argument}: no such folder; it must hold one folder per data set, such as mnist/"
        if key == "results_dir" and value.strip("'\" ") in ("", "null"):
            return f"{argument}: no folder is named; write results_dir=FOLDER, or leave it out for results"
        if key == "model.match":
            return f"{argument}: matching is a config group: write match={choices[0]}"
        if key == "rerun" and value not in RERUN:
            return f"{argument}: rerun takes one of {', '.join(RERUN)}, as in rerun=failed"
        if not key.isidentifier() or not (CONF / key).is_dir():
            continue
        if key == "experiment" and len(choices) > 1:
            one = f"experiment={choices[0]}"
            return f"{argument}: each experiment defines its grid, so run one at a time: {one}"
        if all(choice.strip().isdigit() for choice in choices):
            known = ", ".join(choice_files(key))
            hint = f"; for other widths write model.width={value}" if key == "width" else ""
            example = "width=w256" if key == "width" else f"{key}=NAME"
            return f"{argument}: this group takes names, as in {example} (one of {known}){hint}"
    return None


def single_run_sweep(arguments: Sequence[str]) -> str | None:
    """An error message for a swept value, as in `activation=tanh,relu`, without `-m`; else None.

    Quoted values, lists and dicts may contain commas. An experiment may set the mode itself.
    """
    if any(
        a.startswith(("-m", "--mu", "--config-", "-cd", "-cn", "-cp", "hydra.searchpath")) for a in arguments
    ):
        return None
    experiment = CONF / "experiment" / f"{given('experiment', arguments)}.yaml"
    defined = OmegaConf.load(experiment) if experiment.is_file() else OmegaConf.create()
    if (given("hydra.mode", arguments) or OmegaConf.select(defined, "hydra.mode")) == "MULTIRUN":
        return None
    for argument in filter(is_override, arguments):
        with suppress(HydraException):  # Hydra reports it
            if OverridesParser.create().parse_override(argument).is_sweep_override():
                return f"{argument}: several values make a sweep: add -m"
    return None


def missing_extra(arguments: Sequence[str]) -> str | None:
    """An error message if a launcher or sweeper needs a package that is not installed; else None."""
    for argument in arguments:
        plugin, extra = EXTRAS.get(argument, (None, None))
        if plugin is not None and importlib.util.find_spec(f"hydra_plugins.{plugin}") is None:
            return f"{argument} needs a package that is not installed: pip install 'ntkode[{extra}]'"
    return None
