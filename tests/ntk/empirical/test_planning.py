import pytest
import torch

from ntkode.ntk.empirical.compression import Basis
from ntkode.ntk.empirical.planning import Choice, Weight, cheapest, kernel_flops, product_numbers

CONTRACTIONS = ("pairs", "build")


def weight(p=100, q=100, calls=40, positions=1, outputs=1, separate=1):
    return Weight(p, q, 1, (positions,), (calls,), outputs, separate)


def selected(w, samples=1000, most=float("inf"), bases=None):
    choices = [Choice(w, contraction, some) for contraction in CONTRACTIONS for some in ({None, bases})]
    return cheapest(choices, kernel_flops(samples, samples), most)


def basis(calls, rank):
    mixing = torch.zeros(calls, rank, dtype=torch.float64)
    return (Basis(mixing, mixing, torch.ones(calls, dtype=torch.float64)),)


def test_one_call_of_a_wide_layer_is_never_built():
    assert selected(weight(p=1000, q=1000, calls=1)).contraction == "pairs"


def test_many_calls_of_a_narrow_layer_are_built():
    assert selected(weight(p=4, q=4, calls=400)).contraction == "build"


def test_the_contraction_changes_where_the_operations_are_equal():
    # Cost per pair of samples: C²(p + q) for pairs, pq if built; equal at C² = pq/(p + q), here 50.
    assert selected(weight(calls=6), samples=10**6).contraction == "pairs"
    assert selected(weight(calls=8), samples=10**6).contraction == "build"


def test_only_a_low_rank_is_compressed():
    w = weight(calls=40)
    assert selected(w, bases=basis(40, 3)).bases is not None
    assert selected(w, bases=basis(40, 40)).bases is None


def test_the_memory_bound_is_kept_if_possible():
    w = weight(p=4, q=4, calls=400)
    built = Choice(w, "build").numbers
    assert (built, Choice(w, "pairs").numbers) == (16, 400 * 8)
    # The cheaper choice is too large by one number, so the more expensive one is selected.
    wide = weight(p=1000, q=1000, calls=40)
    assert selected(wide, most=1000 * 1000).contraction == "build"
    assert selected(wide, most=1000 * 1000 - 1).contraction == "pairs"
    # If nothing fits, the smallest is selected.
    assert selected(w, most=1).numbers == 16


def test_products_read_the_smaller_form():
    w = weight(p=10, q=10, calls=40)
    assert (
        cheapest([Choice(w, contraction) for contraction in CONTRACTIONS], product_numbers, 1e9).contraction
        == "build"
    )
    assert product_numbers(Choice(w, "build")) == 100


def test_terms_count_positions_and_outputs():
    w = weight(calls=5, positions=7, outputs=3, separate=3)
    assert Choice(w, "pairs").terms == 35
    assert Choice(w, "pairs").numbers == 35 * (100 + 3 * 100)
    assert Choice(w, "build").numbers == 3 * 100 * 100
    assert Choice(w, "pairs", basis(5, 2)).terms == 14


def test_the_tail_of_a_choice_is_the_largest_of_its_bases():
    mixing = torch.zeros(3, 1, dtype=torch.float64)
    # One of three singular values is kept: a tail of 0.6, and none.
    rough, exact = (Basis(mixing, mixing, torch.tensor(v)) for v in ([4.0, 3.0, 0.0], [4.0, 0.0, 0.0]))
    for bases in ((rough, exact), (exact, rough)):
        assert Choice(Weight(2, 2, 1, (1, 1), (3, 3), 1, 1), "pairs", bases).tail == pytest.approx(0.6)
    assert Choice(weight(), "pairs").tail == 0


def test_a_choice_is_described_by_its_calls_and_terms():
    assert str(Choice(weight(), "build")) == "40 calls, build"
    assert str(Choice(weight(), "pairs", basis(40, 3))) == "40 calls compressed to 3 terms, pairs"
