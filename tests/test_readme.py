"""What the README tells its readers to type, at smoke size."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
RUNS = [
    line.split("#")[0].strip() for line in README.splitlines() if line.startswith("python benchmarks/run.py")
]
SMALL = ["size=smoke", "dataset=digits", "metrics=cheap", "logger=none"]


def run(arguments, cwd):
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("command", RUNS)
def test_commands_run(command, tmp_path):
    script, *overrides = shlex.split(command)[1:]
    script = str(ROOT / script)
    if "--help" in overrides:
        assert "activation" in run([script, "--help"], tmp_path)
        return
    if any(override.startswith("experiment=") for override in overrides):
        pytest.skip(
            "is run by CI itself (make smoke), or with a smaller grid by tests/benchmarks/test_experiments.py"
        )
    kept = [o for o in overrides if not o.startswith(("size=", "dataset"))]
    small = [o for o in SMALL if o.split("=")[0] not in {k.split("=")[0] for k in kept}]
    stdout = run(
        [script, *kept, *small, "width=w64"] if "width" not in command else [script, *kept, *small], tmp_path
    )
    assert "done" in stdout
    table = run([str(ROOT / "benchmarks" / "report.py")], tmp_path)
    assert "done" in table


def test_there_are_commands_to_test():
    assert len(RUNS) >= 6


def test_python_examples_run(tmp_path, monkeypatch, capsys):
    blocks = re.findall(r"```python\n(.*?)```", README, re.S)
    blocks = [block for block in blocks if "ntkode.ntk" in block or "ntkode.gradients" in block]
    assert len(blocks) == 3
    exec(compile("\n".join(blocks), "README.md", "exec"), {})  # each goes on from those before
    told = capsys.readouterr().out
    assert "lambda_min" in told
    assert "C^inf" in told
