"""Imports point one way: a module of ntkode imports its own package and packages below it."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import ntkode

SOURCES = Path(ntkode.__file__).parent
# Each package, lowest first, and the packages directly below it: it may import them and all below them.
BELOW: dict[str, tuple[str, ...]] = {
    "checks": (),
    "files": (),
    "orphans": (),
    "ranks": (),
    "signals": (),
    "results": ("checks", "files"),
    "report": ("results",),
    "tracking": ("results", "ranks", "signals"),
    "activations": ("checks",),
    "losses": ("checks",),
    "data": ("checks", "files", "ranks"),
    "integrate": ("activations", "ranks", "signals"),
    "models": ("integrate",),
    "gradients": ("models", "losses"),
    "ntk": ("models", "losses"),
    "theory": ("gradients", "ntk"),
    "training": ("theory", "data"),
    "metrics": ("training",),
    "studies": ("metrics", "tracking"),
    "execution": ("studies", "report", "orphans"),  # the monitor formats numbers as the report does
    "advice": ("execution",),
    "cli": ("advice",),
}
ALLOWED: dict[str, set[str]] = {}
for _package, _below in BELOW.items():
    ALLOWED[_package] = {_package, *_below}.union(*(ALLOWED[name] for name in _below))


class Import(NamedTuple):
    """An import of an ntkode module: file, line and imported module."""

    path: Path
    line: int
    module: str


def imports_of(source: str, path: Path) -> Iterator[Import]:
    """All imports of ntkode in a file, those inside functions and under TYPE_CHECKING included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative imports hide the order"
            if node.module == "ntkode":
                yield from (Import(path, node.lineno, f"ntkode.{alias.name}") for alias in node.names)
            elif (node.module or "").startswith("ntkode."):
                yield Import(path, node.lineno, str(node.module))
        elif isinstance(node, ast.Import):
            names = (alias.name for alias in node.names)
            yield from (Import(path, node.lineno, name) for name in names if name.startswith("ntkode."))


def breaches(package: str, imports: Iterator[Import]) -> list[str]:
    """A line for each import that `package` may not have."""
    return [
        f"{one.path}:{one.line}: {package} imports {one.module}, which is not below it"
        for one in imports
        if one.module.split(".")[1] not in ALLOWED[package]
    ]


def files_of(package: str) -> list[Path]:
    module = SOURCES / f"{package}.py"
    return [module] if module.exists() else sorted((SOURCES / package).rglob("*.py"))


@pytest.mark.parametrize("package", BELOW)
def test_imports_point_down(package):
    files = files_of(package)
    assert files
    broken = [line for path in files for line in breaches(package, imports_of(path.read_text(), path))]
    assert not broken, "\n".join(broken)


def test_every_package_has_a_place_in_the_order():
    packages = {
        path.stem for path in SOURCES.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert packages - {"__init__"} == set(ALLOWED)


@pytest.mark.parametrize(
    "planted",
    [
        "from ntkode.report import base",
        "import ntkode.studies.training",
        "from ntkode import execution",
        "def late():\n    from ntkode.training import TrainingModule",
    ],
)
def test_a_planted_breach_is_named_with_its_line(planted):
    path = Path("src/ntkode/models/base.py")
    (line,) = breaches("models", imports_of(planted, path))
    number = 2 if planted.startswith("def") else 1
    assert line.startswith(f"{path}:{number}: models imports ntkode.")


def test_modules_import_one_another_in_no_circle():
    """Only imports at import time count, not those inside functions."""
    graph = {module_of(path): top_level(path) for path in SOURCES.rglob("*.py") if path.name != "__init__.py"}
    ended: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " → ".join([*trail[trail.index(module) :], module])
        if module in graph and module not in ended:
            for imported in graph[module]:
                visit(imported, (*trail, module))
            ended.add(module)

    for module in graph:
        visit(module, ())


def module_of(path: Path) -> str:
    return ".".join(("ntkode", *path.relative_to(SOURCES).with_suffix("").parts))


def top_level(path: Path) -> set[str]:
    """Modules that the file's own statements import (packages by their modules, not their `__init__`)."""
    imported = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ntkode"):
            imported |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return imported
