"""Print the profile of the activations and draw φ, φ' and φ''.

python benchmarks/activations.py                       all activations, into outputs/activations
python benchmarks/activations.py tanh softplus relu    only these
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from rich import box
from rich.console import Console
from rich.table import Table

from ntkode import activations
from ntkode.activations import Activation, Profile
from ntkode.activations.smoothness import derivatives
from ntkode.cli.refusal import one_message
from ntkode.files import atomic_file, prepare_folder

CURVES = (("φ", "#1b1b1b", "-"), ("φ′", "#0072b2", "-"), ("φ″", "#d55e00", "--"))
TABLE_WIDTH = 112
Y_RANGE = (-1.75, 2.75)


def profile_table(selected: Sequence[Activation]) -> Table:
    """A table with one row per activation: smoothness, jumps, Lipschitz constants, Hermite coefficients."""
    table = Table(
        caption="jumps: the first discontinuous derivative, and its locations · |φ⁽ᵏ⁾|: supremum over "
        "the real line, the Lipschitz constant of φ⁽ᵏ⁻¹⁾ · deg: polynomial degree · ≥2: share of E φ(Z)² in "
        "Hermite orders ≥ 2 · cₖ: normalised Hermite coefficients of φ(Z), Z ~ N(0, 1)",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("activation", no_wrap=True)
    table.add_column("class", no_wrap=True)
    table.add_column("jumps", no_wrap=True)
    for heading in ("|φ′|", "|φ″|", "|φ‴|", "|φ⁗|", "deg"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("parity", no_wrap=True)
    for heading in ("≥2", "c₀", "c₁", "c₂", "c₃"):
        table.add_column(heading, justify="right", no_wrap=True)
    for activation in selected:
        profile = activation.profile
        degree = "–" if profile.polynomial_degree is None else str(profile.polynomial_degree)
        table.add_row(
            activation.name,
            profile.smoothness_class.replace("^inf", "^∞"),
            _jumps(profile),
            *(_number(bound) for bound in profile.derivative_bounds),
            degree,
            profile.parity or "–",
            f"{profile.nonlinearity if profile.nonlinearity > 1e-12 else 0:.2g}",
            *(_number(c) for c in profile.hermite[:4]),
        )
    return table


def draw(selected: Sequence[Activation]) -> Figure:
    """Small multiples, one panel per activation: φ, φ', φ'' and dotted lines where a derivative jumps."""
    columns = min(5, len(selected))
    rows = math.ceil(len(selected) / columns)
    figure = Figure(figsize=(2.5 * columns + 0.6, 2.1 * rows + 0.7), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True).flatten()
    for axis, activation in zip(axes, selected, strict=False):
        _panel(axis, activation)
    for axis in axes[len(selected) :]:
        axis.set_visible(False)
    handles, labels = axes[0].get_legend_handles_labels()
    handles.append(Line2D([], [], color="0.45", linestyle=":", linewidth=1.1))
    labels.append("jump of φ′ or φ″")
    figure.legend(handles, labels, loc="outside upper center", ncols=4 if columns > 1 else 2, frameon=False)
    return figure


@one_message("activations", "give another folder, as in --out FOLDER")
def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the arguments, print the table, save the figure and print its paths."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="registered names (default: all)")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("outputs/activations"),
        help="folder for the picture (default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    try:
        selected = [activations.get(name) for name in options.names or activations.names()]
    except ValueError as error:
        parser.error(str(error))
    console = Console()
    Console(width=max(console.width, TABLE_WIDTH)).print(profile_table(selected))
    prepare_folder(options.out)
    figure = draw(selected)
    for suffix in ("png", "pdf"):
        path = options.out / f"activations.{suffix}"
        with atomic_file(path) as file:
            figure.savefig(file, dpi=150, format=suffix)
        print(path)


def _panel(axis: Axes, activation: Activation) -> None:
    profile = activation.profile
    places = [location for location, _ in profile.breakpoints]
    reach = max([5.0, *(1.25 * abs(place) for place in places)])
    x = np.linspace(-reach, reach, 1201)
    around = [place + side for place in places for side in (-1e-6, 1e-6)]
    x = np.unique(np.concatenate([x[~np.isin(x, places)], around]))
    curves = derivatives(activation.function, torch.from_numpy(x), 2).numpy()
    for order, (label, colour, style) in enumerate(CURVES):
        gaps = np.searchsorted(x, [place for place, first in profile.breakpoints if first <= order])
        axis.plot(
            np.insert(x, gaps, np.nan),
            np.insert(curves[order], gaps, np.nan),
            color=colour,
            linestyle=style,
            linewidth=1.5,
            label=label,
            zorder=4 - order,  # φ on top
        )
    for place in places:
        axis.axvline(place, color="0.45", linestyle=":", linewidth=1.1, zorder=0)
    axis.axhline(0.0, color="0.85", linewidth=0.8, zorder=0)
    axis.set_xlim(-reach, reach)
    axis.set_ylim(*Y_RANGE)
    smoothness = r"\infty" if math.isinf(profile.smoothness) else f"{profile.smoothness:.0f}"
    axis.set_title(f"{activation.name}  $C^{{{smoothness}}}$", fontsize=10)
    axis.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True, symmetric=True, steps=[1, 2, 5]))
    axis.tick_params(labelsize=8, length=2.5)
    axis.spines[["top", "right"]].set_visible(False)


def _jumps(profile: Profile) -> str:
    """The first discontinuous derivative and its locations, for example ``φ′ −1, 1``."""
    if not profile.breakpoints:
        return "–"
    first = min(order for _, order in profile.breakpoints)
    return f"{('φ', 'φ′', 'φ″', 'φ‴', 'φ⁗')[first]} " + ", ".join(
        f"{place:g}" for place, order in profile.breakpoints if order == first
    )


def _number(value: float) -> str:
    if math.isinf(value):
        return "∞"
    return f"{0.0 if abs(value) < 5e-4 else value:.3f}"
