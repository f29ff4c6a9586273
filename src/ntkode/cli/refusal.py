"""How scripts end if they cannot do what they are asked: one message, the same way for all."""

import os
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from ntkode.results import LeftOut, NoResults, RecordUnreadable
from ntkode.results.foreign_text import visible

P = ParamSpec("P")
R = TypeVar("R")
BROKEN_PIPE = 141  # as of a program that SIGPIPE ends


def one_message(
    script: str, remedy: str, *refusals: type[Exception]
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a script's `main`: it exits with one message on `refusals`, and on files out of reach.

    The latter are files and folders that cannot be read or written, for any reason, and missing or damaged
    results. Nothing is printed if whoever reads the output has closed it, as `head` does.

    Args:
        script: the script's name, which precedes the message.
        remedy: what to change if a file or folder cannot be read or written.
        refusals: further exceptions that say in words what the user can change.
    """
    refused: tuple[type[Exception], ...] = (NoResults, RecordUnreadable, LeftOut, *refusals)

    def decorated(main: Callable[P, R]) -> Callable[P, R]:
        @wraps(main)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return main(*args, **kwargs)
            except BrokenPipeError:
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
                sys.exit(BROKEN_PIPE)
            except OSError as error:
                sys.exit(visible(f"{script}: {out_of_reach(error)}: {remedy}"))
            except refused as error:
                sys.exit(visible(f"{script}: {error}"))

        return guarded

    return decorated


def out_of_reach(error: OSError) -> str:
    """The path that an error names, and why it cannot be read or written."""
    if error.filename is None or error.strerror is None:
        return str(error)
    return f"{os.fsdecode(error.filename)} cannot be read or written ({error.strerror})"


def check_writable(key: str, path: Path) -> None:
    """Check, before a long computation, that the file `path`, the value of `key`, can be written.

    Missing folders are created.

    Raises:
        OSError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new = not path.exists()
        with path.open("ab"):
            pass
        if new:
            path.unlink()
    except OSError as error:
        raise OSError(f"{key}={path} cannot be written ({error.strerror})") from error
