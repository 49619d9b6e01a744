"""The first screen: the verdict in numbers, what releases change, whether attacks agree, what to do next."""

import base64
import math
import re
import struct
import zlib
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from frontier_rows import frontier_row, with_frontier

from pruneaudit.report.conclusions.agreement import agreement
from pruneaudit.report.conclusions.changes import at_equal_accuracy
from pruneaudit.report.conclusions.leakage import members_named, verdict
from pruneaudit.report.conclusions.next_steps import Kind, Step, next_steps
from pruneaudit.report.conclusions.stronger import stronger_anywhere, stronger_attacks
from pruneaudit.report.figures.by_degree import leakage_by_bits, leakage_by_sparsity
from pruneaudit.report.page.first_screen import first_screen
from pruneaudit.report.page.html import render
from pruneaudit.report.samples import png, read_samples
from pruneaudit.report.selection import undefended_counterparts
from pruneaudit.report.sentences.answer import answer, shown_change
from pruneaudit.report.sentences.next_steps import step_words

PRUNED, BASELINE = "l1unstructured-0.9", "dense+finetune"


def attack_comparison(release, attack, against, difference, low, high):
    row = {"release": release, "references": "matched", "attack": attack, "against": against, "metric": "auc"}
    return row | {"difference": difference, "low": low, "high": high, "num_victims": 16}


def with_attack_comparisons(*rows):
    return lambda parts: parts.update(attack_comparisons=pd.DataFrame(rows))


def test_the_numbers_are_those_of_the_dense_networks_under_the_primary_attack(results):
    found = first_screen(results)
    row = results.findings.query("release == 'dense' and attack == 'lira' and victim == 'mean'").iloc[0]
    rate = [round(1000 * row[f"tpr_at_1%_fpr{end}"]) for end in ("", "_low", "_high")]
    named, wrongly, auc = found.numbers
    assert (named.value, named.interval) == (str(rate[0]), f"[{rate[1]}, {rate[2]}]")
    assert wrongly.value == "10"
    assert (auc.value, auc.interval) == ("0.720", "[0.708, 0.732]")
    assert all("LiRA" in number.note for number in (named, auc))
    assert "10" in named.note, "what guessing finds"


def test_a_leak_a_change_and_how_sure(make_results):
    told = first_screen(make_results(with_frontier(frontier_row(PRUNED, -0.03, -0.05, -0.01)))).answer
    assert told.leakage.title == "The dense networks leak."
    assert "one pruned release leaks less than undefended dense networks" in told.counts
    assert "16 networks" in told.certainty and "2,000 samples" in told.certainty
    assert told.disagreement == ""
    assert told.agreement[0].startswith("All 6 attacks do better than guessing")


@pytest.mark.parametrize(
    ("limits", "reading"),
    [
        ((-0.05, -0.01), "less"),
        ((-0.05, 0.01), "not shown"),
        ((0.01, 0.05), "more"),
        ((math.nan, -0.01), "less"),
        ((math.nan, 0.01), "not compared"),
        ((math.nan, math.nan), "not compared"),
    ],
)
def test_a_direction_is_claimed_only_where_the_interval_excludes_the_other(make_results, limits, reading):
    results = make_results(with_frontier(frontier_row(PRUNED, 0.0, *limits)))
    assert at_equal_accuracy(results, PRUNED).reading == reading
    said = first_screen(results).answer.counts
    assert ("leaks less than" in said) == (reading == "less")
    assert ("leaks more than" in said) == (reading == "more")
    assert ("could be compared" in said) == (reading == "not compared")
    assert ("choose a release" in [step.kind for step in next_steps(results)]) == (reading == "less")


def test_many_releases_are_counted_and_not_listed(make_results):
    rows = [frontier_row(PRUNED, -0.03, -0.05, -0.01), frontier_row("b", -0.03, -0.05, -0.01)]
    rows += [frontier_row("c", 0.0, -0.1, 0.1), frontier_row("d", 0.2, 0.1, 0.3), frontier_row("e", *[math.nan] * 3)]
    found = first_screen(make_results(with_frontier(*rows)))
    counts = re.findall(r"(\d) (of|pruned|leaks more|is not shown|could not)", found.answer.counts)
    assert [int(number) for number, _ in counts] == [2, 5, 1, 1, 1]
    assert len(found.lines) == 7


def test_without_a_frontier_the_paired_differences_speak(results):
    found = first_screen(results)
    assert found.answer.counts == "The one pruned release leaks less than its baseline."
    assert not found.with_equal


@pytest.mark.parametrize("networks", [1, 5, 10])
def test_how_sure_depends_on_how_many_networks(make_results, networks):
    results = make_results(lambda parts: parts["findings"].update({"num_victims": networks * np.ones(999)}))
    said = first_screen(results).answer.certainty
    assert (f"{networks} networks" in said) == (networks > 1)
    assert ("another training run" in said) == (networks == 1)


def test_what_a_short_summary_shows_is_chosen_by_sparsity_and_never_by_result(make_results):
    rows = [frontier_row(PRUNED, -0.01, -0.02, -0.005), frontier_row("b", -0.3, -0.4, -0.2)]
    results = make_results(with_frontier(*rows))
    assert shown_change(results, answer(results).changes).release == PRUNED, "90% sparsity, against 50%"


def with_a_tpr_at(*levels):
    """An edit: enough non-members for these false-positive rates alone."""

    def edit(parts):
        table = parts["findings"]
        for level in ("10%", "1%", "0.1%"):
            if level not in levels:
                table[[f"tpr_at_{level}_fpr{end}" for end in ("", "_low", "_high")]] = np.nan
        table["suppressed"] = "TPR at 1% FPR: 500 non-members"

    return edit


def test_with_few_non_members_the_members_named_are_those_at_a_higher_rate(make_results):
    results = make_results(with_a_tpr_at("10%"))
    named, wrongly, _ = first_screen(results).numbers
    row = results.findings.query("release == 'dense' and attack == 'lira' and victim == 'mean'").iloc[0]
    assert (named.value, wrongly.value) == (str(round(1000 * row["tpr_at_10%_fpr"])), "100")
    (step,) = [step for step in next_steps(results) if step.kind == "audit more samples"]
    assert step.number == 1000, "10 false positives at 1%"


def test_without_any_tpr_there_is_its_reason_instead(make_results):
    found = first_screen(make_results(with_a_tpr_at()))
    named, auc = found.numbers
    assert (named.value, named.note) == ("", "TPR at 1% FPR: 500 non-members")
    assert auc.value == "0.720"
    assert not found.with_members


def test_a_refused_auc_gives_its_reason(make_results):
    def refuse(parts):
        rows = (parts["findings"]["release"] == "dense") & (parts["findings"]["attack"] == "lira")
        parts["findings"].loc[rows, ["auc", "auc_low", "auc_high"]] = np.nan
        parts["findings"].loc[rows, "suppressed"] = "AUC: no references"

    found = first_screen(make_results(refuse))
    assert (found.numbers[-1].value, found.numbers[-1].note) == ("", "AUC: no references")
    assert verdict(make_results(refuse), "dense") == "no figure"


def test_the_lines_hold_each_release_with_its_baseline(results):
    dense, tuned, pruned = first_screen(results).lines
    assert (dense.change, dense.against) == (None, "")
    assert (tuned.against, tuned.reading) == ("dense", "not shown")
    assert tuned.change_words == "no difference shown from"
    assert (pruned.against, pruned.reading, pruned.change.value) == (BASELINE, "less", "-0.100")
    assert pruned.change_words == "leaks less than"
    assert pruned.members.value == str(round(1000 * members_named(results, PRUNED).rightly / 1000))
    assert "90% sparsity" in pruned.made


def test_nothing_at_all(make_results):
    def nothing(parts):
        parts |= {name: parts[name].iloc[:0] for name in ("findings", "comparisons", "curves", "releases")}
        parts["about"] = {}

    found = first_screen(make_results(nothing))
    assert found.answer.leakage.title.startswith("No attack was played")
    assert (found.numbers, found.answer.agreement, found.answer.next_steps) == ((), (), ())


# What to do next.


def kinds(results):
    return [step.kind for step in next_steps(results)]


def test_a_leak_that_no_release_lowers_asks_for_a_defence(make_results):
    def edit(parts):
        table = parts["comparisons"]
        table.loc[table["metric"] == "auc", ["difference", "low", "high"]] = [0.0, -0.01, 0.01]

    assert "add a defence" in kinds(make_results(edit))

    def defended(parts):
        edit(parts)
        parts["releases"]["defense"] = np.where(parts["releases"]["release"] == PRUNED, "adv", "")

    assert "add a defence" not in kinds(make_results(defended))


def test_releases_far_from_every_baseline_ask_for_weaker_baselines(make_results):
    near, far = (
        frontier_row("b", -0.03, -0.05, -0.01),
        frontier_row(PRUNED, -0.03, -0.05, -0.01) | {"test_accuracy": 0.7},
    )
    results = make_results(with_frontier(far, near))
    (step,) = [step for step in next_steps(results) if step.kind == "train weaker baselines"]
    assert step.number == 1
    assert "lost accuracy" in answer(results).counts


def test_a_disputed_release_is_said_before_anything_else(make_results):
    def edit(parts):
        table = parts["comparisons"]
        rows = (table["metric"] == "auc") & (table["attack"] == "rmia") & (table["release"] == PRUNED)
        table.loc[rows, ["difference", "low", "high"]] = [0.1, 0.08, 0.12]

    results = make_results(edit)
    assert "1 of 1 pruned release" in answer(results).disagreement
    assert kinds(results)[0] == "read every attack"
    page = render(results)
    assert page.index("Attacks disagree") < page.index("The dense networks leak.")


def test_every_step_has_words(results):
    for kind in get_args(Kind):
        words = step_words(results, Step(kind, 2))
        assert words.text or kind == "use references"


# Whether another attack finds more.


def test_an_attack_compared_with_the_primary_one_is_taken_as_it_stands(make_results):
    rows = [
        attack_comparison("dense", "rmia", "lira", 0.15, 0.12, 0.18),
        attack_comparison(PRUNED, "rmia", "lira", 0.05, 0.02, 0.08),
    ]
    first, second = stronger_anywhere(make_results(with_attack_comparisons(*rows)))
    assert (first.attack, first.primary, first.release) == ("rmia", "lira", "dense")
    assert second.release == PRUNED
    assert first.figure == "+0.150 [+0.120, +0.180]"


def test_the_primary_attack_compared_with_another_is_turned_round(make_results):
    results = make_results(with_attack_comparisons(attack_comparison("dense", "lira", "loss", -0.1, -0.13, -0.07)))
    (found,) = stronger_attacks(results, "dense")
    assert found.attack == "loss"
    np.testing.assert_allclose((found.difference, found.low, found.high), (0.1, 0.07, 0.13))


def test_an_attack_that_failed_its_controls_is_not_called_stronger(make_results):
    def edit(parts):
        with_attack_comparisons(attack_comparison("dense", "rmia", "lira", 0.15, 0.12, 0.18))(parts)
        failed = {"attack": "rmia", "bank": "made-up bank", "kind": "null", "passed": False, "problem": "AUC 0.6"}
        parts["about"]["sanity_checks"] = [failed | {"expected": "0.5", "auc": 0.6, "low": 0.59, "high": 0.61}]

    assert stronger_attacks(make_results(edit), "dense") == ()


def test_the_stronger_attacks_are_named_with_their_differences(make_results):
    rate = attack_comparison("dense", "entropy", "lira", 0.02, 0.01, 0.03) | {"metric": "tpr_at_1%_fpr"}
    rows = [
        attack_comparison("dense", name, "lira", at, at - 0.01, at + 0.01)
        for name, at in (("loss", 0.02), ("rmia", 0.05))
    ]
    results = make_results(with_attack_comparisons(*rows, rate))
    assert [found.attack for found in stronger_attacks(results, "dense")] == ["rmia", "loss"]
    said = " ".join(answer(results).agreement)
    assert "RMIA finds more than LiRA" in said and "+0.050 [+0.040, +0.060]" in said
    assert "2 other attacks" in said
    rates = [found for found in agreement(results).stronger if found.quantity.level]
    assert [(found.attack, found.figure) for found in rates] == [("entropy", "+2.0 points [+1.0, +3.0]")]


def test_over_a_third_attack_the_interval_is_never_too_narrow(make_results):
    rng = np.random.default_rng(0)
    for correlation in (-1.0, 0.0, 0.9):
        both = rng.multivariate_normal([0, 0], [[1, correlation], [correlation, 1]], 4000)
        rows = [
            attack_comparison("dense", name, "loss", at, at - 0.02, at + 0.02)
            for name, at in (("lira", 0.1), ("rmia", 0.2))
        ]
        (found,) = stronger_attacks(make_results(with_attack_comparisons(*rows)), "dense")
        error = (both[:, 1] - both[:, 0]) * 0.02 / 1.96
        assert np.mean(np.abs(error) <= (found.high - found.low) / 2) >= 0.94
    np.testing.assert_allclose((found.difference, found.low, found.high), (0.1, 0.06, 0.14))


@pytest.mark.parametrize(
    "rows",
    [
        [attack_comparison("dense", "rmia", "lira", 0.02, -0.01, 0.05)],
        [attack_comparison("dense", "rmia", "lira", 0.02, math.nan, math.nan)],
        [attack_comparison("dense", "rmia", "loss", 0.2, 0.19, 0.21)],
        [
            attack_comparison("dense", "rmia", "loss", 0.2, 0.15, 0.25),
            attack_comparison("dense", "lira", "loss", 0.19, 0.16, 0.22),
        ],
        [attack_comparison("dense", "lira", "loss", 0.1, 0.07, 0.13)],
    ],
)
def test_nothing_is_said_where_it_is_not_clear(make_results, rows):
    assert stronger_anywhere(make_results(with_attack_comparisons(*rows))) == ()


def test_the_page_says_who_finds_more_in_one_place(make_results):
    text = render(make_results(with_attack_comparisons(attack_comparison("dense", "rmia", "lira", 0.15, 0.12, 0.18))))
    assert text.count("finds more than LiRA") == 1
    assert "+0.150 [+0.120, +0.180]" in text
    assert "finds more" not in render(make_results())


# Undefended counterparts, sizes and pictures.


def with_defence(parts):
    """A study with a defended release from new weights, and the undefended counterpart that the plan adds."""
    defended = {"name": "dense+dp", "parent": "init", "defense": "dp", "finetune": {"epochs": 3}}
    parts["about"]["study"]["releases"] = [defended]
    made = parts["releases"].iloc[[0]]
    added = [made.assign(release="dense+dp", defense="dp"), made.assign(release="init+finetune")]
    parts["releases"] = pd.concat([parts["releases"], *added], ignore_index=True)


def test_an_undefended_counterpart_that_the_plan_adds_is_named_as_one(make_results):
    results = make_results(with_defence)
    assert undefended_counterparts(results) == {"init+finetune": ("dense+dp",)}
    text = render(results)
    assert "undefended counterpart of <bdi>dense+dp</bdi>" in text
    assert "undefended counterpart" not in render(make_results())


def curve_and_levels(figure):
    """The points of the only curve, and where lines go across for what is not compressed."""
    own = [layer["data"]["values"][0] for layer in figure.spec["layer"] if "data" in layer]
    return figure.spec["data"]["values"], [round(datum["value"], 3) for datum in own if "value" in datum]


def test_leakage_against_sparsity_holds_the_numbers(make_results):
    def another(parts):
        for table in ("releases", "findings"):
            rows = parts[table][parts[table]["release"] == PRUNED]
            parts[table] = pd.concat([parts[table], rows.assign(release="l1-0.5", sparsity=0.5)], ignore_index=True)

    figure = leakage_by_sparsity(make_results(another))
    curve, levels = curve_and_levels(figure)
    assert [datum["at"] for datum in curve] == [0.5, 0.9]
    np.testing.assert_allclose([datum["value"] for datum in curve], [0.63, 0.63])
    np.testing.assert_allclose([datum["value_high"] - datum["value"] for datum in curve], [0.012, 0.012])
    assert levels == [0.72, 0.73]


def test_without_pruned_releases_there_is_no_such_figure(make_results):
    def unpruned(parts):
        parts["releases"]["compress"] = ""

    assert leakage_by_sparsity(make_results(unpruned)) is None


def rounded(parts):
    """The pruned release is one of 4 bits instead."""
    table = parts["releases"]
    table.loc[table["release"] == PRUNED, ["compress", "sparsity", "sparsity_all"]] = ["rtn", 0.0, 0.0]
    table["effective_bits"] = np.where(table["release"] == PRUNED, 4.0, 32.0)
    table["compressed_bytes"] = np.where(table["release"] == PRUNED, 31_400.0, 246_900.0)
    releases = [{"name": BASELINE, "finetune": {"epochs": 5}}]
    releases += [{"name": PRUNED, "compress": "rtn:symmetry=full", "bits": 4, "finetune": {"epochs": 5}}]
    parts["about"]["study"]["releases"] = releases


def test_a_rounded_release_shows_its_compressor_degree_and_size(make_results):
    results = make_results(rounded)
    line = next(line for line in first_screen(results).lines if line.release == PRUNED)
    assert line.made == "Compressed by rtn:symmetry=full 4 bits (4.00 bits per weight)"
    assert (line.size.value, line.size.interval) == ("31.4\u00a0kB", "4.00 bits per weight")
    assert line.against == BASELINE
    assert "compressed release" in answer(results).counts
    page = render(results)
    assert "31.4\u00a0kB" in page and "compressed by rtn:symmetry=full 4 bits" in page


def test_leakage_against_bits_has_a_point_per_release_with_its_interval(make_results):
    figure = leakage_by_bits(make_results(rounded))
    curve, levels = curve_and_levels(figure)
    (datum,) = curve
    assert datum["at"] == 2.0  # the logarithm of 4
    np.testing.assert_allclose([datum["value"], datum["value_high"]], [0.63, 0.642])
    assert "4.00 bits per weight" in datum["tooltip"]
    assert levels == [0.72, 0.73]
    assert figure.spec["layer"][-1]["encoding"]["x"]["axis"]["values"][-1] == 5.0, "a tick at 32"


def test_without_fewer_bits_there_are_no_sizes_and_no_such_figure(make_results):
    def whole(parts):
        parts["releases"]["effective_bits"] = 32.0

    results = make_results(whole)
    assert leakage_by_bits(results) is None
    assert leakage_by_bits(make_results()) is None
    assert all(line.size is None for line in first_screen(results).lines)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_is_a_png_of_the_same_pixels(channels):
    image = np.random.default_rng(0).integers(0, 256, (channels, 5, 7), dtype=np.uint8)
    data = png(image)
    width, height, depth, colour = struct.unpack(">IIBB", data[16:26])
    assert (width, height, depth, colour) == (7, 5, 8, {1: 0, 3: 2}[channels])
    at, pixels = 8, b""
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + size]
        assert struct.unpack(">I", data[at + 8 + size : at + 12 + size])[0] == zlib.crc32(kind + body)
        pixels += body if kind == b"IDAT" else b""
        at += 12 + size
    rows = np.frombuffer(zlib.decompress(pixels), dtype=np.uint8).reshape(5, 1 + 7 * channels)
    assert not rows[:, 0].any()
    np.testing.assert_array_equal(rows[:, 1:].reshape(5, 7, channels).transpose(2, 0, 1), image)


@pytest.mark.parametrize(
    ("x", "has_pictures"),
    [
        (np.zeros((3, 1, 4, 4), dtype=np.uint8), True),
        (np.linspace(-2, 2, 48, dtype=np.float32).reshape(3, 1, 4, 4), True),
        (np.zeros((3, 16), dtype=np.float32), False),
        (np.zeros((3, 2, 4, 4), dtype=np.uint8), False),
        (np.zeros((2, 1, 4, 4), dtype=np.uint8), False),
    ],
)
def test_only_images_have_pictures(results, tmp_path, x, has_pictures):
    place = tmp_path / "audit_data-abababab"
    place.mkdir()
    np.save(place / "x.npy", x)
    np.save(place / "ids.npy", np.arange(3))
    (place / "audit_data.json").write_text("{}")
    (place / "config.json").write_text('{"sha256": "' + "ab" * 32 + '"}')
    found = read_samples(results, tmp_path, {"1"}).pictures
    assert (set(found) == {"1"}) == has_pictures
    for picture in found.values():
        assert base64.b64decode(picture.removeprefix("data:image/png;base64,")).startswith(b"\x89PNG")
