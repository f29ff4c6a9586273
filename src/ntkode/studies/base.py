"""The protocol of a study, which computes one run (one composed config) and fills its record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from ntkode.results import RunRecord

if TYPE_CHECKING:  # the process that starts jobs does not need this import of seconds
    from ntkode.tracking import Tracker

Config = Mapping[str, Any]


class Study(Protocol):
    """Computes one run.

    A study with `distributed = True` runs on all ranks of a run of several processes.
    """

    def run(self, config: Config, record: RunRecord, tracker: Tracker) -> None:
        """Compute the run that `config` describes, and store its numbers in `record`.

        Raises:
            Exception: the run failed; a `remedy` attribute names the override to try.
        """
        ...


def build(node: Any) -> Any:
    """The object that a config node describes by `_target_`, or a callable that makes it (`_partial_`).

    Raises:
        Exception: what the object's constructor raises, without Hydra's wrapping.
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
