"""Kernels by several processes equal those of one."""

from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from tests.ntk.empirical.recorded_models import Model, Switched, linear

from ntkode.execution.fork_server import job_context
from ntkode.integrate import NonFiniteState, Solver
from ntkode.models import NeuralODE
from ntkode.ntk import distributed_ntk, empirical_ntk, measure_distributed_ntk, measure_ntk
from ntkode.ntk.empirical.distributed import _together
from ntkode.ntk.empirical.factors import CompressionFailed
from ntkode.ntk.empirical.recording import Recorder

# Sums of the same products in float64, in another order.
EXACT = 1e-12
# Ranks that wait for each other in vain fail; no step takes more than seconds.
TIMEOUT = timedelta(minutes=2)
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
    "one sample per rank": (3, 3, {}),
    # The first sample alone depends on others of its batch.
    "coupled on one rank": (9, None, {"outputs": "full"}),
    # The last sample alone takes a path that cannot be recorded.
    "recorded on some ranks": (7, 5, {"outputs": "full"}),
}
# Cases of the group without the first rank: each form of derivatives, and each second attempt.
PAIR = ("symmetric", "rectangular", "compression fails on one rank", "recorded on some ranks")


def problem(name):
    rows, columns, options = CASES[name]
    generator = torch.Generator().manual_seed(1)
    x1 = torch.randn(rows, 5, generator=generator, dtype=torch.float64)
    x2 = None if columns is None else torch.randn(columns, 5, generator=generator, dtype=torch.float64)
    if name.startswith("compression fails"):
        x1[:, 0] = -1
        x1[128:, 0] = 1
    elif name == "coupled on one rank":
        x1[:, 0], x1[0, 0] = -1, 1
    elif name == "recorded on some ranks":
        x1[:, 0], x1[-1, 0] = -1, 1
    return x1, x2, options


def coupled(m, x):
    """Samples with a positive first input depend on the mean of their batch, by less than `EXACT`."""
    h = m.a(x)
    return h + 1e-13 * (x[:, :1] > 0) * h.mean(0)


def partly_recorded(m, x):
    """x @ W.T, by an operation that is not recorded if the first input of a sample is positive."""
    return torch.einsum("ni,oi->no", x, m.W) if (x[:, 0] > 0).any() else x @ m.W.T


def make_model(name):
    torch.manual_seed(0)
    if name.startswith("compression fails"):
        return Switched(5).double()
    if name == "coupled on one rank":
        return Model(coupled, a=linear(5, 2)).double()
    if name == "recorded on some ranks":
        return Model(partly_recorded, W=(2, 5)).double()
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


def check_refusals(ranks):
    x = problem("symmetric")[0]
    few = x[: ranks - 1]
    for x1, x2 in ((few, None), (few, x), (x, few)):
        with pytest.raises(ValueError, match=f"^{ranks - 1} samples are fewer than the group's {ranks} "):
            distributed_ntk(make_model("sum"), x1, x2)
    with pytest.raises(ValueError, match="blocks=True"):
        distributed_ntk(make_model("sum"), x, blocks=True)


def check_failure_of_the_last_rank(group):
    """An exception on one rank ends the call on all; the others do not hang."""
    x = problem("symmetric")[0]
    x[-1] = 1e200
    model = NeuralODE(5, 8, 2, activation="quadratic", solver=Solver("rk4", steps=5)).double()
    with pytest.raises(NonFiniteState) as caught:
        distributed_ntk(model, 0.01 * x, method="jacobian", group=group)
    last = dist.get_world_size(group) - 1
    notes = [] if dist.get_rank(group) == last else [f"on rank {last}"]
    assert getattr(caught.value, "__notes__", []) == notes
    assert str(caught.value).count(NonFiniteState.remedy) == 1


def check_failures_of_all_ranks(rank):
    """All ranks raise the failure of the lowest rank among those that no second attempt mends."""
    failures = [CompressionFailed("of rank 0"), ValueError("of rank 1"), ValueError("of rank 2")]

    def fail():
        raise failures[rank]

    with pytest.raises(ValueError, match="of rank 1") as caught:
        _together(fail, None)
    assert getattr(caught.value, "__notes__", []) == ([] if rank == 1 else ["on rank 1"])
    assert caught.value.__cause__ is (None if rank == 1 else failures[rank])


def work(rank, ranks, folder):
    torch.set_num_threads(1)
    store = f"file://{folder}/store"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=ranks, timeout=TIMEOUT)
    kernels, rows, reports, by_pair = {}, {}, {}, {}
    for name in CASES:
        x1, x2, options = problem(name)
        with counted_rows() as rows[name]:
            measured = measure_distributed_ntk(make_model(name), x1, x2, **options)
        kernels[name], reports[name] = measured.kernel, asdict(measured.report) | {"choices": None}
    assert torch.equal(distributed_ntk(make_model("sum"), *problem("symmetric")[:2]), kernels["symmetric"])
    check_refusals(ranks)
    check_failure_of_the_last_rank(None)
    check_failures_of_all_ranks(rank)
    pair = dist.new_group([1, 2], timeout=TIMEOUT)
    if rank > 0:
        for name in PAIR:
            x1, x2, options = problem(name)
            measured = measure_distributed_ntk(make_model(name), x1, x2, group=pair, **options)
            assert measured.report.method == reports[name]["method"]
            by_pair[name] = measured.kernel
        check_failure_of_the_last_rank(pair)
    record = {"kernels": kernels, "rows": rows, "reports": reports, "by_pair": by_pair}
    torch.save(record, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module", params=[3])
def by_ranks(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    job_context()  # its fork server has the imports that each process needs
    arguments = (request.param, str(folder))
    mp.start_processes(work, arguments, nprocs=request.param, start_method="forkserver")
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(request.param)]


def assert_that_of_one_process(kernels, name):
    x1, x2, options = problem(name)
    if name.startswith("compression fails"):  # a compressed kernel has an error of 1e-6
        options = {"method": "build"}
    expected = empirical_ntk(make_model(name), x1, x2, **options)
    for kernel in kernels:
        assert kernel.shape == expected.shape
        assert float((kernel - expected).norm() / expected.norm()) < EXACT


@pytest.mark.parametrize("name", CASES)
def test_every_rank_has_the_kernel_of_one_process(by_ranks, name):
    assert_that_of_one_process([record["kernels"][name] for record in by_ranks], name)


@pytest.mark.parametrize("name", PAIR)
def test_a_group_of_some_ranks_has_the_kernel_of_one_process(by_ranks, name):
    assert_that_of_one_process([record["by_pair"][name] for record in by_ranks[1:]], name)


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
        for what in ("method", "solve_dtype", "coupling", "solver", "solver_error"):
            assert report[what] == expected[what]
        assert (report["coupling"] > 0) == name.startswith("coupled")
        # Bases fitted to other samples have other errors; both are within the tolerance.
        tolerance = options.get("tolerance", 1e-12)
        assert abs(report["jacobian_error"] - expected["jacobian_error"]) <= tolerance
