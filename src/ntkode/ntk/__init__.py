"""Neural Tangent Kernels: empirical kernels, matrix-free products, spectra."""

from ntkode.ntk.empirical import empirical_ntk
from ntkode.ntk.operator import KernelOperator, SpectralMeasure, lanczos
from ntkode.ntk.recording import NotRecordableError
from ntkode.ntk.spectrum import NonFiniteKernelError, Spectrum, kernel_alignment, spectrum

__all__ = [
    "KernelOperator",
    "NonFiniteKernelError",
    "NotRecordableError",
    "SpectralMeasure",
    "Spectrum",
    "empirical_ntk",
    "kernel_alignment",
    "lanczos",
    "spectrum",
]
