"""Layers as sums over positions of outer products: what patches and channels must satisfy."""

from itertools import product

import pytest
import torch
import torch.nn.functional as F

from ntkode.ntk.empirical.layers import Linear, convolution

ONE = list(product((1, 2, (2,)), (0, 2, (1,), "same", "valid"), (1, 3), (1, 2)))
TWO = list(product((1, (2, 1), 3), (0, (2, 1), "same", "valid"), (1, (1, 2), 3), (1, 2)))


@pytest.mark.parametrize(("width", "cases"), [((2,), ONE), ((5,), ONE), ((5, 2), TWO), ((2, 6), TWO)])
def test_a_convolution_is_its_weight_times_the_patches(width, cases):
    generator = torch.Generator().manual_seed(0)
    for stride, padding, dilation, groups in cases:
        if padding == "same" and stride != 1:
            continue  # torch has no such convolution
        convolve = F.conv1d if len(width) == 1 else F.conv2d
        sizes = (18,) if len(width) == 1 else (17, 20)
        x = torch.randn(3, 4, *sizes, generator=generator, dtype=torch.float64)
        weight = torch.randn(6, 4 // groups, *width, generator=generator, dtype=torch.float64)
        options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        expected = convolve(x, weight, **options)
        layer = convolution(weight, **options)
        patches, channels = layer.patches(x), layer.channels(expected)
        by_group = weight.view(groups, 6 // groups, -1)
        made = torch.einsum("bqp,blnp->blnq", by_group, patches)
        assert torch.allclose(made, channels, rtol=1e-12, atol=1e-12), options
        # The derivative by the weight, of one sample.
        g = torch.randn(expected[:1].shape, generator=generator, dtype=torch.float64)
        weight.requires_grad_()
        (exact,) = torch.autograd.grad(convolve(x[:1], weight, **options), weight, g)
        products = torch.einsum("blnq,blnp->bqp", layer.channels(g), layer.patches(x[:1]))
        assert torch.allclose(layer.weight(products), exact.flatten(), rtol=1e-12, atol=1e-12), options


@pytest.mark.parametrize("transposed", [None, False, True])
def test_a_linear_layer_is_its_weight_times_the_inputs_at_every_position(transposed):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 4, 5, generator=generator, dtype=torch.float64)
    weight = torch.randn(*((5, 6) if transposed else (6, 5)), generator=generator, dtype=torch.float64)
    weight.requires_grad_()
    f = x @ weight if transposed else F.linear(x, weight)
    layer = Linear() if transposed is None else Linear(transposed)
    assert layer.patches(x).shape == (1, 12, 2, 5)
    assert layer.channels(f).shape == (1, 12, 2, 6)
    g = torch.randn(1, 3, 4, 6, generator=generator, dtype=torch.float64)
    (exact,) = torch.autograd.grad(f[:1], weight, g)
    products = torch.einsum("blnq,blnp->bqp", layer.channels(g), layer.patches(x[:1]))
    assert torch.allclose(layer.weight(products), exact.flatten(), rtol=1e-12, atol=1e-12)
