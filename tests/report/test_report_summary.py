"""The first screen: at most three sentences, three numbers, a line per release; and who finds more."""

import base64
import math
import struct
import zlib

import numpy as np
import pandas as pd
import pytest
from frontier_rows import frontier_row, with_frontier

from pruneaudit.report.conclusions.changes import at_equal_accuracy
from pruneaudit.report.conclusions.stronger import stronger_anywhere, stronger_attacks
from pruneaudit.report.figures.by_degree import leakage_by_bits, leakage_by_sparsity
from pruneaudit.report.page.first_screen import featured_release, summary
from pruneaudit.report.page.html import render
from pruneaudit.report.page.samples import png, read_samples
from pruneaudit.report.selection import undefended_counterparts
from pruneaudit.report.sentences.answer import answer

PRUNED, BASELINE = "l1unstructured-0.9", "dense+finetune"


def attack_comparison(release, attack, against, difference, low, high):
    row = {"release": release, "references": "matched", "attack": attack, "against": against, "metric": "auc"}
    return row | {"difference": difference, "low": low, "high": high, "num_victims": 16}


def with_attack_comparisons(*rows):
    return lambda parts: parts.update(attack_comparisons=pd.DataFrame(rows))


def first_screen(results):
    return summary(results)


def test_a_leak_a_change_and_how_sure(make_results):
    found = first_screen(make_results(with_frontier(frontier_row(PRUNED, -0.03, -0.05, -0.01))))
    assert found.sentences == (
        "The dense networks leak: LiRA tells members from non-members better than guessing.",
        "At equal accuracy, under LiRA, the one pruned or defended release leaks less than undefended dense networks.",
        "How sure: 95% intervals, over 16 networks and 2,000 samples each.",
    )
    leakage, change, price = found.numbers
    assert (leakage.value, leakage.interval, leakage.release) == ("0.720", "[0.708, 0.732]", "")
    assert (change.release, change.value, change.interval) == (PRUNED, "-0.030", "[-0.050, -0.010]")
    assert (price.release, price.value, price.interval) == (PRUNED, "-3.1", "[-3.6, -2.6]")
    assert "equal accuracy" in change.title
    assert "the baseline fine-tuned alike" in price.note


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
    said = first_screen(results).sentences[1]
    assert ("leaks less than" in said) == (reading == "less")
    assert ("leaks more than" in said) == (reading == "more")
    assert ("could be compared" in said) == (reading == "not compared")


def test_many_releases_are_counted_and_not_listed(make_results):
    rows = [frontier_row(PRUNED, -0.03, -0.05, -0.01), frontier_row("b", -0.03, -0.05, -0.01)]
    rows += [frontier_row("c", 0.0, -0.1, 0.1), frontier_row("d", 0.2, 0.1, 0.3), frontier_row("e", *[math.nan] * 3)]
    found = first_screen(make_results(with_frontier(*rows)))
    assert found.sentences[1] == (
        "At equal accuracy, under LiRA, of 5 pruned or defended releases, 2 leak less than undefended dense networks, "
        "1 leaks more, 1 was not shown to differ, 1 could not be compared (1 is more accurate than every undefended "
        "dense network)."
    )
    assert len(found.sentences) == 3
    assert len(found.numbers) == 3
    assert len(found.lines) == 7


def test_without_a_frontier_the_paired_differences_speak(results):
    found = first_screen(results)
    assert found.sentences[1] == "The one pruned or defended release leaks less than its baseline."
    assert found.numbers[1].title == "Change of AUC"
    assert found.numbers[1].value == "-0.100"
    assert not found.with_equal


@pytest.mark.parametrize(("networks", "words"), [(1, "one network"), (5, "only 5 networks"), (10, "over 10 networks")])
def test_how_sure_depends_on_how_many_networks(make_results, networks, words):
    results = make_results(lambda parts: parts["findings"].update({"num_victims": networks * np.ones(999)}))
    assert words in first_screen(results).sentences[2]


def test_what_stands_above_is_chosen_by_sparsity_and_never_by_result(make_results):
    rows = [frontier_row(PRUNED, -0.01, -0.02, -0.005), frontier_row("b", -0.3, -0.4, -0.2)]
    assert featured_release(make_results(with_frontier(*rows))) == PRUNED, "90% sparsity, against 50%"

    def only_sanity_checks(parts):
        parts["releases"] = parts["releases"][parts["releases"]["compress"] == ""]
        parts["findings"] = parts["findings"][parts["findings"]["release"] != PRUNED]

    assert featured_release(make_results(only_sanity_checks)) == BASELINE


def test_one_release_alone_still_has_three_numbers(make_results):
    def alone(parts):
        for table in ("findings", "releases", "curves"):
            parts[table] = parts[table][parts[table]["release"] == "dense"]
        parts["comparisons"] = parts["comparisons"].iloc[:0]

    found = first_screen(make_results(alone))
    assert [number.title for number in found.numbers] == [
        "Leakage of the dense networks",
        "TPR at 1% FPR",
        "Balanced accuracy",
    ]
    assert all(number.value and number.interval for number in found.numbers)
    assert len(found.sentences) == 2


def test_a_refused_number_gives_its_reason(make_results):
    def refuse(parts):
        rows = (parts["findings"]["release"] == "dense") & (parts["findings"]["attack"] == "lira")
        parts["findings"].loc[rows, ["auc", "auc_low", "auc_high"]] = np.nan
        parts["findings"].loc[rows, "suppressed"] = "AUC: no references"

    found = first_screen(make_results(refuse))
    assert (found.numbers[0].value, found.numbers[0].note) == ("", "AUC: no references")
    assert "gave no figure" in found.sentences[0]


def test_the_lines_hold_each_release_with_what_it_is_held_against(results):
    dense, control, pruned = first_screen(results).lines
    assert (dense.change, dense.against) == (None, "")
    assert (control.against, control.reading) == ("dense", "not shown")
    assert control.change_words == "no difference shown from"
    assert (pruned.against, pruned.reading, pruned.change.value) == (BASELINE, "less", "-0.100")
    assert pruned.change_words == "leaks less than"


def test_nothing_at_all(make_results):
    def nothing(parts):
        parts |= {name: parts[name].iloc[:0] for name in ("findings", "comparisons", "curves", "releases")}
        parts["about"] = {}

    found = first_screen(make_results(nothing))
    assert found.sentences == ("No attack was played, so there is nothing to say about leakage.",)
    assert [number.value for number in found.numbers] == ["", "", ""]


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


def test_the_stronger_attacks_stand_in_the_headline_with_their_differences(make_results):
    rate = attack_comparison("dense", "entropy", "lira", 0.02, 0.01, 0.03) | {"metric": "tpr_at_1%_fpr"}
    rows = [
        attack_comparison("dense", name, "lira", at, at - 0.01, at + 0.01)
        for name, at in (("loss", 0.02), ("rmia", 0.05))
    ]
    results = make_results(with_attack_comparisons(*rows, rate))
    assert [found.attack for found in stronger_attacks(results, "dense")] == ["rmia", "loss"]
    for headline in (answer(results).headline, first_screen(results).sentences[0]):
        assert "RMIA finds more (AUC: +0.050 [+0.040, +0.060])" in headline
        assert "entropy finds more (members at 1% false positives: +2.0 points [+1.0, +3.0])" in headline
        assert "1 other attack does so too" in headline


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
    assert text.count("finds more than the primary attack") == 1
    assert "+0.150 [+0.120, +0.180]" in text
    assert "finds more" not in render(make_results())


def test_a_lower_bound_is_listed_and_not_named_as_the_attack_that_finds_most(make_results):
    def with_joint(*others):
        def edit(parts):
            table = parts["findings"]
            parts["findings"] = pd.concat([table, table[table["attack"] == "lira"].assign(attack="joint_lira")])
            parts["attack_comparisons"] = pd.DataFrame(
                [attack_comparison("dense", "joint_lira", "lira", 0.2, 0.18, 0.22), *others]
            )

        return make_results(edit)

    assert stronger_anywhere(with_joint()) == ()
    (found,) = stronger_anywhere(with_joint(attack_comparison("dense", "rmia", "lira", 0.05, 0.02, 0.08)))
    assert found.attack == "rmia"
    assert any("joint_lira is a lower bound" in caveat for caveat in answer(with_joint()).caveats)
    assert not any("joint_lira" in caveat for caveat in answer(make_results()).caveats)


# Twins, sparsity and pictures.


def with_defence(parts):
    """A study with a defended release from new weights, and the undefended counterpart that the plan adds."""
    defended = {"name": "dense+dp", "parent": "init", "defense": "dp", "finetune": {"epochs": 3}}
    parts["about"]["study"]["releases"] = [defended]
    made = parts["releases"].iloc[[0]]
    added = [made.assign(release="dense+dp", defense="dp"), made.assign(release="init+finetune")]
    parts["releases"] = pd.concat([parts["releases"], *added], ignore_index=True)


def test_a_twin_that_the_plan_adds_is_said_to_be_one(make_results):
    results = make_results(with_defence)
    assert undefended_counterparts(results) == {"init+finetune": ("dense+dp",)}
    text = render(results)
    assert "undefended counterpart of <bdi>dense+dp</bdi>" in text
    assert "has it trained even where it does not name it" in text
    assert "undefended counterpart" not in render(make_results())


def test_leakage_against_sparsity_holds_the_numbers(make_results):
    def another(parts):
        for table in ("releases", "findings"):
            rows = parts[table][parts[table]["release"] == PRUNED]
            parts[table] = pd.concat([parts[table], rows.assign(release="l1-0.5", sparsity=0.5)], ignore_index=True)

    figure = leakage_by_sparsity(make_results(another))
    curve, *levels = figure.plot["data"]
    assert curve["x"] == [0.5, 0.9]
    np.testing.assert_allclose(curve["y"], [0.63, 0.63])
    np.testing.assert_allclose(curve["error_y"]["array"], [0.012, 0.012])
    assert [round(level["y"][0], 3) for level in levels] == [0.72, 0.73]


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
    assert (line.size.value, line.size.interval) == ("4.00 bits per weight", "31.4\u00a0kB")
    assert (line.sparsity.value, line.sparsity.interval) == ("0%", "")
    assert line.against == BASELINE
    assert featured_release(results) == PRUNED
    assert "compressed or defended release" in " ".join(first_screen(results).sentences)
    page = render(results)
    assert "31.4\u00a0kB" in page and "compressed by rtn:symmetry=full 4 bits" in page


def test_leakage_against_bits_has_a_point_per_release_with_its_interval(make_results):
    figure = leakage_by_bits(make_results(rounded))
    curve, *levels = figure.plot["data"]
    assert curve["x"] == [2.0]  # the logarithm of 4
    np.testing.assert_allclose(curve["y"], [0.63])
    np.testing.assert_allclose(curve["error_y"]["array"], [0.012])
    assert "4.00 bits per weight" in curve["customdata"][0]
    assert [round(level["y"][0], 3) for level in levels] == [0.72, 0.73]
    assert figure.plot["layout"]["xaxis"]["ticktext"][-1] == "32"


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
