"""Equations as MathML, made when the site is built, in a font that the site brings along.

Browsers show MathML by themselves: no script, and no network when a page is read.
"""

from __future__ import annotations

import html
import re
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree

from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont
from math_core import LatexError, LatexToMathML

# What pymdownx.arithmatex (generic: true) leaves of $…$ and $$…$$.
INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.S)
DISPLAY = re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.S)
LEFT_OVER = re.compile(r'class="arithmatex"')
CONVERTER = LatexToMathML(
    macros={"dd": r"\mathrm{d}", "E": r"\mathbb{E}", "T": r"{\mathsf{T}}", "R": r"\mathbb{R}"},
    fancy_error=False,
)


def with_mathml(page: str, name: str) -> str:
    """A page's HTML with its equations as MathML.

    Args:
        page: HTML as arithmatex leaves it.
        name: the page's, for the message.

    Raises:
        ValueError: an equation that is no LaTeX, with its text.
    """

    def convert(match: re.Match[str], display: bool) -> str:
        latex = html.unescape(match[1]).strip()
        try:
            shown = _with_primes(CONVERTER.convert_with_local_state(latex, displaystyle=display))
        except LatexError as error:
            raise ValueError(f"{name}: {latex!r} is no equation: {error}") from error
        return f'<div class="equation">{shown}</div>' if display else shown

    page = DISPLAY.sub(lambda match: convert(match, True), page)
    page = INLINE.sub(lambda match: convert(match, False), page)
    if LEFT_OVER.search(page):
        raise ValueError(f"{name}: an equation was not converted: has pymdownx.arithmatex changed its form?")
    return page


def _with_primes(mathml: str) -> str:
    """Primes at the font's own height, which has them raised already: as indices they would be too small."""
    named = re.compile(r"&(?!amp;|lt;|gt;|quot;)\w+;")  # HTML's, which XML does not know
    root = ElementTree.fromstring(named.sub(lambda match: html.unescape(match[0]), mathml))
    for element in root.iter("msup"):
        if element[1].text in ("′", "″"):
            element.tag = "mrow"
            element[1].attrib.update(lspace="0", rspace="0")
    return ElementTree.tostring(root, encoding="unicode")


def math_font(text: str) -> bytes:
    """STIX Two Math (from ziamath, SIL Open Font License) with the characters of `text`, as WOFF."""
    found = find_spec("ziamath")
    assert found is not None  # not imported: the font is all that is wanted
    assert found.origin is not None
    font = TTFont(Path(found.origin).parent / "fonts" / "STIXTwoMath-Regular.ttf")
    _keep_one_root(font)
    options = Options()
    options.flavor = "woff"
    options.layout_features = ["*"]  # larger brackets, smaller indices
    options.notdef_outline = True
    subsetter = Subsetter(options)
    subsetter.populate(text=text)
    subsetter.subset(font)
    font.flavor = "woff"
    written = BytesIO()
    font.save(written)
    return written.getvalue()


def _keep_one_root(font: TTFont) -> None:
    """Take the larger root signs out: Chromium leaves room for the widest one behind every root.

    The one that stays is 1.2 em high, enough for a line of text with indices; a fraction needs a power 1/2.
    """
    variants = font["MATH"].table.MathVariants
    at = variants.VertGlyphCoverage.glyphs.index(font.getBestCmap()[ord("√")])
    root = variants.VertGlyphConstruction[at]
    root.GlyphAssembly = None
    root.MathGlyphVariantRecord = root.MathGlyphVariantRecord[:1]
    root.VariantCount = 1


def mathml_text(page: str) -> set[str]:
    """The characters of a page's equations, upright letters beside the italic ones that browsers make."""
    shown = "".join(re.sub(r"<[^>]+>", "", found) for found in re.findall(r"<math.*?</math>", page, re.S))
    plain = set(html.unescape(shown)) | {"√"}  # which <msqrt> draws without naming it
    return plain | {italic(character) for character in plain}


def italic(character: str) -> str:
    """The mathematical italic that a browser shows for a letter alone in <mi> (MathML Core, 2.1.6)."""
    if character == "h":
        return "\u210e"
    for first, last, to in (
        ("A", "Z", 0x1D434),
        ("a", "z", 0x1D44E),
        ("Α", "Ω", 0x1D6E2),
        ("α", "ω", 0x1D6FC),
    ):
        if first <= character <= last:
            return chr(to + ord(character) - ord(first))
    return {"ϕ": "\U0001d719", "ϵ": "\U0001d716", "∂": "\U0001d715", "∇": "\U0001d6fb"}.get(
        character, character
    )
