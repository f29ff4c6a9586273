"""Linearised training, decay rates of the loss, and the NNGP posterior."""

from ntkode.theory.linearised import LinearisedTraining
from ntkode.theory.nngp import Posterior, nngp_posterior
from ntkode.theory.rates import contraction_rate, decay_rate, predicted_losses, windows

__all__ = [
    "LinearisedTraining",
    "Posterior",
    "contraction_rate",
    "decay_rate",
    "nngp_posterior",
    "predicted_losses",
    "windows",
]
