"""One page on the newest sweep of each experiment or study: self-contained HTML, with figures as files."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ntkode.files import write_atomically
from ntkode.report.claims.claims import Verdict
from ntkode.report.page.choice import choose
from ntkode.report.page.contents import claim_table, claims_of, tables_of
from ntkode.report.page.intervals import WIDTH
from ntkode.report.page.origins import Origins, origins_of
from ntkode.report.page.pictures import save_all
from ntkode.report.page.sections import Omission, Section, make_sections
from ntkode.report.tables.latex import to_latex
from ntkode.results import NoResults, utc_now
from ntkode.results.foreign_text import csv_text

__all__ = ["NAME", "Page", "write_page"]

NAME = "report.html"
"""Name of the page's file."""


@dataclass(frozen=True)
class Page:
    """The page that `write_page` stored.

    Attributes:
        path: the file of the page.
        sections: number of studies on it.
        verdicts: number of claims by verdict.
        omissions: what is missing and why; the page lists it too.
    """

    path: Path
    sections: int
    verdicts: dict[str, int]
    omissions: tuple[Omission, ...]


def write_page(results_dir: Path | str, out: Path | str, sweeps: Sequence[str] = ()) -> Page:
    """Write the page on `sweeps`, from stored results alone.

    `out` gets `report.html`, which is self-contained; one folder per study with its figure (PNG, PDF) and its
    tables (CSV at full precision, LaTeX); and all claims as `verdicts.csv` and `verdicts.tex`.

    Args:
        results_dir: the results folder.
        out: the output folder.
        sweeps: names of sweeps; by default the newest of each experiment or study.

    Raises:
        NoResults: there are no stored sweeps, one of `sweeps` is not stored, or no stored run can be read.
    """
    results_dir, out = Path(results_dir), Path(out)
    sections, omissions = make_sections(results_dir, choose(results_dir, sweeps))
    if not sections:
        reasons = "; ".join(f"{omission.what}: {omission.why}" for omission in omissions)
        raise NoResults(f"nothing to report in {str(results_dir)!r}: {reasons}")
    origins = origins_of(results_dir, dict.fromkeys(run for section in sections for run in section.run_ids))
    studies = [_write_section(section, out / section.slug, origins) for section in sections]
    _write_verdicts(sections, out)
    verdicts = _counts(sections)
    write_atomically(out / NAME, _rendered(studies, origins, omissions, verdicts))
    return Page(out / NAME, len(sections), verdicts, tuple(omissions))


def _write_section(section: Section, folder: Path, origins: Origins) -> dict[str, Any]:
    """Write the files of a section; return its values for the template."""
    report = section.report
    pictures: list[Path] = []
    picture = None
    if report.figure is not None:
        pictures, picture = save_all(report.figure, folder / report.name)
    for name, table in report.tables.items():
        write_atomically(folder / f"{name}.csv", csv_text(table))
        latex_table = claim_table(report.judgements) if name.endswith("_verdicts") else table
        write_atomically(folder / f"{name}.tex", to_latex(latex_table, _caption(section, name), name))
    run_ids = section.run_ids
    return {
        "slug": section.slug,
        "section": section,
        "picture": picture,
        "pictures": [(path.suffix[1:].upper(), f"{section.slug}/{path.name}") for path in pictures],
        "claims": claims_of(section),
        "sources": list(dict.fromkeys(judgement.claim.source for judgement in report.judgements)),
        "verdict_tables": [name for name in report.tables if name.endswith("_verdicts")],
        "tables": tables_of(section, origins),
        "commits": origins.distinct("commit", run_ids),
        "hardware": origins.distinct("hardware", run_ids),
        "dates": origins.dates(run_ids),
        "command": next(iter(origins.distinct("command", run_ids)), ""),
        "codes": sorted({origins.letter(run_id) for run_id in run_ids}),
    }


def _caption(section: Section, name: str) -> str:
    return f"{section.about.title}: {name.replace('_', ' ')} (sweep {section.choice.sweep})."


def _write_verdicts(sections: Sequence[Section], out: Path) -> None:
    """Write all claims as one table, if there are any."""
    tables = [
        table
        for section in sections
        for name, table in section.report.tables.items()
        if name.endswith("_verdicts")
    ]
    if tables:
        verdicts = pd.concat(tables, ignore_index=True)
        write_atomically(out / "verdicts.csv", csv_text(verdicts))
        claims = claim_table([judgement for section in sections for judgement in section.report.judgements])
        write_atomically(out / "verdicts.tex", to_latex(claims, "The verdicts on all claims.", "verdicts"))


def _counts(sections: Sequence[Section]) -> dict[str, int]:
    verdicts = [judgement.verdict for section in sections for judgement in section.report.judgements]
    return {str(verdict): verdicts.count(verdict) for verdict in Verdict}


def _rendered(
    studies: Sequence[dict[str, Any]],
    origins: Origins,
    omissions: Sequence[Omission],
    verdicts: dict[str, int],
) -> str:
    environment = Environment(
        loader=PackageLoader("ntkode.report.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # JSON has no NaN; a browser would reject all of the data.
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    run_ids = list(origins.of)
    return environment.get_template("page.html").render(
        studies=studies,
        origins=origins,
        omissions=omissions,
        verdicts=verdicts,
        created=utc_now()[:16].replace("T", " "),
        hardware=origins.distinct("hardware", run_ids),
        commits=origins.distinct("commit", run_ids),
        dates=origins.dates(run_ids),
        statuses=_statuses(origins),
        style=_asset("vendor/uPlot.min.css") + _asset("page.css"),
        licence=_asset("vendor/LICENSE"),
        script=_asset("vendor/uPlot.iife.min.js") + _asset("page.js"),
        glance_width=WIDTH,
    )


def _statuses(origins: Origins) -> dict[str, int]:
    return {
        name: sum(origin.status == name for origin in origins.of.values())
        for name in origins.distinct("status", origins.of)
    }


def _asset(name: str) -> Markup:
    """A file of `templates`, inserted into the page unescaped."""
    return Markup(files("ntkode.report.page").joinpath("templates", name).read_text("utf-8"))
