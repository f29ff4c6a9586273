"""The hooks that MkDocs calls during the build (mkdocs.yml): generated text, equations, navigation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

import activation_tables
import api_pages
import configuration
import equations
import paper_studies

ROOT = Path(__file__).resolve().parents[2]
CONF, SOURCES, DOCS = ROOT / "conf", ROOT / "src" / "ntkode", ROOT / "docs"
FONT = "assets/STIXTwoMath.woff"
# Each marker line of a page is replaced by the output of its function.
GENERATED = {
    "<!-- configuration -->": lambda: configuration.reference(CONF),
    "<!-- activations -->": lambda: activation_tables.tables(CONF),
    "<!-- studies -->": lambda: paper_studies.studies(CONF, DOCS),
}
_unused: set[str] = set()
_characters: set[str] = set()


def on_config(config: Any) -> Any:
    """Replace a pattern such as `perf/*.md` in the navigation by the pages that match."""
    config["nav"] = [_expanded(entry) for entry in config["nav"]]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages of the Python API."""
    _characters.clear()
    _unused.update(GENERATED)
    for name, text in api_pages.pages(SOURCES).items():
        files.append(File.generated(config, f"reference/api/{name}", content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Replace markers by the generated text."""
    for marker in [marker for marker in GENERATED if marker in markdown]:
        markdown = markdown.replace(marker, GENERATED[marker]())
        _unused.discard(marker)
    return markdown


def on_page_content(html: str, page: Any, config: Any, files: Any) -> str:
    """Convert the equations of a page to MathML."""
    page_html = equations.with_mathml(html, page.file.src_uri)
    _characters.update(equations.mathml_text(page_html))
    return page_html


def on_post_build(config: Any) -> None:
    """Write the font of all equations, and check that every generated text was used.

    Raises:
        ValueError: a marker is on no page.
    """
    if _unused:
        raise ValueError(f"no page has the line {', '.join(sorted(_unused))}")
    path = Path(config["site_dir"]) / FONT
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(equations.math_font("".join(sorted(_characters))))


def _expanded(entry: Any) -> Any:
    if isinstance(entry, dict):
        return {title: _expanded(inside) for title, inside in entry.items()}
    if isinstance(entry, list):
        return [page for inside in entry for page in _as_list(_expanded(inside))]
    if isinstance(entry, str) and "*" in entry:
        matches = (path for path in DOCS.glob(entry) if path.name != "index.md")
        return sorted(path.relative_to(DOCS).as_posix() for path in matches)
    return entry


def _as_list(entry: Any) -> list[Any]:
    return entry if isinstance(entry, list) else [entry]
