"""The accuracy of the training gradient, and what explains it."""

from __future__ import annotations

import torch
from torchdiffeq import odeint

from ntkode.checks import count
from ntkode.gradients import decompose, gradient_error, loss_gradient, sufficient_reference
from ntkode.metrics.base import ProbeMetric, Values
from ntkode.training import TrainingModule


class ReferredMetric(ProbeMetric):
    """A metric against the gradient of the continuous flow.

    Args:
        probe_size: samples: the first of the training split.
        every: steps between measurements.
        max_steps: RK4 steps a unit of time at which the refinement of the reference ends.

    Raises:
        ValueError: one of them below 1, `max_steps` below 20.
    """

    def __init__(self, probe_size: int = 64, every: int | None = 50, max_steps: int = 160) -> None:
        super().__init__(probe_size, every)
        self.max_steps = count("a metric's max_steps", max_steps, least=20)


class GradientError(ReferredMetric):
    """The gradient as trained against float64 references, on the probe.

    `gradient/relative_error`, `gradient/relative_error/<parameter>` and `gradient/cosine` against the
    gradient of the continuous flow, known to `gradient/reference_error`;
    `gradient/relative_error/vs_discrete` against the exact derivative of the discrete solve.
    """

    def names(self, module: TrainingModule) -> set[str]:
        """All but the blocks."""
        measured = ("relative_error", "relative_error/vs_discrete", "cosine", "reference_error")
        return {f"gradient/{name}" for name in measured}

    def measure(self, module: TrainingModule) -> Values:
        """Four to five gradients of the probe's loss."""
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


class GradientDecomposition(ReferredMetric):
    """Where the gradient's error comes from: norms relative to the continuous gradient's, on the probe.

    `gradient/part/rounding`, `gradient/part/backward` and `gradient/part/forward` belong to three vectors
    that add up to the error (see `ntkode.gradients.Decomposition`), `gradient/part/otd_gap` to what lies
    between optimise-then-discretise and discretise-then-optimise; `…/<parameter>` for each parameter.
    """

    def names(self, module: TrainingModule) -> set[str]:
        """All but the blocks."""
        return {f"gradient/part/{part}" for part in ("rounding", "backward", "forward", "otd_gap")}

    def measure(self, module: TrainingModule) -> Values:
        """Some ten gradients of the probe's loss."""
        objective = module.probe(self.probe_size)
        own = loss_gradient(module.model, objective)
        reference = sufficient_reference(module.model, objective, own, max_steps=self.max_steps)
        values = {}
        for name, part in vars(decompose(module.model, objective, reference)).items():
            values[f"gradient/part/{name}"] = part.relative
            values |= {f"gradient/part/{name}/{block}": value for block, value in part.blocks.items()}
        return values


class ReverseDrift(ProbeMetric):
    """`gradient/reverse_drift` = ‖h̃(0) − h(0)‖ / ‖h(0)‖, h̃ being h(T) integrated backwards.

    Applies to gradient methods that rebuild the state backwards: how far they stray from it.
    """

    def applies(self, module: TrainingModule) -> bool:
        """Adjoint methods only."""
        return module.model.gradient.reversing(module.model.solver) is not None

    def names(self, module: TrainingModule) -> set[str]:
        """The one."""
        return {"gradient/reverse_drift"}

    @torch.no_grad()
    def measure(self, module: TrainingModule) -> Values:
        """Forward, and back again by the solver of the backward pass."""
        model = module.model
        solver = model.gradient.reversing(model.solver) or model.solver
        start = model.encode(module.probe(self.probe_size).x)
        back = solver.integrate(odeint, model.vector_field, model.flow(start), -model.horizon)
        return {"gradient/reverse_drift": float((back - start).norm() / start.norm())}


class KinkCrossings(ProbeMetric):
    """`gradient/kink_crossings`: how often a preactivation crosses a kink of φ, per unit and sample.

    Counted between the grid points of a fixed-step solve. Applies to φ whose derivative jumps.
    """

    def applies(self, module: TrainingModule) -> bool:
        """Activations with kinks only."""
        return bool(module.model.activation.profile.kinks)

    def names(self, module: TrainingModule) -> set[str]:
        """The one."""
        return {"gradient/kink_crossings"}

    @torch.no_grad()
    def measure(self, module: TrainingModule) -> Values:
        """Sign changes of (preactivation − kink) along the probe's trajectories."""
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
