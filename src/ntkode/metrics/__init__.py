"""Metrics of a training run, as Lightning callbacks: one class a quantity or a group of quantities."""

from ntkode.metrics.base import LossMetric, Metric, ProbeMetric
from ntkode.metrics.cost import Cost
from ntkode.metrics.evaluation import OutputVariance, TestEvaluation
from ntkode.metrics.exact_loss import ExactLoss
from ntkode.metrics.gradient import GradientDecomposition, GradientError, KinkCrossings, ReverseDrift
from ntkode.metrics.gradient_cost import GradientCost
from ntkode.metrics.limit import LimitDistance, LimitPrediction
from ntkode.metrics.loss_decay import DecayRate, LocalRate, LossPrediction
from ntkode.metrics.ntk import GuaranteedRate, NTKSpectrum
from ntkode.metrics.parameters import ParameterDistance

__all__ = [
    "Cost",
    "DecayRate",
    "ExactLoss",
    "GradientCost",
    "GradientDecomposition",
    "GradientError",
    "GuaranteedRate",
    "KinkCrossings",
    "LimitDistance",
    "LimitPrediction",
    "LocalRate",
    "LossMetric",
    "LossPrediction",
    "Metric",
    "NTKSpectrum",
    "OutputVariance",
    "ParameterDistance",
    "ProbeMetric",
    "ReverseDrift",
    "TestEvaluation",
]
