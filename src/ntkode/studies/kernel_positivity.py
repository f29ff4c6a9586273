"""For which data and activations the Neural Tangent Kernel is positive definite."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from ntkode.checks import positive
from ntkode.ntk import REPRODUCIBLE_BYTES, infinite_width_kernels, measure_ntk, spectrum
from ntkode.results import RunRecord, summarise
from ntkode.studies.base import Config
from ntkode.studies.preparation import (
    append_row,
    begin_measuring,
    build_model,
    paper_model,
    scales_summary,
)
from ntkode.tracking import Tracker


class KernelPositivity:
    """`study=kernel_positivity`: one run is one activation, one set of N = `n_train` inputs, one seed.

    It measures, on all training inputs in float64,

        ntk/limit_lambda_min, ntk/limit_lambda_max, ntk/limit_rank     of Θ_∞, the limit for the exact flow
        nngp/limit_lambda_min, nngp/limit_lambda_max, nngp/limit_rank  of the NNGP kernel for the exact flow
        ntk/lambda_min, ntk/lambda_max, ntk/rank                       of Θ_n, the trace kernel (1/k) Σ_c Θ_cc

    and for each the resolution (`ntk/limit_resolution`, `nngp/limit_resolution`, `ntk/resolution`). The ranks
    count the eigenvalues above it. A λ_min not above it is unresolved: it may be zero or positive.

    The resolution of a limit is λ_max N ε + N e, with e the estimated largest error of an entry: a symmetric
    error matrix with entries up to e moves no eigenvalue by more than N e.

    Args:
        tolerance: of the limits' entries (see `infinite_width_kernels`).

    Raises:
        ValueError: a tolerance that is not positive.
    """

    def __init__(self, tolerance: float = 1e-9) -> None:
        self.tolerance = positive("study.tolerance", tolerance)

    def run(self, config: Config, record: RunRecord, tracker: Tracker) -> None:
        """Measure at initialisation, and append one row.

        Raises:
            DataError: the data are not available as configured.
            ValueError: a model without the paper's parameterisation, or a setting out of range.
            BlowUpError: the limit is infinite before the horizon.
            SolverFailure: the ODE could not be solved.
        """
        began = time.perf_counter()
        data, device = begin_measuring(config, record)
        model = paper_model(build_model(config, data, device), config).in_double()
        x = data.train.x.to(device).double()
        record.set_phase("infinite-width limit")
        limit = infinite_width_kernels(
            x,
            activation=model.activation,
            horizon=model.horizon,
            sigma_u=model.sigma_u,
            sigma_w=model.sigma_w,
            sigma_v=model.sigma_v,
            tolerance=self.tolerance,
            max_bytes=REPRODUCIBLE_BYTES,
        )
        # The limit's error is relative to the NTK's diagonal if that exceeds one.
        error = limit.error * max(1.0, float(limit.ntk.diag().max()))
        values = {
            **positivity("ntk/limit_", limit.ntk, entry_error=error),
            **positivity("nngp/limit_", limit.nngp, entry_error=error),
        }
        record.set_phase("kernel of the network")
        measured = measure_ntk(model, x, max_bytes=REPRODUCIBLE_BYTES)
        values |= positivity("ntk/", measured.kernel, jacobian_error=measured.report.jacobian_error)
        append_row(record, tracker, 0, values)
        extra: dict[str, float] = {"inputs": len(x), "features": data.in_features}
        extra |= scales_summary(config, model) | {"cost/run_seconds": time.perf_counter() - began}
        record.write_summary(summarise(record.history()) | extra)


def positivity(
    prefix: str, kernel: Tensor, *, entry_error: float = 0.0, jacobian_error: float = 0.0
) -> dict[str, float]:
    """λ_min, λ_max, the resolution of λ_min, and how many eigenvalues lie above it.

    Args:
        prefix: prefix of the names in the result.
        kernel: shape (N, N).
        entry_error: largest absolute error of the kernel's entries.
        jacobian_error: see `spectrum`.

    Returns:
        `<prefix>lambda_min`, `<prefix>lambda_max`, `<prefix>resolution` and `<prefix>rank`.
    """
    eigen = spectrum(kernel, jacobian_error=jacobian_error)
    resolution = eigen.resolution + len(kernel) * entry_error
    eigenvalues = torch.linalg.eigvalsh((kernel + kernel.T) / 2)
    return {
        f"{prefix}lambda_min": eigen.lambda_min,
        f"{prefix}lambda_max": eigen.lambda_max,
        f"{prefix}resolution": resolution,
        f"{prefix}rank": float((eigenvalues > resolution).sum()),
    }
