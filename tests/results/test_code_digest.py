"""The digest of the code that computes numbers."""

import shutil
from pathlib import Path

import pytest

import ntkode
from ntkode.results import SOURCES_SHA256
from ntkode.results.code_digest import COMPUTING_PARTS, sources_digest

PACKAGE = Path(ntkode.__file__).parent
WITHOUT_NUMBERS = {
    "__init__",
    "advice",
    "checks",
    "cli",
    "execution",
    "files",
    "orphans",
    "report",
    "results",
    "signals",
    "tracking",
}


@pytest.fixture
def package(tmp_path):
    """A copy of the package, to edit."""
    return Path(shutil.copytree(PACKAGE, tmp_path / "ntkode"))


def edit(path):
    assert path.exists()
    path.write_text(path.read_text() + "\n# edited\n")


@pytest.mark.parametrize(
    "file",
    [
        "ntk/spectrum.py",
        "losses.py",
        "training.py",
        "studies/training.py",
        "ntk/empirical/engine.py",
        "ranks.py",
        "results/summary.py",
    ],
)
def test_an_edit_of_code_that_computes_numbers_changes_the_digest(package, file):
    assert sources_digest(package) == SOURCES_SHA256
    edit(package / file)
    assert sources_digest(package) != SOURCES_SHA256


@pytest.mark.parametrize(
    "file",
    ["report/tables/latex.py", "results/load.py", "execution/jobs.py", "tracking/dashboard.py", "signals.py"],
)
def test_an_edit_of_other_code_leaves_the_digest_as_it_is(package, file):
    edit(package / file)
    assert sources_digest(package) == SOURCES_SHA256


def test_a_renamed_file_changes_the_digest_and_one_without_code_does_not(package):
    (package / "data" / "notes.txt").write_text("no code")
    assert sources_digest(package) == SOURCES_SHA256
    (package / "ntk" / "spectrum.py").rename(package / "ntk" / "spectra.py")
    assert sources_digest(package) != SOURCES_SHA256


def test_every_part_of_the_package_is_known_to_compute_numbers_or_not():
    """A new folder or module belongs in COMPUTING_PARTS, or in WITHOUT_NUMBERS above."""
    parts = {
        path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    whole = {part for part in COMPUTING_PARTS if "/" not in part}  # results/summary is part of results
    assert whole <= parts
    assert parts - whole <= WITHOUT_NUMBERS
    assert not whole & WITHOUT_NUMBERS
    assert all((PACKAGE / f"{part}.py").exists() for part in set(COMPUTING_PARTS) - whole)
