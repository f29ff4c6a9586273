"""Error of the training gradient, its parts, and its causes."""

from __future__ import annotations

import torch
from torchdiffeq import odeint

from ntkode.checks import count
from ntkode.gradients import decompose, gradient_error, loss_gradient, sufficient_reference
from ntkode.metrics.base import ProbeMetric, Values
from ntkode.training import TrainingModule


class ReferenceMetric(ProbeMetric):
    """A metric that compares with the gradient of the continuous flow.

    Args:
        probe_size: number of samples, the first ones of the training split.
        every: steps between measurements.
        max_steps: RK4 steps per unit of time at which the refinement of the reference ends.

    Raises:
        ValueError: `probe_size` or `every` is below 1, or `max_steps` below 20.
    """

    def __init__(self, probe_size: int = 64, every: int | None = 50, max_steps: int = 160) -> None:
        super().__init__(probe_size, every)
        self.max_steps = count("a metric's max_steps", max_steps, least=20)


class GradientError(ReferenceMetric):
    """The gradient as trained against float64 references, on the probe.

    `gradient/relative_error` = ‖g − g*‖/‖g*‖, `gradient/relative_error/<parameter>` and `gradient/cosine`
    compare the gradient g with the gradient g* of the continuous flow, whose relative error is
    `gradient/reference_error`. `gradient/relative_error/vs_discrete` compares g with the exact derivative of
    the discrete solve.
    """

    def names(self, module: TrainingModule) -> set[str]:
        """All names but those of single parameters."""
        measured = ("relative_error", "relative_error/vs_discrete", "cosine", "reference_error")
        return {f"gradient/{name}" for name in measured}

    def measure(self, module: TrainingModule) -> Values:
        """Compute four to five gradients of the probe's loss."""
        probe = module.probe(self.probe_size)
        errors = gradient_error(
            module.model, probe.x, probe.y, loss=probe.loss, offset=probe.offset, max_steps=self.max_steps
        )
        blocks = errors.continuous.blocks.items()
        return {
            "gradient/relative_error": errors.continuous.relative_error,
            "gradient/relative_error/vs_discrete": errors.discrete.relative_error,
            "gradient/cosine": errors.continuous.cosine,
            "gradient/reference_error": errors.reference_error,
        } | {f"gradient/relative_error/{name}": value for name, value in blocks}


class GradientDecomposition(ReferenceMetric):
    """Parts of the gradient's error on the probe, as norms relative to the norm of the continuous gradient.

    `gradient/part/rounding`, `gradient/part/backward` and `gradient/part/forward` are the norms of three
    vectors that sum to the error (see `ntkode.gradients.Decomposition`). `gradient/part/otd_gap` is the
    difference between optimise-then-discretise and discretise-then-optimise. Each has a value per parameter,
    `…/<parameter>`.
    """

    def names(self, module: TrainingModule) -> set[str]:
        """All names but those of single parameters."""
        return {f"gradient/part/{part}" for part in ("rounding", "backward", "forward", "otd_gap")}

    def measure(self, module: TrainingModule) -> Values:
        """Compute about ten gradients of the probe's loss."""
        objective = module.probe(self.probe_size)
        gradient = loss_gradient(module.model, objective)
        reference = sufficient_reference(module.model, objective, gradient, max_steps=self.max_steps)
        values = {}
        for name, part in vars(decompose(module.model, objective, reference)).items():
            values[f"gradient/part/{name}"] = part.relative
            values |= {f"gradient/part/{name}/{block}": value for block, value in part.blocks.items()}
        return values


class ReverseDrift(ProbeMetric):
    """`gradient/reverse_drift` = ‖h̃(0) − h(0)‖ / ‖h(0)‖, h̃ being h(T) integrated backwards.

    Applies to gradient methods that reconstruct the state backwards; measures the error of this
    reconstruction.
    """

    def applies(self, module: TrainingModule) -> bool:
        """Whether the gradient method integrates the state backwards."""
        return module.model.gradient.reversing(module.model.solver) is not None

    def names(self, module: TrainingModule) -> set[str]:
        """The only logged name, `gradient/reverse_drift`."""
        return {"gradient/reverse_drift"}

    @torch.no_grad()
    def measure(self, module: TrainingModule) -> Values:
        """Solve the probe forwards, then backwards with the solver of the backward pass."""
        model = module.model
        solver = model.gradient.reversing(model.solver) or model.solver
        start = model.encode(module.probe(self.probe_size).x)
        back = solver.integrate(odeint, model.vector_field, model.flow(start), -model.horizon)
        return {"gradient/reverse_drift": float((back - start).norm() / start.norm())}


class KinkCrossings(ProbeMetric):
    """`gradient/kink_crossings`: number of crossings of a kink of φ by a preactivation, per unit and sample.

    Counted between the grid points of a fixed-step solve. Applies to φ whose derivative jumps.
    """

    def applies(self, module: TrainingModule) -> bool:
        """Whether the activation has kinks."""
        return bool(module.model.activation.profile.kinks)

    def names(self, module: TrainingModule) -> set[str]:
        """The only logged name, `gradient/kink_crossings`."""
        return {"gradient/kink_crossings"}

    @torch.no_grad()
    def measure(self, module: TrainingModule) -> Values:
        """Count sign changes of (preactivation − kink) along the probe's trajectories."""
        model, start = module.model, module.model.encode(module.probe(self.probe_size).x)
        solver = model.solver.fixed_twin(model.scaled_horizon)
        states = solver.trajectory(model.vector_field, start, model.horizon)
        times = torch.linspace(0.0, model.horizon, len(states), device=start.device)
        inputs = torch.stack([model.preactivations(t, h) for t, h in zip(times, states, strict=True)])
        crossings = sum(
            ((inputs[1:] > kink) != (inputs[:-1] > kink)).sum().item()
            for kink in model.activation.profile.kinks
        )
        return {"gradient/kink_crossings": crossings / inputs[0].numel()}
