"""Names, parameters, YAML files, user callables, and pickling of activations."""

import copy
import math
import pickle
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import nn

from ntkode import activations
from ntkode.activations import registry

CONF = Path(__file__).parents[2] / "conf" / "activation"
X = torch.linspace(-4, 4, 33, dtype=torch.float64)


def test_every_yaml_gives_the_activation_of_its_name():
    files = sorted(CONF.glob("*.yaml"))
    assert {file.stem for file in files} >= set(activations.names())
    for file in files:
        assert file.read_text().startswith("# "), file
        activation = instantiate(OmegaConf.load(file))
        # Equal to the bare name: the parameters in the YAML are the defaults.
        assert activation == activations.get(file.stem)
        assert activation.name == file.stem


def test_yaml_shows_every_parameter():
    documented = {file.stem: set(OmegaConf.load(file)) - {"_target_", "name"} for file in CONF.glob("*.yaml")}
    assert {name: keys for name, keys in documented.items() if keys} == {
        "leaky_relu": {"negative_slope"},
        "elu": {"alpha"},
        "celu": {"alpha"},
        "softplus": {"beta"},
        "squareplus": {"b"},
    }


def test_yaml_parameter_override():
    config = OmegaConf.load(CONF / "softplus.yaml")
    config.beta = 4
    assert instantiate(config) is activations.get("softplus", beta=4.0)


@pytest.mark.parametrize(
    ("parameters", "name"),
    [({}, "softplus"), ({"beta": 1}, "softplus"), ({"beta": 0.25}, "softplus(beta=0.25)")],
)
def test_name_shows_the_parameters_that_matter(parameters, name):
    assert activations.get("softplus", **parameters).name == name


def test_unknown_name_is_refused_with_the_nearest_and_all_known():
    with pytest.raises(
        ValueError, match=r"'tahn'.*'tanh'\? Try activation=tanh\. Known: .*cos, .*tanh"
    ) as error:
        activations.get("tahn")
    assert all(name in str(error.value) for name in activations.names())
    with pytest.raises(ValueError, match="did you mean 'relu'"):
        activations.get("ReLU")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"beta": 0.0}, r"beta must be positive, got 0\.0; try activation\.beta=1\.0"),
        ({"beta": -2}, "beta must be positive, got -2"),
        ({"beta": math.nan}, "beta must be a finite number, got nan"),
        ({"beta": math.inf}, "beta must be a finite number, got inf"),
        ({"beta": "4"}, "beta must be a finite number, got '4'"),
        ({"bta": 1.0}, r"'softplus' has no parameter 'bta' \(it has: beta\)"),
    ],
)
def test_bad_parameter(parameters, message):
    with pytest.raises(ValueError, match=message):
        activations.get("softplus", **parameters)


def test_negative_slope_may_have_any_sign():
    assert activations.get("leaky_relu", negative_slope=-1.0)(X).equal(X.abs())


@pytest.mark.parametrize("name", activations.names())
def test_copy_and_pickle(name):
    activation = activations.get(name)
    for twin in (copy.deepcopy(activation), pickle.loads(pickle.dumps(activation))):
        assert twin == activation
        assert twin(X).equal(activation(X))
        assert twin.derivative(X).equal(activation.derivative(X))


def test_pickle_reaches_another_process(tmp_path):
    activation = activations.get("softplus", beta=4.0)
    (tmp_path / "activation.pkl").write_bytes(pickle.dumps(activation))
    code = (
        "import pickle, sys, torch; a = pickle.load(open(sys.argv[1], 'rb'));"
        "print(a.name, a(torch.zeros(())).item(), a.derivative(torch.zeros(())).item())"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "activation.pkl")]
    name, value, slope = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert name == "softplus(beta=4)"
    assert float(value) == pytest.approx(math.log(2) / 4, rel=1e-6)  # float32
    assert float(slope) == 0.5


def test_cached_profile_survives_copies():
    activation = activations.get("sin")
    profile = activation.profile
    assert activation.profile is profile
    assert copy.deepcopy(activation).profile == pickle.loads(pickle.dumps(activation)).profile == profile


def test_registering_makes_a_function_known(monkeypatch):
    monkeypatch.setattr(registry, "_FUNCTIONS", dict(registry._FUNCTIONS))
    monkeypatch.setattr(registry, "_DERIVATIVES", dict(registry._DERIVATIVES))

    @activations.register
    def bent(x, *, curve: registry.Positive = 1.0):
        return x + curve * x.square()

    @activations.derivative_of(bent)
    def bent_derivative(x, *, curve: registry.Positive = 1.0):
        return 1 + 2 * curve * x

    assert "bent" in activations.names()
    assert activations.get("bent", curve=2.0).derivative(X).equal(1 + 4 * X)
    with pytest.raises(ValueError, match="curve must be positive"):
        activations.get("bent", curve=0.0)


def test_a_name_is_registered_once():
    def tanh(x):
        return x

    with pytest.raises(ValueError, match=r"'tanh' is already registered by ntkode\.activations\.functions"):
        activations.register(tanh)


def rational_activation(x):
    return x / (1 + x * x)


@pytest.mark.parametrize(
    ("path", "expected"),
    [("torch.nn.functional.silu", "silu"), ("torch.nn.functional.gelu", "gelu"), ("torch.tanh", "tanh")],
)
def test_yaml_pointing_at_a_callable(path, expected):
    config = {
        "_target_": "ntkode.activations.from_callable",
        "function": {"_target_": "hydra.utils.get_method", "path": path},
    }
    activation = instantiate(config)
    registered = activations.get(expected)
    assert activation.name == expected
    assert activation(X).equal(registered(X))
    # The closed form against autograd of the same function.
    torch.testing.assert_close(activation.derivative(X), registered.derivative(X), rtol=1e-12, atol=1e-13)
    assert pickle.loads(pickle.dumps(activation))(X).equal(activation(X))


def test_yaml_pointing_at_a_module_of_the_users(tmp_path, monkeypatch):
    (tmp_path / "my_package.py").write_text("def my_function(x):\n    return x / (1 + x * x)\n")
    monkeypatch.syspath_prepend(tmp_path)
    yaml = (
        "_target_: ntkode.activations.from_callable\n"
        "function: {_target_: hydra.utils.get_method, path: my_package.my_function}\n"
    )
    activation = instantiate(OmegaConf.create(yaml))
    assert activation.name == "my_function"
    assert activation.profile.parity == "odd"
    assert activation.profile.lipschitz == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize(
    ("function", "name", "expected"),
    [
        (nn.Softplus(beta=2.0), "softer", "softer"),
        (nn.GELU(), None, "GELU"),
        (rational_activation, None, "rational_activation"),
        (partial(torch.nn.functional.leaky_relu, negative_slope=0.3), None, "leaky_relu"),
    ],
)
def test_from_callable(function, name, expected):
    activation = activations.from_callable(function, name)
    assert activation.name == expected
    assert activation(X).equal(function(X))
    z = X.clone().requires_grad_()
    (slope,) = torch.autograd.grad(function(z).sum(), z)
    torch.testing.assert_close(activation.derivative(X), slope, rtol=1e-12, atol=1e-13)
    assert copy.deepcopy(activation)(X).equal(pickle.loads(pickle.dumps(activation))(X))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("tanh", "must be callable, got 'tanh'"),
        (nn.PReLU(), "'PReLU' has parameters"),
        (nn.ReLU(inplace=True), "'ReLU' changes its input in place"),
        (nn.Softmax(dim=0), "'Softmax' is not elementwise, or is random"),
        (nn.Dropout(0.5), "'Dropout' is not elementwise, or is random"),
        (torch.sum, "'sum' must return a tensor of its input's shape"),
        (torch.Tensor.float, "'float' must return a tensor of its input's shape and dtype"),
        (torch.log, "'log' is not finite"),
        (torch.nn.functional.hardsigmoid, r"torch cannot differentiate .*hardsigmoid.* 2 times"),
    ],
)
def test_bad_callable_is_refused(function, message):
    with pytest.raises(ValueError, match=message):
        activations.from_callable(function)


def test_a_misspelt_name_in_yaml_keeps_its_message():
    with pytest.raises(InstantiationException, match="Try activation=relu"):
        instantiate({"_target_": "ntkode.activations.get", "name": "rellu"})
