"""Models for tests of the recorder, and the kernel by plain autograd, one row at a time."""

import torch
from torch import nn
from torchdiffeq import odeint

# The same products in float64, summed in another order: some hundred rounding errors of 1e-16.
EXACT = 1e-12


class Model(nn.Module):
    """Module with a given forward function and named parts: modules, or shapes of parameters."""

    def __init__(self, function, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part if isinstance(part, nn.Module) else nn.Parameter(torch.randn(part)))
        self.function = function

    def forward(self, x):
        return self.function(self, x)


def linear(i=6, o=2, **options):
    return nn.Linear(i, o, **options)


def convolved(layer, *shape):
    """A convolution of the six inputs, reshaped to `shape`."""
    return Model(lambda m, x: m.c(x.view(len(x), *shape)).tanh().flatten(1)[:, :3], c=layer)


def solved(*, solve=odeint, **options):
    """Module that calls torchdiffeq's `solve` with a linear field."""

    def function(m, x):
        times = torch.tensor([0.0, 1.0], dtype=x.dtype)
        return m.b(solve(Field(m.w), m.a(x), times, **options)[-1])

    return Model(function, a=linear(6, 5), w=linear(5, 5), b=linear(5, 2))


class Field(nn.Module):
    def __init__(self, w):
        super().__init__()
        self.w = w

    def forward(self, t, h):
        return self.w(h).tanh()


class HandWritten(torch.autograd.Function):
    """An activation with a backward pass that does not run under vmap."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    def backward(ctx, g):
        out = torch.empty(g.shape, dtype=g.dtype)
        out.copy_(g)
        return out * ctx.saved_tensors[0].cos()


class HandWrittenLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x @ w.T

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        return g @ w, g.T @ x


class Unseen(torch.autograd.Function):
    """A parameter with a gradient, but without a recorded torch function."""

    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x)
        return x * 1.0

    @staticmethod
    def backward(ctx, g):
        return g, g.T @ ctx.saved_tensors[0]


def seeded(build):
    torch.manual_seed(0)
    return build().double()


def inputs(rows=5, seed=1):
    return torch.randn(rows, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def one_by_one(model, x1, x2):
    """Full kernel from a plain backward pass of each row and output alone, over trained parameters."""
    parameters = [p for p in model.parameters() if p.requires_grad]

    def jacobian(x):
        rows = []
        for row in x.split(1):
            for output in model(row.clone())[0]:
                grads = torch.autograd.grad(output, parameters, retain_graph=True, materialize_grads=True)
                rows.append(torch.cat([g.flatten() for g in grads]))
        return torch.stack(rows)

    return jacobian(x1) @ jacobian(x2).T


def relative(kernel, reference):
    return float((kernel - reference).norm() / reference.norm())


class Switched(nn.Module):
    """Samples with a positive first input take another path than the others."""

    def __init__(self, features):
        super().__init__()
        self.w, self.out = nn.Linear(features, features), nn.Linear(features, 2)

    def forward(self, x):
        h = x
        for step in range(12):
            force = torch.where(x[:, :1] > 0, 3 * torch.sin(torch.tensor(5.0 * step**2)), 0.0)
            h = h + 0.1 * (self.w(h) + force).tanh()
        return self.out(h)
