"""Neural Tangent Kernels: empirical and infinite-width kernels, matrix-free products, spectra."""

from ntkode.ntk.empirical.distributed import distributed_ntk, measure_distributed_ntk
from ntkode.ntk.empirical.engine import KernelReport
from ntkode.ntk.empirical.kernel import MeasuredKernel, empirical_ntk, measure_ntk
from ntkode.ntk.empirical.operator import (
    AutogradOperator,
    FactoredOperator,
    KernelOperator,
    TraceEstimate,
    kernel_operator,
)
from ntkode.ntk.empirical.precision import REPRODUCIBLE_BYTES
from ntkode.ntk.empirical.recording import NotRecordableError
from ntkode.ntk.infinite_width.duals.dispatch import dual_activation, slow_dual
from ntkode.ntk.infinite_width.kernels import BlowUpError, Kernels, RungeKutta, infinite_width_kernels
from ntkode.ntk.infinite_width.matching import (
    Match,
    MatchHidden,
    MatchHorizon,
    MatchNTK,
    Network,
    Scales,
    UnreachableTarget,
)
from ntkode.ntk.infinite_width.network_limit import network_limit
from ntkode.ntk.lanczos import SpectralMeasure, lanczos
from ntkode.ntk.spectrum import (
    NonFiniteKernelError,
    Spectrum,
    eigenpairs,
    kernel_alignment,
    relative_distance,
    spectrum,
)

__all__ = [
    "REPRODUCIBLE_BYTES",
    "AutogradOperator",
    "BlowUpError",
    "FactoredOperator",
    "KernelOperator",
    "KernelReport",
    "Kernels",
    "Match",
    "MatchHidden",
    "MatchHorizon",
    "MatchNTK",
    "MeasuredKernel",
    "Network",
    "NonFiniteKernelError",
    "NotRecordableError",
    "RungeKutta",
    "Scales",
    "SpectralMeasure",
    "Spectrum",
    "TraceEstimate",
    "UnreachableTarget",
    "distributed_ntk",
    "dual_activation",
    "eigenpairs",
    "empirical_ntk",
    "infinite_width_kernels",
    "kernel_alignment",
    "kernel_operator",
    "lanczos",
    "measure_distributed_ntk",
    "measure_ntk",
    "network_limit",
    "relative_distance",
    "slow_dual",
    "spectrum",
]
