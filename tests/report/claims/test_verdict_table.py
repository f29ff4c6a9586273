"""Verdicts as a table, as text in the terminal, and as part of a report."""

import io
import math
import re

import pandas as pd
import pytest
from rich.console import Console

from ntkode.report.base import Report
from ntkode.report.claims.claims import Above, Below, Claim, Claims, Within
from ntkode.report.claims.verdicts import WithVerdicts, numbers, render_verdicts, verdict_table
from ntkode.report.statistics.intervals import Estimate

DECIDED = Estimate(1.5, 1.25, 1 / 0.6, 7, "the interval of [made-up] numbers")
UNDECIDED = Estimate(2.0, math.nan, math.nan, 4, lacking="only [4] replicates")


def claim(name, estimate, expectation):
    return Claim(
        name,
        f"{name} in [a, b]",
        f"source of {name}",
        f"quantity[{name}]",
        lambda runs: estimate,
        expectation,
    )


CLAIMS = Claims(
    "study",
    (
        claim("small", DECIDED, Below(2)),
        claim("large", DECIDED, Above(2)),
        claim("near", DECIDED, Within(1.5, 2)),
        claim("known", UNDECIDED, Below(5)),
        claim("tiny", DECIDED, Below(1)),
        claim("positive", DECIDED, Above(0)),
        claim("below", DECIDED, Below(3)),
    ),
)
RUNS = pd.DataFrame()


def printed(rendering, width=150):
    console = Console(file=io.StringIO(), width=width)
    console.print(rendering)
    return console.file.getvalue()


def test_a_row_of_the_table_holds_all_of_a_judgement():
    table = verdict_table("study", CLAIMS.judge(RUNS))
    assert table["claim"].tolist() == [claim.name for claim in CLAIMS.claims]
    row = table.iloc[1].to_dict()
    reason = row.pop("reason")
    assert row == {
        "study": "study",
        "claim": "large",
        "verdict": "not supported",
        "estimate": 1.5,
        "low": 1.25,
        "high": 1 / 0.6,
        "replicates": 7,
        "expected": "> 2",
        "quantity": "quantity[large]",
        "statement": "large in [a, b]",
        "source": "source of large",
    }
    assert reason.startswith(DECIDED.basis)
    assert table["reason"][3] == UNDECIDED.lacking
    assert list(table)[-1] == "reason"
    assert list(verdict_table("study", [])) == list(table)


def test_the_terminal_shows_each_claim_and_why_a_verdict_is_open():
    text = printed(render_verdicts(CLAIMS.judge(RUNS)))
    row = r"large in \[a, b\] +1\.5 \(1\.25 … 1\.67\) +7 +> 2 +not supported *\n *quantity\[large\]"
    assert re.search(row, text)
    assert "near in [a, b]: the interval of [made-up] numbers crosses" in text
    assert "known in [a, b]: only [4] replicates" in text
    assert "large in [a, b]: " not in text
    assert "small in [a, b]: " not in text
    assert text.endswith("verdicts: 3 supported, 2 not supported, 2 inconclusive\n")


def test_the_terminal_shows_a_table_then_the_open_verdicts_then_the_totals():
    title, header, *rows = printed(render_verdicts(CLAIMS.judge(RUNS))).splitlines()
    assert title.strip() == "claims"
    names = ["claim", "measured (95 % interval)", "replicates", "expected", "verdict"]
    assert re.split(r"\s{2,}", header.strip()) == names
    [known] = [row for row in rows if row.startswith(" known")]
    for name, number in zip(names[1:4], ("2", "4", "< 5"), strict=True):  # numbers are aligned to the right
        assert known[: header.index(name) + len(name)].endswith(f" {number}")
    assert rows[-6].strip() == "quantity[below]"
    first, near, last, between, totals = rows[-5:]
    assert (first, between) == ("", "")
    assert near == "near in [a, b]: the interval of [made-up] numbers crosses a bound of the expected range"
    assert last == "known in [a, b]: only [4] replicates"
    assert totals == "verdicts: 3 supported, 2 not supported, 2 inconclusive"


def test_where_no_verdict_is_open_the_totals_follow_the_table():
    decided = [judgement for judgement in CLAIMS.judge(RUNS) if judgement.verdict != "inconclusive"]
    *_, last, between, totals = printed(render_verdicts(decided)).splitlines()
    assert (last.strip(), between) == ("quantity[below]", "")
    assert totals == "verdicts: 3 supported, 2 not supported, 0 inconclusive"


def test_a_narrow_terminal_folds_the_claim_and_leaves_the_numbers_whole():
    claims = Claims("study", (claim("incomprehensibilities", DECIDED, Within(1.125, 2.375)),))
    text = printed(render_verdicts(claims.judge(RUNS)), width=56)
    assert "replicates      expected   verdict" in text
    assert "         7   1.12 … 2.38   supported" in text
    folded = "".join(row[:8].replace(" ", "") for row in text.splitlines()[5:-2])
    assert folded == "incomprehensibilitiesin[a,b]quantity[incomprehensibilities]"


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(-0.998, -1.012, -0.985, 3), "−0.998 (−1.01 … −0.985)"),
        (Estimate(-2 / 3, math.nan, math.nan, 3), "−0.667"),
        (Estimate(math.nan, math.nan, math.nan, 0), "–"),
        (Estimate(2.0, 1.0, math.inf, 3), "2 (1 … inf)"),
    ],
)
def test_an_estimate_as_text(estimate, text):
    assert numbers(estimate) == text


def test_verdicts_are_added_to_the_report_of_a_study(tmp_path):
    kept = pd.DataFrame({"rate": [0.5]})

    def report(runs, results_dir):
        return Report("rates", {"rates": kept}, f"rates in {results_dir.name}")

    extended = WithVerdicts(report, CLAIMS)(RUNS, tmp_path)
    assert list(extended.tables) == ["rates", "study_verdicts"]
    assert extended.tables["rates"] is kept
    assert extended.tables["study_verdicts"].equals(verdict_table("study", CLAIMS.judge(RUNS)))
    assert (extended.name, extended.judgements) == ("rates", tuple(CLAIMS.judge(RUNS)))
    text = printed(extended.rendering)
    assert text.startswith(f"rates in {tmp_path.name}\n\n")
    assert "verdicts: 3 supported" in text
