import math

import pytest
import torch

from ntkode.ntk import eigenpairs, kernel_alignment, spectrum


def with_eigenvalues(values):
    values = torch.tensor(values, dtype=torch.float64)
    q, _ = torch.linalg.qr(
        torch.randn(len(values), len(values), generator=torch.Generator().manual_seed(0)).double()
    )
    return q @ torch.diag(values) @ q.T


def test_known_spectrum():
    result = spectrum(with_eigenvalues([1.0, 2.0, 5.0, 8.0]))
    assert result.lambda_min == pytest.approx(1.0)
    assert result.lambda_max == pytest.approx(8.0)
    assert result.condition_number == pytest.approx(8.0)
    shares = [v / 16 for v in (1, 2, 5, 8)]
    assert result.effective_rank == pytest.approx(math.exp(-sum(s * math.log(s) for s in shares)))
    assert result.resolution == pytest.approx(4 * 2**-52 * 8)
    assert not result.below_resolution


def test_effective_rank_of_identity_and_of_rank_one():
    assert spectrum(torch.eye(7).double()).effective_rank == pytest.approx(7)
    assert spectrum(torch.ones(7, 7).double()).effective_rank == pytest.approx(1, abs=1e-6)


def test_rank_deficient_kernel_is_below_resolution():
    result = spectrum(torch.ones(50, 50).double())
    assert result.below_resolution
    assert result.condition_number == pytest.approx(1 / (50 * 2**-52))


def test_float32_kernel_has_the_coarser_floor():
    kernel = with_eigenvalues([1e-6, 1.0, 2.0])
    assert not spectrum(kernel).below_resolution
    assert spectrum(kernel.float()).resolution == pytest.approx(3 * 2**-23 * 2, rel=1e-5)


@pytest.mark.parametrize(
    ("kernel", "named"),
    [
        (torch.zeros(3, 4), "square"),
        (torch.full((3, 3), math.nan), "NaN"),
        (torch.arange(9.0).reshape(3, 3), "symmetric"),
    ],
)
def test_bad_kernels_are_refused(kernel, named):
    with pytest.raises(ValueError, match=named):
        spectrum(kernel)


def test_alignment_against_the_definition():
    generator = torch.Generator().manual_seed(0)
    a, y = (torch.randn(6, k, generator=generator, dtype=torch.float64) for k in (4, 2))
    kernel = a @ a.T
    centring = torch.eye(6).double() - 1 / 6
    k, t = centring @ kernel @ centring, centring @ y @ y.T @ centring
    assert kernel_alignment(kernel, y) == pytest.approx(float((k * t).sum() / (k.norm() * t.norm())))
    assert kernel_alignment(y @ y.T, y) == pytest.approx(1)
    assert math.isnan(kernel_alignment(kernel, torch.ones(6, 1)))


def test_an_error_of_the_derivatives_raises_the_floor_by_its_square():
    kernel = with_eigenvalues([1e-9, 1.0, 2.0])
    assert not spectrum(kernel, jacobian_error=1e-5).below_resolution
    coarse = spectrum(kernel, jacobian_error=1e-4)
    assert coarse.resolution == pytest.approx((3 * 2**-52 + 1e-8) * 2)
    assert coarse.below_resolution
    assert coarse.condition_number == pytest.approx(1e8, rel=1e-6)


def test_lambda_min_of_a_singular_kernel_by_rounded_derivatives_is_below_resolution():
    generator = torch.Generator().manual_seed(0)
    jacobian = torch.randn(40, 20, generator=generator, dtype=torch.float64)  # 40 samples, rank 20
    error = 1e-6
    noise = torch.randn(40, 500, generator=generator, dtype=torch.float64)
    noise *= error * jacobian.norm() / noise.norm()
    rounded = torch.cat([jacobian, noise[:, 20:]], 1)
    rounded[:, :20] += noise[:, :20]
    result = spectrum(rounded @ rounded.T, jacobian_error=error)
    # Without the error of the derivatives, λ_min would be noise above the resolution.
    assert result.lambda_min > spectrum(rounded @ rounded.T).resolution
    assert result.below_resolution


def test_selected_eigenpairs():
    kernel = with_eigenvalues([1.0, 2.0, 5.0, 8.0])
    values, vectors = eigenpairs(kernel, 0, 1)
    assert values.tolist() == pytest.approx([1, 2])
    assert torch.allclose(kernel @ vectors, vectors * values, atol=1e-12)
    assert eigenpairs(kernel, -1, -1)[0].tolist() == pytest.approx([8])
    with pytest.raises(ValueError, match="0 … 4"):
        eigenpairs(kernel, 0, 4)
