"""The distance of a ResNet of depth L from the Neural ODE with the same weights."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from ntkode.checks import count
from ntkode.gradients import Objective, continuous_gradient, deviation, loss_gradient
from ntkode.integrate import Adjoint, Solver
from ntkode.losses import check_loss
from ntkode.models import NeuralODE, ResNet
from ntkode.ntk import REPRODUCIBLE_BYTES, measure_ntk, relative_distance
from ntkode.results import RunRecord, summarise
from ntkode.studies.base import Config, build
from ntkode.studies.preparation import (
    append_row,
    begin_measuring,
    build_model,
    paper_model,
    scales_summary,
)
from ntkode.tracking import Tracker

# A kernel of more steps costs minutes; for relu, 320 leave an error of 1e-5.
KERNEL_STEPS = 320


class DepthLimit:
    """`study=depth_limit`: one run is one depth L (`model=resnet model.depth=L`) and one seed.

    At initialisation, in float64, on the first training samples, it measures relative errors against the
    Neural ODE with the same weights, solved with small steps:

        output/relative_error         of the outputs f, in ‖·‖_F
        gradient/discrete_error       of the ResNet's exact gradient ∂L/∂θ (discretise, then optimise)
        gradient/adjoint_error        of the adjoint ODE's gradient, both solved by L Euler steps (optimise,
                                      then discretise)
        ntk/discrete_error            of the trace kernel (1/k) Σ_c Θ_cc, in ‖·‖_F
        gradient/reference_error      of the continuous gradient itself (an estimate)
        output/kink_flips             for φ with kinks: share of the entries of h(T), over units and samples,
                                      that lie on another side of a kink than the ODE's

    The expected rate of the first four is L^(−1) for smooth φ. With a kink, φ'(h(T)) jumps where h(T) changes
    sides. The share of such entries falls as L^(−1), and each changes its part of ∂f/∂h(T) completely. The
    gradient's error therefore has a further term, the root of that share, of order L^(−1/2). It dominates for
    large L, until none of the finitely many entries lies on another side.

    The loss is that of f, not of f − f₀: subtracting f₀ would remove the output's error from the residual.

    Args:
        probe_size: number of training samples for outputs and gradients; all if there are fewer.
        kernel_probe_size: number of training samples for the kernels; all if there are fewer.
        reference_steps: largest number of RK4 steps per unit of time in the reference solve, which doubles
            its steps (see `continuous_gradient`). Smooth φ need 40; φ with kinks use the largest number, with
            an error of order 2. The reference kernel uses as many steps, 320 at most.

    Raises:
        ValueError: an argument below 1, or too few reference steps.
    """

    def __init__(
        self, probe_size: int = 128, kernel_probe_size: int = 16, reference_steps: int = 640
    ) -> None:
        self.probe_size = count("study.probe_size", probe_size)
        self.kernel_probe_size = count("study.kernel_probe_size", kernel_probe_size)
        self.reference_steps = count("study.reference_steps", reference_steps, least=20)

    def run(self, config: Config, record: RunRecord, tracker: Tracker) -> None:
        """Measure at initialisation, and append one row.

        Raises:
            DataError: the data are not available as configured.
            ValueError: a model that is not a ResNet, a loss that does not suit the data, or a setting out of
                range.
            SolverFailure: the ODE could not be solved.
        """
        began = time.perf_counter()
        data, device = begin_measuring(config, record)
        network = _resnet(paper_model(build_model(config, data, device), config))
        loss = build(config["loss"])
        check_loss(loss, data.task, data.out_features)
        x, y = (part[: self.probe_size].to(device).double() for part in (data.train.x, data.train.y))
        objective = Objective(loss, x, y)
        record.set_phase("gradient of the fine solve")
        reference = continuous_gradient(network, objective, max_steps=self.reference_steps)
        ode = network.solved_by(Solver("rk4", steps=reference.steps))
        record.set_phase("errors of outputs and gradients")
        adjoint = network.solved_by(network.solver, Adjoint())
        values = {
            "output/relative_error": relative_distance(output(network, x), output(ode, x)),
            "gradient/discrete_error": deviation(
                loss_gradient(network, objective), reference.gradient
            ).relative_error,
            "gradient/adjoint_error": deviation(
                loss_gradient(adjoint, objective), reference.gradient
            ).relative_error,
            "gradient/reference_error": reference.error,
        }
        if network.activation.profile.kinks:
            values["output/kink_flips"] = kink_flips(network, ode, x)
        record.set_phase("kernels")
        fine = network.solved_by(Solver("rk4", steps=min(reference.steps, KERNEL_STEPS)))
        x = x[: self.kernel_probe_size]
        values["ntk/discrete_error"] = relative_distance(trace_kernel(network, x), trace_kernel(fine, x))
        append_row(record, tracker, 0, values)
        extra: dict[str, float] = {"reference_steps": reference.steps, **scales_summary(config, network)}
        extra["cost/run_seconds"] = time.perf_counter() - began
        record.write_summary(summarise(record.history()) | extra)


@torch.no_grad()
def output(model: NeuralODE, x: Tensor) -> Tensor:
    """The outputs f(x), shape (N, k), without gradient."""
    f: Tensor = model(x)
    return f


@torch.no_grad()
def kink_flips(network: NeuralODE, ode: NeuralODE, x: Tensor) -> float:
    """The share of entries of h(T) that lie on different sides of a kink of φ in the two models."""
    states = [model.flow(model.encode(x)) for model in (network, ode)]
    kinks = network.activation.profile.kinks
    return sum(float(((states[0] > kink) != (states[1] > kink)).double().mean()) for kink in kinks)


def trace_kernel(model: NeuralODE, x: Tensor) -> Tensor:
    """The trace kernel (1/k) Σ_c Θ_cc, shape (N, N).

    The method is fixed to "build": for a thousand calls of a narrow layer, computing each sample's gradient
    is cheaper than products of pairs of calls, and than a basis of the calls.
    """
    return measure_ntk(model, x, method="build", max_bytes=REPRODUCIBLE_BYTES).kernel


def _resnet(model: NeuralODE) -> ResNet:
    """The model in float64.

    Raises:
        ValueError: it is not a ResNet.
    """
    if isinstance(model, ResNet):
        return model.in_double()
    raise ValueError("study=depth_limit measures a ResNet: take model=resnet model.depth=20")
