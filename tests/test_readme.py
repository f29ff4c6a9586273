"""The commands and code of the README and of the pages it links to, run at smoke size."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
PAGES = {path.relative_to(ROOT).as_posix(): path.read_text() for path in (ROOT / "docs").rglob("*.md")}
RUN = "python benchmarks/run.py"


def runs_of(text):
    """The lines of a text that are commands to start a run or a sweep."""
    return [line.split("#")[0].strip() for line in text.splitlines() if line.startswith(RUN)]


RUNS = runs_of(README)
SWEEPS = [command for command in RUNS if " -m " in command]
SMALL = ["size=smoke", "dataset=digits", "metrics=cheap", "logger=none"]


@pytest.fixture
def output(script):
    """The standard output of a script, which must exit with 0."""

    def call(*arguments):
        done = script(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return call


def small(overrides):
    """The overrides at smoke size, with the jobs of a sweep in sequence, without worker processes."""
    if "--help" in overrides:
        return overrides
    kept = [o for o in overrides if not o.startswith(("size=", "dataset"))]
    keys = {override.split("=")[0] for override in kept}
    added = [o for o in SMALL if o.split("=")[0] not in keys]
    width = [] if {"width", "model.width"} & keys else ["width=w64"]
    return [*kept, *added, *width, *(["hydra/launcher=basic"] if "-m" in kept else [])]


@pytest.mark.parametrize("command", RUNS)
def test_commands_run(command, output):
    path, *overrides = shlex.split(command)[1:]
    if any(override.startswith("experiment=") for override in overrides):
        pytest.skip(
            "run by CI itself (make smoke), or with a smaller grid by tests/benchmarks/test_experiments.py"
        )
    stdout = output(Path(path).stem, *small(overrides))
    if "--help" in overrides:
        assert "activation" in stdout
        return
    assert "done" in stdout
    if command == SWEEPS[0]:  # the other sweeps make the same kinds of files
        assert "done" in output("report")


def test_there_are_commands_to_test():
    assert len(RUNS) >= 6
    assert SWEEPS


def test_stored_sweeps_that_are_named_exist():
    named = {o for text in (README, *PAGES.values()) for o in re.findall(r"\bexperiment=([\w/]+)", text)}
    assert len(named) > 15
    stored = ROOT / "conf" / "experiment"
    assert [name for name in named - {"paper/NAME"} if not (stored / f"{name}.yaml").exists()] == []


@pytest.mark.parametrize(
    "page", ["docs/running/sweeps.md", "docs/running/data.md", "docs/running/launchers.md"]
)
def test_commands_of_the_pages_compose(page, composed):
    """The first job of each command composes; the README's commands are run."""
    commands = [line for line in runs_of(PAGES[page]) if not line.endswith("\\")]
    assert commands
    for command in commands:
        given = [word for word in shlex.split(command)[2:] if not word.startswith("-")]
        # Optional plugins and their search spaces are not part of a job's config.
        plain = [o for o in given if "=" in o and not o.startswith("hydra") and "interval(" not in o]
        assert composed(*(override.split(",")[0] for override in plain if override != "job"))


@pytest.mark.parametrize("page", ["README.md", "docs/measured/gradients.md", "docs/measured/kernels.md"])
def test_python_examples_run(page, capsys):
    text = README if page == "README.md" else PAGES[page]
    blocks = re.findall(r"```python\n(.*?)```", text, re.S)
    blocks = [block for block in blocks if "ntkode.ntk" in block or "ntkode.gradients" in block]
    assert len(blocks) == 1
    exec(compile(blocks[0], page, "exec"), {})
    output = capsys.readouterr().out
    if page == "README.md":
        assert "lambda_min" in output
        assert "C^inf" in output
    else:
        assert all(0 < abs(float(number)) < 1e3 for number in output.split())


def test_links_of_the_readme_lead_somewhere():
    """GitHub shows the README without checking its links; `make docs` checks those of the pages."""
    linked = re.findall(r"\]\(((?!https?:)[^)#]+)", README)
    assert len(linked) > 20
    assert [target for target in linked if not (ROOT / target).exists()] == []


def test_bibtex_agrees_with_the_citation_file():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    [paper] = cited["references"]
    entries = PAGES["docs/theory/references.md"].partition("```bibtex\n")[2].partition("```")[0]
    authors = " and ".join(author["family-names"] for author in paper["authors"])
    for value in (cited["title"], cited["version"], paper["title"], authors, str(paper["year"])):
        assert f"{{{value}}}" in entries
    assert paper["identifiers"][0]["value"] in entries
