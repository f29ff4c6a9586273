"""Examples in the docstrings of ntkode: all run, and the most used public functions have one."""

import doctest
import importlib
import inspect
from pathlib import Path

import pytest
import torch

import ntkode

PACKAGE = Path(ntkode.__file__).parent
PUBLIC = (
    "ntkode.activations.get",
    "ntkode.gradients.gradient_error",
    "ntkode.integrate.Solver",
    "ntkode.models.NeuralODE",
    "ntkode.models.ResNet",
    "ntkode.ntk.empirical_ntk",
    "ntkode.ntk.infinite_width_kernels",
    "ntkode.ntk.kernel_operator",
    "ntkode.ntk.measure_ntk",
    "ntkode.ntk.spectrum",
    "ntkode.results.load",
)


def modules_with_examples():
    for path in sorted(PACKAGE.rglob("*.py")):
        if ">>> " in path.read_text():
            parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
            yield ".".join(parts).removesuffix(".__init__")


@pytest.mark.parametrize("name", list(modules_with_examples()))
def test_examples_give_the_values_printed_in_them(name):
    torch.manual_seed(0)
    results = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert results.attempted > 0
    assert results.failed == 0


@pytest.mark.parametrize("name", PUBLIC)
def test_the_most_used_public_names_have_an_example(name):
    module, attribute = name.rsplit(".", 1)
    assert ">>> " in inspect.getdoc(getattr(importlib.import_module(module), attribute))
