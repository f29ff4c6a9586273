"""The `key=value` arguments of the scripts that take no config."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from ntkode.checks import count


def parse_pairs(
    about: str,
    keys: Mapping[str, str],
    arguments: Sequence[str],
    *,
    flags: Mapping[str, str] | None = None,
    others: str | None = None,
) -> tuple[dict[str, str], argparse.Namespace]:
    """The `key=value` pairs among `arguments`; exits with a message on anything else.

    Args:
        about: the first part of the `--help` text.
        keys: meaning of each key.
        arguments: the command line.
        flags: meaning of each `--flag`.
        others: meaning of keys outside `keys`; None if these are refused.

    Returns:
        The values by key, and the flags.
    """
    key_lines = "\n".join(f"  {key}=…  {meaning}" for key, meaning in keys.items())
    parser = argparse.ArgumentParser(
        description=f"{about.strip()}\n\n{key_lines}" + (f"\n  KEY=…  {others}" if others else ""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "pairs", nargs="*", metavar="key=value", help=f"any of {', '.join(keys)}" if keys else others
    )
    for flag, meaning in (flags or {}).items():
        parser.add_argument(flag, action="store_true", help=meaning)
    parsed = parser.parse_intermixed_args(arguments)
    settings = {}
    for pair in parsed.pairs:
        key, _, value = pair.partition("=")
        if not value or (key not in keys and others is None):
            parser.error(f"cannot read {pair!r}: give {', '.join(f'{key}=…' for key in keys or ['KEY'])}")
        settings[key] = value
    return settings, parsed


def whole_pair(key: str, text: str, *, least: int = 1) -> int:
    """The value `text` of `key` as an integer.

    Raises:
        ValueError: it is not an integer, or is less than `least`.
    """
    return count(key, int(text) if text.isdecimal() else text, least=least)


def folder_pair(key: str, folder: Path | str) -> Path:
    """The value of `key` as a folder that exists or can be created.

    Raises:
        ValueError: `folder`, or a folder above it, is a file.
    """
    path = Path(folder)
    file = next((part for part in (path, *path.parents) if part.is_file()), None)
    if file is not None:
        raise ValueError(f"{key}={folder}: {file} is a file: give a folder, as in {key}=FOLDER")
    return path
