"""Collect wheels for a machine without network that already has PyTorch.

The default packages are what runs and `make gpu` need in addition to PyTorch, Lightning, the scientific
packages and pytest (with pytest-xdist). W&B and datasets are not included: only `logger=wandb`, the default,
and Parquet data need them. All wheels are pure Python, in the tested versions of constraints.txt, so they
install on any platform:

    python -m pip install --no-index --no-deps .wheels/*.whl
    PYTHONPATH=src python benchmarks/perf/gpu.py

docs/running/launchers.md has the commands for a machine without PyTorch.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (
    "antlr4-python3-runtime",
    "hydra-core",
    "hydra-joblib-launcher",
    "mlxtend",
    "omegaconf",
    "torchdiffeq",
)


def collect(packages: Sequence[str], folder: Path) -> list[Path]:
    """Build or download the wheels of `packages` into `folder`, without their dependencies.

    They replace other versions, because pip refuses two versions of a package on one command line.

    Raises:
        SystemExit: a package cannot be collected, its wheel is for one platform only, or the folder cannot be
            written.
    """
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    command += ["--constraint", str(ROOT / "constraints.txt")]
    with tempfile.TemporaryDirectory() as temporary:
        done = subprocess.run([*command, "--wheel-dir", temporary, *packages], check=False)
        if done.returncode:
            raise SystemExit(f"pip could not collect {', '.join(packages)}")
        wheels = sorted(Path(temporary).glob("*.whl"))
        if platform := [wheel.name for wheel in wheels if not wheel.stem.endswith("-none-any")]:
            raise SystemExit(
                f"these wheels are for one platform only: {', '.join(platform)}; "
                "docs/running/launchers.md has the commands that collect all packages for this platform"
            )
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return [_placed(wheel, folder) for wheel in wheels]
        except OSError as error:
            raise SystemExit(f"--into {folder} cannot be written: {error.strerror}") from None


def _placed(wheel: Path, folder: Path) -> Path:
    package = wheel.name.partition("-")[0]
    for other in folder.glob(f"{package}-*.whl"):
        other.unlink()
    return Path(shutil.copy(wheel, folder))


def main(arguments: Sequence[str] | None = None) -> None:
    """Collect the wheels and list them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "packages", nargs="*", default=PACKAGES, metavar="PACKAGE", help=f"default: {' '.join(PACKAGES)}"
    )
    parser.add_argument(
        "--into", type=Path, metavar="FOLDER", default=ROOT / ".wheels", help="folder (default: .wheels)"
    )
    options = parser.parse_args(arguments)
    for wheel in collect(options.packages, options.into):
        print(wheel)


if __name__ == "__main__":
    main()
