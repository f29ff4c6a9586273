"""The provenance of a run's numbers: code, packages, machine, seeds and data."""

import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from ntkode.results.code_digest import SOURCES_SHA256
from ntkode.results.secrets import without_secrets
from ntkode.results.storage import utc_now

PACKAGES = (
    "ntkode",
    "torch",
    "torchdiffeq",
    "lightning",
    "hydra-core",
    "omegaconf",
    "wandb",
    "numpy",
    "scipy",
)


def provenance(
    *, seeds: Mapping[str, Any], dataset: Mapping[str, Any], threads: int, device: str
) -> dict[str, Any]:
    """All that a run's numbers may depend on in addition to the config, and the command that started it.

    Args:
        seeds: seeds by purpose.
        dataset: source, split and sha256 of the data.
        threads: number of torch threads.
        device: torch device of the run, such as `cpu` or `cuda:0`.

    Returns:
        A dict of plain values; `git.commit` and `git.dirty` are None if the code is not in a git checkout.
    """
    return {
        "recorded": utc_now(),
        "git": code_version(),
        "sources_sha256": SOURCES_SHA256,
        "packages": package_versions(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "hardware": hardware(device),
        "device": device,
        "arithmetic": arithmetic(),
        "threads": threads,
        "seeds": dict(seeds),
        "dataset": dict(dataset),
        "command": without_secrets(sys.argv, os.environ),
    }


def hardware(device: str) -> dict[str, Any]:
    """CPU model, number of cores, memory in bytes, and the names of the GPUs if `device` is one."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "gpus": _gpu_names(device),
    }


def arithmetic() -> dict[str, bool]:
    """Whether PyTorch uses only deterministic algorithms, and whether it uses TF32 for float32 on a GPU."""
    import torch

    backends: Any = torch.backends
    operations = (backends.cuda.matmul, backends.cudnn.conv)
    return {
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "tf32": any(operation.fp32_precision == "tf32" for operation in operations),
    }


def package_versions() -> dict[str, str | None]:
    """The versions of `PACKAGES`; None for a package that is not installed."""
    return {name: _version(name) for name in PACKAGES}


def code_version(code: Path = Path(__file__)) -> dict[str, Any]:
    """`commit` and `dirty` flag of the git checkout that tracks the file `code`; both None if none does."""
    # A copy in site-packages may lie inside an unrelated checkout, which does not track it.
    if _git_output(code, "ls-files", "--error-unmatch", code.name) is None:
        return {"commit": None, "dirty": None}
    changes = _git_output(code, "status", "--porcelain")
    return {
        "commit": _git_output(code, "rev-parse", "HEAD"),
        "dirty": None if changes is None else bool(changes),
    }


def _git_output(code: Path, *arguments: str) -> str | None:
    # No optional locks: several jobs may run git at the same time, and the user may be committing.
    command = ["git", "--no-optional-locks", "-C", str(code.parent), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        match = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE)
        if match:
            return match[1]
    return platform.processor() or platform.machine()


def _gpu_names(device: str) -> list[str]:
    # Only for runs on a GPU: the query starts CUDA, which takes seconds.
    if not device.startswith("cuda"):
        return []
    import torch

    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
