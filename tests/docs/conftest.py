"""Import the modules of docs/hooks, as MkDocs does."""

import importlib
import sys
from pathlib import Path

import pytest

HOOKS = Path(__file__).resolve().parents[2] / "docs" / "hooks"


@pytest.fixture(scope="module")
def hook():
    """A module of docs/hooks by its name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(HOOKS))
        yield importlib.import_module
    for path in HOOKS.glob("*.py"):
        sys.modules.pop(path.stem, None)
