"""Tables for LaTeX documents: booktabs, three significant digits, symbols in math mode."""

import re

import pandas as pd

from ntkode.report.tables.rendering import as_text

LONG = 40
"""Largest number of rows of a `table`; longer ones become a `longtable`, which breaks over pages."""

# The symbols of our tables and the special characters of TeX; pdfLaTeX knows no other non-ASCII ones.
_SYMBOLS = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\ensuremath{<}",
        ">": r"\ensuremath{>}",
        "|": r"\ensuremath{|}",
        "−": r"\ensuremath{-}",
        "–": "--",
        "…": r"\dots{}",
        "’": "'",
        "×": r"\ensuremath{\times}",
        "·": r"\ensuremath{\cdot}",
        "∞": r"\ensuremath{\infty}",
        "≤": r"\ensuremath{\le}",
        "≥": r"\ensuremath{\ge}",
        "≈": r"\ensuremath{\approx}",
        "→": r"\ensuremath{\to}",
        "√": r"\ensuremath{\surd}",
        "±": r"\ensuremath{\pm}",
        "‖": r"\ensuremath{\|}",
        "∂": r"\ensuremath{\partial}",
        "₀": r"\ensuremath{_0}",
        "²": r"\ensuremath{^2}",
        "°": r"\ensuremath{^\circ}",
        **{
            letter: rf"\ensuremath{{\{name}}}"
            for letter, name in {
                "α": "alpha", "β": "beta", "ε": "varepsilon", "η": "eta", "θ": "theta", "λ": "lambda",
                "ρ": "rho", "σ": "sigma", "φ": "varphi", "ω": "omega", "Θ": "Theta", "Σ": "Sigma",
                "Φ": "Phi", "Δ": "Delta",
            }.items()
        },
    }
)  # fmt: skip
_POWER = re.compile(r"(?<![\w.])([−-]?\d+(?:\.\d+)?)e(−|-)?(\d+)(?![\w.])")
_WORDS = 24
"""Longest text in a column without line breaks."""


def to_latex(table: pd.DataFrame, caption: str, label: str) -> str:
    r"""A table environment in the style of booktabs; a `longtable` if it has more than `LONG` rows.

    The document needs `\usepackage{booktabs,longtable}`.

    Args:
        table: the numbers and texts; see `as_text` for their format.
        caption: plain text.
        label: the LaTeX label, without its prefix `tab:`.
    """
    texts = as_text(table)
    columns = [_alignment(table[name], texts[name]) for name in table]
    texts = texts.map(in_latex)
    texts.columns = pd.Index([in_latex(str(name)) for name in table])
    styled = texts.style.hide(axis="index")
    return styled.to_latex(
        hrules=True,
        environment="longtable" if len(table) > LONG else "table",
        position=None if len(table) > LONG else "htbp",
        position_float=None if len(table) > LONG else "centering",
        column_format="".join(columns),
        caption=in_latex(caption),
        label=f"tab:{label}",
    )


def in_latex(text: str) -> str:
    r"""Plain text as LaTeX: special characters escaped, `1e−6` as $1\cdot10^{-6}$, symbols in math mode."""
    parts, end = [], 0
    for power in _POWER.finditer(text):
        sign = "-" if power[2] else ""
        factor = power[1].replace("−", "-")
        parts += [text[end : power.start()].translate(_SYMBOLS), rf"${factor}\cdot10^{{{sign}{power[3]}}}$"]
        end = power.end()
    return "".join(parts) + text[end:].translate(_SYMBOLS)


def _alignment(values: pd.Series, texts: pd.Series) -> str:
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        return "r"
    return r"p{0.4\linewidth}" if texts.map(len).max() > _WORDS and texts.str.contains(" ").any() else "l"
