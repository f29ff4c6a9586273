"""Equations as MathML, generated when the site is built, in a font included in the site.

Browsers render MathML without a script or a network.
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

# The output of pymdownx.arithmatex (generic: true) for $…$ and $$…$$.
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
        page: the HTML output of arithmatex.
        name: the name of the page, for the message.

    Raises:
        ValueError: an equation is not valid LaTeX; the message contains it.
    """

    def convert(match: re.Match[str], display: bool) -> str:
        latex = html.unescape(match[1]).strip()
        try:
            mathml = _with_primes(CONVERTER.convert_with_local_state(latex, displaystyle=display))
        except LatexError as error:
            raise ValueError(f"{name}: {latex!r} is no equation: {error}") from error
        return f'<div class="equation">{mathml}</div>' if display else mathml

    page = DISPLAY.sub(lambda match: convert(match, True), page)
    page = INLINE.sub(lambda match: convert(match, False), page)
    if LEFT_OVER.search(page):
        raise ValueError(f"{name}: an equation was not converted: has pymdownx.arithmatex changed its form?")
    return page


def _with_primes(mathml: str) -> str:
    """Write primes without superscript, which would be too small: the font already raises them."""
    named = re.compile(r"&(?!amp;|lt;|gt;|quot;)\w+;")  # HTML's, which XML does not know
    root = ElementTree.fromstring(named.sub(lambda match: html.unescape(match[0]), mathml))
    for element in root.iter("msup"):
        if element[1].text in ("′", "″"):
            element.tag = "mrow"
            element[1].attrib.update(lspace="0", rspace="0")
    return ElementTree.tostring(root, encoding="unicode")


def math_font(text: str) -> bytes:
    """STIX Two Math (from ziamath, SIL Open Font License) with the characters of `text`, as WOFF."""
    package = find_spec("ziamath")
    assert package is not None  # not imported: only its font is used
    assert package.origin is not None
    font = TTFont(Path(package.origin).parent / "fonts" / "STIXTwoMath-Regular.ttf")
    _keep_one_root(font)
    options = Options()
    options.flavor = "woff"
    options.layout_features = ["*"]  # larger brackets, smaller indices
    options.notdef_outline = True
    subsetter = Subsetter(options)
    subsetter.populate(text=text)
    subsetter.subset(font)
    font.flavor = "woff"
    buffer = BytesIO()
    font.save(buffer)
    return buffer.getvalue()


def _keep_one_root(font: TTFont) -> None:
    """Remove the larger root signs: Chromium reserves the width of the widest one after every root.

    The remaining sign is 1.2 em high, enough for a line with indices; write roots of fractions as powers.
    """
    variants = font["MATH"].table.MathVariants
    at = variants.VertGlyphCoverage.glyphs.index(font.getBestCmap()[ord("√")])
    root = variants.VertGlyphConstruction[at]
    root.GlyphAssembly = None
    root.MathGlyphVariantRecord = root.MathGlyphVariantRecord[:1]
    root.VariantCount = 1


def mathml_text(page: str) -> set[str]:
    """The characters of a page's equations: upright letters and the italic ones that browsers substitute."""
    text = "".join(
        re.sub(r"<[^>]+>", "", equation) for equation in re.findall(r"<math.*?</math>", page, re.S)
    )
    plain = set(html.unescape(text)) | {"√"}  # drawn by <msqrt>, although not in its text
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
