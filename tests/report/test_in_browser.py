"""The page in a real browser: nothing leaves it, nothing breaks in it, and its tables sort, filter and copy."""

import base64
import csv
import io
import json
import re
import subprocess
import sys
import zlib

import numpy as np
import pandas as pd
import pytest

from pruneaudit.evaluation.columns import DETECTION_CHANGE_COLUMNS
from pruneaudit.report.page.html import render, write_report
from pruneaudit.report.samples import Samples, png, read_samples

pytestmark = pytest.mark.slow
PRUNED, BASELINE = "l1unstructured-0.9", "dense+finetune"
SCRIPT = "<script>alert('class')</script>"
HOSTILE = (SCRIPT, "\"quoted\" & 'quoted' <img src=x onerror=alert(2)>", "x" * 300, "שלום \u202eabc", "=1+1")
PHONE, NARROW = 390, 320
FITS = "document.scrollingElement.scrollWidth <= document.documentElement.clientWidth"
NO_CLIPBOARD = "Object.defineProperty(navigator, 'clipboard', { value: undefined })"
RESET = """() => {
    document.querySelectorAll(".tools select, .tools input").forEach((each) => {
        each.value = "";
        each.dispatchEvent(new Event(each.tagName === "SELECT" ? "change" : "input"));
    });
    document.querySelectorAll("[aria-sort] button").forEach((button) => {
        while (button.parentElement.hasAttribute("aria-sort")) button.click();
    });
    document.querySelectorAll(".tools .status").forEach((each) => each.replaceChildren());
}"""


def with_moves(parts):
    """Results in which samples become exposed."""
    rows = []
    for name, newly in (("all", 30), *((str(number), 6) for number in range(len(HOSTILE)))):
        values = (PRUNED, BASELINE, "lira", 0.01, name, newly, 2, 40, 1990, 0.2, np.nan, np.nan)
        rows.append(dict(zip(DETECTION_CHANGE_COLUMNS, values, strict=True)))
    samples = [
        {"release": PRUNED, "baseline": BASELINE, "sample_id": str(number), "class_id": number, "change": 0.5}
        | {"detection_rate_before": 0.0, "detection_rate_after": 0.5, "num_victims": 8}
        for number in range(len(HOSTILE))
    ]
    parts |= {"detection_changes": pd.DataFrame(rows), "sample_detection": pd.DataFrame(samples)}


@pytest.fixture(scope="module")
def plain(make_results, tmp_path_factory):
    return write_report(make_results(with_moves), tmp_path_factory.mktemp("plain") / "report.html")


@pytest.fixture(scope="module")
def opened(open_report, plain):
    return open_report(plain, permissions=["clipboard-read", "clipboard-write"])


@pytest.fixture(scope="module")
def phone(open_report, plain):
    return open_report(plain, PHONE).page


@pytest.fixture(scope="module")
def without_clipboard(open_report, plain):
    return open_report(plain, before=NO_CLIPBOARD)


@pytest.fixture
def findings(opened):
    """The findings table as the page shows it at first."""
    opened.page.evaluate(RESET)
    return Shown(opened.page, "findings-title")


class Shown:
    """A table with its tools."""

    def __init__(self, page, title):
        self.page = page
        self.box = page.locator(f".with-tools:has(#{title})")
        self.heads = self.box.locator("thead th")

    def column(self, name):
        """What stands in a column, of the visible rows."""
        at = [text.rstrip("\u2195\u2191\u2193 \u00a0") for text in self.heads.all_inner_texts()].index(name)
        return self.box.locator(f"tbody tr:visible > :nth-child({at + 1})").all_inner_texts()

    def head(self, name):
        return self.heads.filter(has_text=name).first


def numbers(texts):
    return [float(text.split()[0].rstrip("%")) for text in texts]


def wait_until(page, condition):
    """Asks again and again; the page's policy forbids the browser to evaluate a text by itself."""
    for _ in range(200):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never came true: {condition}")


def fits(page):
    return page.evaluate(FITS)


def test_the_page_draws_everything_and_asks_for_nothing(opened, plain):
    page = opened.page
    assert opened.problems == []
    assert {address for address in opened.requests if not address.startswith("blob:")} == {plain.as_uri()}
    plots = page.locator("[data-figure]").count()
    assert plots >= 5
    assert page.locator("[data-figure] svg.marks").count() == plots
    assert fits(page)


def test_a_header_sorts_up_down_and_back(findings):
    before, head = findings.column("AUC"), findings.head("AUC")
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert numbers(findings.column("AUC")) == sorted(numbers(before))
    head.locator("button").press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    assert numbers(findings.column("AUC")) == sorted(numbers(before), reverse=True)
    head.locator("button").press("Enter")
    assert head.get_attribute("aria-sort") is None
    assert findings.column("AUC") == before


def test_only_one_header_is_sorted_by_and_texts_sort_as_people_do(findings):
    findings.head("AUC").locator("button").click()
    findings.head("Attack").locator("button").click()
    names = [text.split()[0] for text in findings.column("Attack")]
    assert names == sorted(names)
    assert findings.box.locator("th[aria-sort]").count() == 1


def test_filters_narrow_the_rows_and_say_how_many_are_left(findings):
    everything = len(findings.column("AUC"))
    findings.box.get_by_label("Attack").select_option("lira")
    assert len(findings.column("AUC")) == everything / 6
    assert findings.box.get_by_role("status").inner_text() == f"{everything // 6} of {everything} rows shown"
    findings.box.get_by_role("searchbox", name="Find").fill("FINETUNE")
    assert findings.column("Release") == [BASELINE]
    findings.box.get_by_role("searchbox", name="Find").fill("no such thing")
    assert findings.column("Release") == []
    findings.box.get_by_label("Attack").select_option("")
    findings.box.get_by_role("searchbox", name="Find").fill("")
    assert len(findings.column("AUC")) == everything


def test_what_is_copied_as_csv_are_the_visible_rows_as_numbers(findings, make_results):
    findings.box.get_by_label("Attack").select_option("lira")
    findings.box.get_by_role("button", name="Copy as CSV").click()
    findings.box.get_by_text("Copied").wait_for()
    text = findings.page.evaluate("navigator.clipboard.readText()")
    rows = list(csv.DictReader(io.StringIO(text)))
    table = make_results().findings
    expected = table[(table["victim"] == "mean") & (table["attack"] == "lira")]
    assert [row["Release"] for row in rows] == expected["release"].tolist()
    for column, name, scale in (("auc", "AUC", 1), ("tpr_at_1%_fpr", "TPR at 1% FPR (%)", 100)):
        for end, limit in (("", ""), ("_low", ", low"), ("_high", ", high")):
            got = [float(row[name + limit]) for row in rows]
            np.testing.assert_allclose(got, scale * expected[column + end], atol=0.0006 * (100 if scale > 1 else 1))
    assert {row["Attack, detail"] for row in rows} == {"online, pooled variance"}
    assert {row["TPR at 0.1% FPR"] for row in rows} == {""}, "a suppressed figure is empty"
    assert float(rows[0]["Members"]) == 1000.5


def test_what_is_copied_as_latex_is_escaped(findings):
    findings.box.get_by_role("button", name="Copy as LaTeX").click()
    findings.box.get_by_text("Copied").wait_for()
    text = findings.page.evaluate("navigator.clipboard.readText()")
    assert text.startswith("\\begin{tabular}{lllr")
    assert "TPR at 1\\% FPR" in text
    assert "modified\\_entropy" in text
    assert text.count("\\\\\n") == 1 + len(findings.column("AUC"))


def test_without_a_clipboard_the_text_is_laid_out_to_be_copied_by_hand(without_clipboard):
    table = Shown(without_clipboard.page, "findings-title")
    table.box.get_by_role("button", name="Copy as CSV").click()
    text = table.box.get_by_label("Text to copy").input_value()
    assert text.startswith("Release,References,Attack,")
    selected = "[document.activeElement.selectionStart, document.activeElement.selectionEnd]"
    assert without_clipboard.page.evaluate(selected) == [0, len(text)]
    assert "Ctrl+C" in table.box.get_by_role("status").inner_text()


def test_the_policy_stops_what_would_leave_the_page(without_clipboard):
    stopped = "fetch('https://example.invalid/').then(() => 'sent', () => 'stopped')"
    assert without_clipboard.page.evaluate(stopped) == "stopped"
    assert any("Content Security Policy" in problem for problem in without_clipboard.problems)


def attributes(figure, elements, name):
    """A script that reads an attribute of all such elements of a figure."""
    found = f"document.querySelectorAll('[data-figure={figure}] {elements}')"
    return f"[...{found}].map((each) => each.getAttribute('{name}'))"


def test_another_attack_or_release_can_be_drawn(opened):
    page = opened.page
    lines = attributes("roc-attacks", ".mark-line.role-mark path", "d")
    before = page.evaluate(lines)
    page.locator("select[data-choose=roc-attacks]").select_option(label=PRUNED)
    wait_until(page, f"JSON.stringify({lines}) !== {json.dumps(json.dumps(before, separators=(',', ':')))}")
    wanted = page.evaluate("JSON.parse(document.getElementById('roc-attacks-2').textContent).data.values")
    assert len(page.evaluate(lines)) == len(wanted) == 6 + 1, "and the line of guessing"
    assert opened.problems == []


def hover(page, point):
    """What is shown where the mouse stands on a mark."""
    point.scroll_into_view_if_needed()
    box = point.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.locator("#vg-tooltip-element.visible").wait_for()
    return page.locator("#vg-tooltip-element").inner_text()


def test_hovering_a_point_shows_its_value_with_the_interval(opened):
    page = opened.page
    shown = hover(page, page.locator("[data-figure=sparsity] .mark-symbol.role-mark path").first)
    assert "90% sparsity, AUC 0.630 [0.618, 0.642]" in shown


def test_hovering_beside_a_curve_shows_the_nearest_point(opened):
    page = opened.page
    page.mouse.move(0, 0)
    shown = hover(page, page.locator("[data-figure=roc-releases] svg"))
    assert re.search(r"FPR [\d.]+%, TPR [\d.]+%", shown)


def test_a_click_in_the_legend_fades_the_other_series(opened):
    page = opened.page
    figure = page.locator("[data-figure=leakage-by-release]")
    opacities = attributes("leakage-by-release", ".mark-symbol.role-mark path", "opacity")
    assert set(page.evaluate(opacities)) == {"1"}
    entry = figure.locator(".role-legend-label text", has_text="LiRA")
    entry.click()
    wait_until(page, f"new Set({opacities}).size === 2")
    assert page.evaluate(opacities).count("1") == 3, "three releases under one attack"
    entry.click()
    wait_until(page, f"new Set({opacities}).size === 1")


def test_the_wheel_scrolls_the_page_and_with_shift_it_zooms(opened):
    page = opened.page
    labels = page.locator("[data-figure=roc-releases] .role-axis-label text")
    figure = page.locator("[data-figure=roc-releases] svg")
    figure.scroll_into_view_if_needed()
    box, before = figure.bounding_box(), labels.all_inner_texts()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.wheel(0, -120)
    wait_until(
        page,
        f"document.querySelector('[data-figure=roc-releases] svg').getBoundingClientRect().y > {box['y'] + 20}",
    )
    assert labels.all_inner_texts() == before
    box = figure.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.keyboard.down("Shift")
    page.mouse.wheel(0, -400)
    page.keyboard.up("Shift")
    wait_until(
        page,
        f"{attributes('roc-releases', '.role-axis-label text', 'x')}.length !== {len(before)}",
    )
    assert opened.problems == []


def test_a_figure_is_as_wide_as_its_place_and_on_paper_no_wider_than_that(open_report, plain):
    page = open_report(plain).page
    widths = "[...document.querySelectorAll('[data-figure] svg')].map((e) => Number(e.getAttribute('width')))"
    wide = page.evaluate(widths)
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert set(page.evaluate(widths)) == {680}
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.evaluate(widths) == wide
    page.set_viewport_size({"width": PHONE, "height": 844})
    wait_until(page, f"{widths}.every((width) => width <= {PHONE})")
    # Every entry of every legend is inside its picture.
    outside = """[...document.querySelectorAll('[data-figure] svg')].flatMap((svg) => {
        const frame = svg.getBoundingClientRect();
        return [...svg.querySelectorAll('.role-legend-label text')].filter((each) => {
            const box = each.getBoundingClientRect();
            return box.top < frame.top - 1 || box.right > frame.right + 1;
        }).map((each) => each.textContent);
    })"""
    wait_until(page, f"{outside}.length === 0")
    assert fits(page)


def test_the_first_key_leads_past_the_head_and_everything_can_be_reached(phone):
    page = phone
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the answer"
    assert page.locator("a.skip").bounding_box()["x"] >= 0
    nameless = """[...document.querySelectorAll("button, input, select, textarea, img, [role=region], [role=img]")]
        .filter((each) => !(each.labels?.length || each.ariaLabel || each.alt || each.textContent.trim()
            || document.getElementById(each.getAttribute("aria-labelledby")))).map((each) => each.outerHTML)"""
    assert page.evaluate(nameless) == []


def test_dark_mode_and_print_change_colours_and_leave_out_tools(opened):
    page = opened.page
    colours = "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    letters = """[...document.querySelectorAll('.role-axis-label text, .role-legend-label text')]
        .map((each) => getComputedStyle(each).fill)"""
    light, light_letters = page.evaluate(colours), set(page.evaluate(letters))
    assert light_letters == {light[1]}, "figures have the colour of the text around them"
    page.emulate_media(color_scheme="dark")
    wait_until(page, f"getComputedStyle(document.body).color !== '{light[1]}'")
    assert set(page.evaluate(letters)) == {page.evaluate(colours)[1]}
    assert all(dark != other for dark, other in zip(page.evaluate(colours), light, strict=True))
    page.emulate_media(media="print", color_scheme="light")
    assert page.locator(".tools:visible").count() == 0
    assert page.locator("table:visible").count() >= 5
    page.emulate_media(media="screen", color_scheme="light")


@pytest.fixture(scope="module")
def hostile(open_report, make_results, tmp_path_factory):
    """A page on which every name wants to be something else, in a file whose name does too; without a clipboard."""

    def rename(parts):
        with_moves(parts)
        names = {PRUNED: HOSTILE[1], BASELINE: HOSTILE[2], "loss": SCRIPT, "rmia": "=1+1", "entropy": "-2 +cmd"}
        for table in ("findings", "comparisons", "releases", "curves", "detection_changes", "sample_detection"):
            parts[table] = parts[table].replace(names)
        control = {"kind": "null", "auc": 0.9, "low": 0.8, "high": 0.95, "expected": HOSTILE[1], "passed": False}
        parts["about"] |= {"name": HOSTILE[3], "command": f"pruneaudit run {SCRIPT}.toml"}
        parts["about"]["sanity_checks"] = [control | {"attack": name, "bank": name} for name in HOSTILE]

    picture = "data:image/png;base64," + base64.b64encode(png(np.zeros((1, 2, 2), dtype=np.uint8))).decode()
    folder = tmp_path_factory.mktemp("hostile") / "<script>alert('file')<"
    folder.mkdir()
    path = folder / "שלום \"quoted\" & 'quoted'.html"
    path.write_text(
        render(make_results(rename), Samples(HOSTILE, {"0": picture, "1": picture}), True), encoding="utf-8"
    )
    return open_report(path, PHONE, before=NO_CLIPBOARD)


def test_hostile_names_are_shown_as_text_and_fit_a_phone(hostile):
    page = hostile.page
    assert hostile.problems == []
    assert hostile.dialogs == []
    assert page.locator("h1").inner_text() == HOSTILE[3]
    page.locator("summary").evaluate_all("all => all.forEach((each) => each.click())")
    text = page.locator("body").inner_text()
    for name in HOSTILE[:3]:
        assert name in text
    assert page.locator("img").count() == 2, "the two pictures and no other"
    assert page.locator("script:not([type])").count() == 3, "the page's own two, and Vega"
    assert fits(page)
    page.set_viewport_size({"width": NARROW, "height": 844})
    wait_until(page, FITS)


def test_a_name_that_a_spreadsheet_takes_for_a_formula_is_copied_as_text(hostile):
    table = Shown(hostile.page, "findings-title")
    table.box.get_by_role("button", name="Copy as CSV").click()
    rows = list(csv.DictReader(io.StringIO(table.box.get_by_label("Text to copy").input_value())))
    assert {row["Attack"] for row in rows} >= {"'=1+1", "'-2 +cmd", "lira", SCRIPT}


@pytest.mark.parametrize(("width", "height"), [(360, 640), (390, 844)])
def test_the_first_screen_of_a_phone_holds_the_answer_and_the_three_numbers(phone, width, height):
    page = phone
    page.set_viewport_size({"width": width, "height": height})
    wait_until(page, FITS)

    def bottoms(name):
        return page.locator(name).evaluate_all("all => all.map((each) => each.getBoundingClientRect().bottom)")

    assert len(bottoms(".numbers .big")) == 3
    assert max(bottoms(".numbers .big")) < height
    assert max(bottoms(".verdict")) < min(bottoms(".numbers .value"))
    assert min(bottoms(".answer h3")) > max(bottoms(".numbers .big")), "all else comes after the numbers"


def test_a_long_table_repeats_its_head_on_every_printed_page(open_report, make_results, tmp_path):
    """The head is printed in one colour and the rows in another; every page that has the one has the other."""

    def many(parts):
        table = parts["findings"]
        more = [table.assign(attack=table["attack"] + f":number={number}") for number in range(4)]
        parts["findings"] = pd.concat([table, *more], ignore_index=True)

    path = write_report(make_results(many), tmp_path / "report.html")
    page = open_report(path).page
    head, row = "1 0 .2 rg", "0 1 .2 rg"
    colours = {"thead *": "rgb(255, 0, 51)", "tbody *": "rgb(0, 255, 51)"}
    for part, colour in colours.items():
        page.add_style_tag(content=f"table:has(#findings-title) {part} {{ color: {colour} !important }}")
    pages = [text for text in pdf_streams(page.pdf(format="A4")) if row in text]
    assert len(pages) >= 3
    assert all(head in text for text in pages)


def pdf_streams(data):
    """What is drawn: the compressed streams of a PDF that hold text."""
    found = []
    for stream in re.findall(rb"stream\r?\n(.*?)endstream", data, re.DOTALL):
        try:
            found.append(zlib.decompress(stream).decode("latin-1"))
        except zlib.error:  # pictures and fonts may be packed otherwise
            continue
    return [text for text in found if "BT" in text]


def test_without_scripts_the_tables_are_all_there(open_report, plain):
    opened = open_report(plain, PHONE, java_script_enabled=False)
    assert opened.page.locator("table").count() >= 5
    assert "The figures need JavaScript" in opened.page.locator("noscript").first.inner_text()
    assert opened.page.locator("button, select:visible").count() == 0


def test_the_report_of_the_demo_works_as_a_whole(open_report, tmp_path):
    command = [sys.executable, "-m", "pruneaudit", "demo", "--quick", "--out", str(tmp_path / "runs"), "--quiet"]
    subprocess.run(command, check=True, timeout=1200, capture_output=True)
    (path,) = tmp_path.glob("runs/*/report.html")
    for width, scheme in ((1280, "light"), (PHONE, "dark")):
        opened = open_report(path, width, color_scheme=scheme)
        page = opened.page
        assert opened.problems == []
        assert {address for address in opened.requests if not address.startswith(("blob:", "data:"))} == {path.as_uri()}
        assert page.locator(".numbers .value").count() == 3
        assert page.locator(".answer .headline").count() <= 3
        assert fits(page)
        page.locator("summary").evaluate_all("all => all.forEach((each) => each.click())")
        assert page.evaluate(
            "[...document.images].length > 0 && [...document.images].every((each) => each.naturalWidth === 8)"
        )
        assert fits(page)
    assert len(page.pdf()) > 10_000


def test_pictures_and_class_names_come_from_the_population_of_the_run(make_results, tmp_path):
    results = make_results(with_moves)
    place = tmp_path / "audit_data-abababab"
    place.mkdir()
    np.save(place / "x.npy", np.arange(5 * 3 * 4 * 4, dtype=np.uint8).reshape(5, 3, 4, 4))
    np.save(place / "ids.npy", np.arange(5))
    (place / "audit_data.json").write_text('{"classes": ["zero", "<b>"]}')
    (place / "config.json").write_text('{"sha256": "' + "ab" * 32 + '"}')
    found = read_samples(results, tmp_path, {"1", "4", "77"})
    assert sorted(found.pictures) == ["1", "4"]
    assert [found.class_name(number) for number in (0, 1, 2, 0.5)] == ["zero", "<b>", "2", "0.5"]
    (place / "config.json").write_text('{"sha256": "other"}')
    assert read_samples(results, tmp_path, {"1"}) == Samples(), "another audit data"
    assert read_samples(results, tmp_path / "nowhere", {"1"}) == Samples()
