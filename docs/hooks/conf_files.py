"""Parse the files of conf/: first line, keys, defaults, comments."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

HIDDEN = ("hydra/help",)
# Keys that only Hydra reads.
HYDRAS = ("_target_", "_partial_", "defaults")


@dataclass(frozen=True)
class Key:
    """A key of a config file.

    Attributes:
        name: dotted, as in an override.
        value: its default, as in the file.
        comment: the comment after it.
    """

    name: str
    value: str
    comment: str


@dataclass
class Choice:
    """A file of conf/.

    Attributes:
        name: as in an override.
        line: its first comment.
        notes: further comments on separate lines.
        target: the class or function that it builds, or "".
        begins_with: its defaults list, as overrides.
        keys: all keys except those that only Hydra reads.
        text: the content of the file.
    """

    name: str
    line: str
    text: str
    notes: list[str] = field(default_factory=list)
    target: str = ""
    begins_with: list[str] = field(default_factory=list)
    keys: list[Key] = field(default_factory=list)


def groups(conf: Path) -> list[str]:
    """The groups in the order of config.yaml's defaults list."""
    return [group for group in default_choices(conf) if (conf / group).is_dir() and group not in HIDDEN]


def default_choices(conf: Path) -> dict[str, str | None]:
    """Map each group to its choice in config.yaml."""
    entries = yaml.safe_load((conf / "config.yaml").read_text())["defaults"]
    return {
        group.removeprefix("override "): choice
        for entry in entries
        if isinstance(entry, dict)
        for group, choice in entry.items()
    }


def choices(conf: Path, group: str) -> list[Choice]:
    """The choices of a group, sorted by name with numbers by size; a choice in a folder is folder/name."""
    paths = sorted((conf / group).rglob("*.yaml"), key=lambda path: _by_number(path, conf / group))
    return [
        read_choice(path, group, path.relative_to(conf / group).with_suffix("").as_posix()) for path in paths
    ]


def read_choice(path: Path, group: str, name: str) -> Choice:
    """Parse the file of one choice."""
    text = path.read_text()
    lines = text.splitlines()
    comments = [line[1:].strip() for line in lines if line.startswith("#")]
    descriptions = [comment for comment in comments if not comment.startswith("@")]
    at_root = any(comment.startswith("@package _global_") for comment in comments)
    choice = Choice(name, descriptions[0] if descriptions else "", text, notes=descriptions[1:])
    root = yaml.compose(text)
    prefix = "" if at_root else group.replace("/", ".")
    if isinstance(root, yaml.MappingNode):
        for key, node in root.value:
            if key.value == "defaults":
                choice.begins_with = [entry for entry in map(_default, node.value) if entry]
                choice.notes += [comment for each in node.value if (comment := _comment(each, lines))]
        choice.keys = [
            key
            for key in _keys(root, prefix, lines)
            if not (key.value == name and key.name.endswith(("name", "method")))
        ]
        choice.target = _target(root)
    return choice


def _by_number(path: Path, folder: Path) -> tuple[str, int, str]:
    name = path.relative_to(folder).with_suffix("").as_posix()
    return name.rstrip("0123456789"), len(name), name


def _target(root: yaml.MappingNode) -> str:
    return next((node.value for key, node in root.value if key.value == "_target_"), "")


def _default(node: yaml.Node) -> str | None:
    """An entry of a defaults list as an override; None for `_self_`, and for a group without a choice."""
    if isinstance(node, yaml.MappingNode):
        key, value = node.value[0]
        name = key.value.removeprefix("override ").removeprefix("/")
        return None if value.value == "null" else f"{name}={value.value}"
    return None if node.value == "_self_" else str(node.value)


def _keys(node: yaml.MappingNode, prefix: str, lines: list[str]) -> Iterator[Key]:
    for key, value in node.value:
        name = f"{prefix}.{key.value}" if prefix else key.value
        if key.value in HYDRAS:
            continue
        if isinstance(value, yaml.MappingNode) and value.value:
            yield from _keys(value, name, lines)
        else:
            yield Key(name, _source_text(value), _comment(value, lines))


def _source_text(node: yaml.Node) -> str:
    """The text of a value in the file, on one line."""
    start, end = node.start_mark, node.end_mark
    text = str(start.buffer)[start.pointer : end.pointer].rstrip("\0") if start.buffer else str(node.value)
    return re.sub(r"\s+", " ", text).strip()


def _comment(node: yaml.Node, lines: list[str]) -> str:
    """The comment after a value, on its last line."""
    if isinstance(node, yaml.MappingNode) and node.value:  # its end mark is the start of the next node
        return _comment(node.value[-1][1], lines)
    mark = node.end_mark
    rest = lines[mark.line][mark.column :] if mark.line < len(lines) else ""
    comment = re.match(r"\s+#\s*(.*)", rest)
    return comment[1].strip() if comment else ""
