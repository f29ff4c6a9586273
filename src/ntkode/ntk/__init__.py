"""Neural Tangent Kernels: empirical kernels, matrix-free products, spectra."""

from ntkode.ntk.distributed import distributed_ntk
from ntkode.ntk.empirical import MeasuredKernel, empirical_ntk, measure_ntk
from ntkode.ntk.engine import Report
from ntkode.ntk.lanczos import SpectralMeasure, lanczos
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
    "FactoredOperator",
    "KernelOperator",
    "MeasuredKernel",
    "NonFiniteKernelError",
    "NotRecordableError",
    "Report",
    "SpectralMeasure",
    "Spectrum",
    "TraceEstimate",
    "distributed_ntk",
    "eigenpairs",
    "empirical_ntk",
    "kernel_alignment",
    "kernel_operator",
    "lanczos",
    "measure_ntk",
    "spectrum",
]
