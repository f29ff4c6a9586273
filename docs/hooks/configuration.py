"""The configuration reference, generated from the files of conf/."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from conf_files import Choice, Key, choices, default_choices, groups, read_choice
from markdown_text import code, escaped, table
from ntkode.cli.choices import BASIC

# Groups whose files are shown in full, because the file is easier to read than a list of keys.
IN_FULL = ("experiment",)


def reference(conf: Path) -> str:
    """All groups, choices and keys, as Markdown.

    Args:
        conf: the folder of config files.
    """
    defaults = default_choices(conf)
    parts = [_overview(conf, defaults), "## Keys of a run {#keys}\n", _top_level(conf)]
    parts += [_group(conf, group, defaults[group]) for group in groups(conf)]
    return "\n".join(parts)


def _overview(conf: Path, defaults: dict[str, str | None]) -> str:
    rows = [
        [f"[`{group}`](#{_anchor(group)})", code(defaults[group] or "none"), str(len(choices(conf, group)))]
        for group in groups(conf)
    ]
    return table(["group", "default", "choices"], rows)


def _top_level(conf: Path) -> str:
    config = read_choice(conf / "config.yaml", "", "config")
    config.keys = [key for key in config.keys if not key.name.startswith("hydra.")]
    return _key_table(_merged([config]))


def _group(conf: Path, group: str, default: str | None) -> str:
    group_choices = choices(conf, group)
    rows = [
        [_marked(choice.name, default), escaped(choice.line), _builds(choice)] for choice in group_choices
    ]
    if group in BASIC:
        rows.append([_marked("basic", default), BASIC[group], ""])
    if not any(row[2] for row in rows):
        rows = [row[:2] for row in rows]
    parts = [f"## `{group}` {{#{_anchor(group)}}}\n"]
    if default is None:
        parts.append("None by default.\n")
    parts.append(table(["choice", "description", "builds"][: len(rows[0])], rows))
    if group in IN_FULL:
        parts += [_whole(choice) for choice in group_choices]
        return "\n".join(parts)
    parts += [_begins(choice) for choice in group_choices if choice.begins_with]
    keys = _merged(group_choices)
    if keys:
        parts.append(_key_table(keys))
    parts += [_notes(choice) for choice in group_choices if choice.notes]
    return "\n".join(parts)


def _merged(group_choices: list[Choice]) -> list[list[str]]:
    """One row per key: its values, each with its choices unless all agree, and its comments."""
    by_name: dict[str, list[tuple[str, Key]]] = {}
    for choice in group_choices:
        for key in choice.keys:
            by_name.setdefault(key.name, []).append((choice.name, key))
    return [
        [code(name), _values(held, len(group_choices)), _meaning(key for _, key in held)]
        for name, held in by_name.items()
    ]


def _values(held: list[tuple[str, Key]], choices: int) -> str:
    of: dict[str, list[str]] = {}
    for choice, key in held:
        of.setdefault(key.value, []).append(choice)
    if len(of) == 1 and len(held) == choices:
        return code(held[0][1].value)
    return "<br>".join(f"{code(value)} ({', '.join(names)})" for value, names in of.items())


def _meaning(keys: Iterable[Key]) -> str:
    return "<br>".join(escaped(comment) for comment in dict.fromkeys(key.comment for key in keys) if comment)


def _key_table(rows: list[list[str]]) -> str:
    commented = any(row[2] for row in rows)
    return table(
        ["key", "default", "meaning"][: 3 if commented else 2], [row[: 3 if commented else 2] for row in rows]
    )


def _marked(name: str, default: str | None) -> str:
    return f"**`{name}`** (default)" if name == default else f"`{name}`"


def _builds(choice: Choice) -> str:
    return code(choice.target) if choice.target else ""


def _begins(choice: Choice) -> str:
    return f"`{choice.name}` begins with {', '.join(map(code, choice.begins_with))}.\n"


def _notes(choice: Choice) -> str:
    return f"`{choice.name}`: {escaped(' '.join(choice.notes))}\n"


def _whole(choice: Choice) -> str:
    body = "\n".join(f"    {line}" if line else "" for line in choice.text.rstrip().splitlines())
    return f'??? example "experiment={choice.name}"\n\n    ```yaml\n{body}\n    ```\n'


def _anchor(group: str) -> str:
    return group.replace("/", "-")
