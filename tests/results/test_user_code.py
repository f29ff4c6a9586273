"""Digests of the code that a config names outside ntkode."""

import hashlib
import sys

import pytest

from ntkode.results import user_code


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write an importable Python file; returns its digest."""
    monkeypatch.syspath_prepend(tmp_path)

    def call(name, text=""):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return hashlib.sha256(text.encode()).hexdigest()

    return call


def target(name):
    return {"model": {"activation": {"_target_": name}}}


def test_a_config_of_ntkode_and_recorded_packages_names_none():
    config = {
        "trainer": {"_target_": "lightning.Trainer"},
        "optimizer": {"algorithm": {"_target_": "torch.optim.SGD"}},
        "activation": {"_target_": "ntkode.activations.get", "name": "tanh"},
        "number": {"_target_": "math.sqrt"},
        "absent": [{"_target_": "not_installed.thing"}, {"_target_": ""}, {"_target_": 3}, {"path": "a.b"}],
    }
    assert user_code(config) == {}


def test_the_module_of_a_target(write):
    digest = write("mine_target.py", "def phi(x): return x")
    assert user_code(target("mine_target.phi")) == {"mine_target": digest}
    assert user_code({"list": [target("mine_target.Classes.inner")]}) == {"mine_target": digest}


@pytest.mark.parametrize("kind", ["method", "class", "object", "static_method"])
def test_the_module_that_hydra_looks_up(write, kind):
    digest = write("mine_lookup.py")
    function = {"_target_": f"hydra.utils.get_{kind}", "path": "mine_lookup.phi"}
    assert user_code({"activation": {"function": function}}) == {"mine_lookup": digest}


def test_what_does_not_determine_numbers_is_left_out(write):
    write("mine_logger.py")
    assert user_code({"logger": {"_target_": "mine_logger.Logger"}}) == {}


def test_the_modules_beside_it_that_it_imports(write):
    digests = {
        "mine_a": write("mine_a.py", "import os, torch\nimport mine_b\ndef f():\n    from mine_c import g\n"),
        "mine_b": write("mine_b.py", "import mine_a\nimport not_there\nfrom .wrong import x\n"),
        "mine_c": write("mine_c.py", "this is no Python"),
    }
    write("mine_d.py")
    assert user_code(target("mine_a.f")) == digests


def test_packages_along_the_name_and_relative_imports(write):
    digests = {
        "mine_pack": write("mine_pack/__init__.py", "from . import constants\n"),
        "mine_pack.constants": write("mine_pack/constants.py", "C = 1\n"),
        "mine_pack.sub": write("mine_pack/sub/__init__.py"),
        "mine_pack.sub.nets": write("mine_pack/sub/nets.py", "from ..help import h\nfrom .near import *\n"),
        "mine_pack.sub.near": write("mine_pack/sub/near.py"),
        "mine_pack.help": write("mine_pack/help.py"),
    }
    write("mine_pack/other.py")
    assert user_code(target("mine_pack.sub.nets.Net")) == digests


def test_a_package_without_init(write):
    digest = write("mine_space/inner/nets.py")
    assert user_code(target("mine_space.inner.nets.Net")) == {"mine_space.inner.nets": digest}


def test_of_installed_packages_only_the_one_that_is_named(tmp_path, monkeypatch, write):
    installed = tmp_path / "site-packages"
    monkeypatch.syspath_prepend(installed)
    digests = {
        "mine_installed": write("site-packages/mine_installed/__init__.py", "import mine_needed\n"),
        "mine_installed.net": write(
            "site-packages/mine_installed/net.py", "from mine_installed.deep import x"
        ),
        "mine_installed.deep": write("site-packages/mine_installed/deep.py"),
    }
    write("site-packages/mine_needed.py")
    assert user_code(target("mine_installed.net.Net")) == digests


def test_nothing_is_imported(write):
    write("mine_loud.py", "raise RuntimeError('imported')\n")
    assert list(user_code(target("mine_loud.f"))) == ["mine_loud"]
    assert "mine_loud" not in sys.modules


def test_an_edit_changes_the_digest(write):
    write("mine_edited.py", "def phi(x): return x.tanh()\n")
    before = user_code(target("mine_edited.phi"))
    write("mine_edited.py", "def phi(x): return x.relu()\n")
    assert user_code(target("mine_edited.phi")) != before
