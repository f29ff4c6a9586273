"""`contract` against J₁ J₂^T with every sample's derivative J formed by plain loops."""

import pytest
import torch

from ntkode.ntk.empirical import contraction
from ntkode.ntk.empirical.contraction import Gradients, OuterProducts, build, contract

GROUPS, TERMS, SEPARATE, P, Q = 2, 3, 2, 4, 5
# The same products in float64, summed in another order.
EXACT = 1e-13


def outer_products(samples, seed, scales=(1.0,) * TERMS):
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(GROUPS, TERMS, samples, P, generator=generator, dtype=torch.float64)
    g = torch.randn(GROUPS, TERMS, SEPARATE, samples, Q, generator=generator, dtype=torch.float64)
    return OuterProducts(a * torch.tensor(scales, dtype=a.dtype)[:, None, None], g)


def by_loops(terms):
    """J of shape (M, N, groups·q·p)."""
    rows = []
    for m in range(SEPARATE):
        for i in range(terms.inputs.shape[2]):
            j = torch.zeros(GROUPS, Q, P, dtype=torch.float64)
            for group in range(GROUPS):
                for t in range(TERMS):
                    j[group] += torch.outer(terms.cotangents[group, t, m, i], terms.inputs[group, t, i])
            rows.append(j.flatten())
    return torch.stack(rows).unflatten(0, (SEPARATE, -1))


def product(first, second):
    return torch.einsum("min,ljn->milj", by_loops(first), by_loops(second))


def relative(kernel, reference):
    return float((kernel - reference).norm() / reference.norm())


def contracted(first, second, shape, **options):
    kernel = torch.ones(shape, dtype=torch.float64)
    contract(first, second, kernel, **options)
    return kernel - 1  # it is added to what is there


@pytest.mark.parametrize("form", [lambda terms: terms, build], ids=["pairs", "build"])
@pytest.mark.parametrize("tile", [1, 6, 128])
def test_tiles_of_any_size_make_the_kernel(monkeypatch, form, tile):
    # Tiles of one row (fewer than the separate outputs), of three rows, and of all rows.
    monkeypatch.setattr(contraction, "TILE", tile)
    terms, others = outer_products(7, seed=0), outer_products(5, seed=1)
    first, second = form(terms), form(others)
    shape = (SEPARATE, 7, SEPARATE, 5)
    assert relative(contracted(first, second, shape), product(terms, others)) < EXACT
    kernel = contracted(first, first, (SEPARATE, 7, SEPARATE, 7))
    assert relative(kernel, product(terms, terms)) < EXACT
    assert torch.equal(kernel, kernel.permute(2, 3, 0, 1))


def test_the_whole_derivative_is_the_sum_of_the_outer_products():
    terms = outer_products(4, seed=0)
    assert torch.allclose(build(terms).values, by_loops(terms), rtol=EXACT, atol=EXACT)


def test_light_pairs_of_terms_are_multiplied_in_float32_and_heavy_ones_in_float64():
    first, second = outer_products(6, 0, (1.0, 1e-3, 1e-6)), outer_products(5, 1, (1.0, 1e-3, 1e-6))
    shape, exact = (SEPARATE, 6, SEPARATE, 5), product(first, second)
    assert relative(contracted(first, second, shape), exact) < EXACT
    mixed = contracted(first, second, shape, mixed=True)
    # float32's 6e-8 of pairs that weigh 1e-4 or less of the heaviest.
    assert 1e-14 < relative(mixed, exact) < 1e-11
    mixed = contracted(first, first, (SEPARATE, 6, SEPARATE, 6), mixed=True)
    assert relative(mixed, product(first, first)) < 1e-11


def test_pairs_of_equal_terms_are_multiplied_in_float64():
    first, second = outer_products(6, 0, (1e-3,) * TERMS), outer_products(5, 1, (1e3,) * TERMS)
    mixed = contracted(first, second, (SEPARATE, 6, SEPARATE, 5), mixed=True)
    assert relative(mixed, product(first, second)) < EXACT


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_the_size_of_the_derivatives_does_not_matter(scale):
    first, second = outer_products(6, 0, (scale,) * TERMS), outer_products(5, 1)
    for mixed in (False, True):
        kernel = torch.zeros(SEPARATE, 6, SEPARATE, 5, dtype=torch.float64)
        contract(first, second, kernel, mixed=mixed)
        assert relative(kernel, product(first, second)) < EXACT


def test_a_term_is_weighed_by_the_norms_of_its_inputs_and_cotangents():
    terms = outer_products(4, 0, (1.0, 10.0, 100.0))
    for t, weight in enumerate(terms.weights):
        a, g = terms.inputs[:, t].square().sum(), terms.cotangents[:, t].square().sum()
        assert float(weight) == pytest.approx(float((a * g).sqrt()), rel=1e-12)


def test_derivatives_of_two_kinds_have_no_kernel():
    terms = outer_products(3, seed=0)
    kernel = torch.zeros(SEPARATE, 3, SEPARATE, 3, dtype=torch.float64)
    for first, second in ((terms, build(terms)), (build(terms), terms)):
        with pytest.raises(TypeError, match="a kernel of"):
            contract(first, second, kernel)
    assert isinstance(build(terms), Gradients)
