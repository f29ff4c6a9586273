"""The stored provenance of a run's numbers."""

import json
import shutil
import subprocess

import numpy
import pytest
import torch

from ntkode.results import SOURCES_SHA256, provenance
from ntkode.results.provenance import code_version
from ntkode.results.secrets import without_secrets


def recorded():
    return provenance(
        seeds={"init": 0}, dataset={"source": "embedded", "sha256": "ab"}, threads=1, device="cpu"
    )


def test_it_holds_what_is_asked_and_is_json():
    stored = json.loads(json.dumps(recorded()))
    assert stored["packages"]["numpy"] == numpy.__version__
    assert stored["seeds"] == {"init": 0}
    assert stored["dataset"]["sha256"] == "ab"
    assert (stored["threads"], stored["device"]) == (1, "cpu")
    assert stored["hardware"]["cores"] >= 1
    assert stored["hardware"]["memory_bytes"] > 2**28
    assert stored["hardware"]["cpu"]
    assert stored["recorded"].endswith("+00:00")


@pytest.mark.parametrize("deterministic", [False, True])
def test_it_says_how_pytorch_computes(deterministic):
    torch.use_deterministic_algorithms(deterministic)
    convolutions = torch.backends.cudnn.allow_tf32
    try:
        torch.backends.cudnn.allow_tf32 = False
        assert recorded()["arithmetic"] == {"deterministic": deterministic, "tf32": False}
        torch.backends.cudnn.allow_tf32 = True
        assert recorded()["arithmetic"]["tf32"]
        torch.backends.cudnn.allow_tf32 = False
        torch.set_float32_matmul_precision("high")
        assert recorded()["arithmetic"]["tf32"]
    finally:
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = convolutions
        torch.use_deterministic_algorithms(False)


def test_the_record_holds_the_digest_of_the_loaded_code():
    assert recorded()["sources_sha256"] == SOURCES_SHA256


def test_without_git_the_commit_is_none(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert recorded()["git"] == {"commit": None, "dirty": None}


@pytest.fixture
def checkout(tmp_path):
    if shutil.which("git") is None:
        pytest.skip("git is not installed")

    def git(*arguments):
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        done = subprocess.run(["git", "-C", tmp_path, *identity, *arguments], check=True, capture_output=True)
        return done.stdout.decode().strip()

    git("init", "-q")
    code = tmp_path / "code.py"
    code.write_text("1")
    return git, code


def test_commit_and_dirty_flag(checkout):
    git, code = checkout
    assert code_version(code) == {"commit": None, "dirty": None}  # a file that the checkout does not track
    git("add", ".")
    git("commit", "-qm", "x")
    assert code_version(code) == {"commit": git("rev-parse", "HEAD"), "dirty": False}
    code.write_text("2")
    assert code_version(code)["dirty"] is True


def test_secrets_never_reach_the_record(monkeypatch):
    arguments = [
        "run.py",
        "logger.api_key=abc",
        "hf_token=def",
        "note=0123456789abcdef",
        "dataset.max_tokens=64",
    ]
    environment = {"WANDB_API_KEY": "0123456789abcdef", "HOME": "run.py"}
    assert without_secrets(arguments, environment) == [
        "run.py",
        "logger.api_key=***",
        "hf_token=***",
        "note=***",
        "dataset.max_tokens=64",
    ]
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef")
    monkeypatch.setattr("sys.argv", ["run.py", "x=0123456789abcdef"])
    assert recorded()["command"] == ["run.py", "x=***"]
