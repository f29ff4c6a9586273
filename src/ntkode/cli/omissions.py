"""What commands that read stored results leave out, printed in place of Python's warnings."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console

from ntkode.results import LeftOut


@contextmanager
def printed_omissions(console: Console) -> Iterator[list[str]]:
    """Print each `LeftOut` warning of the `with` block once, in red; yields the list of their texts."""
    texts: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("always", LeftOut)
        show = warnings.showwarning

        def collect(message: Warning | str, category: type[Warning], *place: Any, **keywords: Any) -> None:
            if not issubclass(category, LeftOut):
                show(message, category, *place, **keywords)
            elif str(message) not in texts:
                texts.append(str(message))
                console.print(texts[-1], style="red", highlight=False, markup=False, soft_wrap=True)

        warnings.showwarning = collect
        yield texts


@contextmanager
def refused_omissions() -> Iterator[None]:
    """Make `LeftOut` warnings of the `with` block errors, where results are of use only if complete."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", LeftOut)
        yield
