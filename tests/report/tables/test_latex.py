"""Tests of the tables for LaTeX documents."""

import pandas as pd
import pytest

from ntkode.report.tables.latex import LONG, in_latex, to_latex


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a_b & 50 % of {x}", r"a\_b \& 50 \% of \{x\}"),
        ("1.20e−6", r"$1.20\cdot10^{-6}$"),
        ("−3e5", r"$-3\cdot10^{5}$"),
        ("λ_min(Θ_0) > 0", r"\ensuremath{\lambda}\_min(\ensuremath{\Theta}\_0) \ensuremath{>} 0"),
        ("w256, made2e3x", "w256, made2e3x"),  # no number
        ("−0.998 (−1.01 … −0.985)", r"\ensuremath{-}0.998 (\ensuremath{-}1.01 \dots{} \ensuremath{-}0.985)"),
        ("C:\\x^2~", r"C:\textbackslash{}x\textasciicircum{}2\textasciitilde{}"),
    ],
)  # fmt: skip
def test_text(text, expected):
    assert in_latex(text) == expected
    assert in_latex(text).isascii()  # so that pdfLaTeX can read it


def test_a_table_in_the_style_of_booktabs():
    latex = to_latex(pd.DataFrame({"loss_ratio": [0.123456, 2e-7], "name": ["tanh", "relu"]}), "A & B.", "x")
    for part in (r"\begin{table}[htbp]", r"\toprule", r"\midrule", r"\bottomrule", r"\caption{A \& B.}"):
        assert part in latex
    assert r"\begin{tabular}{rl}" in latex
    assert r"\label{tab:x}" in latex
    assert r"0.123 & tanh \\" in latex
    assert r"$2.00\cdot10^{-7}$ & relu \\" in latex


def test_long_tables_break_over_pages_and_sentences_over_lines():
    sentence = "a sentence that is long enough to want separate lines"
    latex = to_latex(pd.DataFrame({"n": range(LONG + 1), "said": sentence}), "c", "l")
    assert r"\begin{longtable}{rp{0.4\linewidth}}" in latex
    assert r"\endhead" in latex
    assert latex.count(sentence) == LONG + 1
