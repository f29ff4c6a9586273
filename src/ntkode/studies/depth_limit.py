"""How far a ResNet of depth L is from the Neural ODE with the same weights."""

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
    scales_told,
)
from ntkode.tracking import Tracker

# A kernel of more steps costs minutes; for relu, 320 leave an error of 1e-5.
KERNEL_STEPS = 320


class DepthLimit:
    """`study=depth_limit`: one cell is one depth L (`model=resnet model.depth=L`) and one seed.

    At initialisation, in float64 on the first training samples, against the Neural ODE with the same
    weights, solved finely, it measures the relative errors

        output/relative_error         of the outputs f, in ‖·‖_F
        gradient/discrete_error       of the ResNet's exact gradient ∂L/∂θ (discretise, then optimise)
        gradient/adjoint_error        of the adjoint ODE's gradient, both solved by L Euler steps (optimise,
                                      then discretise)
        ntk/discrete_error            of the trace kernel (1/k) Σ_c Θ_cc, in ‖·‖_F
        gradient/reference_error      estimated, of the continuous gradient itself
        output/kink_flips             for φ with kinks: the share of units and samples whose h(T) lies on
                                      another side of a kink than the ODE's

    The expected rate of the first four is L^(−1) for smooth φ. With a kink, φ'(h(T)) jumps where h(T) changes
    sides. The share of such entries falls as L^(−1), and each changes its part of ∂f/∂h(T) altogether: the
    gradient's error has a further term, the root of that share, of order L^(−1/2), which takes over as L
    grows and ends where the last of the finitely many entries has changed back.

    The loss is that of f, not of f − f₀: the constant f₀ would hide what the output's error does to the
    residual.

    Args:
        probe_size: training samples for outputs and gradients, or all where there are fewer.
        kernel_probe_size: the same for the kernels.
        reference_steps: RK4 steps a unit of time at which the fine solve stops doubling its steps (see
            `continuous_gradient`). Smooth φ need 40; φ with kinks go to the end, with an error of order 2.
            The fine kernel takes as many, and 320 at most.

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
        """Measure; one row.

        Raises:
            DataError: the data cannot be had as asked.
            ValueError: another model than a ResNet, a loss that does not suit the data, or a setting out of
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
        told: dict[str, float] = {"reference_steps": reference.steps, **scales_told(config, network)}
        told["cost/run_seconds"] = time.perf_counter() - began
        record.write_summary(summarise(record.history()) | told)


@torch.no_grad()
def output(model: NeuralODE, x: Tensor) -> Tensor:
    """f(x), shape (N, k)."""
    f: Tensor = model(x)
    return f


@torch.no_grad()
def kink_flips(network: NeuralODE, ode: NeuralODE, x: Tensor) -> float:
    """The share of entries of h(T) that lie on different sides of a kink of φ in the two models."""
    states = [model.flow(model.encode(x)) for model in (network, ode)]
    kinks = network.activation.profile.kinks
    return sum(float(((states[0] > kink) != (states[1] > kink)).double().mean()) for kink in kinks)


def trace_kernel(model: NeuralODE, x: Tensor) -> Tensor:
    """(1/k) Σ_c Θ_cc, shape (N, N), of all calls as they are.

    The method is fixed: with a thousand calls of a narrow layer, building a sample's gradient is cheaper than
    pairs of calls, or than looking for a basis of the calls.
    """
    return measure_ntk(model, x, method="build", max_bytes=REPRODUCIBLE_BYTES).kernel


def _resnet(model: NeuralODE) -> ResNet:
    """The model in float64, if it is a ResNet."""
    if isinstance(model, ResNet):
        return model.in_double()
    raise ValueError("study=depth_limit measures a ResNet: take model=resnet model.depth=20")
