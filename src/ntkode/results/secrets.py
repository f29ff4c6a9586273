"""Masking of secrets in what is written: records, indices, names of sweeps, and what W&B receives.

A secret is recognised by the name of its key (`api_key`, `hf_token`, `password`, …) or by its form in an
address, `user:password@`.
"""

import re
import sys
import traceback
from collections.abc import Iterable, Mapping
from typing import Any

MASK = "***"
_NAMES = r"(?:api|access|secret|private|auth)?_?key|token|secret|password|passwd|passphrase|pwd|credentials?"
# Names of columns of data and of symbols of a vocabulary, which end like a secret's.
_HARMLESS = (
    r"(?:bos|class|cls|column|data|eos|feature|group|image|input|item|label|mask|output|pad|primary|row|sep|"
    r"sort|target|text|unk)[_-](?:key|token)"
)
_NAME = re.compile(rf"(?:^|[._-])(?:{_NAMES})$", re.IGNORECASE)
_HARMLESS_NAME = re.compile(rf"(?:^|[._-]){_HARMLESS}$", re.IGNORECASE)
# Lengths are limited, and a match begins with its word, so that long texts take linear time.
_SECRET_WORD = re.compile(_NAMES, re.IGNORECASE)
_PAIR = re.compile(
    r"""(?<![\w./@+~-])(?P<key>[\w./@+~-]{1,200})(?P<sign>=\s?|:\s)"""
    r"""(?P<value>'[^']{0,2000}'|"[^"]{0,2000}"|[^\s'",;)}\]]+)"""
)
# Hydra writes the colon of a swept value with a backslash.
_ADDRESS = re.compile(
    r"(?<![\w.%+-])(?P<user>[\w.%+-]{1,200}\\?:)(?P<password>[^\s/'\"]{1,200})@(?=[\w.\[-])"
)
LEAST = 8
"""Shorter values of environment variables are unlikely to be secrets, and may occur in other text."""


def is_secret(name: str) -> bool:
    """Whether a key, such as `logger.api_key`, has the name of a secret."""
    return bool(_NAME.search(name)) and not _HARMLESS_NAME.search(name)


def masked_text(text: str) -> str:
    """A text with `***` for the values of secret keys (`key=value`, `key: value`) and in `user:***@`."""
    if "@" in text:
        text = _ADDRESS.sub(rf"\g<user>{MASK}@", text)
    return _PAIR.sub(_masked_pair, text) if _SECRET_WORD.search(text) else text


def masked_override(override: str) -> str:
    """An override or argument `key=value`, masked as in `masked_text`, a secret key's value to its end."""
    key, equals, _ = override.partition("=")
    return f"{key}={MASK}" if equals and is_secret(key) else masked_text(override)


def masked(content: Any) -> Any:
    """Plain content (dicts, lists, scalars) with `***` for the values of secret keys, and in its texts."""
    if isinstance(content, Mapping):
        return {key: _masked_value(str(key), value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [masked(item) for item in content]
    return masked_text(content) if isinstance(content, str) else content


def is_masked(content: Any) -> bool:
    """Whether a value or a text in plain content has been masked."""
    if isinstance(content, Mapping):
        return any(map(is_masked, content.values()))
    if isinstance(content, list | tuple):
        return any(map(is_masked, content))
    return isinstance(content, str) and MASK in content


def without_secrets(arguments: Iterable[str], environment: Mapping[str, str]) -> list[str]:
    """Command-line arguments with secrets masked (see `masked_override`).

    The values of environment variables with the names of secrets are masked as well.
    """
    hidden = [value for name, value in environment.items() if is_secret(name) and len(value) >= LEAST]
    cleaned = []
    for argument in arguments:
        argument = masked_override(argument)
        for value in hidden:
            argument = argument.replace(value, MASK)
        cleaned.append(argument)
    return cleaned


def print_traceback() -> None:
    """Print the exception being handled to standard error (a job's `log.txt`), with secrets masked."""
    print(masked_text(traceback.format_exc()), file=sys.stderr)


def _masked_value(key: str, value: Any) -> Any:
    if is_secret(key) and value is not None and not isinstance(value, bool | Mapping | list | tuple):
        return MASK
    return masked(value)


def _masked_pair(pair: re.Match[str]) -> str:
    return f"{pair['key']}{pair['sign']}{MASK}" if is_secret(pair["key"]) else pair[0]
