"""Jumps and suprema of the derivatives of a callable φ, by nested autograd in float64.

Limits of detection: jumps on [−12, 12] in derivatives of order 0 to 4. A jump below 1e-7 of the maximum of
that derivative there, or a second jump within 0.005 of another, is missed.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

Function = Callable[[Tensor], Tensor]

HALF_RANGE = 12.0
MAX_ORDER = 4
_JUMP = 1e-7  # of max |φ^(k)| on the grid
_ROUNDING = 1e-12  # of the largest derivative: noise in a derivative that vanishes identically


def derivatives(function: Function, x: Tensor, order: int) -> Tensor:
    """φ, φ', …, φ^(order) at x by nested autograd; shape (order + 1, *x.shape), float64, detached.

    Raises:
        ValueError: torch cannot differentiate the function `order` times.
    """
    with torch.enable_grad():
        point = x.detach().to(torch.float64).clone().requires_grad_()
        rows = [function(point)]
        for k in range(1, order + 1):
            if not rows[-1].requires_grad:  # constant in x
                rows.append(torch.zeros_like(point))
                continue
            try:
                (row,) = torch.autograd.grad(rows[-1].sum(), point, create_graph=True, materialize_grads=True)
            except RuntimeError as error:
                raise ValueError(
                    f"torch cannot differentiate {function!r} {k} times ({error}): "
                    "write it with elementary torch operations"
                ) from error
            rows.append(row)
    return torch.stack([row.detach() for row in rows])


def grid() -> Tensor:
    """4801 equidistant points on [−12, 12], float64, shifted by 0.0014 so that none is a round number."""
    return torch.linspace(-HALF_RANGE, HALF_RANGE, 4801, dtype=torch.float64) + 1e-3 * math.sqrt(2)


def find_breakpoints(function: Function) -> tuple[tuple[float, int], ...]:
    """Locations where a derivative of order 0 to 4 jumps or diverges, each with the lowest such order.

    In every interval of a grid the increment of φ^(k) is compared with the trapezoidal rule for φ^(k+1). As
    the interval shrinks, the difference vanishes if φ^(k) is continuous, and stays if φ^(k) jumps.
    """
    x = grid()
    values = derivatives(function, x, MAX_ORDER + 1)
    sizes = _size(values).amax(dim=1)
    breakpoints: dict[float, int] = {}
    for order in range(MAX_ORDER + 1):
        tolerance = float(_JUMP * sizes[order] + _ROUNDING * sizes[: order + 1].max())
        suspect = _unexplained(x, values[order], values[order + 1]) > tolerance
        for location in _jumps(function, x[:-1][suspect], x[1:][suspect], order, tolerance):
            if all(abs(location - known) > 1e-8 for known in breakpoints):
                breakpoints[location] = order
    return tuple(sorted(breakpoints.items()))


def derivative_bounds(function: Function, breakpoints: tuple[tuple[float, int], ...]) -> tuple[float, ...]:
    """Suprema of |φ^(k)| over ℝ, k = 1, …, 4; inf if φ^(k) is unbounded or a lower derivative jumps.

    The maximum on [−12, 12] is refined by zooming in. A derivative counts as unbounded if its maximum keeps
    growing as the range is extended to 1e4, 1e6, 1e8, or as a breakpoint is approached to 1e-3, 1e-6, 1e-12.
    """
    x = grid()
    values = derivatives(function, x, MAX_ORDER)
    far = torch.logspace(math.log10(HALF_RANGE), 8, 600, dtype=torch.float64)
    far_values = _size(derivatives(function, torch.stack([far, -far]), MAX_ORDER)).amax(dim=1)
    near = torch.logspace(-1, -12, 111, dtype=torch.float64)
    places = torch.tensor([location for location, _ in breakpoints], dtype=torch.float64)[:, None]
    both_sides = torch.cat([places + near, places - near])
    near_values = _size(derivatives(function, both_sides, MAX_ORDER))

    bounds = []
    for order in range(1, MAX_ORDER + 1):
        if any(first < order for _, first in breakpoints):
            bounds.append(math.inf)
            continue
        peak = _refined_maximum(function, x, values[order - 1], values[order], order)
        outwards = [max(peak, float(far_values[order][far <= limit].max())) for limit in (1e4, 1e6, 1e8)]
        inwards = [
            max([peak, *near_values[order][:, near >= limit].flatten().tolist()])
            for limit in (1e-3, 1e-6, 0.0)
        ]
        bounds.append(max(_limit(outwards), _limit(inwards)))
    return tuple(bounds)


def _size(values: Tensor) -> Tensor:
    """|values|, with 0 in place of NaN (formulas give 0·inf at large |x|)."""
    return values.abs().nan_to_num(nan=0.0, posinf=math.inf)


def _unexplained(x: Tensor, values: Tensor, slopes: Tensor) -> Tensor:
    """|Δφ^(k) − trapezoidal rule for φ^(k+1)| on each interval of the last axis; inf where undefined."""
    explained = torch.diff(x) * (slopes[..., 1:] + slopes[..., :-1]) / 2
    return (torch.diff(values) - explained).abs().nan_to_num(nan=math.inf, posinf=math.inf)


def _jumps(function: Function, left: Tensor, right: Tensor, order: int, tolerance: float) -> list[float]:
    """The jumps of φ^(order) inside the brackets, rounded to 1e-9."""
    if not left.numel():
        return []
    left, right, wide = _shrink(function, left, right, order, width=1e-4)
    left, right, narrow = _shrink(function, left, right, order, width=1e-10)
    # Over these six decades a jump stays constant, and a pole grows by at most 1e6, since φ^(order−1) is
    # continuous. Anything that grows faster is rounding noise.
    stays = (narrow > tolerance) & (narrow > 0.05 * wide) & (narrow < 2e6 * wide)
    left, right, _ = _shrink(function, left[stays], right[stays], order, width=1e-12)
    return sorted({round(middle, 9) + 0.0 for middle in ((left + right) / 2).tolist()})


def _shrink(
    function: Function, left: Tensor, right: Tensor, order: int, width: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Brackets halved down to `width`, keeping the half with the larger difference; and these differences."""
    rest = torch.zeros_like(left)
    while left.numel() and float((right - left).max()) > width:
        x = torch.stack([left, (left + right) / 2, right], dim=-1)
        values, slopes = derivatives(function, x, order + 1)[order:]
        # The change of slope detects even poles such as |x|^(-1/2), which have no increment.
        turn = torch.diff(x) * torch.diff(slopes).abs().nan_to_num(nan=math.inf)
        rests = _unexplained(x, values, slopes) + turn
        rest, half = rests.max(dim=-1)
        left = torch.where(half == 0, x[:, 0], x[:, 1])
        right = torch.where(half == 0, x[:, 1], x[:, 2])
    return left, right, rest


def _refined_maximum(function: Function, x: Tensor, lower: Tensor, values: Tensor, order: int) -> float:
    """Maximum of |φ^(order)|, by refining the grid where it is large or φ^(order−1) moves unseen."""
    size = _size(values)
    hidden = _unexplained(x, lower, values)
    centres = torch.cat([x[size.topk(8).indices], x[hidden.topk(8).indices]])
    spread = torch.linspace(-1, 1, 65, dtype=torch.float64)
    best = float(size.max())
    radius = 2 * float(x[1] - x[0])
    for _ in range(4):
        window = centres[:, None] + radius * spread
        size, index = _size(derivatives(function, window, order)[order]).max(dim=1)
        centres = window.gather(1, index[:, None])[:, 0]
        best = max(best, float(size.max()))
        radius /= 16
    return best


def _limit(maxima: list[float]) -> float:
    """The limit of three growing maxima: the last one, or inf if the increments do not die out."""
    first, second, third = maxima
    if not math.isfinite(third) or third - second > max(1e-3 * third, 0.5 * (second - first)):
        return math.inf
    return third
