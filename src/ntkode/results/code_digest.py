"""A digest of the code that computes numbers, taken when this process imports it."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

COMPUTING_PARTS = (
    "activations",
    "data",
    "gradients",
    "integrate",
    "losses",
    "metrics",
    "models",
    "ntk",
    "ranks",
    "results/summary",
    "studies",
    "theory",
    "training",
)
"""Packages and modules of ntkode on which the numbers of a run depend."""


def sources_digest(package: Path, parts: Sequence[str] = COMPUTING_PARTS) -> str:
    """The sha256 of the names and contents of the Python files of a package's `parts`.

    Args:
        package: the folder of the package.
        parts: folders (with all `*.py` below them) and modules, without suffix; absent ones are skipped.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package)
        if any(name.with_suffix("").is_relative_to(part) for part in parts):
            content = path.read_bytes()
            digest.update(f"{name.as_posix()}:{len(content)}:".encode() + content)
    return digest.hexdigest()


# Computed at import: a long sweep computes with the code it has loaded, even if the files change meanwhile.
SOURCES_SHA256 = sources_digest(Path(__file__).resolve().parents[1])
"""The digest of ntkode's code. Unlike a commit, it covers uncommitted changes and ignores other files."""
