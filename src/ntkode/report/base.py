"""The report of a study: a function from its runs to tables, a figure and a rendering for the terminal."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from rich.console import RenderableType

from ntkode.report.claims.claims import Judgement


@dataclass(frozen=True)
class Report:
    """The tables, the figure and the verdicts made from the runs of one study.

    Attributes:
        name: stem of the figure's files.
        tables: the tables to store as CSV, by file stem.
        rendering: what the terminal displays.
        figure: the figure, if the study has one.
        judgements: the verdicts on its claims; `tables` contains a table of them.
    """

    name: str
    tables: dict[str, pd.DataFrame]
    rendering: RenderableType
    figure: Figure | None = None
    judgements: tuple[Judgement, ...] = ()


StudyReport = Callable[[pd.DataFrame, Path], Report]
"""Makes the report from the study's runs (see `ntkode.results.load`) and the results folder."""
