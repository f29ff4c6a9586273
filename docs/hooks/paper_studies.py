"""The list of paper studies: a row an experiment of conf/experiment/paper."""

from __future__ import annotations

from pathlib import Path

from conf_files import read_choice
from markdown_text import cell, code, table

NONE_YET = "There is no paper study in `conf/experiment/paper/` yet.\n"


def studies(conf: Path, docs: Path) -> str:
    """What each asks, with a link to docs/paper/NAME.md where that has been written, as Markdown.

    Args:
        conf: the folder of config files.
        docs: the folder of pages.
    """
    rows = [_row(path, docs) for path in sorted((conf / "experiment" / "paper").glob("*.yaml"))]
    return table(["experiment", "what it is", "results"], rows) if rows else NONE_YET


def _row(path: Path, docs: Path) -> list[str]:
    page = docs / "paper" / f"{path.stem}.md"
    results = f"[figures and verdicts]({page.name})" if page.exists() else "not yet"
    line = read_choice(path, "experiment", path.stem).line
    return [code(f"experiment=paper/{path.stem}"), cell(line), results]
