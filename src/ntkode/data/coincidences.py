"""Pairs of rows that make a kernel singular: duplicates x, x and antipodal pairs x, −x."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from ntkode.data.preprocessing import Floats, Rows

log = logging.getLogger(__name__)

# Bound on ‖x_i ∓ x_j‖ relative to the longer row: ten times float32 rounding, far below real differences.
TOLERANCE = 1e-6
LISTED_PAIRS = 5  # pairs of each kind that the description lists
PROJECTED = 3  # dimensions of the projection that finds candidates
CHUNK = 2**22  # numbers per comparison


@dataclass(frozen=True)
class Coincidences:
    """Pairs (i, j), i < j, of rows of one table.

    Attributes:
        duplicates: pairs with ‖x_i − x_j‖ ≤ tolerance · max(‖x_i‖, ‖x_j‖), shape (P, 2), in order.
        exact: number of duplicates that are equal to the last bit.
        antipodal: pairs with ‖x_i + x_j‖ ≤ tolerance · max(‖x_i‖, ‖x_j‖), neither row zero, shape (Q, 2).
        tolerance: relative tolerance of both comparisons.
    """

    duplicates: Rows
    exact: int
    antipodal: Rows
    tolerance: float

    def describe(self) -> dict[str, Any]:
        """Counts and the first pairs of each kind; plain values for JSON."""
        return {
            "duplicates": {
                "pairs": len(self.duplicates),
                "exact": self.exact,
                "first": self.duplicates[:LISTED_PAIRS].tolist(),
                "tolerance": self.tolerance,
            },
            "antipodal_pairs": {
                "pairs": len(self.antipodal),
                "first": self.antipodal[:LISTED_PAIRS].tolist(),
                "tolerance": self.tolerance,
            },
        }

    def warn(self, name: str) -> None:
        """Log a warning for each kind that occurs, with its effect on the kernel of the data set `name`."""
        if len(self.duplicates):
            log.warning(
                "dataset=%s: %s of equal training rows (%s): the NTK is singular for every activation, "
                "and where their targets differ the loss cannot reach 0",
                name,
                _counted(self.duplicates),
                _first(self.duplicates),
            )
        if len(self.antipodal):
            log.warning(
                "dataset=%s: %s of training rows x and −x (%s): the NTK is singular if the activation is odd "
                "(tanh, erf, sin, identity) and the model has no bias",
                name,
                _counted(self.antipodal),
                _first(self.antipodal),
            )


def coincidences(x: Floats, tolerance: float = TOLERANCE) -> Coincidences:
    """All duplicate and antipodal pairs of the rows of x, (N, d), float64.

    Candidates are pairs that are close after an orthogonal projection to `PROJECTED` random dimensions. A
    projection increases no distance, so no pair is missed; each candidate is then compared in full. The cost
    is O(Nd + N log N) for rows in general position. A Gram matrix would cost O(N²d) and resolve distances to
    1e-8 only.
    """
    norms = np.linalg.norm(x, axis=1)
    directions = np.random.default_rng(0).standard_normal((x.shape[1], min(PROJECTED, x.shape[1])))
    shadow = x @ np.linalg.qr(directions)[0]
    # The tolerance, plus the rounding of a product of length d.
    radius = float(norms.max() * (tolerance + 1e-15 * np.sqrt(x.shape[1])))
    tree = KDTree(shadow)
    same = _sorted(tree.query_pairs(radius, output_type="ndarray"))
    duplicates, distances = _close(x, norms, same, -1.0, tolerance)
    opposite_distances = KDTree(-shadow).sparse_distance_matrix(tree, radius, output_type="coo_matrix")
    opposite = np.column_stack([opposite_distances.row, opposite_distances.col])
    opposite = opposite[(opposite[:, 0] < opposite[:, 1]) & (norms[opposite] > 0).all(axis=1)]
    antipodal, _ = _close(x, norms, _sorted(opposite), 1.0, tolerance)
    return Coincidences(duplicates, int((distances == 0).sum()), antipodal, tolerance)


def _close(
    x: Floats, norms: Floats, pairs: Rows, sign: float, tolerance: float
) -> tuple[Rows, NDArray[np.float64]]:
    """Pairs with ‖x_i + sign·x_j‖ within the tolerance, (P, 2), and these norms, (P,)."""
    rows = max(1, CHUNK // x.shape[1])
    parts = [
        np.linalg.norm(x[chunk[:, 0]] + sign * x[chunk[:, 1]], axis=1)
        for chunk in (pairs[start : start + rows] for start in range(0, len(pairs), rows))
    ]
    distances = np.concatenate([np.zeros(0), *parts])
    close = distances <= tolerance * norms[pairs].max(axis=1, initial=0.0)
    return pairs[close], distances[close]


def _sorted(pairs: NDArray[Any]) -> Rows:
    ordered = np.sort(pairs.reshape(-1, 2).astype(np.intp), axis=1)
    return ordered[np.lexsort(ordered.T[::-1])]


def _counted(pairs: Rows) -> str:
    return "one pair" if len(pairs) == 1 else f"{len(pairs)} pairs"


def _first(pairs: Rows) -> str:
    return f"{'' if len(pairs) == 1 else 'first: '}rows {pairs[0, 0]} and {pairs[0, 1]}"
