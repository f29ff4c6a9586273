"""What a study's report is: a function from its runs to tables, a picture, and what the terminal shows."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from rich.console import RenderableType

from ntkode.report.claims.claims import Judgement


@dataclass(frozen=True)
class Report:
    """What a sweep's runs of one study come to.

    Attributes:
        name: of the picture's files.
        tables: what goes to CSV files, by the file's name.
        shown: what the terminal shows.
        figure: the picture, if the study has one.
        judgements: the verdicts on its claims; a table of them is among `tables`.
    """

    name: str
    tables: dict[str, pd.DataFrame]
    shown: RenderableType
    figure: Figure | None = None
    judgements: tuple[Judgement, ...] = ()


StudyReport = Callable[[pd.DataFrame, Path], Report]
"""Makes the report from the study's runs (see `ntkode.results.load`) and the results folder."""
