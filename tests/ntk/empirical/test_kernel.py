import pytest
import torch
from tests.ntk.empirical.recorded_models import Model, inputs, relative, seeded
from tests.reference import dense_full_kernel, dense_jacobian, dense_trace_kernel
from torch import nn

from ntkode.integrate import Adjoint, Solver
from ntkode.models import MLPODE, AugmentedODE, ConvODE, NeuralODE, ResNet, TimeDependentODE
from ntkode.ntk import NotRecordableError, empirical_ntk, kernel_operator, measure_ntk, spectrum
from ntkode.ntk.empirical.contraction import TILE
from ntkode.ntk.empirical.engine import SOLVER_ROWS

FIXED = {
    "euler": Solver("euler", steps=5),
    "midpoint": Solver("midpoint", steps=5),
    "rk4": Solver("rk4", steps=4),
    # Its corrector stops for the whole batch; at this tolerance it takes all iterations for every batch.
    "implicit_adams": Solver("implicit_adams", steps=6, rtol=1e-30, atol=1e-30),
}
MODELS = {
    "neural_ode": NeuralODE,
    "mlp": MLPODE,
    "augmented": AugmentedODE,
    "time_dependent": TimeDependentODE,
    "conv": lambda d, n, k, **o: ConvODE(d, n, k, image_shape=(1, 2, 3), patch=1, **o),
}
# smooth, kinked, polynomial, linear; a polynomial at a short horizon stays finite
ACTIVATIONS = {"tanh": 1.0, "relu": 1.0, "quadratic": 0.1, "identity": 1.0}
METHODS = ("auto", "pairs", "build", "compressed", "jacobian")
# All methods sum the same products in float64 in different orders: a few hundred rounding errors of 1e-16.
EXACT = 1e-12


def make(kind, solver="rk4", activation="tanh", outputs=3):
    torch.manual_seed(0)
    horizon = ACTIVATIONS.get(activation, 1.0)
    options = {"activation": activation, "horizon": horizon}
    if kind == "resnet":
        return ResNet(6, 9, outputs, depth=5, **options).double()
    return MODELS[kind](6, 9, outputs, solver=FIXED[solver], **options).double()


def dense(model, x1, x2, outputs):
    if outputs == "full":
        return dense_full_kernel(model, x1, x2)
    if outputs == "trace":
        return dense_trace_kernel(model, x1, x2)
    return dense_jacobian(model, x1).sum(1) @ dense_jacobian(model, x2).sum(1).T


# An activation is independent of the solver, so the slowest solver is tested with two of them.
COMBINED = [(s, a) for s in FIXED for a in ACTIVATIONS if s != "implicit_adams" or a in ("tanh", "relu")]


@pytest.mark.parametrize(("solver", "activation"), COMBINED)
@pytest.mark.parametrize("kind", MODELS)
def test_every_model_solver_and_activation(kind, solver, activation):
    model, x = make(kind, solver, activation), inputs()
    jacobian = dense_jacobian(model, x)
    references = {
        "trace": torch.einsum("icp,jcp->ij", jacobian, jacobian) / jacobian.shape[1],
        "full": jacobian.flatten(0, 1) @ jacobian.flatten(0, 1).T,
        "sum": jacobian.sum(1) @ jacobian.sum(1).T,
    }
    for outputs, reference in references.items():
        for method in METHODS:
            kernel = empirical_ntk(model, x, method=method, outputs=outputs)
            assert relative(kernel, reference) < EXACT, (method, outputs)


@pytest.mark.parametrize("outputs", ["trace", "full", "sum"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", [*MODELS, "resnet"])
def test_rectangular_kernels_and_blocks(kind, method, outputs):
    model, x1, x2 = make(kind), inputs(), inputs(3, seed=2)
    reference = dense(model, x1, x2, outputs)
    assert relative(empirical_ntk(model, x1, x2, method=method, outputs=outputs), reference) < EXACT
    for other, whole in ((x2, reference), (None, dense(model, x1, x1, outputs))):
        blocks = empirical_ntk(model, x1, other, method=method, outputs=outputs, blocks=True)
        assert blocks.keys() == dict(model.named_parameters()).keys()
        assert relative(sum(blocks.values()), whole) < EXACT


@pytest.mark.parametrize("method", ["pairs", "build"])
def test_tiles_below_the_diagonal_are_transposed_in_samples_and_in_outputs(method):
    # With three outputs a tile has 42 rows: 60 samples take two, and the lower one mirrors the upper one.
    model, x = make("neural_ode"), inputs(60)
    assert TILE // model.out_features < len(x)
    reference = dense_full_kernel(model, x, x)
    assert relative(empirical_ntk(model, x, method=method, outputs="full"), reference) < EXACT


def test_each_block_is_the_kernel_of_its_parameter_alone():
    model, x = make("mlp"), inputs()
    for name, block in empirical_ntk(model, x, blocks=True).items():
        for other, parameter in model.named_parameters():
            parameter.requires_grad_(other == name)
        assert relative(block, empirical_ntk(model, x, method="jacobian")) < EXACT, name


def test_frozen_parameters_have_no_share():
    model, x = make("neural_ode"), inputs()
    shares = empirical_ntk(model, x, blocks=True)
    model.W.requires_grad_(False)
    for method in METHODS:
        assert relative(empirical_ntk(model, x, method=method), shares["U"] + shares["v"]) < EXACT
    with pytest.raises(ValueError, match="no parameter that requires a gradient"):
        empirical_ntk(model.requires_grad_(False), x)


def test_one_output_needs_no_trace():
    model, x = make("neural_ode", outputs=1), inputs()
    kernels = [empirical_ntk(model, x, outputs=outputs) for outputs in ("trace", "full", "sum")]
    for kernel in kernels:
        assert relative(kernel, dense_trace_kernel(model, x, x)) < EXACT


@pytest.mark.parametrize("kind", MODELS)
def test_kernel_is_symmetric_positive_semidefinite(kind):
    kernel = empirical_ntk(make(kind), inputs(20))
    assert torch.equal(kernel, kernel.T)
    assert float(torch.linalg.eigvalsh(kernel)[0]) > -spectrum(kernel).resolution


def test_the_run_is_left_alone():
    torch.manual_seed(0)
    model = NeuralODE(6, 9, 2, activation="tanh", gradient=Adjoint())
    before = {n: p.clone() for n, p in model.named_parameters()}
    kernel = empirical_ntk(model, inputs().float())
    assert kernel.dtype == torch.float64
    assert all(
        torch.equal(p, before[n]) and p.requires_grad and p.grad is None for n, p in model.named_parameters()
    )
    assert model.gradient == Adjoint()


def wide(activation="tanh", dtype=torch.float32, rows=60):
    """A model and inputs with enough calls and rows for compression."""
    torch.manual_seed(0)
    model = NeuralODE(6, 64, 2, activation=activation, solver=Solver("rk4", steps=10)).to(dtype)
    return model, inputs(rows)


@pytest.mark.parametrize("activation", ["tanh", "softplus", "relu"])
def test_mixed_precision_is_as_good_as_its_solve(activation):
    model, x = wide(activation)
    exact = empirical_ntk(model, x, dtype=torch.float64)
    measured = measure_ntk(model, x)
    assert measured.kernel.dtype == torch.float64
    assert measured.report.solve_dtype == torch.float32
    # float32 rounds each call to 6e-8, and ten steps add up a few of them.
    assert relative(measured.kernel, exact) < 1e-6
    # With everything in float32 the error is at least that, and the error of λ_min is larger.
    single = empirical_ntk(model, x, dtype=torch.float32)
    assert single.dtype == torch.float32
    assert relative(single.double(), exact) < 1e-5


def test_a_float64_solve_has_no_float32_arithmetic():
    # The second call weighs 3e-5 of the first: with a float32 solve it is multiplied in float32.
    model = seeded(lambda: Model(lambda m, x: x @ m.W + 3e-5 * (x @ m.W).tanh() @ m.W, W=(6, 6)))
    x = inputs()
    kernel = empirical_ntk(model, x, method="pairs", outputs="full")
    assert relative(kernel, dense_full_kernel(model, x, x)) < 1e-14


def test_lambda_min_survives_a_float32_solve():
    model, x = wide(rows=30)
    x = torch.cat([x, x + 0.02 * inputs(30, seed=5)])  # near-duplicates: condition about 1e6
    exact = spectrum(empirical_ntk(model, x, dtype=torch.float64))
    measured = measure_ntk(model, x)
    mixed = measured.spectrum
    assert 1e5 < exact.condition_number < 1e7
    assert not mixed.below_resolution
    assert mixed.lambda_min == pytest.approx(exact.lambda_min, rel=1e-4)
    # With everything in float32 the rounding of the kernel is as large as λ_min.
    assert spectrum(empirical_ntk(model, x, dtype=torch.float32)).below_resolution


def test_the_resolution_of_the_spectrum_includes_the_error_of_the_derivatives():
    model, x = wide(rows=10)
    measured = measure_ntk(model, x)
    error = measured.report.jacobian_error
    assert measured.spectrum.resolution == spectrum(measured.kernel, jacobian_error=error).resolution
    # δ² of a float32 solve is some hundred times N ε of a float64 kernel of ten samples.
    assert measured.spectrum.resolution > 10 * spectrum(measured.kernel).resolution


def test_identity_is_rank_deficient_in_every_precision():
    model, x = wide("identity", rows=20)  # 20 rows in 6 dimensions: the trace kernel has rank 6
    for dtype in (None, torch.float64):
        measured = measure_ntk(model, x, dtype=dtype)
        assert measured.spectrum.below_resolution


def test_report_names_the_method_and_its_errors():
    model, x = wide(dtype=torch.float64)
    report = measure_ntk(model, x, method="compressed", tolerance=1e-5).report
    assert report.method == "recorded"
    assert report.choices["W"].calls == 40
    assert report.choices["W"].terms < 8
    assert 0 < report.compression_error <= 1e-5 <= 100 * report.jacobian_error
    assert "compressed to" in str(report.choices["W"])
    assert report.solver is None
    assert report.coupling == 0
    one_by_one = measure_ntk(model, x[:2], method="jacobian").report
    assert one_by_one.method == "jacobian"
    assert (one_by_one.choices, one_by_one.coupling, one_by_one.compression_error) == ({}, 0, 0)
    assert one_by_one.jacobian_error == 8 * 2.0**-52


@pytest.mark.parametrize("tolerance", [1e-3, 1e-6, 1e-9])
def test_compression_keeps_its_tolerance(tolerance):
    model, x = wide(dtype=torch.float64)
    kernel = empirical_ntk(model, x, method="compressed", tolerance=tolerance)
    # ‖ΔΘ‖ ≤ 2 ‖J‖ ‖ΔJ‖ to first order.
    assert relative(kernel, dense_trace_kernel(model, x, x)) < 2 * tolerance


@pytest.mark.parametrize(
    ("activation", "dtype", "tolerance"), [("softplus", torch.float32, 3e-6), ("tanh", torch.float64, 1e-12)]
)
def test_the_default_tolerance_is_that_of_the_solve(activation, dtype, tolerance):
    model, x = wide(activation, dtype)
    default, given = (measure_ntk(model, x, method="compressed", tolerance=t) for t in (None, tolerance))
    assert torch.equal(default.kernel, given.kernel)
    # Twice the tolerance needs one term less.
    rough = measure_ntk(model, x, method="compressed", tolerance=2 * tolerance).report
    assert default.report.choices["W"].terms == rough.choices["W"].terms + 1


def test_rows_unlike_the_first_ones_are_not_compressed():
    model, _ = wide("tanh", torch.float64)
    tame = 1e-3 * inputs(3, seed=4)  # where tanh is linear, fewer terms suffice
    wild = 10 * inputs(40)
    measured = measure_ntk(model, tame, wild, method="compressed", tolerance=1e-10)
    assert measured.report.choices["W"].bases is None
    assert relative(measured.kernel, dense_trace_kernel(model, tame, wild)) < EXACT


def test_adaptive_solver_is_replaced_by_fixed_steps_of_known_accuracy():
    torch.manual_seed(0)
    adaptive = NeuralODE(6, 9, 2, activation="tanh", solver=Solver("dopri5")).double()
    x = inputs()
    measured = measure_ntk(adaptive, x)
    fine = adaptive.solved_by(Solver("rk4", steps=20))
    assert torch.equal(measured.kernel, empirical_ntk(fine, x))
    assert measured.report.solver == "rk4(20 steps)"
    exact = empirical_ntk(adaptive.solved_by(Solver("rk4", steps=160)), x)
    true = relative(measured.kernel, exact)
    # RK4 with 20 steps: (1/20)⁴ ≈ 6e-6 times a small constant; the estimate omits 1/16 of it.
    assert 0.3 * true < measured.report.solver_error < 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_solver_error_is_the_change_of_the_kernel_with_twice_the_steps(dtype):
    torch.manual_seed(0)
    adaptive = NeuralODE(6, 9, 3, activation="tanh", solver=Solver("dopri5")).to(dtype)
    x = inputs(7).to(dtype)
    error = measure_ntk(adaptive, x).report.solver_error
    # In float64, because float32 rounds by as much as the steps change.
    once, twice = (
        dense(adaptive.solved_by(Solver("rk4", steps=steps)).double(), *[x[:SOLVER_ROWS].double()] * 2, "sum")
        for steps in (20, 40)
    )
    assert error == pytest.approx(relative(once, twice), rel=1e-4)


class Normalised(nn.Module):
    """LayerNorm's parameters enter by a special function."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 4)
        self.norm = nn.LayerNorm(4)
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.norm(self.linear(x)))


def test_other_uses_of_a_parameter_are_named_and_auto_takes_the_jacobian():
    torch.manual_seed(0)
    model, x = Normalised().double(), inputs()
    with pytest.raises(NotRecordableError, match=r"'norm\.weight' of module 'norm' \(LayerNorm\)"):
        empirical_ntk(model, x, method="pairs")
    measured = measure_ntk(model, x)
    assert measured.report.method == "jacobian"
    assert relative(measured.kernel, dense_trace_kernel(model, x, x)) < EXACT


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"outputs": "sum2"}, "sum2"),
        ({"method": "fast"}, "fast"),
        ({"dtype": torch.float16}, "float16"),
        ({"tolerance": 2.0}, r"tolerance=2\.0"),
        ({"tolerance": 1.0}, r"tolerance=1\.0"),
        ({"tolerance": 0.0}, r"tolerance=0\.0"),
        ({"max_bytes": 0}, "max_bytes=0 must be positive"),
        ({"max_bytes": 100}, "max_bytes=100"),
    ],
)
def test_unknown_options_are_named(options, named):
    with pytest.raises(ValueError, match=named):
        empirical_ntk(make("neural_ode"), inputs(), **options)


def test_bad_inputs_are_refused():
    x = inputs()
    bad = x.clone()
    bad[2, 1] = float("nan")
    model = make("neural_ode")
    for wrong in (bad, x[0], x[:0]):
        with pytest.raises(ValueError, match=r"\(N, d\) and finite"):
            empirical_ntk(model, wrong)
    with pytest.raises(ValueError, match="samples of shape"):
        empirical_ntk(model, x, x[:, :5])


def test_views_of_one_storage_are_distinguished():
    model = make("neural_ode")
    x, square = inputs(10), inputs(6)
    for x1, x2 in ((x[:5], x[::2]), (square, square.T)):
        assert relative(empirical_ntk(model, x1, x2), dense_trace_kernel(model, x1, x2)) < EXACT


def test_an_unused_parameter_has_a_zero_block():
    model = nn.Sequential(nn.Linear(6, 3)).double()
    model.register_parameter("spare", nn.Parameter(torch.ones(4, dtype=torch.float64)))
    kernel = empirical_ntk(model, inputs())
    assert relative(kernel, dense_trace_kernel(model, inputs(), inputs())) < EXACT


def test_outputs_of_another_shape_are_named():
    model = nn.Sequential(nn.Linear(6, 1), nn.Flatten(0)).double()
    with pytest.raises(ValueError, match=r"shape \(1,\), not \(1, k\)"):
        empirical_ntk(model, inputs())


def test_an_output_of_two_rows_for_one_sample_is_refused():
    model = seeded(lambda: Model(lambda m, x: (x @ m.W).repeat(2, 1), W=(6, 3)))
    for method in METHODS:
        with pytest.raises(ValueError, match=r"shape \(2, 3\), not \(1, k\)"):
            empirical_ntk(model, inputs(), method=method)


def test_kernels_are_computed_under_no_grad_too():
    model, x = make("neural_ode"), inputs()
    with torch.no_grad():
        kernel, full = empirical_ntk(model, x), empirical_ntk(model, x, method="jacobian", outputs="full")
        for max_bytes in (None, 1000):
            operator = kernel_operator(model, x, max_bytes=max_bytes)
            assert operator.lambda_max() == pytest.approx(float(torch.linalg.eigvalsh(full)[-1]), rel=1e-9)
    assert relative(kernel, dense_trace_kernel(model, x, x)) < EXACT
    assert not kernel.requires_grad
    assert "FactoredOperator(5 samples, 3 outputs" in repr(kernel_operator(model, x))
    assert len(repr(measure_ntk(model, x))) < 600
    assert "tensor" not in repr(measure_ntk(model, x))
