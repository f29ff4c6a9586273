"""The table of activations, from the registry and the computed profiles."""

from __future__ import annotations

import math
from pathlib import Path

import yaml

from markdown_text import code, escaped, table
from ntkode import activations
from ntkode.activations import Profile
from ntkode.ntk import dual_activation
from ntkode.ntk.infinite_width.duals.hermite_series import HermiteSeries

PRIMES = ("φ", "φ′", "φ″", "φ‴", "φ⁗")


def tables(conf: Path) -> str:
    """The table of profiles and the table of functions, as Markdown.

    Args:
        conf: the folder of config files, for each function's description.
    """
    profiles, formulas = [], []
    for name in sorted(activations.names()):
        activation = activations.get(name)
        profiles.append([code(name), *_profile_texts(activation.profile), _kernel(name)])
        formulas.append([code(name), escaped(_line(conf, name)), _parameters(conf, name)])
    headings = ["φ", "class", "jumps", "sup φ′", "sup φ″", "parity", "≥ 2", "kernel"]
    return "\n".join(
        [
            table(headings, profiles),
            "## Functions\n",
            table(["activation", "φ", "parameters"], formulas),
        ]
    )


def _profile_texts(profile: Profile) -> list[str]:
    nonlinearity = profile.nonlinearity if profile.nonlinearity > 1e-12 else 0.0
    return [
        _class(profile),
        _jumps(profile),
        _number(profile.lipschitz),
        _number(profile.lipschitz_derivative),
        profile.parity or "",
        f"{nonlinearity:.2g}",
    ]


def _class(profile: Profile) -> str:
    if profile.smoothness < 0:
        return "jumps"
    if profile.polynomial_degree is not None:
        return f"degree {profile.polynomial_degree}"
    return "C<sup>∞</sup>" if math.isinf(profile.smoothness) else f"C<sup>{profile.smoothness:.0f}</sup>"


def _jumps(profile: Profile) -> str:
    if not profile.breakpoints:
        return ""
    first = min(order for _, order in profile.breakpoints)
    places = ", ".join(f"{place:g}" for place, order in profile.breakpoints if order == first)
    return f"{PRIMES[first]} at {places}"


def _number(value: float) -> str:
    return "∞" if math.isinf(value) else f"{0.0 if abs(value) < 5e-4 else value:.3g}"


def _kernel(name: str) -> str:
    return "series" if isinstance(dual_activation(name), HermiteSeries) else "closed"


def _line(conf: Path, name: str) -> str:
    first = (conf / "activation" / f"{name}.yaml").read_text().splitlines()[0]
    return first.removeprefix("# ")


def _parameters(conf: Path, name: str) -> str:
    keys = yaml.safe_load((conf / "activation" / f"{name}.yaml").read_text())
    return ", ".join(
        code(f"activation.{key}={value}") for key, value in keys.items() if key not in ("_target_", "name")
    )
