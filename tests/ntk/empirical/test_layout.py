"""A layout's derivatives against plain loops over calls, positions, outputs and samples."""

import pytest
import torch

from ntkode.ntk.empirical.contraction import build, contract
from ntkode.ntk.empirical.layers import Linear
from ntkode.ntk.empirical.layout import OUTPUTS, Layout
from ntkode.ntk.empirical.recording import Calls

N, K, P, Q = 3, 2, 4, 5


def calls_of(calls, positions, outputs, seed):
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(calls, N, positions, P, generator=generator, dtype=torch.float64)
    g = torch.randn(calls, outputs, N, positions, Q, generator=generator, dtype=torch.float64)
    return Calls(Linear(), a, g)


def jacobian(shapes, outputs):
    """Shape (N, K, q·p)."""
    j = torch.zeros(N, outputs, Q, P, dtype=torch.float64)
    for calls in shapes:
        c, _, positions, _ = calls.inputs.shape
        for call in range(c):
            for place in range(positions):
                for k in range(outputs):
                    for i in range(N):
                        g, a = calls.cotangents[call, k, i, place], calls.inputs[call, i, place]
                        j[i, k] += torch.outer(g, a)
    return j.flatten(2)


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("outputs", OUTPUTS)
def test_calls_of_two_shapes_make_one_kernel(outputs, whole):
    layout = Layout(outputs, torch.float64)
    differentiated = len(layout.seeds(K))  # for the sum: one combination, which the recording has formed
    shapes = [calls_of(2, 3, differentiated, seed=0), calls_of(2, 3, differentiated, seed=1)]
    shapes.append(calls_of(1, 2, differentiated, seed=2))
    j = jacobian(shapes, differentiated)
    terms = layout.outer_products(shapes)
    factor = build(terms) if whole else terms
    m = layout.separate(K)
    kernel = torch.zeros(m, N, m, N, dtype=torch.float64)
    contract(factor, factor, kernel)
    expected = {
        "trace": torch.einsum("icp,jcp->ij", j, j) / K,
        "full": j.flatten(0, 1) @ j.flatten(0, 1).T,
        "sum": j[:, 0] @ j[:, 0].T,
    }[outputs]
    assert torch.allclose(layout.arranged(kernel, K), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("outputs", OUTPUTS)
def test_whole_derivatives_make_the_same_kernel(outputs):
    layout = Layout(outputs, torch.float64)
    j = torch.randn(len(layout.seeds(K)), N, 6, generator=torch.Generator().manual_seed(0)).double()
    factor, m = layout.gradients(j.float()), layout.separate(K)
    assert factor.values.dtype == torch.float64
    kernel = torch.zeros(m, N, m, N, dtype=torch.float64)
    contract(factor, factor, kernel)
    full = torch.einsum("cip,ejp->icje", j, j)
    expected = {
        "trace": torch.einsum("icjc->ij", full) / K,
        "full": full.flatten(2).flatten(0, 1),
        "sum": full.sum((1, 3)),
    }[outputs]
    assert torch.allclose(layout.arranged(kernel, K), expected, rtol=1e-12, atol=1e-12)


def test_seeds_are_each_output_or_their_sum():
    assert Layout("sum", torch.float64).seeds(3).tolist() == [[1, 1, 1]]
    for outputs in ("trace", "full"):
        assert torch.equal(Layout(outputs, torch.float64).seeds(3), torch.eye(3))
