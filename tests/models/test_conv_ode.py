import math

import pytest
import torch
from tests.reference import dense_trace_kernel

from ntkode.integrate import Solver
from ntkode.models import ConvODE
from ntkode.ntk import empirical_ntk
from ntkode.studies.preparation import build_model, read_data, seed_everything


def make(width=3, outputs=2, **options):
    torch.manual_seed(0)
    options = {"image_shape": (2, 4, 6), "patch": 2, "activation": "tanh"} | options
    return ConvODE(48, width, outputs, **options).double()


def images(rows=3):
    return torch.randn(rows, 48, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def patches_by_hand(model, x):
    """h(0), computed position by position."""
    maps = x.reshape(-1, 2, 4, 6)
    state = torch.empty(len(x), model.width, 2, 3, dtype=x.dtype)
    for row in range(2):
        for column in range(3):
            patch = maps[:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            state[:, :, row, column] = torch.einsum("ncij,mcij->nm", patch, model.U)
    return state * model.sigma_u / math.sqrt(8)


def velocity_by_hand(model, maps):
    """σ_w/√(9n) W ⋆ φ, computed for each position and neighbour."""
    total = torch.zeros_like(maps)
    for row in range(2):
        for column in range(3):
            for i in range(3):
                for j in range(3):
                    r, c = row + i - 1, column + j - 1
                    if 0 <= r < 2 and 0 <= c < 3:
                        total[:, :, row, column] += maps[:, :, r, c] @ model.W[:, :, i, j].T
    return total * model.sigma_w / math.sqrt(9 * model.width)


def test_formula_by_hand():
    model = make(solver=Solver("euler", steps=3), horizon=0.6, sigma_u=1.2, sigma_w=1.5, sigma_v=0.7)
    x = images()
    with torch.no_grad():
        h = patches_by_hand(model, x)
        for _ in range(3):
            h = h + 0.2 * velocity_by_hand(model, torch.tanh(h))
        expected = 0.7 / math.sqrt(18) * torch.tanh(h).flatten(1) @ model.v
        # The same products of a few dozen numbers in another order.
        torch.testing.assert_close(model(x), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("method", ["auto", "pairs", "build", "compressed"])
def test_the_fast_kernel_is_that_of_the_jacobian(method):
    model, x = make(width=5, outputs=3, solver=Solver("rk4", steps=3)), images(5)
    reference = dense_trace_kernel(model, x, x)
    error = (empirical_ntk(model, x, method=method) - reference).norm()
    # A few hundred roundings of 1e-16.
    assert error < 1e-12 * reference.norm()


def test_outputs_keep_their_size_as_the_width_grows():
    x = images(8)
    for width in (8, 128):
        outputs = torch.cat(
            [
                ConvODE(48, width, 50, image_shape=(2, 4, 6), patch=2, activation="tanh").double()(x).detach()
                for _ in range(4)
            ],
            dim=1,
        )
        # E f² < σ_v² for |tanh| < 1; it is about 0.4 here, at any width.
        assert 0.2 < float(outputs.square().mean()) < 0.8


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"image_shape": (1, 4, 6)}, r"model\.image_shape=\[1, 4, 6\] has 24 pixels, and the inputs have 48"),
        ({"image_shape": (48,)}, r"model\.image_shape=\(48,\) must be \[channels, height, width\]"),
        ({"image_shape": None}, r"model\.image_shape=None must be"),
        ({"image_shape": (2, 4, 0)}, r"model\.image_shape=0"),
        ({"patch": 3}, r"model\.patch=3 does not divide images of 4×6 pixels: use one of 1, 2"),
        ({"patch": 0}, r"model\.patch=0"),
        ({"sigma_u": -1.0}, r"model\.sigma_u=-1"),
    ],
)
def test_bad_arguments_are_named(options, named):
    with pytest.raises(ValueError, match=named):
        make(**options)


def built(composed, *overrides):
    config = composed("model=conv_ode", "model.width=4", "size=smoke", *overrides)
    seed_everything(config)
    return build_model(config, read_data(config), torch.device("cpu"))


def test_the_image_shape_comes_from_the_data(composed):
    model = built(composed, "dataset=digits")
    assert model.image_shape == (1, 8, 8)
    assert model.positions == (2, 2)
    assert built(composed, "dataset=digits", "dataset.resize=4").positions == (1, 1)


def test_other_data_are_refused_with_a_remedy(composed):
    with pytest.raises(
        ValueError, match="model=conv_ode needs images, and dataset=sphere has none"
    ) as caught:
        built(composed, "dataset=sphere")
    for remedy in ("dataset=mnist", "model=neural_ode", "model.image_shape=[1,1,20]"):
        assert remedy in str(caught.value)
    shaped = built(composed, "dataset=sphere", "model.image_shape=[1,4,5]", "model.patch=1")
    assert shaped.positions == (4, 5)


def test_scales_are_not_matched_by_another_models_limit(composed):
    with pytest.raises(ValueError, match=r"match=ntk .* not known for model=conv_ode"):
        built(composed, "dataset=digits", "match=ntk")
