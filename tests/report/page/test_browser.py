"""The page in a real browser: light and dark, wide and narrow, without scripts, and printed."""

import shutil

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make install")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium")
INK = {"light": "rgb(28, 32, 36)", "dark": "rgb(226, 229, 232)"}


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        # Chromium's sandbox refuses to run as root, the usual user in containers.
        launched = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def open_page(browser, made):
    """Open the page; afterwards check that the console is empty and nothing else was requested."""
    troubles, asked, pages = [], [], []

    def call(width=1280, scheme="light", **options):
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme, **options)
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        address = made.page.path.as_uri()
        page.goto(address)
        pages.append((page, address))
        return page

    yield call
    for page, address in pages:
        page.close()
        assert {url for url in asked if not url.startswith("data:")} == {address}
    assert troubles == []


def draw_charts(page):
    page.locator(".charts").scroll_into_view_if_needed()
    page.locator(".chart canvas").first.wait_for()


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_renders(open_page, width, scheme):
    page = open_page(width, scheme)
    draw_charts(page)
    assert page.locator(".chart canvas").count() == 4
    assert page.evaluate("document.documentElement.scrollWidth") <= width  # only tables scroll sideways
    assert page.evaluate("getComputedStyle(document.body).color") == INK[scheme]
    picture = page.locator("figure img")
    assert picture.evaluate("image => image.complete && image.naturalWidth > 0")
    assert ("invert" in picture.evaluate("image => getComputedStyle(image).filter")) == (scheme == "dark")
    assert page.locator("#all-claims .chip").all_inner_texts() == [
        "✓ supported", "✗ not supported", "? inconclusive",
    ]  # fmt: skip


@pytest.mark.parametrize("width", [390, 1400])
def test_a_link_leads_to_the_top_of_its_section(open_page, width):
    page = open_page(width)
    page.emulate_media(reduced_motion="reduce")  # jump at once
    page.add_style_tag(
        content="main { padding-bottom: 2000px; }"
    )  # so that the last section can scroll to the top
    for name in ("paper-made", "overview", "paper-made"):
        page.locator(f"nav a[href='#{name}']").click()
        page.wait_for_timeout(300)  # hashchange, and charts that are drawn when visible
        if name == "overview":
            assert page.evaluate("scrollY") < 100
        else:
            top = page.locator(f"#{name}").evaluate("section => section.getBoundingClientRect().top")
            assert 0 <= top <= 40  # the padding


def test_the_button_switches_the_colour_scheme(open_page):
    page = open_page()
    switch = page.get_by_role("button", name="Dark")
    switch.click()
    assert page.evaluate("getComputedStyle(document.body).color") == INK["dark"]
    page.get_by_role("button", name="Light").click()
    assert page.evaluate("getComputedStyle(document.body).color") == INK["light"]


def test_a_curve_names_its_run_and_links_to_it(open_page, made):
    page = open_page()
    draw_charts(page)
    over = page.locator(".chart .u-over").first
    box = over.bounding_box()
    tooltip = ""
    for share in range(2, 20):  # move down through the panel to a curve
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] * share / 20)
        if page.locator("#tip").is_visible():
            tooltip = page.locator("#tip").inner_text()
            break
    assert "tanh" in tooltip or "relu" in tooltip
    assert "step 20: 0." in tooltip
    run = next(run for run in made.runs if run in tooltip)
    page.mouse.down()
    page.mouse.up()
    page.wait_for_function("location.hash.startsWith('#run-')")
    assert page.evaluate("location.hash") == f"#run-{run}"
    page.locator(f"tr[id='run-{run}']").wait_for()


def test_activations_are_switched_off(open_page):
    page = open_page()
    draw_charts(page)

    def coloured():
        return page.locator(".chart canvas").first.evaluate(
            """canvas => {
                const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d");
                copy.drawImage(canvas, 0, 0);
                const pixels = copy.getImageData(0, 0, canvas.width, canvas.height).data;
                const seen = {blue: 0, red: 0};
                for (let k = 0; k < pixels.length; k += 4) {
                    if (pixels[k + 3] < 128) continue;
                    if (pixels[k + 2] > pixels[k] + 90) seen.blue++;
                    if (pixels[k] > pixels[k + 2] + 90) seen.red++;
                }
                return seen;
            }"""
        )

    page.wait_for_timeout(200)  # charts are drawn in the next frame
    before = coloured()
    assert before["blue"] > 50
    assert before["red"] > 50
    page.locator(".switches").get_by_label("tanh").uncheck()
    page.wait_for_timeout(200)
    after = coloured()
    assert after["blue"] < 0.1 * before["blue"]
    assert after["red"] > 50


@pytest.mark.parametrize("column", ["loss ratio", "gradient error"])
def test_tables_are_sorted(open_page, column):
    page = open_page()
    table = page.locator("#paper-made table.sortable")
    head = table.get_by_role("button", name=column)
    place = table.locator("th").all_inner_texts().index(head.inner_text())

    def values():
        return [
            float(text.replace("−", "-"))
            for text in table.locator(f"td:nth-child({place + 1})").all_inner_texts()
        ]

    head.click()
    assert values() == sorted(values())
    assert table.locator("th").nth(place).get_attribute("aria-sort") == "ascending"
    head.press("Enter")
    assert values() == sorted(values(), reverse=True)


def test_verdicts_are_filtered(open_page):
    page = open_page()
    page.locator("#verdict-filters input").first.uncheck()
    assert page.locator("#all-claims tr.supported").is_hidden()
    assert page.locator("#all-claims tr.not-supported").is_visible()


def test_without_scripts_only_charts_are_missing(open_page):
    page = open_page(java_script_enabled=False)
    assert page.locator("#all-claims .chip").count() == 3
    assert page.locator("figure img").is_visible()
    assert page.locator("#paper-made table.sortable").is_visible()
    assert page.locator(".explore").is_hidden()
    assert page.locator("#theme").is_hidden()


def test_it_prints_on_white_without_cutting_tables(open_page, browser):
    page = open_page(scheme="dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert page.locator("nav").is_hidden()
    for table in page.locator(".scroll").all():
        assert table.evaluate("box => getComputedStyle(box).overflowY") == "visible"
    folded = page.pdf(prefer_css_page_size=True)
    assert folded.startswith(b"%PDF")
    page.evaluate("document.querySelectorAll('details').forEach(table => { table.open = true; })")
    assert len(page.pdf(prefer_css_page_size=True)) > len(folded)  # open tables are printed
