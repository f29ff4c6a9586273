"""The Neural ODE's discrete twin: a residual network with shared weights."""

from __future__ import annotations

from ntkode.activations import Activation
from ntkode.checks import count
from ntkode.integrate import Backprop, Solver
from ntkode.models.neural_ode import NeuralODE


class ResNet(NeuralODE):
    """h_{l+1} = h_l + T/L · σ_w/√n · W φ(h_l), l = 0, …, L−1: `NeuralODE` by forward Euler with L steps.

    Parameters, state dict and arguments are those of `NeuralODE`; `depth` = L replaces `solver`
    and `gradient`, because a finite network has one exact gradient.

    Raises:
        ValueError: as `NeuralODE`, or the depth is below 1.

    Example:
        >>> import torch
        >>> from ntkode.integrate import Solver
        >>> network = ResNet(3, 64, depth=8, activation="tanh").double()
        >>> flow = NeuralODE(3, 64, activation="tanh", solver=Solver("euler", steps=8)).double()
        >>> _ = flow.load_state_dict(network.state_dict())
        >>> x = torch.ones(5, 3, dtype=torch.float64)
        >>> torch.allclose(network(x), flow(x))
        True
    """

    def __init__(
        self,
        in_features: int,
        width: int,
        out_features: int = 1,
        *,
        depth: int,
        activation: Activation | str,
        horizon: float = 1.0,
        sigma_u: float = 1.0,
        sigma_w: float = 1.0,
        sigma_v: float = 1.0,
        subtract_initial_output: bool = False,
    ) -> None:
        super().__init__(
            in_features,
            width,
            out_features,
            activation=activation,
            horizon=horizon,
            sigma_u=sigma_u,
            sigma_w=sigma_w,
            sigma_v=sigma_v,
            solver=Solver("euler", steps=count("model.depth", depth)),
            gradient=Backprop(),
            subtract_initial_output=subtract_initial_output,
        )
        self.depth = depth
