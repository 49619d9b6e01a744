"""Figures and tables for a paper: the files are what they say, the same every time, and no name becomes markup."""

import math
import os
import re
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

import pruneaudit
from pruneaudit.core.errors import UserError
from pruneaudit.core.files import seal_files
from pruneaudit.evaluation.results import RESULT_FILES, Results
from pruneaudit.report.figures.against_accuracy import leakage_against_accuracy
from pruneaudit.report.figures.attacks import attacks
from pruneaudit.report.figures.by_degree import leakage_by_sparsity
from pruneaudit.report.figures.files import rendered
from pruneaudit.report.figures.look import FONT_POINTS, PAPER, WIDTH_POINTS, cut, cut_all, labels, text_width
from pruneaudit.report.figures.pdf import canonical_pdf
from pruneaudit.report.figures.points import Point, leakage, methods, references
from pruneaudit.report.paper import draw, figures
from pruneaudit.report.paper.latex import escaped, latex_tables
from pruneaudit.report.paper.names import file_stems
from pruneaudit.report.quantities import AUC

MAGIC = {".pdf": b"%PDF-", ".png": b"\x89PNG\r\n\x1a\n", ".svg": b"<?xml"}
HOSTILE = (
    *("$x^2$ & 5% _a_", "<b>&amp;</b>\"'", "נקי-0.9", "_" + "wide" * 19 + "end"),
    *("../../etc/passwd", r"\input{x}[*]", "bell\x07\x1b[31m\nnext", "剪枝"),
)
INTERVALS = ("_low", "_high")


def small(parts):
    """Two attacks alone: a figure is drawn faster."""
    for name in ("findings", "curves", "comparisons"):
        parts[name] = parts[name][parts[name]["attack"].isin(["loss", "lira", ""])]


def one_release_one_attack(parts):
    for name in ("findings", "releases", "curves", "comparisons"):
        table = parts[name]
        kept = table["release"] == "dense"
        parts[name] = table[kept & (table["attack"] == "loss")] if "attack" in table.columns else table[kept]
    parts["about"]["study"] = None


@pytest.fixture(scope="module")
def run_folder(make_results, tmp_path_factory):
    """A folder as a run leaves it."""

    def without_control(parts):  # and with one ROC
        small(parts)
        for name in ("findings", "releases", "curves"):
            parts[name] = parts[name][parts[name]["release"] != "dense+finetune"]
        parts["curves"] = parts["curves"][parts["curves"]["release"] == "dense"]

    folder = tmp_path_factory.mktemp("run")
    make_results(without_control).save(folder)
    seal_files(folder, RESULT_FILES)
    return folder


def renamed(parts, old, new):
    for table in parts.values():
        for column in {"release", "baseline"} & set(getattr(table, "columns", ())):
            table[column] = table[column].replace(old, new)


def drawn(results):
    pytest.importorskip("vl_convert")
    return {stem: rendered(figure, stem, ("svg",))["svg"] for stem, figure in draw(results)[0].items()}


def words(svg):
    """All texts of a picture, as a viewer shows them, line by line."""
    texts = [element for element in ElementTree.fromstring(svg).iter() if "text" in element.tag]
    return ["".join(line.itertext()) for text in texts for line in list(text) or [text]]


@pytest.mark.slow
def test_every_file_is_of_the_kind_it_says_and_another_process_writes_the_same_bytes(run_folder, tmp_path):
    written = figures(run_folder, tmp_path / "new" / "out", "pdf, PNG,svg,pdf", latex=True)
    stems = ("sparsity-leakage", "frontier", "roc-dense", "attacks")
    expected = [f"{stem}{suffix}" for stem in stems for suffix in (".pdf", ".png", ".svg")]
    assert [path.name for path in written.files] == [
        *expected, "findings-matched.tex", "differences-matched.tex", "releases.tex",
    ]  # fmt: skip
    assert written.left_out == ("roc-l1unstructured-0_9: no attack has a ROC curve",)
    assert sorted(path.name for path in (tmp_path / "new" / "out").iterdir()) == sorted(p.name for p in written.files)
    for path in written.files[: len(expected)]:
        content = path.read_bytes()
        assert content.startswith(MAGIC[path.suffix])
        if path.suffix == ".pdf":  # a column wide, its fonts inside as TrueType
            width = float(re.search(rb"/MediaBox \[ ?0 0 ([0-9.]+)", content)[1])
            assert width == pytest.approx(3.4 * 72) == pytest.approx(WIDTH_POINTS)
            assert b"/FontFile2" in content
            assert b"/Type3" not in content
            assert b"/CreationDate" not in content
            assert path.stem.encode("utf-16-be").hex().upper().encode() in content, "its title"
        elif path.suffix == ".png":
            assert int.from_bytes(content[16:20], "big") == round(3.4 * 300)
            assert b"iTXtTitle\0\0\0\0\0" + path.stem.encode() in content
        else:
            root = ElementTree.fromstring(content)
            assert root.get("width") == "3.4in"
            assert root[0].text == path.stem
            assert "95% intervals" in root[1].text or "logarithmic" in root[1].text
    later = figures(run_folder, tmp_path / "later", "svg")  # of the same process, which has drawn before
    assert {path.name: path.read_bytes() for path in later.files if path.suffix == ".svg"} == {
        path.name: path.read_bytes() for path in written.files if path.suffix == ".svg"
    }
    program = "import sys, pruneaudit; pruneaudit.figures(sys.argv[1], sys.argv[2], 'svg,pdf', True)"
    arguments = [sys.executable, "-c", program, str(run_folder), str(tmp_path / "again")]
    subprocess.run(arguments, check=True, env={**os.environ, "PYTHONHASHSEED": "7"})
    for path in (path for path in written.files if path.suffix != ".png"):
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


def hostile(parts):
    """The pruned release once for each hostile name, each of a pruner of its own."""
    small(parts)
    for name in ("findings", "releases", "curves"):
        table = parts[name]
        others, rows = (table[(table["release"] == "l1unstructured-0.9") == wanted] for wanted in (False, True))
        copies = [rows.assign(release=text, compress=text) for text in HOSTILE]
        kept = copies[::2] if name == "curves" else [others, *copies]
        parts[name] = pd.concat(kept, ignore_index=True)[list(table.columns)]


def test_names_are_texts_and_nothing_else(make_results):
    svgs = drawn(make_results(hostile))
    shown, named = [cut(name, PAPER.line, FONT_POINTS) for name in HOSTILE], labels(HOSTILE, PAPER)
    assert set(shown[::2]) <= {text for stem, svg in svgs.items() if stem.startswith("roc-") for text in words(svg)}
    for stem in ("sparsity-leakage", "frontier"):
        assert set(named) <= set(words(svgs[stem]))
    for svg in svgs.values():
        assert not {element.tag.rpartition("}")[2] for element in ElementTree.fromstring(svg).iter()} & {"b", "script"}


def test_long_names_keep_both_ends_and_fit():
    names = [f"{'l1unstructured-' * 5}{end}" for end in ("a", "b")]
    shown = cut_all(names, 180, FONT_POINTS)
    same = cut_all([f"{'x' * 60}{middle}{'x' * 60}" for middle in "ab"], 180, FONT_POINTS)
    wide = cut("W" * 80, PAPER.line, FONT_POINTS)
    assert cut("W" * 40, PAPER.line, FONT_POINTS) != "W" * 40
    assert shown[0].startswith("l1unstructured-") and shown[0].endswith("a") and shown[1].endswith("b")
    assert [text[-4:] for text in same] == [" (1)", " (2)"]
    # A "W" is 0.944 em wide in this font, so that 8 points give the width by hand.
    assert len(wide) * 0.944 * 8 == pytest.approx(PAPER.line, abs=9)


def test_file_names_are_safe_and_differ():
    names = [*HOSTILE, "a.b", "a_b", "A/B", "dense+finetune", "", "...", "CON"]
    stems = file_stems("roc", names)
    assert stems["dense+finetune"] == "roc-dense+finetune"
    assert all(re.fullmatch(r"roc-[A-Za-z0-9_+=-]{1,100}", stem) for stem in stems.values())
    assert len({stem.casefold() for stem in stems.values()}) == len(names)
    assert stems == file_stems("roc", names)


def test_one_release_and_one_attack_are_enough(make_results, tmp_path):
    make_results(one_release_one_attack).save(tmp_path / "run")
    seal_files(tmp_path / "run", RESULT_FILES)
    written = figures(tmp_path / "run", tmp_path / "out", "svg", latex=True)
    names = ["frontier.svg", "roc-dense.svg", "attacks.svg", "findings-matched.tex", "releases.tex"]
    assert [path.name for path in written.files] == names
    assert [line.partition(":")[0] for line in written.left_out] == ["sparsity-leakage"]


def test_a_missing_interval_draws_a_point_without_bars(make_results):
    def without(parts):
        for name in ("findings", "releases"):
            for column in parts[name].columns:
                if column.endswith(INTERVALS):
                    parts[name][column] = np.nan

    def bars(results):
        """How many error bars each figure has, by the short lines at both ends of each."""
        pytest.importorskip("vl_convert")
        counts = []
        for figure in (leakage_by_sparsity(results, PAPER), leakage_against_accuracy(results, PAPER), attacks(results)):
            svg = rendered(figure, "x", ("svg",))["svg"]
            ends = re.compile(r"mark-rect role-mark .*layer_\d+_layer_[12]_marks")
            groups = [one for one in ElementTree.fromstring(svg).iter() if ends.match(one.get("class", ""))]
            counts.append(sum(len(one) for one in groups) / 2)
        return counts

    # Three panels with one pruned release; three releases both ways; two attacks.
    assert bars(make_results(small)) == [3, 6, 2]
    assert bars(make_results(lambda parts: (small(parts), without(parts)))) == [0, 0, 0]
    assert "\\scriptsize {[}" not in latex_tables(make_results(without))["releases.tex"]


def test_an_interval_that_misses_its_value_by_rounding_has_no_negative_length():
    assert Point(1.0, 0.9, 1.0 - 1e-16).lengths == (pytest.approx(0.1), 0.0)
    assert all(math.isnan(length) for length in Point(0.5, math.nan, math.nan).lengths)


def test_the_declared_attack_decides_whatever_it_found(make_results):
    def weak_lira(parts):
        small(parts)
        of_lira = parts["findings"]["attack"] == "lira"
        parts["findings"].loc[of_lira, ["auc", "auc_low", "auc_high"]] -= 0.15

    results = make_results(weak_lira)
    found = results.findings[(results.findings["victim"] == "mean") & (results.findings["release"] == "dense")]
    assert leakage(results, "dense", AUC).value == found.loc[found["attack"] == "lira", "auc"].item()
    assert found["auc"].idxmin() == found.index[found["attack"] == "lira"][0]
    assert leakage_against_accuracy(results, PAPER).spec["title"]["text"] == ["LiRA; references: matched"]

    def suppressed(parts):
        small(parts)
        of_lira = parts["findings"]["attack"] == "lira"
        parts["findings"].loc[of_lira, "auc"] = np.nan
        parts["findings"].loc[of_lira, [c for c in parts["findings"] if str(c).startswith("tpr_at_1%")]] = np.nan

    charts, left_out = draw(make_results(suppressed))
    assert [line.partition(":")[0] for line in left_out] == ["sparsity-leakage", "frontier"]
    assert "attacks" in charts


def several_sparsities(parts):
    """dpf at three sparsities, out of order, and l1unstructured with two fine-tunings."""
    small(parts)
    releases, findings = parts["releases"], parts["findings"]
    tune = {"epochs": 2}
    pruned = [("dpf-0.9", "dpf", 0.9, None), ("dpf-0.5", "dpf", 0.5, None), ("dpf-0.7", "dpf", 0.7, None)]
    pruned += [
        (f"{name}-{s}", "l1unstructured", s, {"epochs": n}) for name, n in (("a", 2), ("b", 9)) for s in (0.5, 0.9)
    ]
    row, rows = releases.iloc[2], findings[findings["release"] == "l1unstructured-0.9"]
    parts["releases"] = type(releases)(
        [*releases.to_dict("records")[:2]]
        + [{**row, "release": n, "compress": p, "sparsity": s, "origin": "init"} for n, p, s, _ in pruned]
    )
    copies = [rows.assign(release=name, auc=rows["auc"] + i / 100) for i, (name, *_) in enumerate(pruned)]
    parts["findings"] = type(findings)(
        [
            record
            for table in [findings[findings["release"].str.startswith("dense")], *copies]
            for record in table.to_dict("records")
        ]
    )
    parts["about"]["study"] |= {
        "releases": [{"name": "dense+finetune", "finetune": tune}]
        + [{"name": n, "compress": p, "sparsity": s} | ({"finetune": f} if f else {}) for n, p, s, f in pruned]
    }


def test_releases_pruned_alike_make_one_curve_by_sparsity(make_results):
    results = make_results(several_sparsities)
    found = methods(results)
    assert [(method.label, method.releases) for method in found] == [
        ("dpf", ("dpf-0.5", "dpf-0.7", "dpf-0.9")),
        ("l1unstructured (a-0.5, ...)", ("a-0.5", "a-0.9")),
        ("l1unstructured (b-0.5, ...)", ("b-0.5", "b-0.9")),
    ]
    assert references(results, found) == ("dense",)  # trained from new weights: no baseline is alike
    panel = leakage_by_sparsity(results, PAPER).spec["vconcat"][0]
    curve = [datum for datum in panel["data"]["values"] if datum["series"] == "dpf"]
    assert [datum["value"] for datum in curve] == [leakage(results, name, AUC).value for name in found[0].releases]
    np.testing.assert_allclose([datum["at"] for datum in curve], [0.5, 0.7, 0.9], atol=0.02)


def test_a_release_that_is_called_like_a_method_keeps_its_entry(make_results):
    def edit(parts):
        several_sparsities(parts)
        renamed(parts, "a-0.5", "dpf")
        parts["about"]["study"]["releases"][4]["name"] = "dpf"
        parts["about"]["study"]["releases"][4]["finetune"] = {"epochs": 3}

    results = make_results(edit)
    assert [method.label for method in methods(results)] == ["dpf", "dpf", "a-0.9", "l1unstructured"]
    (panel, *_) = leakage_by_sparsity(results, PAPER).spec["vconcat"]
    entries = panel["layer"][-1]["encoding"]["color"]["scale"]["domain"]
    assert entries == ["dense", "dpf (1)", "dpf (2)", "a-0.9", "l1unstructured", "guessing"]


def test_a_control_is_shown_beside_dense(results):
    found = methods(results)
    assert [method.label for method in found] == ["l1unstructured-0.9"]
    assert references(results, found) == ("dense", "dense+finetune")


def test_no_text_leaves_the_figure_whatever_names_are_like(make_results):
    """In a browser each text would be inside too: Vega measures as wide as it draws."""

    def many(parts):
        several_sparsities(parts)
        renamed(parts, "dense+finetune", "W" * 80)

    for stem, svg in drawn(make_results(many)).items():
        root = ElementTree.fromstring(svg)
        height = float(root.get("viewBox").split()[3])
        texts = list(placed_texts(root, 0.0, 0.0))
        assert texts
        for text, left, right, y in texts:
            assert left >= -1 and right <= WIDTH_POINTS + 1, (stem, text, left, right)
            assert 0 <= y <= height, (stem, text, y)


def placed_texts(element, x, y):
    """(text, left, right, baseline) of all level texts of a picture, in points."""
    shift = re.search(r"translate\(([-\d.]+),([-\d.]+)\)", element.get("transform", ""))
    x, y = (x + float(shift[1]), y + float(shift[2])) if shift else (x, y)
    if "text" in element.tag and "rotate" not in element.get("transform", ""):
        for line in list(element) or [element]:
            words = "".join(line.itertext())
            width = text_width(words, FONT_POINTS)
            start = x - {"end": width, "middle": width / 2}.get(element.get("text-anchor", "start"), 0.0)
            yield words, start, start + width, y
    else:
        for child in element:
            yield from placed_texts(child, x, y)


def test_a_pdf_is_put_in_one_order():
    """Objects and resources in another order, with other numbers, are the same file."""

    def pdf(catalog, pages, page, fonts, content):
        first, second = fonts
        stream = b"/f1 endobj\n3 0 R"  # what a stream holds is nobody's reference
        objects = {
            catalog: b"<<\n  /Type /Catalog\n  /Pages %d 0 R\n>>" % pages,
            pages: b"<<\n  /Kids [%d 0 R]\n>>" % page,
            page: b"<<\n  /Contents %d 0 R\n  /Font <<\n    /f%d %d 0 R\n    /f%d %d 0 R\n  >>\n>>"
            % (content, first[0], first[1], second[0], second[1]),
            content: b"<<\n  /Length %d\n>>\nstream\n%s\nendstream" % (len(stream), stream),
            **{number: b"<<\n  /BaseFont /F%d\n>>" % name for name, number in fonts},
        }
        body = b"".join(b"%d 0 obj\n%s\nendobj\n\n" % item for item in objects.items())
        return b"%%PDF-1.7\n%s" % body + b"trailer\n<<\n  /Size 9\n  /Root %d 0 R\n>>\nstartxref\n0\n%%%%EOF" % catalog

    one = canonical_pdf(pdf(3, 4, 5, ((2, 1), (10, 2)), 6), "a title", "a caption")
    other = canonical_pdf(pdf(1, 6, 2, ((10, 5), (2, 3)), 4), "a title", "a caption")
    assert one == other
    start = int(one.split(b"startxref\n")[1].split()[0])
    assert one[start:].startswith(b"xref\n0 8\n"), "the table of references is where the file says"
    for number, place in enumerate(re.findall(rb"(\d{10}) 00000 n", one), start=1):
        assert one[int(place) :].startswith(b"%d 0 obj" % number)
    assert "a caption".encode("utf-16-be").hex().upper().encode() in one


@pytest.mark.parametrize("formats", ["jpg", "pdf,", "", [], ["png", "eps"]])
def test_an_unknown_format_is_refused_before_anything_is_written(run_folder, tmp_path, formats):
    with pytest.raises(UserError, match=r"figures: got format '.*expected one or more of: pdf, png, svg"):
        figures(run_folder, tmp_path / "out", formats)
    assert not (tmp_path / "out").exists()


def test_nothing_to_draw_is_said(make_results, tmp_path):
    def suppressed(parts):
        parts["findings"].loc[:, parts["findings"].columns.str.contains("auc|tpr")] = np.nan
        parts["curves"] = parts["curves"].iloc[:0]

    make_results(suppressed).save(tmp_path / "run")
    seal_files(tmp_path / "run", RESULT_FILES)
    with pytest.raises(UserError, match="nothing to draw"):
        figures(tmp_path / "run", tmp_path / "out", latex=True)
    assert not (tmp_path / "out").exists()


def test_results_that_changed_since_they_were_sealed_are_refused(make_results, tmp_path):
    make_results().save(tmp_path)
    seal_files(tmp_path, RESULT_FILES)
    (tmp_path / "findings.csv").write_text((tmp_path / "findings.csv").read_text().replace("0.58", "0.98", 1))
    with pytest.raises(UserError, match=r"findings\.csv has changed"):
        figures(tmp_path, tmp_path / "out")


def test_without_vl_convert_one_line_says_what_to_install(run_folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(UserError, match=r"pip install 'pruneaudit\[figures\]'"):
        pruneaudit.figures(run_folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def check_latex(text):
    """A reader of the little LaTeX that is used: braces close, rows have all cells, no sign is left unescaped."""
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    plain = re.sub(r"\\[\\{}$&#%_]", "", body)
    depth = 0
    for letter in plain:
        depth += (letter == "{") - (letter == "}")
        assert depth >= 0
    assert depth == 0
    assert not re.search(r"[#%_~^\"<>|]", plain.replace(r'\string"', "")), "all specials are escaped"
    assert set(re.findall(r"\\([A-Za-z]+)", plain)) <= {
        *("begin", "end", "toprule", "midrule", "bottomrule", "multicolumn", "texttt", "textbf", "textsuperscript"),
        *("scriptsize", "footnotesize", "raggedright", "par", "smallskip", "shortstack", "string"),
        *(f"text{name}" for name in ("backslash", "asciitilde", "asciicircum", "less", "greater", "bar")),
    }
    assert plain.count("$") % 2 == 0
    columns = len(re.search(r"@\{\}(l[r]+)@\{\}", body)[1])
    rows = [line for line in body.splitlines() if line.endswith(r" \\")]
    for row in rows:
        cells = re.sub(r"\\&", "", row).count("&") + 1
        spanned = re.match(r"\\multicolumn\{(\d+)\}", row)
        assert (int(spanned[1]), cells) == (columns, 1) if spanned else cells == columns
    assert not any(line.lstrip().startswith(("[", "*")) for line in body.splitlines())
    return rows


@pytest.mark.parametrize("name", [*HOSTILE, "a--b``c''d,,e!`f~g|h#i"])
def test_tables_are_latex_whatever_names_hold(make_results, name):
    results = make_results(lambda parts: (small(parts), renamed(parts, "l1unstructured-0.9", name)))
    tables = latex_tables(results)
    assert list(tables) == ["findings-matched.tex", "differences-matched.tex", "releases.tex"]
    for text in tables.values():
        check_latex(text)
        assert rf"\texttt{{{escaped(name)}}}" in text


def test_tables_hold_the_numbers_of_the_findings(results):
    tables = latex_tables(results)
    row = results.findings[(results.findings["victim"] == "mean") & (results.findings["attack"] == "rmia")].iloc[0]
    rows = check_latex(tables["findings-matched.tex"])
    place = next(index for index, line in enumerate(rows) if line.startswith(r"\texttt{rmia}"))
    assert f" & {row['auc']:.3f} & " in rows[place]
    assert f"{{[}}{row['auc_low']:.3f}, {row['auc_high']:.3f}{{]}}" in rows[place + 1]
    assert len([line for line in rows if line.startswith(r"\texttt")]) == (results.findings["victim"] == "mean").sum()
    assert r"--\textsuperscript{1}" in rows[place]  # the lowest level is refused
    assert r"\textsuperscript{1} TPR at 0.1\% FPR" in tables["findings-matched.tex"]
    assert r"\textbf{$-$0.100}" in tables["differences-matched.tex"]


def test_each_knowledge_has_its_own_tables(make_results):
    def two(parts):
        for name in ("findings", "comparisons"):
            table = parts[name]
            other = table[table["attack"] != ""].assign(references="dense")
            parts[name] = type(table)([*table.to_dict("records"), *other.to_dict("records")])

    tables = latex_tables(make_results(two))
    kinds = ("findings-matched", "differences-matched", "findings-dense", "differences-dense", "releases")
    assert list(tables) == [f"{kind}.tex" for kind in kinds]
    assert tables["findings-matched.tex"] == tables["findings-dense.tex"]
    assert tables["differences-matched.tex"] == latex_tables(make_results())["differences-matched.tex"]


def test_results_without_any_row_have_no_tables(results):
    empty = Results(
        *(getattr(results, name).iloc[:0] for name in ("findings", "comparisons", "releases", "curves")), about={}
    )
    assert latex_tables(empty) == {}
    charts, left_out = draw(empty)
    assert charts == {}
    assert len(left_out) == 3
