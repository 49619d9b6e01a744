"""The section "Families of releases": its sentences, tables and figure, from rows that are known."""

import json
import re
from dataclasses import replace

import pandas as pd
import pytest
from family_rows import AUCS, FAMILY, TPR, WEAK, large_family, marginal_rows, set_rows

from pruneaudit.evaluation.recorded_checks import PLANTED
from pruneaudit.report.conclusions.families import FAMILIES, families_of, told_families
from pruneaudit.report.figures.by_num_releases import GREEDY, OTHERS, leakage_by_num_releases
from pruneaudit.report.page.html import render
from pruneaudit.report.paper import draw
from pruneaudit.report.paper.latex import latex_tables
from pruneaudit.report.sentences.families import families_in_short, family_words
from pruneaudit.report.summary.content import Limits, summary_of
from pruneaudit.report.tables.families import family_tables

PRUNED = "l1unstructured-0.9"


def with_family(results, sets=None, marginals=None, **about):
    return replace(
        results,
        families=set_rows() if sets is None else sets,
        marginal_leakage=marginal_rows() if marginals is None else marginals,
        about=results.about | about,
    )


def said_of(results):
    ((_, said),) = family_words(results).items()
    return " ".join(said)


def test_without_a_family_there_is_no_section(results):
    assert families_of(results) == ()
    assert family_tables(results) == ()
    assert leakage_by_num_releases(results) is None
    assert families_in_short(results) == ()
    assert "families-heading" not in render(results)


def test_the_facts_are_those_of_the_rows(results):
    (family,) = told_families(with_family(results))
    assert family.releases == FAMILY
    assert [one.releases for one in family.sets] == list(AUCS)
    assert family.whole.auc.value == AUCS[FAMILY]
    assert family.best_alone.releases == ("dense+finetune",)
    assert [one.added for one in family.greedy] == ["dense+finetune", "dense", PRUNED]
    assert family.released == ("dense",)
    assert [(one.added, one.change.direction) for one in family.now] == [("dense+finetune", 1), (PRUNED, 0)]
    assert [(one.attack, one.difference.direction) for one in family.rivals] == [("pair_nn", -1)]


def test_a_cost_is_said_only_where_the_interval_excludes_0(results):
    said = said_of(with_family(results))
    costs, none = re.search(r"With dense public[^.]*: (.*?\])\. (No further[^.]*\.9)\.", said).groups()
    assert "dense+finetune +0.0200 [+0.0180, +0.0220]" in costs
    assert PRUNED not in costs
    assert PRUNED in none
    assert "0.780 [0.778, 0.782]" in said
    assert "+0.0101" in said  # of all of them, from dense+finetune alone


@pytest.mark.parametrize(
    ("gain", "words"),
    [
        ((0.008, 0.006, 0.01), "finds more than with any"),
        ((0.008, -0.001, 0.02), "are not shown to reveal more"),
        ((-0.0005, -0.0009, -0.0001), "are not shown to reveal more"),  # a loss that the consistency test allows for
        ((-0.006, -0.013, 0.001), "are not shown to reveal more"),
        ((-0.01, -0.012, -0.008), "That is less, so the joint attack is weak here"),
    ],
)
def test_all_together_tell_more_only_where_that_is_shown(results, gain, words):
    sets = set_rows()
    whole = (sets["num_releases"] == 3) & (sets["metric"] == "auc") & (sets["attack"] == "family")
    sets.loc[whole, ["difference", "difference_low", "difference_high"]] = gain
    assert words in said_of(with_family(results, sets))
    (table,) = family_tables(with_family(results, sets))
    assert table.sets[6].cells[1].stands_out == (gain[1] > 0)


def test_a_weak_joint_attack_is_never_protection(results):
    weak = with_family(results, **{FAMILIES: {"released": ["dense+finetune"]}})
    (family,) = told_families(weak)
    assert family.released == ("dense+finetune",)
    assert {one.added: one.is_shown for one in family.now} == {"dense": True, PRUNED: False}
    said = said_of(weak)
    assert re.search(rf"{PRUNED} has no figure: the joint attack is weak here", said)
    below = set_rows()
    whole = (below["num_releases"] == 3) & (below["attack"] == "family")
    columns = ["difference", "difference_low", "difference_high"]
    below.loc[whole, columns] = [-0.01, -0.012, -0.008]
    assert "the joint attack is weak here" in said_of(with_family(results, below))
    for word in ("protect", "safer", "hides", "less leak"):
        assert word not in said_of(with_family(results, below)) + said
    assert "measured -0.0200" not in render(weak)
    (table,) = family_tables(weak)
    assert [note for note in table.notes if "weak" in note] == [WEAK.partition(" (")[0]]  # one reason for all


def test_the_noise_floor_is_named_or_missed(results):
    assert "noise floor" in said_of(with_family(results))
    repeated = said_of(with_family(results, marginals=marginal_rows(repeats="dense+finetune")))
    assert "Noise floor: dense+finetune repeats dense" in repeated
    assert "+0.0200 [+0.0180, +0.0220] with dense public" in repeated


def test_post_processing_is_labelled_and_what_it_implies_depends_on_what_is_seen(results):
    said = said_of(with_family(results, marginals=marginal_rows(post_processing=PRUNED)))
    assert f"{PRUNED} is post-processing of dense" in said
    assert "weights" in said and "outputs" in said
    assert "do reveal more" not in said  # the interval of +0.0004 holds 0
    gains = said_of(with_family(results, marginals=marginal_rows(post_processing="dense+finetune")))
    assert "do reveal more: +0.0200 [+0.0180, +0.0220] with dense public" in gains
    tables = family_tables(with_family(results, marginals=marginal_rows(post_processing=PRUNED)))
    assert {line.label for line in tables[0].marginals if line.added == PRUNED and "dense" in line.given.split()} == {
        "post-processing of dense"
    }


def test_an_attack_that_finds_more_is_named(results):
    assert "pair_nn" not in said_of(with_family(results))
    stronger = with_family(results, set_rows(rivals=[("pair_nn", 0.79)]))
    assert "pair_nn (+0.0099" in said_of(stronger)


def test_a_joint_attack_that_failed_its_sanity_checks_supports_no_sentence(results):
    failed = [{"kind": PLANTED, "attack": "family", "auc": 0.5, "passed": False}]
    distrusted = with_family(results, sanity_checks=failed)
    assert family_words(distrusted) == {}
    assert families_in_short(distrusted) == ()
    assert len(family_tables(distrusted)) == 1


def test_the_tables_have_every_number_or_the_reason(results):
    (table,) = family_tables(with_family(results))
    assert [quantity.column for quantity in table.quantities] == ["auc", TPR]
    assert [(line.num_releases, line.attack) for line in table.sets] == [
        *[(1, "family")] * 3, *[(2, "family")] * 3, (3, "family"), (3, "pair_nn"),
    ]  # fmt: skip
    alone, pair = table.sets[0], table.sets[3]
    assert (alone.cells[0].value, alone.cells[1].value, alone.against) == ("0.760", "", "")
    assert (pair.cells[1].value, pair.against, pair.cells[1].stands_out) == ("+0.0100", "dense+finetune", True)
    assert len(table.marginals) == 12
    assert [line.is_now for line in table.marginals] == [True, True, *[False] * 10]
    assert [line.step for line in table.marginals[2:5]] == ["1", "2", "3"]
    (weak,) = [line for line in table.marginals if (line.given, line.added) == ("dense+finetune", PRUNED)]
    assert {cell.value for cell in weak.cells} == {""}
    assert "weak here" in table.notes[weak.cells[0].note - 1]
    assert table.marginals[2].given == "nothing"


def test_a_tpr_without_a_figure_says_why(results):
    sets, why = set_rows(), "TPR at 1% FPR: too few"
    sets.loc[sets["metric"] == TPR, ["value", "low", "high", "difference", "difference_low", "difference_high"]] = None
    sets.loc[sets["metric"] == TPR, "suppressed"] = why
    (table,) = family_tables(with_family(results, sets))
    assert table.notes[table.sets[0].cells[2].note - 1] == why


def test_two_families_have_two_parts_and_one_figure(results):
    second = FAMILY[:2]
    pairs = [table[table["metric"] == "auc"] for table in (set_rows(), marginal_rows())]
    kept = [
        pairs[0][(pairs[0]["attack"] == "family") & ~pairs[0]["releases"].str.contains(PRUNED)],
        pairs[1][~pairs[1]["given"].str.contains(PRUNED) & (pairs[1]["added"] != PRUNED)],
    ]
    both = [
        pd.concat([whole, part.assign(family="; ".join(second))])
        for whole, part in zip((set_rows(), marginal_rows()), kept, strict=True)
    ]
    two = with_family(results, *both)
    assert [table.title for table in family_tables(two)] == [
        f"dense, dense+finetune and {PRUNED}",
        " and ".join(second),
    ]
    page = render(two)
    assert all(f'id="{part}-title"' in page for part in ("sets-1", "added-1", "sets-2", "added-2"))
    assert len(leakage_by_num_releases(two).choices) == 2


def test_the_figure_has_every_set_and_the_greedy_order(results):
    figure = leakage_by_num_releases(with_family(results))
    data = figure.spec["data"]["values"]
    assert sorted(datum["auc"] for datum in data) == sorted(AUCS.values())
    way = [datum for datum in data if datum["greedy"]]
    assert [(datum["at"], datum["auc"]) for datum in way] == [(1, 0.77), (2, 0.78), (3, 0.7801)]
    assert {datum["series"] for datum in data} == {GREEDY, OTHERS}
    assert {round(datum["at"]) for datum in data} == {1, 2, 3}
    assert len({datum["at"] for datum in data}) == len(data)
    assert figure.spec["layer"][0]["data"]["values"] == [{"at": 0.77}]  # the release that leaks most alone
    json.dumps(figure.spec, allow_nan=False)
    page = render(with_family(results))
    assert 'href="#families-heading"' in page and "leakage-by-num-releases" in page
    altair = pytest.importorskip("altair")
    altair.Root.validate(figure.spec)


def test_papers_and_summaries_have_it(results):
    told = with_family(results)
    figures, _ = draw(told)
    assert "family-dense_dense+finetune_and_l1unstructured-0_9" in figures
    assert not [stem for stem in draw(results)[0] if stem.startswith("family")]
    texts = latex_tables(told)
    (sets,) = [text for name, text in texts.items() if name.startswith("sets-")]
    (added,) = [text for name, text in texts.items() if name.startswith("added-")]
    assert "0.780" in sets and r"pair\_nn" in sets
    assert "$+$0.0200" in added and "weak here" in added
    assert texts.keys() - latex_tables(results).keys() == {name for name in texts if name[:4] in ("sets", "adde")}
    parts = [part.heading for part in summary_of(told, "0" * 64, Limits()).parts]
    assert "What does one more release cost?" in parts
    assert "What does one more release cost?" not in [p.heading for p in summary_of(results, "0" * 64, Limits()).parts]


def test_of_a_large_family_long_sets_are_named_by_what_they_lack(results):
    sets, marginals = large_family(7)
    (table,) = family_tables(with_family(results, sets, marginals))
    names = [line.releases for line in table.sets]
    assert "all 7 releases" in names and "all but r3" in names and "r0" in names
    last = [line for line in table.marginals if line.num_given == 6]
    assert {line.given for line in last} == {f"all but r{number}" for number in range(7)}
    assert {line.num_given for line in table.marginals if not line.step and not line.is_now} == {6}
    assert len(table.marginals) < len(marginals)
