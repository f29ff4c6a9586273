"""Neural Tangent Kernels: empirical kernels, matrix-free products, spectra, infinite-width limits."""

from ntkode.ntk.dual_activations import dual_activation
from ntkode.ntk.empirical import empirical_ntk
from ntkode.ntk.infinite_width import BlowUpError, Kernels, RungeKutta, infinite_width_kernels
from ntkode.ntk.operator import KernelOperator, SpectralMeasure, lanczos
from ntkode.ntk.recording import NotRecordableError
from ntkode.ntk.spectrum import NonFiniteKernelError, Spectrum, kernel_alignment, spectrum

__all__ = [
    "BlowUpError",
    "KernelOperator",
    "Kernels",
    "NonFiniteKernelError",
    "NotRecordableError",
    "RungeKutta",
    "SpectralMeasure",
    "Spectrum",
    "dual_activation",
    "empirical_ntk",
    "infinite_width_kernels",
    "kernel_alignment",
    "lanczos",
    "spectrum",
]
