"""Kernels by several processes equal those of one."""

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from tests.ntk.recorded_models import Switched

from ntkode.integrate import NonFiniteState, Solver
from ntkode.models import NeuralODE
from ntkode.ntk import distributed_ntk, empirical_ntk

# Sums of the same products in float64, in another order.
EXACT = 1e-12
CASES = {
    # name → (rows of x1, rows of x2, options)
    "symmetric": (7, None, {}),
    "full": (7, None, {"outputs": "full"}),
    "sum": (7, None, {"outputs": "sum", "method": "build"}),
    "rectangular": (7, 5, {"outputs": "full", "method": "pairs"}),
    "compressed": (9, None, {"method": "compressed", "outputs": "full"}),
    "jacobian": (7, 4, {"method": "jacobian"}),
    "jacobian, symmetric": (7, None, {"method": "jacobian", "outputs": "full"}),
    # The last rank's samples are not spanned by the first chunk's.
    "compression fails on one rank": (192, None, {"method": "compressed", "tolerance": 1e-3}),
}


def problem(name):
    rows, columns, options = CASES[name]
    generator = torch.Generator().manual_seed(1)
    x1 = torch.randn(rows, 5, generator=generator, dtype=torch.float64)
    x2 = None if columns is None else torch.randn(columns, 5, generator=generator, dtype=torch.float64)
    if name.startswith("compression fails"):
        x1[:, 0] = -1
        x1[128:, 0] = 1
    return x1, x2, options


def make_model(name):
    torch.manual_seed(0)
    if name.startswith("compression fails"):
        return Switched(5).double()
    return NeuralODE(5, 8, 2, activation="tanh", sigma_w=2.0, solver=Solver("rk4", steps=5)).double()


def work(rank, ranks, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=ranks)
    kernels = {}
    for name in CASES:
        x1, x2, options = problem(name)
        kernels[name] = distributed_ntk(make_model(name), x1, x2, **options)
    with pytest.raises(ValueError, match="fewer than the group"):
        distributed_ntk(make_model("sum"), problem("symmetric")[0][: ranks - 1])
    with pytest.raises(ValueError, match="blocks=True"):
        distributed_ntk(make_model("sum"), problem("symmetric")[0], blocks=True)
    # What fails on one rank ends the call on all, instead of leaving the others to wait.
    x = problem("symmetric")[0]
    x[-1] = 1e200
    model = NeuralODE(5, 8, 2, activation="quadratic", solver=Solver("rk4", steps=5)).double()
    with pytest.raises((NonFiniteState, RuntimeError)):
        distributed_ntk(model, 0.01 * x, method="jacobian")
    torch.save(kernels, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module", params=[3])
def by_ranks(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    mp.spawn(work, (request.param, str(folder)), nprocs=request.param)
    return [torch.load(folder / f"{rank}.pt") for rank in range(request.param)]


@pytest.mark.parametrize("name", CASES)
def test_every_rank_has_the_kernel_of_one_process(by_ranks, name):
    x1, x2, options = problem(name)
    if name.startswith("compression fails"):  # a compressed kernel would be off by 1e-6
        options = {"method": "build"}
    expected = empirical_ntk(make_model(name), x1, x2, **options)
    for kernels in by_ranks:
        assert kernels[name].shape == expected.shape
        assert float((kernels[name] - expected).norm() / expected.norm()) < EXACT
