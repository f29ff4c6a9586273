"""The table of paper studies: one row per experiment of conf/experiment/paper."""

from __future__ import annotations

from pathlib import Path

from conf_files import read_choice
from markdown_text import code, escaped, table

NONE_YET = "There is no paper study in `conf/experiment/paper/` yet.\n"


def studies(conf: Path, docs: Path) -> str:
    """A Markdown table of each study's question, with a link to docs/paper/NAME.md if that page exists.

    Args:
        conf: the folder of config files.
        docs: the folder of pages.
    """
    rows = [_row(path, docs) for path in sorted((conf / "experiment" / "paper").glob("*.yaml"))]
    return table(["experiment", "question", "results"], rows) if rows else NONE_YET


def _row(path: Path, docs: Path) -> list[str]:
    page = docs / "paper" / f"{path.stem}.md"
    results = f"[figures and verdicts]({page.name})" if page.exists() else "not yet"
    line = read_choice(path, "experiment", path.stem).line
    return [code(f"experiment=paper/{path.stem}"), escaped(line), results]
