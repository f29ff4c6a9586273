"""The contents of the page, and that it is self-contained."""

import base64
import json
import re

import pandas as pd
import pytest
from tests.report.page.conftest import HOSTILE

from ntkode.report.claims.claims import Verdict
from ntkode.results import load


def test_it_counts_runs_studies_and_claims(made):
    assert made.page.sections == 1
    assert made.page.verdicts == {"supported": 1, "not supported": 1, "inconclusive": 1}
    assert made.page.omissions == ()
    assert "4 runs of 1 study" in made.markup.texts["overview"]


@pytest.mark.parametrize("where", ["all-claims", "paper-made"])
def test_every_verdict_with_its_numbers(made, where):
    text = " ".join(made.markup.texts[where].split())
    for verdict in Verdict:
        assert str(verdict) in text
    table = pd.read_csv(made.out / "verdicts.csv")
    assert table["verdict"].tolist() == ["supported", "not supported", "inconclusive"]
    first = table.iloc[0]
    for number in (first["estimate"], first["low"], first["high"]):
        assert f"{number:.3f}".rstrip("0") in text
    assert "< 0.9" in text
    assert "> 0.9" in text


def test_claims_are_linked_to_their_study(made):
    links = made.markup.values("href", "a")
    assert "#paper-made" in links
    for name in ("falls", "stays", "relu_falls"):
        assert f"#paper-made--{name}" in links
    assert "replicates could not be measured" in made.markup.texts["paper-made--relu_falls"]


def test_links_lead_somewhere_and_ids_are_unique(made):
    ids = made.markup.values("id")
    assert len(set(ids)) == len(ids)
    for link in made.markup.values("href"):
        exists = link[1:] in ids if link.startswith("#") else (made.out / link).stat().st_size > 0
        assert exists, link


def test_nothing_is_fetched(made):
    assert made.markup.values("src") != []
    assert all(source.startswith("data:image/svg+xml;base64,") for source in made.markup.values("src"))
    assert not any(tag in ("link", "iframe", "object", "base") for tag, _ in made.markup.elements)
    style, script = made.markup.texts["style"], made.markup.texts["script"]
    assert "url(" not in style
    assert "@import" not in style
    assert not re.search(r"\bfetch\(|XMLHttpRequest|import\(|WebSocket", script)
    [policy] = [
        a["content"] for _, a in made.markup.elements if a.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy.startswith("default-src 'none'")  # browsers may not fetch either
    for source in made.markup.values("src"):
        picture = base64.b64decode(source.partition(",")[2]).decode()
        assert set(re.findall(r'href="(.)', picture)) <= {"#"}
        assert set(re.findall(r"https?://[^\"' ]+", picture)) <= {
            "http://www.w3.org/2000/svg",
            "http://www.w3.org/1999/xlink",
        }


def test_columns_of_numbers_are_marked_as_such(made):
    classes = {name for value in made.markup.values("class") for name in value.split()}
    assert all(name.replace("-", "").isalnum() for name in classes)
    numeric = [a for tag, a in made.markup.elements if tag == "td" and a.get("class") == "number"]
    error = load(made.results, "made")["gradient/relative_error"].iloc[0]
    assert repr(float(error)) in [a.get("data-key") for a in numeric]  # sorted at full precision


def test_text_of_results_is_escaped(made):
    assert HOSTILE not in made.text
    assert ("b", {}) not in made.markup.elements
    assert [a.get("type") for tag, a in made.markup.elements if tag == "script"] == ["application/json", None]
    assert HOSTILE in made.markup.texts["paper-made"]  # as text


def test_every_run_is_traced(made):
    for run in made.runs:
        assert f"#run-{run}" in made.markup.values("href")
    text = made.markup.texts[f"run-{made.runs[0]}"]
    for origin in ("done", "c" * 8, "A Processor, 2 cores", "mnist, embedded, dddddddd"):
        assert origin in text
    assert "diverged" in made.markup.texts[f"run-{made.runs[3]}"]
    rows = [a["title"] for tag, a in made.markup.elements if tag == "tr" and "title" in a]
    assert any(made.runs[0] in row and "A Processor" in row and "commit cccccccc" in row for row in rows)


def test_mixed_code_is_reported(made):
    assert "Mixed code." in made.markup.texts["overview"]
    assert "Mixed code." in made.markup.texts["paper-made"]
    assert "cccccccc+" in made.markup.texts["code-B"]  # the dirty tree
    assert "bbbbbbbb" in made.markup.texts["code-B"]


def test_failed_runs_have_reasons(made):
    text = " ".join(made.markup.texts["paper-made"].split())
    assert "diverged, 1 run: the loss is" in text
    assert "optimizer.lr=0.01" in text


def test_curves_are_json(made):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    curves = json.loads(made.markup.texts["curves-paper-made"], parse_constant=refuse)
    assert curves["runs"] == made.runs
    assert curves["panels"][0]["title"] == "Training loss"
    assert curves["factors"][0]["name"] == "activation"
    assert curves["factors"][0]["values"] == ["tanh", "relu"]


def test_files_are_in_its_folder(made):
    names = sorted(path.name for path in (made.out / "paper-made").iterdir())
    assert names == [
        "comparison.csv", "comparison.pdf", "comparison.png", "comparison.tex", "made_verdicts.csv",
        "made_verdicts.tex",
    ]  # fmt: skip
    runs = load(made.results, "made")
    assert pd.read_csv(made.out / "paper-made" / "comparison.csv")["loss ratio"].tolist() == pytest.approx(
        runs["loss/ratio"].tolist(), rel=1e-15
    )


def test_latex_and_csv_agree(made):
    table = pd.read_csv(made.out / "paper-made" / "comparison.csv")
    text = (made.out / "paper-made" / "comparison.tex").read_text()
    rows = text.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
    head = text.split(r"\toprule")[1].split(r"\midrule")[0].strip().removesuffix(r"\\").split(" & ")
    lines = [row.removesuffix(r"\\").strip().split(" & ") for row in rows]
    assert len(lines) == len(table)
    place = head.index("loss ratio")
    for row, value in zip(lines, table["loss ratio"], strict=True):
        assert float(row[place]) == pytest.approx(value, rel=5e-3)  # three digits
    assert [row[head.index(r"run\_id")].replace(r"\_", "_") for row in lines] == table["run_id"].tolist()
    assert (made.out / "verdicts.tex").read_text().count("supported") == 2


def test_the_same_results_give_the_same_page(made, experiments, tmp_path):
    from ntkode.report.page import write_page

    again = write_page(made.results, tmp_path, ["made"]).path.read_text()
    created = re.compile(r"created [\d-]+ [\d:]+ UTC")
    assert created.sub("", again) == created.sub("", made.text)
