"""Neural Tangent Kernels: empirical kernels, matrix-free products, spectra."""

from ntkode.ntk.empirical import MeasuredKernel, Report, empirical_ntk, measure_ntk
from ntkode.ntk.operator import KernelOperator, SpectralMeasure, lanczos
from ntkode.ntk.recording import NotRecordableError
from ntkode.ntk.spectrum import NonFiniteKernelError, Spectrum, kernel_alignment, spectrum

__all__ = [
    "KernelOperator",
    "MeasuredKernel",
    "NonFiniteKernelError",
    "NotRecordableError",
    "Report",
    "SpectralMeasure",
    "Spectrum",
    "empirical_ntk",
    "kernel_alignment",
    "lanczos",
    "measure_ntk",
    "spectrum",
]
