"""Neural Tangent Kernels: empirical and infinite-width kernels, matrix-free products, spectra."""

from ntkode.ntk.distributed import distributed_ntk
from ntkode.ntk.dual_activations import dual_activation
from ntkode.ntk.empirical import MeasuredKernel, empirical_ntk, measure_ntk
from ntkode.ntk.engine import Report
from ntkode.ntk.infinite_width import BlowUpError, Kernels, RungeKutta, infinite_width_kernels
from ntkode.ntk.lanczos import SpectralMeasure, lanczos
from ntkode.ntk.matching import Match, MatchHidden, MatchNTK, Network, Scales, UnreachableTarget
from ntkode.ntk.network_limit import network_limit
from ntkode.ntk.operator import (
    AutogradOperator,
    FactoredOperator,
    KernelOperator,
    TraceEstimate,
    kernel_operator,
)
from ntkode.ntk.recording import NotRecordableError
from ntkode.ntk.spectrum import NonFiniteKernelError, Spectrum, eigenpairs, kernel_alignment, spectrum

__all__ = [
    "AutogradOperator",
    "BlowUpError",
    "FactoredOperator",
    "KernelOperator",
    "Kernels",
    "Match",
    "MatchHidden",
    "MatchNTK",
    "MeasuredKernel",
    "Network",
    "NonFiniteKernelError",
    "NotRecordableError",
    "Report",
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
    "measure_ntk",
    "network_limit",
    "spectrum",
]
