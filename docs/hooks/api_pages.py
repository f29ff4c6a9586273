"""The pages of the Python API: one per package, with a mkdocstrings directive per public name."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGES = (
    "activations",
    "integrate",
    "models",
    "gradients",
    "ntk",
    "theory",
    "losses",
    "data",
    "metrics",
    "training",
    "results",
    "studies",
)


def pages(sources: Path) -> dict[str, str]:
    """Map each page's file name to its Markdown.

    Args:
        sources: the folder of the package `ntkode`.
    """
    return {f"{name}.md": _page(sources, name) for name in PACKAGES}


def public_names(tree: ast.Module) -> list[str]:
    """`__all__` of a package, or the public classes and functions that a module defines."""
    for statement in tree.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id="__all__")], value=value):
                return list(ast.literal_eval(value))
    defined = (s.name for s in tree.body if isinstance(s, ast.ClassDef | ast.FunctionDef))
    return [each for each in defined if not each.startswith("_")]


def _page(sources: Path, name: str) -> str:
    package = sources / name / "__init__.py"
    tree = ast.parse((package if package.exists() else sources / f"{name}.py").read_text())
    modules = {path.stem for path in (sources / name).glob("*.py")}
    # A function named like its module needs the module in its path.
    paths = (
        f"{each}.{each}" if each in modules else each for each in sorted(public_names(tree), key=str.lower)
    )
    return "\n".join(
        [
            f"# ntkode.{name}\n\n{ast.get_docstring(tree)}\n",
            *(f"::: ntkode.{name}.{path}\n" for path in paths),
        ]
    )
