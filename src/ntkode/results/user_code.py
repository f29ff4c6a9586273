"""Digests of the code outside ntkode that a config names: a user's activations, data sets and models."""

import ast
import hashlib
import sys
from collections.abc import Iterator, Mapping
from importlib.machinery import all_suffixes
from importlib.util import find_spec, resolve_name
from pathlib import Path
from typing import Any

from ntkode.results.identity import NOT_IDENTIFYING

# Packages whose versions the provenance records, and Python's own modules.
VERSIONED = frozenset(
    {"hydra", "lightning", "ntkode", "numpy", "omegaconf", "scipy", "torch", "torchdiffeq", "wandb"}
)
# Names of the folders of installed packages, each of which counts alone.
INSTALLED = ("site-packages", "dist-packages")
# Functions of Hydra whose argument `path` names what they return.
LOOKUPS = frozenset(f"hydra.utils.get_{kind}" for kind in ("class", "method", "object", "static_method"))


def user_code(config: Mapping[str, Any]) -> dict[str, str]:
    """Digests of the modules outside ntkode on which the numbers of a run depend, by module name.

    These are the modules of every `_target_`, and of every `path` of `hydra.utils.get_method` and the like,
    with the packages that contain them and the modules beside them that they import. Nothing is imported.
    Packages whose versions the provenance records, and the standard library, are left out.

    Args:
        config: the resolved config as plain values.

    Returns:
        The sha256 (64 hexadecimal digits) of each module's file.
    """
    identifying = {key: value for key, value in config.items() if key not in NOT_IDENTIFYING}
    files: dict[str, Path] = {}
    for name in sorted(set(_named(identifying))):
        _add(name, files)
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in sorted(files.items())}


def _named(node: Any) -> Iterator[str]:
    """The dotted names in a config by which Hydra finds classes and functions."""
    if isinstance(node, Mapping):
        target, path = node.get("_target_"), node.get("path")
        if isinstance(target, str):
            yield target
        if target in LOOKUPS and isinstance(path, str):
            yield path
        node = list(node.values())
    if isinstance(node, list):
        for item in node:
            yield from _named(item)


def _add(name: str, files: dict[str, Path], beside: Path | None = None) -> None:
    """Add the modules of a dotted name and what they import; only modules below `beside`, if given."""
    for module, path in _modules(name):
        root = path.parents[module.count(".") + (path.stem == "__init__")]
        if module in files or beside not in (None, root):
            continue
        files[module] = path
        for imported in _imports(path, module):
            if root.name not in INSTALLED or imported.split(".")[0] == module.split(".")[0]:
                _add(imported, files, root)


def _modules(name: str) -> Iterator[tuple[str, Path]]:
    """The packages and the module along a dotted name, the outermost first, with their files."""
    top, *parts = name.split(".")
    if not top or top in VERSIONED or top in sys.stdlib_module_names:
        return
    try:
        spec = find_spec(top)  # imports nothing
    except (ValueError, ImportError):  # a module without a spec, such as __main__
        return
    if spec is None:
        return
    if spec.origin is not None and spec.has_location:
        yield top, Path(spec.origin)
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    for part in parts:
        places, top = [folder / part for folder in folders], f"{top}.{part}"
        path = next((path for place in places for path in _files_of(place) if path.is_file()), None)
        if path is not None:
            yield top, path
            places = [path.parent] if path.stem == "__init__" else []
        folders = places


def _files_of(place: Path) -> Iterator[Path]:
    """The files that may hold the module or the package at `place`."""
    yield place / "__init__.py"
    yield from (place.with_name(place.name + suffix) for suffix in all_suffixes())


def _imports(path: Path, module: str) -> Iterator[str]:
    """The dotted names that a Python file imports, in functions too; none if it cannot be parsed."""
    if path.suffix != ".py":
        return
    try:
        tree = ast.parse(path.read_bytes())
    except SyntaxError:
        return
    package = module if path.stem == "__init__" else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            try:
                origin = resolve_name("." * node.level + (node.module or ""), package)
            except ImportError:  # relative, beyond the package
                continue
            yield from (f"{origin}.{alias.name}" for alias in node.names)
