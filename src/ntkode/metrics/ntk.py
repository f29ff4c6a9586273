"""The NTK on a fixed probe of training samples: spectrum, drift, alignment with the targets."""

from __future__ import annotations

from dataclasses import asdict

import torch

from ntkode.metrics.base import Metric, ProbeMetric, Values
from ntkode.metrics.shared_kernel import shared_kernel
from ntkode.ntk import REPRODUCIBLE_BYTES, kernel_alignment, relative_distance
from ntkode.theory import contraction_rate
from ntkode.training import TrainingModule


class NTKSpectrum(ProbeMetric):
    """Spectrum of the trace kernel (1/k) Σ_c Θ_cc on the probe, and its change.

    The solve runs in the model's dtype, the rest in float64. Logged: `ntk/lambda_min`, `ntk/lambda_max`,
    `ntk/condition_number`, `ntk/effective_rank` (exponential of the entropy of the normalised eigenvalues),
    `ntk/resolution` (N·ε·λ_max: below it λ_min is rounding noise), `ntk/trace`,
    `ntk/drift` = ‖Θ_k − Θ₀‖_F / ‖Θ₀‖_F, and `ntk/alignment` (centred kernel–target alignment).
    """

    collective = True

    def names(self, module: TrainingModule) -> set[str]:
        """The spectrum's values, trace, drift and alignment."""
        measured = ("lambda_min", "lambda_max", "condition_number", "effective_rank", "resolution")
        return {f"ntk/{name}" for name in (*measured, "trace", "drift", "alignment")}

    def prepare(self, module: TrainingModule) -> None:
        """Discard the initial kernel of an earlier training."""
        self._initial: torch.Tensor | None = None

    def measure(self, module: TrainingModule) -> Values:
        """Compute the kernel on the probe and its eigenvalues."""
        probe = module.probe(self.probe_size)
        measured = shared_kernel(module.model, probe.x)
        kernel = measured.kernel
        values = measured.spectrum
        if self._initial is None:
            self._initial = kernel
        return {f"ntk/{name}": value for name, value in asdict(values).items()} | {
            "ntk/trace": float(kernel.trace()),
            "ntk/drift": relative_distance(kernel, self._initial),
            "ntk/alignment": kernel_alignment(kernel, probe.y),
        }


class GuaranteedRate(Metric):
    """`loss/guaranteed_rate` = −2 log(1 − ηλ_min), λ_min of the full kernel of the whole training set.

    The theory's lower bound on the decay of log L per step if the kernel stays constant. It is measured once,
    at θ₀, and logged again at the end. If |1 − ηλ_max| > |1 − ηλ_min|, the rate uses λ_max instead. A
    negative rate guarantees nothing.

    Args:
        max_rows: largest N·k at which the metric applies (it forms the full Nk×Nk kernel).
    """

    collective = True

    def __init__(self, max_rows: int = 2048) -> None:
        super().__init__(every=None)
        self.max_rows = max_rows

    def applies(self, module: TrainingModule) -> bool:
        """Whether the run is gradient descent on the squared error and the full kernel fits."""
        rows = module.data.train.y.numel()
        # Memory of two float64 kernels: the kernel, and a copy while its rows are reordered.
        fits = rows <= self.max_rows and 2 * 8 * rows**2 < REPRODUCIBLE_BYTES
        return module.descends_gradient and fits

    def names(self, module: TrainingModule) -> set[str]:
        """The only logged name, `loss/guaranteed_rate`."""
        return {"loss/guaranteed_rate"}

    def prepare(self, module: TrainingModule) -> None:
        """Compute the rate from the full kernel at θ₀."""
        x = module.split("train").x
        measured = shared_kernel(module.model, x, outputs="full")
        values = measured.spectrum
        # A λ_min below the resolution may be zero.
        bound = 0.0 if values.below_resolution else values.lambda_min
        rates = (contraction_rate(module.learning_rate, v) for v in (bound, values.lambda_max))
        self._rate = min(rates)

    def measure(self, module: TrainingModule) -> Values:
        """The rate computed at θ₀."""
        return {"loss/guaranteed_rate": self._rate}
