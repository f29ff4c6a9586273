"""Tableaux of torchdiffeq's explicit fixed-step methods (Kutta 1901 for the 3/8 rule)."""

from __future__ import annotations

# method → (stage matrix a (r, r), weights b (r,)); stage i has the time Σ_j a_ij
TABLEAUX: dict[str, tuple[tuple[tuple[float, ...], ...], tuple[float, ...]]] = {
    "euler": (((0.0,),), (1.0,)),
    "midpoint": (((0.0, 0.0), (0.5, 0.0)), (0.0, 1.0)),
    "rk4": (
        ((0.0, 0.0, 0.0, 0.0), (1 / 3, 0.0, 0.0, 0.0), (-1 / 3, 1.0, 0.0, 0.0), (1.0, -1.0, 1.0, 0.0)),
        (1 / 8, 3 / 8, 3 / 8, 1 / 8),
    ),
}
