"""Kernels by several processes equal those of one."""

from contextlib import contextmanager
from dataclasses import asdict

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from tests.ntk.empirical.recorded_models import Switched

from ntkode.execution.fork_server import job_context
from ntkode.integrate import NonFiniteState, Solver
from ntkode.models import NeuralODE
from ntkode.ntk import distributed_ntk, empirical_ntk, measure_distributed_ntk, measure_ntk
from ntkode.ntk.empirical.recording import Recorder

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
    # The samples of the last rank are not spanned by those of the first chunk.
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


@contextmanager
def counted_rows():
    """Numbers of samples that this process records, call by call."""
    rows, record = [], Recorder.__call__

    def counting(self, x, seeds):
        rows.append(len(x))
        return record(self, x, seeds)

    Recorder.__call__ = counting
    try:
        yield rows
    finally:
        Recorder.__call__ = record


def work(rank, ranks, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=ranks)
    kernels, rows, reports = {}, {}, {}
    for name in CASES:
        x1, x2, options = problem(name)
        with counted_rows() as rows[name]:
            measured = measure_distributed_ntk(make_model(name), x1, x2, **options)
        kernels[name], reports[name] = measured.kernel, asdict(measured.report) | {"choices": None}
    assert torch.equal(distributed_ntk(make_model("sum"), *problem("symmetric")[:2]), kernels["symmetric"])
    with pytest.raises(ValueError, match="fewer than the group"):
        distributed_ntk(make_model("sum"), problem("symmetric")[0][: ranks - 1])
    with pytest.raises(ValueError, match="blocks=True"):
        distributed_ntk(make_model("sum"), problem("symmetric")[0], blocks=True)
    # An exception on one rank ends the call on all; the others do not hang.
    x = problem("symmetric")[0]
    x[-1] = 1e200
    model = NeuralODE(5, 8, 2, activation="quadratic", solver=Solver("rk4", steps=5)).double()
    with pytest.raises(NonFiniteState) as caught:
        distributed_ntk(model, 0.01 * x, method="jacobian")
    last = ranks - 1
    assert getattr(caught.value, "__notes__", []) == ([] if rank == last else [f"on rank {last}"])
    assert str(caught.value).count(NonFiniteState.remedy) == 1
    torch.save({"kernels": kernels, "rows": rows, "reports": reports}, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module", params=[3])
def by_ranks(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    job_context()  # its fork server has the imports that each process needs
    arguments = (request.param, str(folder))
    mp.start_processes(work, arguments, nprocs=request.param, start_method="forkserver")
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(request.param)]


@pytest.mark.parametrize("name", CASES)
def test_every_rank_has_the_kernel_of_one_process(by_ranks, name):
    x1, x2, options = problem(name)
    if name.startswith("compression fails"):  # a compressed kernel has an error of 1e-6
        options = {"method": "build"}
    expected = empirical_ntk(make_model(name), x1, x2, **options)
    for kernel in (record["kernels"][name] for record in by_ranks):
        assert kernel.shape == expected.shape
        assert float((kernel - expected).norm() / expected.norm()) < EXACT


@pytest.mark.parametrize("name", ["symmetric", "full", "sum", "compressed", "compression fails on one rank"])
def test_every_sample_is_differentiated_by_one_rank(by_ranks, name):
    samples = CASES[name][0]
    passes = 2 if name.startswith("compression fails") else 1  # compressed, then uncompressed
    shares = [sum(record["rows"][name]) for record in by_ranks]
    assert sum(shares) == passes * samples
    assert max(shares) - min(shares) <= passes


@pytest.mark.parametrize("name", CASES)
def test_the_report_is_that_of_one_process_and_the_same_on_all_ranks(by_ranks, name):
    x1, x2, options = problem(name)
    expected = asdict(measure_ntk(make_model(name), x1, x2, **options).report)
    for record in by_ranks:
        report = record["reports"][name]
        assert report == by_ranks[0]["reports"][name] | {"rows_at_once": report["rows_at_once"]}
        for what in ("method", "solve_dtype", "solver", "solver_error"):
            assert report[what] == expected[what]
        # Bases fitted to other samples have other errors; both are within the tolerance.
        tolerance = options.get("tolerance", 1e-12)
        assert abs(report["jacobian_error"] - expected["jacobian_error"]) <= tolerance
