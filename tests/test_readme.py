"""What the README tells its readers to type, at smoke size."""

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
RUNS = [
    line.split("#")[0].strip() for line in README.splitlines() if line.startswith("python benchmarks/run.py")
]
SWEEPS = [command for command in RUNS if " -m " in command]
SMALL = ["size=smoke", "dataset=digits", "metrics=cheap", "logger=none"]


@pytest.fixture
def output(script):
    """What a script prints that ends well."""

    def call(*arguments):
        done = script(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return call


def small(overrides):
    """The overrides at smoke size; a sweep's jobs run one after the other, without workers to start."""
    if "--help" in overrides:
        return overrides
    kept = [o for o in overrides if not o.startswith(("size=", "dataset"))]
    keys = {override.split("=")[0] for override in kept}
    added = [o for o in SMALL if o.split("=")[0] not in keys]
    width = [] if {"width", "model.width"} & keys else ["width=w64"]
    return [*kept, *added, *width, *(["hydra/launcher=basic"] if "-m" in kept else [])]


@pytest.mark.parametrize("command", RUNS)
def test_commands_run(command, output):
    path, *overrides = shlex.split(command)[1:]
    if any(override.startswith("experiment=") for override in overrides):
        pytest.skip(
            "is run by CI itself (make smoke), or with a smaller grid by tests/benchmarks/test_experiments.py"
        )
    stdout = output(Path(path).stem, *small(overrides))
    if "--help" in overrides:
        assert "activation" in stdout
        return
    assert "done" in stdout
    if command == SWEEPS[0]:  # the table, picture and page of the others differ in numbers alone
        assert "done" in output("report")


def test_there_are_commands_to_test():
    assert len(RUNS) >= 6
    assert SWEEPS


def test_python_examples_run(tmp_path, monkeypatch, capsys):
    blocks = re.findall(r"```python\n(.*?)```", README, re.S)
    blocks = [block for block in blocks if "ntkode.ntk" in block or "ntkode.gradients" in block]
    assert len(blocks) == 3
    exec(compile("\n".join(blocks), "README.md", "exec"), {})  # each goes on from those before
    told = capsys.readouterr().out
    assert "lambda_min" in told
    assert "C^inf" in told
