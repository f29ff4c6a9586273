"""Runs without W&B, datasets and mlxtend: only the choices that need them import them."""

import subprocess
import sys
from pathlib import Path

RUN = Path(__file__).parents[1] / "benchmarks" / "run.py"
BLOCK = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"wandb", "wandb_workspaces", "datasets", "mlxtend"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
"""


def test_training_and_kernels_need_neither_wandb_nor_datasets(tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(BLOCK)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    blocked = subprocess.run([sys.executable, "-c", "import wandb"], capture_output=True, check=False)
    assert b"No module named 'wandb'" in blocked.stderr
    small = ("size=smoke", "dataset=digits", "width=w64", "n_train=16", "n_test=16", "metrics=full")
    done = subprocess.run(
        [sys.executable, RUN, *small, "logger=csv", f"results_dir={tmp_path / 'results'}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "done" in done.stdout
