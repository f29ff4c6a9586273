"""What a study is: it computes one cell (one composed config) and fills one record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from ntkode.results import RunRecord

if TYPE_CHECKING:  # its imports take seconds, which the process that only starts jobs need not pay
    from ntkode.tracking import Tracker

Config = Mapping[str, Any]


class Study(Protocol):
    """Computes one cell."""

    def run(self, config: Config, record: RunRecord, tracker: Tracker) -> None:
        """Compute the cell that `config` describes and store its numbers in `record`.

        Raises:
            Exception: what ended the cell early; a `remedy` attribute names the override to try.
        """
        ...


def build(node: Any) -> Any:
    """The object that a config node describes by `_target_`, or a callable that makes it (`_partial_`).

    Raises:
        Exception: whatever the object's constructor raised, without Hydra's wrapping.
    """
    with _unwrapped():
        return instantiate(node, _convert_="all")


@contextmanager
def _unwrapped() -> Iterator[None]:
    try:
        yield
    except InstantiationException as error:
        if error.__cause__ is None:
            raise
        raise error.__cause__ from None
