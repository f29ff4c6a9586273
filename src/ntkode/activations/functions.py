"""The registered activations: one function each, with a closed form of φ' where it is faster than autograd.

φ is called on large matrices thousands of times, so torch's fused kernels are used if they can be
differentiated at least three times. To add one, write a function here under `@register` and a file
``conf/activation/<name>.yaml``; a function elsewhere needs only a YAML (`ntkode.activations.from_callable`).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ntkode.activations.registry import Positive, derivative_of, register


@register
def identity(x: Tensor) -> Tensor:
    """Identity, φ(x) = x; polynomial of degree 1."""
    return x


@derivative_of(identity)
def identity_derivative(x: Tensor) -> Tensor:
    """Derivative of `identity`, φ'(x) = 1."""
    return torch.ones_like(x)


@register
def relu(x: Tensor) -> Tensor:
    """Rectifier, φ(x) = max(x, 0); φ' jumps at 0."""
    return torch.relu(x)


@register
def leaky_relu(x: Tensor, *, negative_slope: float = 0.01) -> Tensor:
    """φ(x) = x for x > 0, else negative_slope · x."""
    return F.leaky_relu(x, negative_slope)


@register
def relu6(x: Tensor) -> Tensor:
    """φ(x) = min(max(x, 0), 6)."""
    return F.relu6(x)


@register
def relu_squared(x: Tensor) -> Tensor:
    """φ(x) = max(x, 0)² (So et al., Primer, 2021)."""
    return torch.relu(x).square()


@derivative_of(relu_squared)
def relu_squared_derivative(x: Tensor) -> Tensor:
    """φ'(x) = 2 max(x, 0)."""
    return 2 * torch.relu(x)


@register
def elu(x: Tensor, *, alpha: Positive = 1.0) -> Tensor:
    """φ(x) = x for x > 0, else alpha · (eˣ − 1) (Clevert et al., 2015)."""
    return F.elu(x, alpha)


@register
def celu(x: Tensor, *, alpha: Positive = 1.0) -> Tensor:
    """φ(x) = max(x, 0) + min(alpha · (e^{x/alpha} − 1), 0): C¹ for every alpha (Barron, 2017)."""
    return F.celu(x, alpha)


@register
def selu(x: Tensor) -> Tensor:
    """φ(x) = λ · elu(x, alpha=α), λ ≈ 1.0507, α ≈ 1.6733 (Klambauer et al., 2017)."""
    return F.selu(x)


@register
def softplus(x: Tensor, *, beta: Positive = 1.0) -> Tensor:
    """φ(x) = log(1 + e^{beta·x}) / beta; relu is its limit for large beta."""
    # torch is linear beyond beta·x = threshold; its default of 20 has an error of e⁻²⁰ = 2e-9 there.
    return F.softplus(x, beta, threshold=40.0)


@derivative_of(softplus)
def softplus_derivative(x: Tensor, *, beta: Positive = 1.0) -> Tensor:
    """φ'(x) = sigmoid(beta · x)."""
    return torch.sigmoid(x if beta == 1.0 else beta * x)


@register
def squareplus(x: Tensor, *, b: Positive = 4.0) -> Tensor:
    """φ(x) = (x + √(x² + b)) / 2; b = 4 gives softplus' curvature at 0 (Barron, 2021)."""
    return (x + torch.sqrt(x * x + b)) / 2


@derivative_of(squareplus)
def squareplus_derivative(x: Tensor, *, b: Positive = 4.0) -> Tensor:
    """φ'(x) = (1 + x / √(x² + b)) / 2."""
    return (1 + x * torch.rsqrt(x * x + b)) / 2


@register
def gelu(x: Tensor) -> Tensor:
    """φ(x) = x · P(Z ≤ x) = x/2 · (1 + erf(x/√2)), exact (Hendrycks & Gimpel, 2016)."""
    return F.gelu(x)


@register
def gelu_tanh(x: Tensor) -> Tensor:
    """φ(x) = x/2 · (1 + tanh(√(2/π) · (x + 0.044715 x³))), the common approximation of gelu."""
    return F.gelu(x, approximate="tanh")  # from |x| = 39 on, torch's third derivative is NaN instead of 0


@register
def silu(x: Tensor) -> Tensor:
    """φ(x) = x · sigmoid(x), also called swish."""
    return F.silu(x)


@derivative_of(silu)
def silu_derivative(x: Tensor) -> Tensor:
    """φ'(x) = s · (1 + x · (1 − s)), s = sigmoid(x)."""
    s = torch.sigmoid(x)
    return s * (1 + x * (1 - s))


@register
def mish(x: Tensor) -> Tensor:
    """φ(x) = x · tanh(log(1 + eˣ)) (Misra, 2019)."""
    # The second derivative of torch's mish is NaN for x > 88 in float32; this is also faster.
    return x * torch.tanh(F.softplus(x, threshold=40.0))


@derivative_of(mish)
def mish_derivative(x: Tensor) -> Tensor:
    """φ'(x) = t + x · sigmoid(x) · (1 − t²), t = tanh(log(1 + eˣ))."""
    t = torch.tanh(F.softplus(x, threshold=40.0))
    return t + x * torch.sigmoid(x) * (1 - t.square())


@register
def tanh(x: Tensor) -> Tensor:
    """Hyperbolic tangent, φ(x) = tanh x."""
    return torch.tanh(x)


@derivative_of(tanh)
def tanh_derivative(x: Tensor) -> Tensor:
    """φ'(x) = 1 − tanh² x."""
    return 1 - torch.tanh(x).square()


@register
def sigmoid(x: Tensor) -> Tensor:
    """φ(x) = 1 / (1 + e⁻ˣ)."""
    return torch.sigmoid(x)


@register
def erf(x: Tensor) -> Tensor:
    """φ(x) = 2/√π · ∫₀ˣ e^{−t²} dt."""
    return torch.erf(x)


@derivative_of(erf)
def erf_derivative(x: Tensor) -> Tensor:
    """φ'(x) = 2/√π · e^{−x²}."""
    return torch.exp(-x * x) * (2 / math.sqrt(math.pi))


@register
def softsign(x: Tensor) -> Tensor:
    """φ(x) = x / (1 + |x|): C¹ only, φ'' jumps at 0."""
    return x / (1 + _absolute(x))


@derivative_of(softsign)
def softsign_derivative(x: Tensor) -> Tensor:
    """φ'(x) = 1 / (1 + |x|)²."""
    return (1 + _absolute(x)).pow(-2)


@register
def hardtanh(x: Tensor) -> Tensor:
    """φ(x) = min(max(x, −1), 1)."""
    return F.hardtanh(x)


@register
def hard_sigmoid(x: Tensor) -> Tensor:
    """φ(x) = min(max(x/6 + 1/2, 0), 1)."""
    return F.relu6(x + 3) / 6  # torch's hardsigmoid cannot be differentiated twice


@register
def sin(x: Tensor) -> Tensor:
    """Sine, φ(x) = sin x; odd."""
    return torch.sin(x)


@derivative_of(sin)
def sin_derivative(x: Tensor) -> Tensor:
    """Derivative of `sin`, φ'(x) = cos x."""
    return torch.cos(x)


@register
def cos(x: Tensor) -> Tensor:
    """Cosine, φ(x) = cos x; even."""
    return torch.cos(x)


@derivative_of(cos)
def cos_derivative(x: Tensor) -> Tensor:
    """Derivative of `cos`, φ'(x) = −sin x."""
    return -torch.sin(x)


@register
def gaussian(x: Tensor) -> Tensor:
    """φ(x) = e^{−x²/2}: height 1, standard deviation 1."""
    return torch.exp(-0.5 * x * x)


@derivative_of(gaussian)
def gaussian_derivative(x: Tensor) -> Tensor:
    """φ'(x) = −x · e^{−x²/2}."""
    return -x * torch.exp(-0.5 * x * x)


@register
def quadratic(x: Tensor) -> Tensor:
    """φ(x) = x²; as a vector field it can blow up in finite time."""
    return x * x


@derivative_of(quadratic)
def quadratic_derivative(x: Tensor) -> Tensor:
    """Derivative of `quadratic`, φ'(x) = 2x."""
    return 2 * x


@register
def cubic(x: Tensor) -> Tensor:
    """φ(x) = x³; as a vector field it can blow up in finite time."""
    return x * x * x


@derivative_of(cubic)
def cubic_derivative(x: Tensor) -> Tensor:
    """Derivative of `cubic`, φ'(x) = 3x²."""
    return 3 * x * x


def _absolute(x: Tensor) -> Tensor:
    # Twice differentiating torch.abs makes torch import its compiler, which takes a second or more.
    return F.leaky_relu(x, -1.0)
