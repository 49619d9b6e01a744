"""A metric that is added appears wherever figures are shown, and nothing else has to be told of it."""

import io
import json

import numpy as np
import pytest
from rich.console import Console

from pruneaudit.cli import main
from pruneaudit.evaluation.attack_setting import bank_settings
from pruneaudit.evaluation.comparison_plan import ComparisonPlan, ready
from pruneaudit.evaluation.evaluating import Known, Measuring, evaluate
from pruneaudit.evaluation.results import Results
from pruneaudit.gate import as_markdown, budgets_of, check
from pruneaudit.metrics import METRICS, BudgetOption, Metric, PerVictim, Quantity, auc_influence
from pruneaudit.report.figures.by_degree import leakage_by_sparsity
from pruneaudit.report.figures.look import PAPER
from pruneaudit.report.page.html import render
from pruneaudit.report.paper.latex import latex_tables
from pruneaudit.report.terminal import print_results
from pruneaudit.report.two_runs.paired import Paired
from pruneaudit.tracking.trackers import finding_values

LEVELS = (0.1,)
FACTS = {"pruned": {"compress": "l1unstructured", "sparsity": 0.9, "origin": "dense"}}


class Gini(Metric):
    """Gini coefficient: 2 AUC - 1."""

    quantity = Quantity("gini", "Gini coefficient", guessing=0.0)
    bounds = (-1.0, 1.0)
    meaning = "Gini coefficient: 0 is guessing, 1 the best attack."
    budget = BudgetOption("gini", "Highest Gini coefficient.", "GINI")

    def measure(self, scored):
        """With the influence of the AUC, doubled."""
        area = auc_influence(scored.scores, scored.member)
        return (PerVictim(2 * area.values - 1, 2 * area.influence),)

    def suppressed(self, quantity, num_members, num_nonmembers):
        """Where there are fewer than 60 members."""
        return None if num_members >= 60 else f"{num_members} members, fewer than 60"


@pytest.fixture(autouse=True)
def gini(monkeypatch):
    monkeypatch.setattr(METRICS, "_registered", dict(METRICS._registered))
    return METRICS.register("gini", Gini())


@pytest.fixture
def results(gini, make_bank):
    releases = {"dense": make_bank(5, 300, gain=2.0), "pruned": make_bank(5, 300, gain=1.0, noise_seed=1)}
    known = Known(ComparisonPlan(baselines=("dense",), undefended=("dense",)), FACTS)
    settings = bank_settings(releases, ["matched"])
    return evaluate(settings, ready(("loss", "confidence")), Measuring(0, LEVELS), known).results


def test_its_numbers_are_in_all_tables(results, tmp_path):
    findings = results.findings
    told = findings[findings["victim"] != "pooled"]
    np.testing.assert_allclose(told["gini"], 2 * told["auc"] - 1)
    np.testing.assert_allclose(told["gini_high"] - told["gini_low"], 2 * (told["auc_high"] - told["auc_low"]))
    assert findings.loc[findings["victim"] == "pooled", "gini"].isna().all()  # it does not say what it is there
    for name in ("comparisons", "attack_comparisons"):
        table = getattr(results, name)
        mine, areas = (table.loc[table["metric"] == metric, "difference"].to_numpy() for metric in ("gini", "auc"))
        assert len(mine)
        np.testing.assert_allclose(mine, 2 * areas)
    frontier = results.frontier
    mine, areas = (frontier.loc[frontier["metric"] == metric, "leakage"].to_numpy() for metric in ("gini", "auc"))
    np.testing.assert_allclose(mine, 2 * areas - 1)
    results.save(tmp_path)
    (first, *_) = json.loads((tmp_path / "findings.json").read_text())["findings"]
    assert first["gini"] == pytest.approx(2 * first["auc"] - 1)
    assert Results.load(tmp_path).findings["gini"].equals(findings["gini"])


def test_its_reason_stands_where_it_is_suppressed(make_bank, gini):
    settings = bank_settings({"dense": make_bank(3, 80)}, ["matched"])
    found = evaluate(settings, ready(("loss",)), Measuring(0, LEVELS)).results
    assert found.findings["gini"].isna().all()
    assert found.findings["suppressed"].str.contains("Gini coefficient: ").all()
    assert "gini" not in set(found.comparisons["metric"])


def test_every_face_shows_it(results):
    stream = io.StringIO()
    print_results(results, Console(file=stream, width=200))
    mean = results.findings[results.findings["victim"] == "mean"].iloc[0]
    figure = f"{mean['gini']:.3f} [{mean['gini_low']:.3f}, {mean['gini_high']:.3f}]"
    assert figure in stream.getvalue()
    page = render(results)
    assert "Gini coefficient" in page
    assert Gini.meaning in page
    assert f"{mean['gini']:.3f}" in page
    assert figure in results._repr_html_()
    tables = latex_tables(results)
    assert any("Gini" in text and f"{mean['gini']:.3f}" in text for text in tables.values())
    assert finding_values(results.findings)["findings/dense/matched/loss/gini"] == mean["gini"]


def test_a_narrow_terminal_names_what_it_leaves_out(results):
    stream = io.StringIO()
    print_results(results, Console(file=stream, width=80))
    said = " ".join(stream.getvalue().split())
    assert "Gini coefficient" in said.partition("on the page:")[2]
    assert max(map(len, stream.getvalue().splitlines())) <= 80


def test_a_figure_for_papers_has_a_panel_of_it(results):
    panels = leakage_by_sparsity(results, PAPER).spec["vconcat"]
    titles = [panel["layer"][-1]["encoding"]["y"]["axis"]["title"] for panel in panels]
    assert [title for title in titles if title != "Partial AUC (1% FPR)"] == [
        "AUC",
        "TPR at 10% FPR",
        "Gini coefficient",
        "Test accuracy",
    ]


def test_the_gate_has_a_budget_for_it(results, capsys):
    means = results.findings[results.findings["victim"] == "mean"]
    highest = means["gini_high"].max()
    within, over = (check(results, budgets_of(results, max_gini=f"{highest + by:.3f}")) for by in (0.01, -0.01))
    assert (within.exit_code, over.exit_code) == (0, 1)
    assert "Gini coefficient" in as_markdown(over, "run")
    with pytest.raises(SystemExit) as ended:
        main(["check", "--help"])
    assert not ended.value.code
    assert "--max-gini GINI" in capsys.readouterr().out


def test_two_runs_are_paired_in_it():
    rng = np.random.default_rng(0)
    member = rng.random((4, 500)) < 0.5
    first, second = (rng.normal(size=member.shape) + leak * member for leak in (2.0, 1.0))
    pairs = Paired({"loss": first}, {"loss": second}, member)
    area, found = pairs.difference("loss", METRICS.get("auc").quantity), pairs.difference("loss", Gini.quantity)
    np.testing.assert_allclose(found, 2 * np.array(area))
