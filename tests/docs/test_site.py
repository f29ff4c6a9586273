"""The documentation builds without a warning, and shows its equations without a network."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("mkdocs", "material", "mkdocstrings", "math_core", "ziamath", "fontTools")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
pytestmark = pytest.mark.skipif(
    bool(MISSING), reason=f"needs ntkode[docs] ({', '.join(MISSING)} not installed): make docs"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built as `make docs` builds it: any warning fails it."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_no_page_needs_the_network(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        text = page.read_text()
        fetched = re.findall(r'<(?:script|img|iframe)[^>]*\bsrc="?(https?://[^">\s]+)', text)
        fetched += re.findall(
            r'<link[^>]*rel="?(?:stylesheet|preconnect)[^>]*href="?(https?://[^">\s]+)', text
        )
        fetched += re.findall(r"unpkg\.com\S*", text)
        assert not fetched, page


def test_equations_are_mathml_in_a_font_of_the_site(site):
    model = (site / "theory" / "model.html").read_text()
    assert model.count("<math") > 50
    assert "<msqrt>" in model
    assert "arithmatex" not in model
    from fontTools.ttLib import TTFont

    font = TTFont(site / "assets" / "STIXTwoMath.woff")
    assert "MATH" in font
    # √, italic h, italic σ: the page contains none of the displayed characters themselves.
    assert {ord("√"), 0x210E, 0x1D70E} <= set(font.getBestCmap())


def test_an_invalid_equation_is_reported_with_its_page(hook):
    page = '<span class="arithmatex">\\(\\nosuchthing x\\)</span>'
    with pytest.raises(ValueError, match=r"theory/x\.md: .*nosuchthing"):
        hook("equations").with_mathml(page, "theory/x.md")


def test_primes_are_not_made_small_twice(hook):
    html = hook("equations").with_mathml('<span class="arithmatex">\\(f\'(x) &lt; 1\\)</span>', "x.md")
    assert "<msup>" not in html
    assert "′" in html
    assert "&lt;" in html
