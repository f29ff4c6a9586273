"""A metric's kernel is shared among the ranks; with fewer samples than ranks, each computes all of it."""

import inspect

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from ntkode import metrics
from ntkode.execution.fork_server import job_context
from ntkode.integrate import Solver
from ntkode.metrics.shared_kernel import shared_kernel
from ntkode.models import NeuralODE
from ntkode.ntk import measure_ntk
from ntkode.ntk.empirical.recording import Recorder

RANKS = 2
SAMPLES = (1, 5)


def test_all_ranks_measure_the_metrics_that_share_a_kernel_and_no_others():
    for name in metrics.__all__:
        metric = getattr(metrics, name)
        assert metric.collective == ("shared_kernel(" in inspect.getsource(metric)), name


def problem(samples):
    generator = torch.Generator().manual_seed(1)
    torch.manual_seed(0)
    model = NeuralODE(5, 8, 2, activation="tanh", solver=Solver("rk4", steps=5)).double()
    return model, torch.randn(samples, 5, generator=generator, dtype=torch.float64)


def work(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=RANKS)
    record, recorded = Recorder.__call__, []

    def counting(self, x, seeds):
        recorded.append(len(x))
        return record(self, x, seeds)

    Recorder.__call__ = counting
    kernels = {}
    for samples in SAMPLES:
        recorded.clear()
        kernels[samples] = shared_kernel(*problem(samples)).kernel, sum(recorded)
    torch.save(kernels, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def by_ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    job_context()  # its fork server has the imports that each process needs
    mp.start_processes(work, (str(folder),), nprocs=RANKS, start_method="forkserver")
    return [torch.load(folder / f"{rank}.pt") for rank in range(RANKS)]


@pytest.mark.parametrize(("samples", "shares"), [(1, [1, 1]), (5, [2, 3])])
def test_each_rank_differentiates_its_share(by_ranks, samples, shares):
    expected = measure_ntk(*problem(samples)).kernel
    for kernels, share in zip(by_ranks, shares, strict=True):
        kernel, recorded = kernels[samples]
        assert recorded == share
        # The same float64 sums in another order.
        assert float((kernel - expected).norm() / expected.norm()) < 1e-12


def test_one_process_computes_it_alone():
    model, x = problem(5)
    assert torch.equal(shared_kernel(model, x).kernel, measure_ntk(model, x, max_bytes=2**31).kernel)
