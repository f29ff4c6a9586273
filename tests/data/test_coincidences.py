import logging
from typing import Any

import numpy as np
import pytest

from ntkode.data import DataModule
from ntkode.data.coincidences import coincidences
from ntkode.data.sources import Source, Table


def rows(n: int = 40, d: int = 12) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((n, d))


def slow(x: np.ndarray, sign: float, tolerance: float) -> list[list[int]]:
    """Pairs (i, j) within the tolerance, compared one by one."""
    norms = np.linalg.norm(x, axis=1)
    return [
        [i, j]
        for i in range(len(x))
        for j in range(i + 1, len(x))
        if np.linalg.norm(x[i] + sign * x[j]) <= tolerance * max(norms[i], norms[j])
        and (sign < 0 or min(norms[i], norms[j]) > 0)
    ]


def test_rows_in_general_position_have_none() -> None:
    pairs = coincidences(rows())
    assert pairs.describe() == {
        "duplicates": {"pairs": 0, "exact": 0, "first": [], "tolerance": 1e-6},
        "antipodal_pairs": {"pairs": 0, "first": [], "tolerance": 1e-6},
    }


def test_exact_and_near_pairs_are_distinguished() -> None:
    x = rows()
    x[7] = x[3]
    x[20] = x[10] * (1 + 3e-7)  # within the tolerance of 1e-6
    x[21] = x[11] * (1 + 3e-6)  # beyond it
    x[30] = -x[5]
    x[31] = -x[6] * (1 + 3e-7)
    x[32] = -2 * x[8]  # antiparallel, but of another norm
    pairs = coincidences(x)
    assert pairs.duplicates.tolist() == [[3, 7], [10, 20]]
    assert pairs.exact == 1
    assert pairs.antipodal.tolist() == [[5, 30], [6, 31]]


@pytest.mark.parametrize("d", [1, 2, 5])
def test_against_all_pairs_one_by_one(d: int) -> None:
    # Small whole numbers: many coincidences, zero rows among them, and groups larger than two.
    x = np.random.default_rng(d).integers(-1, 2, size=(60, d)).astype(float)
    x[::7] *= 1 + 1e-7
    pairs = coincidences(x)
    assert pairs.duplicates.tolist() == slow(x, -1.0, 1e-6)
    assert pairs.antipodal.tolist() == slow(x, 1.0, 1e-6)
    assert len(pairs.antipodal) > 0


def test_float32_rounding_hides_no_pair() -> None:
    x = rows(50, 300)
    x[9] = x[8] * (1 + 5e-8)
    assert coincidences(x.astype(np.float32).astype(float)).duplicates.tolist() == [[8, 9]]


class Pairs(DataModule):
    name, licence, citation = "pairs", "none", "none"

    def __init__(self, **keys: Any) -> None:
        super().__init__(n_train=6, n_test=1, seed=0, steps=1, targets="raw", center=False, **keys)

    def read(self) -> Source:
        x = np.array([[1.0, 0.2], [2.0, 0.4], [0.3, 1.0], [-0.3, -1.0], [1.0, 1.0], [1.0, -2.0]])
        return Source("here", Table(x, x[:, :1]), Table(x[:1], x[:1, :1]))


def test_description_and_log_report_the_pairs(caplog: pytest.LogCaptureFixture) -> None:
    # The first two rows are equal only after scaling to one norm.
    for norm, pairs in (("sqrt_d", 1), (None, 0)):
        data = Pairs(norm=norm)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            data.setup()
        description = data.description
        assert (description["duplicates"]["pairs"], description["antipodal_pairs"]["pairs"]) == (pairs, 1)
        # Indices refer to training rows, not to rows of the source.
        i, j = description["antipodal_pairs"]["first"][0]
        np.testing.assert_allclose(data.train.x[i], -data.train.x[j], rtol=1e-6)
        assert ("equal training rows" in caplog.text) == bool(pairs)
        assert f"one pair of training rows x and −x (rows {i} and {j})" in caplog.text
        assert "singular if the activation is odd" in caplog.text
