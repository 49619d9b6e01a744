import base64
import gzip
import hashlib
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from pruneaudit.report.figures.look import cut, text_width
from pruneaudit.report.page.html import render, write_report
from pruneaudit.report.words import attack_name

EVIL = "</script><script>alert(1)</script><img src=http://evil.example/x onerror=alert(2)>"
ATTACKS = ("loss", "confidence", "entropy", "modified_entropy", "lira", "rmia")
VOID = {"meta", "br", "img", "link", "hr", "input"}


class Page(HTMLParser):
    """What a browser would see: elements with attributes, texts, scripts; checks that tags close in order."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.scripts, self.open, self.text = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == [], "every element is closed"

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag == "script":
            self.scripts.append((dict(attributes), ""))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            attributes, text = self.scripts[-1]
            self.scripts[-1] = (attributes, text + data)
        elif "style" not in self.open:
            self.text.append(data)

    @property
    def words(self):
        return " ".join("".join(self.text).split())

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def figures(self):
        return {a["id"]: json.loads(text) for a, text in self.scripts if a.get("type") == "application/json"}

    @property
    def run(self):
        """The scripts that a browser would execute, if the policy lets it."""
        return [text for attributes, text in self.scripts if "type" not in attributes]


@pytest.fixture(scope="module")
def page(make_results):
    return Page(render(make_results()))


def test_the_report_is_one_file_in_a_given_place(results, tmp_path):
    path = write_report(results, tmp_path / "report.html")
    assert path.read_text(encoding="utf-8") == render(results)
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_the_answer_comes_first_then_leakage_changes_and_method(page):
    order = [
        "The dense networks leak.",
        "Do the attacks agree?",
        "What to do next",
        "Leakage against",
        "Release by release",
        "Leakage by release",
    ]
    order += ["ROC of one attack", "Findings, mean over victims", "Findings, all victims pooled", "Paired differences"]
    order += ["Releases.", "The attacker", "The data and the run", "Suppressed figures", "Repeat it"]
    places = [page.words.index(words) for words in order]
    assert places == sorted(places)
    headings = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert headings[0] == 1
    assert headings.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(headings))


def test_every_mean_finding_is_shown_with_its_interval(results, page):
    for _, row in results.findings[results.findings["victim"].isin(["mean", "pooled"])].iterrows():
        assert f"{row['auc']:.3f} [{row['auc_low']:.3f}, {row['auc_high']:.3f}]" in page.words
        percent = [100 * row[f"tpr_at_1%_fpr{end}"] for end in ("", "_low", "_high")]
        assert "{:.1f}% [{:.1f}, {:.1f}]".format(*percent) in page.words


def test_every_difference_is_shown_with_its_interval(page):
    assert "+0.004 [-0.016, +0.024]" in page.words
    assert "-0.100 [-0.120, -0.080]" in page.words
    assert "Test accuracy (points)" in page.words
    assert page.words.count("-3.1 [-3.6, -2.6]") >= len(ATTACKS), "in every row of the release"


def test_what_is_needed_to_repeat_it_is_there(results, page):
    for text in ("ab" * 32, results.about["command"], "torch 2.9.0", "2,000 audited samples", "versions differ from"):
        assert text in page.words
    assert "Protocol: pooled" in page.words


def test_a_suppressed_figure_leads_to_its_reason(results, page):
    reason = results.findings["suppressed"].iloc[0]
    assert reason in page.words
    assert "nan" not in page.words.lower()
    ids = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    targets = [link["href"].removeprefix("#") for link in page.all("a")]
    assert targets
    assert set(targets) <= ids
    assert "n/a" in page.words


def test_tables_say_what_they_are(page):
    assert len(page.all("table")) == len(page.all("caption")) == 5
    assert all(cell.get("scope") in ("row", "col", "rowgroup", "colgroup") for cell in page.all("th"))


def test_nothing_is_ever_requested(page):
    for tag, attributes in page.elements:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base"), tag
        for name in ("src", "href", "srcset", "action", "data"):
            assert attributes.get(name, "#").startswith("#"), (tag, attributes)
    policy = next(meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none';")
    assert "http" not in policy


def test_the_policy_allows_exactly_the_scripts_of_the_page(page):
    policy = next(meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert "unsafe-eval" not in policy
    packed = next(text for attributes, text in page.scripts if attributes.get("id") == "vega")
    unpacked = gzip.decompress(base64.b64decode(packed)).decode()
    assert "vegaEmbed" in unpacked
    assert "\r" not in unpacked, "a browser would read another text than was hashed"
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (*page.run, unpacked)]
    assert len(digests) == 3
    assert re.findall(r"'sha256-([^']+)'", policy) == digests


def hostile(parts):
    for name in ("findings", "comparisons", "releases", "curves"):
        parts[name] = parts[name].replace({"l1unstructured-0.9": EVIL, "loss": EVIL + "loss"})
    parts["findings"]["variant"] = EVIL
    parts["findings"]["suppressed"] = EVIL
    parts["about"] |= {
        "name": EVIL,
        "description": EVIL,
        "warnings": [EVIL],
        "failures": [{EVIL: EVIL}],
        "command": EVIL,
    }
    parts["about"] |= {"protocol": EVIL, "device": EVIL, "versions": {EVIL: EVIL}}
    parts["about"]["audit_data"]["name"] = EVIL
    parts["about"]["study"]["description"] = EVIL


def test_texts_from_outside_stay_texts(make_results, page):
    attacked = Page(render(make_results(hostile)))
    assert attacked.run == page.run, "no script has joined"
    assert not attacked.all("img")
    assert not [attributes for _, attributes in attacked.elements if "onerror" in attributes]
    assert EVIL in attacked.words


EXPRESSIONS = {"test", "expr", "calculate", "filter", "signal", "labelExpr"}
"""Keys of a specification whose texts Vega takes for a program."""


def expressions(part):
    """All programs in a specification."""
    items = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    for key, value in items:
        if key in EXPRESSIONS and isinstance(value, str):
            yield value
        elif key != "values" or not isinstance(part, dict):
            yield from expressions(value)


def test_no_name_from_outside_is_taken_for_a_program(make_results, page):
    attacked = Page(render(make_results(hostile))).figures
    columns = re.compile(r" / \d+\)\)$")  # as many columns of the legend as names of this length fit

    def programs(figures):
        return {columns.sub("", text) for figure in figures.values() for text in expressions(figure)}

    assert programs(attacked) == programs(page.figures) != set()
    assert "evil" in json.dumps(attacked)


def test_a_name_in_a_figure_is_cut_in_its_middle_and_loses_what_does_not_print():
    assert cut("x" * 300, 100, 10).count("…") == 1
    assert text_width(cut("l1unstructured-" * 9 + "end", 100, 10), 10) <= 100
    assert cut("l1unstructured-" * 9 + "end", 100, 10).endswith("end")
    assert "\u202e" not in cut("\u202eabc", 100, 10), "an override could turn the rest of the legend round"


def test_names_are_kept_apart_from_text_in_another_direction(make_results):
    name = "שלום"

    def rename(parts):
        for table in ("findings", "comparisons", "releases", "curves"):
            parts[table] = parts[table].replace({"l1unstructured-0.9": name})

    text = render(make_results(rename))
    bare = re.sub(
        r"<(bdi|option)[^>]*>[^<]*</(bdi|option)>", "", re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    )
    assert name in text
    assert name not in bare
    assert all(option.get("dir") == "auto" for option in Page(text).all("option"))


def test_figures_hold_the_numbers_with_their_intervals(results, page):
    shown = {name: figure for name, figure in page.figures.items() if not re.search(r"-\d+$", name)}
    assert set(shown) == {"leakage-by-release", "sparsity", "roc-releases", "roc-attacks", "tradeoff"}
    assert len(page.figures) - len(shown) == (len(ATTACKS) - 1) + (3 - 1), (
        "all other attacks and releases can be chosen"
    )
    means = results.findings[results.findings["victim"] == "mean"]
    data = pd.DataFrame(page.figures["leakage-by-release"]["data"]["values"])
    for attack, rows in means.groupby("attack"):
        drawn = data[data["series"] == attack_name(attack)]
        assert drawn["release"].tolist() == rows["release"].tolist()
        np.testing.assert_allclose(drawn[["auc", "auc_low", "auc_high"]], rows[["auc", "auc_low", "auc_high"]])


def test_attacks_differ_in_colour_and_symbol(page):
    points = page.figures["leakage-by-release"]["layer"][-1]["encoding"]
    for channel in ("color", "shape"):
        looks = points[channel]["scale"]["range"]
        assert len(set(looks)) == len(looks) == len(ATTACKS)


def curves(figure):
    """The curves of a ROC, without the line of guessing."""
    return [datum for datum in figure["data"]["values"] if datum["series"] != "guessing"]


def test_a_roc_is_cut_below_its_resolution(make_results):
    def few(parts):
        parts["findings"].loc[parts["findings"]["victim"] == "mean", "num_nonmembers"] = 200

    figure = Page(render(make_results(few))).figures["roc-releases"]
    assert min(min(curve["fpr"]) for curve in curves(figure)) >= 10 / 200
    scale = figure["layer"][0]["encoding"]["x"]["scale"]
    assert scale["type"] == "log"
    assert scale["domain"][0] == pytest.approx(10 / 200, rel=0.1)

    def too_few(parts):
        parts["findings"].loc[parts["findings"]["victim"] == "mean", "num_nonmembers"] = 9

    assert "roc-releases" not in Page(render(make_results(too_few))).figures


@pytest.mark.slow
def test_a_report_needs_no_extra_for_its_figures(tmp_path):
    """In a process in which neither altair nor vl-convert can be imported."""
    program = (
        "import sys; sys.modules |= dict.fromkeys(('altair', 'vl_convert', 'plotly', 'matplotlib'))\n"
        "import pruneaudit.report.page.html, pruneaudit.report.paper\n"
        "from pruneaudit.report.figures.drawing import packed_vega_script\n"
        "assert len(packed_vega_script()) > 300_000"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_report_of_almost_nothing(make_results):
    def nothing(parts):
        parts |= {name: parts[name].iloc[:0] for name in ("findings", "comparisons", "curves", "releases")}
        parts["about"] = {}

    page = Page(render(make_results(nothing)))
    assert "No attack was played" in page.words
    assert "No releases were compared." in page.words


@pytest.mark.parametrize("has_control", [True, False])
def test_the_baselines_are_named_or_missed(make_results, has_control):
    def edit(parts):
        if not has_control:
            parts["comparisons"] = parts["comparisons"][parts["comparisons"]["baseline"] == "dense"]

    words = Page(render(make_results(edit))).words
    assert ("l1unstructured-0.9 is compared with dense+finetune." in words) == has_control
    assert ("Every release is compared with the dense networks." in words) != has_control
