"""Names of the package: each class name is used once, so that it has one meaning."""

import ast
from collections import defaultdict
from pathlib import Path

import ntkode

SOURCES = Path(ntkode.__file__).parent


def test_a_class_name_stands_once():
    places = defaultdict(list)
    for path in sorted(SOURCES.rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef):
                places[node.name].append(f"{path.relative_to(SOURCES)}:{node.lineno}")
    assert len(places) > 100
    assert not {name: where for name, where in places.items() if len(where) > 1}
