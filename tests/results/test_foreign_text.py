"""Text of records from another machine is data: on a terminal, in warnings and in spreadsheets."""

import io

import pandas as pd
import pytest
from tests.results.stored import store

from ntkode.report.console import RecordConsole
from ntkode.report.tables.terminal import terminal_table
from ntkode.results import export, load
from ntkode.results.foreign_text import csv_text, visible

HOSTILE = "\x1b[2J\x9b31m\x1b]52;c;cm0gLXJm\x07\b\u202e"


def test_control_characters_are_made_visible():
    assert visible(HOSTILE) == r"\x1b[2J\x9b31m\x1b]52;c;cm0gLXJm\x07\x08\u202e"
    assert visible("loss λ_min 1e-3\n\tφ′") == "loss λ_min 1e-3\n\tφ′"


@pytest.mark.parametrize("terminal", [True, False])
def test_a_console_prints_control_characters_as_text(terminal):
    out = io.StringIO()
    console = RecordConsole(file=out, force_terminal=terminal, width=120, color_system=None)
    table = terminal_table(["message"])
    table.add_row(HOSTILE)
    console.print(table)
    console.print(HOSTILE, markup=False, soft_wrap=True)
    printed = out.getvalue()
    assert not [character for character in HOSTILE if ord(character) < 32 and character in printed]
    assert not {"\x9b", "\u202e"} & set(printed)
    assert printed.count(r"\x1b[2J") == 2


def test_a_console_keeps_its_own_colours():
    out = io.StringIO()
    RecordConsole(file=out, force_terminal=True, color_system="standard").print("[red]failed[/]")
    assert out.getvalue() == "\x1b[31mfailed\x1b[0m\n"


def test_a_warning_shows_control_characters(tmp_path):
    store(tmp_path, "a")
    (tmp_path / "b\x1b[2J").mkdir()
    with pytest.warns(UserWarning, match=r"b\\x1b\[2J") as caught:
        load(tmp_path)
    assert "\x1b" not in str(caught[0].message)


@pytest.mark.parametrize(
    "text", ["=1+1", '=HYPERLINK("x")', "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\n=1"]
)
def test_a_formula_is_text_in_csv(tmp_path, text):
    table = pd.DataFrame({"n": [1.5, -2.0], "text": [text, None], text: ["plain", "-1e-3"]})
    back = pd.read_csv(io.StringIO(csv_text(table), newline=""))
    assert back.loc[0, "text"] == f"'{text}"
    assert list(back) == ["n", "text", f"'{text}"]
    assert back["n"].tolist() == [1.5, -2.0]
    assert back[f"'{text}"].tolist() == ["plain", "-1e-3"]
    store(tmp_path, "a", activation=text)
    export(tmp_path, tmp_path / "out", formats=["csv", "parquet"])
    assert pd.read_csv(tmp_path / "out" / "runs.csv").loc[0, "config.choices.activation"] == f"'{text}"
    exported = pd.read_parquet(tmp_path / "out" / "runs.parquet")
    assert exported.loc[0, "config.choices.activation"] == text


def test_a_carriage_return_begins_no_cell():
    assert csv_text(pd.DataFrame({"a": ["x\r=1+1", "\r=1"]})) == 'a\n"x\n=1+1"\n"\'\n=1"\n'


def test_tables_without_formulas_are_as_pandas_writes_them():
    table = pd.DataFrame(
        {"a": [1, None], "b": ["-1", "−0.5"], "c": [None, 2], "d": [True, "x"]}, dtype=object
    )
    assert csv_text(table) == table.to_csv(index=False)
