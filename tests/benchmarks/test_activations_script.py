"""`python benchmarks/activations.py`: the table, the picture, the paths, the errors."""

import subprocess
import sys
from pathlib import Path

import matplotlib.image
import pytest

from ntkode import activations

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "activations.py"


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    folder = tmp_path_factory.mktemp("activations")
    command = [sys.executable, str(SCRIPT)]
    return folder, subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_table_has_a_row_for_every_activation(everything):
    _, finished = everything
    assert finished.returncode == 0, finished.stderr
    rows = {words[0]: words[1:] for line in finished.stdout.splitlines() if (words := line.split())}
    assert set(activations.names()) <= set(rows)
    assert "…" not in finished.stdout  # no cell cut off
    assert max(map(len, finished.stdout.splitlines())) <= 120
    assert " ".join(rows["relu6"]) == "C^0 φ′ 0, 6 1.000 ∞ ∞ ∞ – – 0.18 0.399 0.500 0.282 0.000"
    assert " ".join(rows["cubic"]) == "C^∞ – ∞ ∞ 6.000 0.000 3 odd 0.4 0.000 3.000 0.000 2.449"


def test_picture_is_at_the_printed_path(everything):
    folder, finished = everything
    png, pdf = finished.stdout.splitlines()[-2:]
    assert Path(png) == Path("outputs/activations/activations.png")
    image = matplotlib.image.imread(folder / png)
    assert min(image.shape[:2]) > 1000
    assert image[..., :3].std() > 0.05  # not blank
    assert (folder / pdf).read_bytes().startswith(b"%PDF")


def test_help_has_examples_and_the_default_folder(script):
    finished = script("activations", "--help")
    assert "python benchmarks/activations.py tanh softplus relu" in finished.stdout
    assert "(default: outputs/activations)" in finished.stdout


def test_names_and_folder_can_be_given(script, tmp_path):
    finished = script("activations", "--out", tmp_path / "here", "tanh", "relu")
    assert finished.returncode == 0, finished.stderr
    assert sorted(path.name for path in (tmp_path / "here").iterdir()) == [
        "activations.pdf",
        "activations.png",
    ]
    assert "tanh" in finished.stdout
    assert "softplus" not in finished.stdout


def test_unknown_name_is_one_clear_error(script, tmp_path):
    finished = script("activations", "tahn")
    assert finished.returncode == 2
    assert "unknown activation 'tahn': did you mean 'tanh'?" in finished.stderr
    assert "Traceback" not in finished.stderr
    assert not (tmp_path / "results").exists()
