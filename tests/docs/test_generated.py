"""Generated pages are complete: every group, choice and key, every activation, every metric."""

import importlib
import re
from pathlib import Path

import pandas as pd
import pytest
import yaml
from tests.metrics.runs import all_metrics, train

import ntkode
from ntkode import activations
from ntkode.cli import choices
from ntkode.integrate import Adjoint

ROOT = Path(__file__).resolve().parents[2]
CONF = ROOT / "conf"
FILES = [path for path in sorted(CONF.rglob("*.yaml")) if path.parent not in (CONF, CONF / "hydra" / "help")]


@pytest.fixture(scope="module")
def reference(hook):
    """The Markdown text of the configuration reference."""
    return hook("configuration").reference(CONF)


def leaves(node, prefix=""):
    """Dotted key → value, without what Hydra reads itself."""
    for key, value in node.items():
        if key in ("_target_", "_partial_", "defaults"):
            continue
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def section(text, group):
    match = re.search(rf"^## `{group}` .*?(?=^## |\Z)", text, re.M | re.S)
    assert match, f"the reference has no section on {group}"
    return match[0]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(CONF).as_posix())
def test_every_choice_and_key_of_conf_is_documented(path, reference, entry, hook):
    group = next(g for g in hook("conf_files").groups(CONF) if path.is_relative_to(CONF / g))
    text = section(reference, group)
    name = path.relative_to(CONF / group).with_suffix("").as_posix()
    row = next(line for line in text.splitlines() if re.match(rf"\| \**`{name}`", line))
    assert hook("markdown_text").escaped(choices.description(path)) in row
    if group == "experiment":
        assert all(line.strip() in text for line in path.read_text().splitlines())
        return
    prefix = "" if "@package _global_" in path.read_text() else group.replace("/", ".") + "."
    for key, value in leaves(yaml.safe_load(path.read_text()), prefix):
        if value == name:  # the name of the choice is not a key to set
            continue
        row = next(line for line in text.splitlines() if line.startswith(f"| `{key}` |"))
        values = [yaml.safe_load(each) for each in re.findall(r"`([^`]*)`", row.split(" | ")[1])]
        assert value in values


def test_keys_of_a_run_are_documented_with_their_comments(reference):
    text = (CONF / "config.yaml").read_text()
    for key, value in leaves(yaml.safe_load(text)):
        if not key.startswith("hydra."):
            text = "null" if value is None else value
            assert f"| `{key}` | `{text}` |" in reference
    assert "| `threads` | `1` | BLAS threads of a job" in reference


def test_defaults_that_differ_name_their_choices(reference):
    row = next(line for line in reference.splitlines() if line.startswith("| `n_train` |"))
    assert re.search(r"`1000` \((\w+, )*default\b.*<br>`48` \(smoke\)", row)
    assert "| `model.depth` | `20` (resnet) | L; steps of size horizon/depth |" in reference


def test_a_value_is_as_the_file_has_it(tmp_path, hook):
    path = tmp_path / "a.yaml"
    path.write_text(
        "# one line, with | and *stars*, x^2\n"
        "defaults:\n  - _self_\n  - b\n  - /c@d: null # c@group.d=e\n  - override /f: g\n"
        "_target_: some.Thing\n"
        "number: 1.0e-6   # a comment # to the end\n"
        "text: 'a # b'\n"
        "nested:\n"
        "  empty: null # none\n"
        "  list: [1,\n    2] # two\n"
    )
    choice = hook("conf_files").read_choice(path, "group", "a")
    assert [(key.name, key.value, key.comment) for key in choice.keys] == [
        ("group.number", "1.0e-6", "a comment # to the end"),
        ("group.text", "'a # b'", ""),
        ("group.nested.empty", "null", "none"),
        ("group.nested.list", "[1, 2]", "two"),
    ]
    assert (choice.target, choice.begins_with, choice.notes) == ("some.Thing", ["b", "f=g"], ["c@group.d=e"])
    assert hook("markdown_text").escaped(choice.line) == r"one line, with \| and \*stars\*, x^2"


def test_every_activation_has_its_profile(hook):
    rows = hook("activation_tables").tables(CONF).splitlines()
    for name in activations.names():
        assert sum(row.startswith(f"| `{name}` |") for row in rows) == 2  # profile and function
    relu = next(row for row in rows if row.startswith("| `relu` |"))
    assert relu == "| `relu` | C<sup>0</sup> | φ′ at 0 | 1 | ∞ |  | 0.18 | closed |"


def test_paper_studies_link_to_their_pages(tmp_path, hook):
    folder = tmp_path / "conf" / "experiment" / "paper"
    folder.mkdir(parents=True)
    (folder / "one.yaml").write_text("# @package _global_\n# is it so?\nseed: 0\n")
    (folder / "two.yaml").write_text("# @package _global_\n# or so?\nseed: 0\n")
    (tmp_path / "docs" / "paper").mkdir(parents=True)
    (tmp_path / "docs" / "paper" / "two.md").write_text("# Two")
    table = hook("paper_studies").studies(tmp_path / "conf", tmp_path / "docs")
    assert "| `experiment=paper/one` | is it so? | not yet |" in table
    assert "| `experiment=paper/two` | or so? | [figures and verdicts](two.md) |" in table


def test_every_public_name_has_its_place_in_the_python_reference(hook):
    pages = hook("api_pages").pages(Path(ntkode.__file__).parent)
    for package in ("activations", "integrate", "models", "gradients", "ntk", "data", "metrics", "results"):
        documented = set(re.findall(r"^::: ntkode\.\S*?(\w+)$", pages[f"{package}.md"], re.M))
        assert documented == set(importlib.import_module(f"ntkode.{package}").__all__)
    # If a module and a function share a name, the function is documented.
    assert "::: ntkode.results.load.load\n" in pages["results.md"]


def test_every_metric_that_is_logged_is_defined():
    text = (ROOT / "docs" / "theory" / "metrics.md").read_text()
    defined = set(re.findall(r"`([a-z_]+/[^`]*)`", text))
    logged = set()
    for activation, gradient in (("relu", Adjoint()), ("tanh", Adjoint())):
        _, rows = train(all_metrics(), activation=activation, gradient=gradient, steps=22)
        logged |= {name for row in rows.rows.values() for name in row}
    assert len(logged) > 60
    for name in logged:
        whole = re.sub(r"/(U|W|v|\d+-\d+)$", "", name)  # by parameter, by window
        whole = re.sub(r"^(cost/metric_seconds)/\w+$", r"\1", whole)
        assert whole in defined, f"docs/theory/metrics.md does not define {name}"


STUDIES = sorted((ROOT / "conf" / "experiment" / "paper").glob("*.yaml"))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_decimals_in_the_text_of_a_study_are_in_its_verdicts(path):
    """New runs regenerate the verdicts of a page but keep its text, whose decimals must match them."""
    folder = ROOT / "docs" / "paper"
    text, marker, generated = (folder / f"{path.stem}.md").read_text().partition("<!-- Above: hand-written")
    assert marker
    assert "## Verdicts" in generated
    assert f"experiment=paper/{path.stem}\n" in text
    for heading in ("What the paper says", "What was run", "What the picture shows", "What follows"):
        assert f"\n## {heading}\n" in text
    verdicts = pd.read_csv(folder / f"{path.stem}_verdicts.csv")
    counted = set(verdicts["verdict"])
    assert ("\n## Not supported, and why\n" in text) == ("not supported" in counted)
    assert ("\n## Inconclusive\n" in text) == ("inconclusive" in counted)
    measured = verdicts[["estimate", "low", "high"]].to_numpy().ravel()
    given = set(re.findall(r"\d+\.\d+", path.read_text() + " ".join(verdicts["expected"])))
    for number in re.findall(r"\d+\.\d+(?:e[−-]?\d+)?", text):
        mantissa, _, exponent = number.replace("−", "-").partition("e")
        scaled = abs(measured) / 10.0 ** int(exponent or 0)
        places = len(mantissa.partition(".")[2])
        # Half a unit in the last place, with room for how halves are rounded.
        close = abs(scaled - float(mantissa)) <= 0.501 * 10.0**-places
        assert number in given or close.any(), f"docs/paper/{path.stem}.md: {number} is in no verdict"


@pytest.mark.parametrize("page", ["README.md", "docs/paper/index.md"])
def test_verdicts_are_counted_right(page):
    verdicts = pd.concat(
        pd.read_csv(ROOT / "docs" / "paper" / f"{path.stem}_verdicts.csv")["verdict"] for path in STUDIES
    )
    counts = verdicts.value_counts()
    summary = (
        f"of {len(verdicts)} claims {counts['supported']} are supported, {counts['not supported']} are not, "
        f"and {counts['inconclusive']} are inconclusive"
    )
    assert summary in " ".join((ROOT / page).read_text().split())
