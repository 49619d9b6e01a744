import base64
import gzip
import hashlib
import json
import re
import sys
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest

from pruneaudit.report.figures.common import label
from pruneaudit.report.page.html import render, write_report

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
    assert "an auditor's worst case" in page.words


def test_a_refused_figure_is_a_dash_that_leads_to_its_reason(results, page):
    reason = results.findings["suppressed"].iloc[0]
    assert reason in page.words
    assert "nan" not in page.words.lower()
    ids = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    targets = [link["href"].removeprefix("#") for link in page.all("a")]
    assert targets
    assert set(targets) <= ids
    assert "\u2013" in page.words


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
    pytest.importorskip("plotly")
    policy = next(meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    packed = next(text for attributes, text in page.scripts if attributes.get("id") == "plotly")
    unpacked = gzip.decompress(base64.b64decode(packed)).decode()
    assert unpacked.startswith("/**")
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


def test_figures_hold_no_markup_from_outside(make_results):
    pytest.importorskip("plotly")
    figures = Page(render(make_results(hostile))).figures
    assert figures
    ours = "%{customdata}<extra>%{fullData.name}</extra>", "FPR %{x:.3%}, TPR %{y:.3%}<extra>%{fullData.name}</extra>"
    for figure in figures.values():
        for trace in figure["data"]:
            assert trace.pop("hovertemplate") in ours
    assert "<" not in json.dumps(figures)


def test_a_label_is_cut_isolated_and_escaped():
    assert label("a<b") == "\u2068a&lt;b\u2069"
    assert len(label("x" * 300)) == 30
    assert "\u202e" not in label("\u202eabc"), "an override could turn the rest of the legend round"


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


def test_figures_are_what_plotly_understands_and_hold_the_numbers(results, page):
    objects = pytest.importorskip("plotly.graph_objects")
    for figure in page.figures.values():
        objects.Figure(figure)
    shown = {name: figure for name, figure in page.figures.items() if not re.search(r"-\d+$", name)}
    assert set(shown) == {"leakage-by-release", "sparsity", "roc-releases", "roc-attacks", "tradeoff"}
    assert len(page.figures) - len(shown) == (len(ATTACKS) - 1) + (3 - 1), (
        "all other attacks and releases can be chosen"
    )
    means = results.findings[results.findings["victim"] == "mean"]
    for trace in page.figures["leakage-by-release"]["data"]:
        rows = means[means["attack"] == trace["name"].strip("\u2068\u2069")]
        assert trace["x"] == rows["auc"].tolist()
        np.testing.assert_allclose(trace["error_x"]["array"], rows["auc_high"] - rows["auc"])
        np.testing.assert_allclose(trace["error_x"]["arrayminus"], rows["auc"] - rows["auc_low"])


def test_attacks_differ_in_colour_and_symbol(page):
    pytest.importorskip("plotly")
    markers = [trace["marker"] for trace in page.figures["leakage-by-release"]["data"]]
    assert len({marker["color"] for marker in markers}) == len(markers) == 6
    assert len({marker["symbol"] for marker in markers}) == len(markers)


def test_a_roc_is_cut_below_its_resolution(make_results):
    pytest.importorskip("plotly")

    def few(parts):
        parts["findings"].loc[parts["findings"]["victim"] == "mean", "num_nonmembers"] = 200

    figure = Page(render(make_results(few))).figures["roc-releases"]
    assert min(min(trace["x"]) for trace in figure["data"]) >= 10 / 200
    assert figure["layout"]["xaxis"]["range"][0] == pytest.approx(np.log10(10 / 200))

    def too_few(parts):
        parts["findings"].loc[parts["findings"]["victim"] == "mean", "num_nonmembers"] = 9

    assert "roc-releases" not in Page(render(make_results(too_few))).figures


def test_without_plotly_the_report_says_which_extra_to_install(results, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "plotly"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "plotly", None)
    text = render(results)
    page = Page(text)
    assert "pruneaudit[plots]" in page.words
    assert len(page.scripts) == 1, "the tables' own"
    assert page.all("figure") == []
    assert "The dense networks leak" in page.words
    assert len(text) < 200_000


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
