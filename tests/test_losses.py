import pytest
import torch
import torch.nn.functional as F

from ntkode.losses import CrossEntropy, SquaredError, check_loss


@pytest.mark.parametrize("loss", [SquaredError(), CrossEntropy()])
def test_residual_is_minus_the_gradient(loss):
    torch.manual_seed(0)
    f = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    y = torch.eye(3, dtype=torch.float64)[[0, 2, 1, 1, 0]] - 1 / 3
    (gradient,) = torch.autograd.grad(loss(f, y), f)
    assert torch.allclose(loss.residual(f, y), -gradient)


def test_values_are_sums_over_samples():
    f, y = torch.zeros(4, 2), torch.eye(2)[[0, 1, 0, 1]]
    assert float(SquaredError()(f, y)) == pytest.approx(2.0)
    assert float(CrossEntropy()(f, y - 0.5)) == pytest.approx(float(4 * F.softplus(torch.tensor(0.0))))


def test_shapes_that_would_broadcast_are_refused():
    for call in (SquaredError(), SquaredError().residual):
        with pytest.raises(ValueError, match=r"\(5,\)"):
            call(torch.zeros(5, 1), torch.zeros(5))


def test_unsuitable_losses_are_refused_with_the_remedy():
    with pytest.raises(ValueError, match="loss=squared"):
        check_loss(CrossEntropy(), "regression", 1)
    with pytest.raises(ValueError, match="loss=squared"):
        check_loss(CrossEntropy(), "classification", 1)
    check_loss(SquaredError(), "regression", 1)
