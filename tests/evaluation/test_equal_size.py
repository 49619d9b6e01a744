"""Leakage at equal size: the candidates by hand, the interval against a bootstrap written out, and users' own sizes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruneaudit.core.errors import UserError
from pruneaudit.evaluation.attack_setting import bank_settings
from pruneaudit.evaluation.audit import audit
from pruneaudit.evaluation.candidates import SIZE_TOLERANCE, at_equal_size
from pruneaudit.evaluation.comparison_plan import ComparisonPlan, ready
from pruneaudit.evaluation.envelope import against_envelope
from pruneaudit.evaluation.evaluating import Known, Measuring, evaluate
from pruneaudit.report.page.first_screen import first_screen
from pruneaudit.report.sentences.certainty import caveats
from pruneaudit.signals.signals import Signals

# R releases, B replicates

NAN = float("nan")


def allowed(sizes, undefended=None):
    """For each release, the indices of its candidates."""
    found = at_equal_size(np.array(sizes, dtype=float), np.array(undefended or [True] * len(sizes)))
    return [np.flatnonzero(row).tolist() for row in found.allowed]


def test_candidates_are_others_that_are_as_small_and_undefended():
    assert allowed([4000, 1000, 500]) == [[1, 2], [2], []]
    assert allowed([1000, 1000, 1000]) == [[1, 2], [0, 2], [0, 1]]
    assert allowed([1000, 1009, 1011]) == [[1], [0, 2], [0, 1]]  # one per cent more is as small
    assert allowed([1000, NAN, 500]) == [[2], [], []]
    assert allowed([4000, 1000, 500], [True, False, True]) == [[2], [2], []]  # compared, but none is with it


@given(st.lists(st.tuples(st.integers(1, 50), st.booleans()), min_size=1, max_size=7))
def test_candidates_are_what_their_words_say(releases):
    sizes, undefended = ([pair[part] for pair in releases] for part in (0, 1))
    expected = [
        [
            other
            for other, (size, plain) in enumerate(releases)
            if other != place and plain and size <= sizes[place] * (1 + SIZE_TOLERANCE)
        ]
        for place in range(len(releases))
    ]
    assert allowed(sizes, undefended) == expected


@pytest.fixture
def drawn():
    """Accuracies and leakages of six releases and their replicates, and sizes: the last one has 1,000 bytes."""
    accuracy, leakage = [0.83, 0.75, 0.74, 0.73, 0.60, 0.70], [0.40, 0.60, 0.61, 0.62, 0.45, 0.63]
    values = np.array(accuracy + leakage)
    joint = values + np.random.default_rng(0).normal(scale=0.02, size=(1000, 12))
    return values, joint, np.array([5000.0, 1000.0, 900.0, 1005.0, 500.0, 1000.0])


def test_differences_are_those_of_a_bootstrap_written_out(drawn):
    values, joint, sizes = drawn
    found = against_envelope(values, joint, at_equal_size(sizes, np.ones(6, dtype=bool)))[5]
    small = [place for place in range(5) if sizes[place] <= 1010]
    assert small == [1, 2, 3, 4]

    def difference(row, among):
        return row[11] - min((row[6 + place] for place in among), default=np.inf)

    def eligible(row):
        return [place for place in small if row[place] >= row[5]]

    assert eligible(values) == [1, 2, 3]  # the smallest leaks less, and is less accurate; the largest is too large
    value = difference(values, eligible(values))
    assert found.value == pytest.approx(value) == pytest.approx(0.03)
    assert found.envelope == 1
    differences = sorted(difference(row, eligible(row)) for row in joint)
    shift = np.mean([difference(row, eligible(values)) for row in joint]) - value
    errors = sorted(max(row[11] - row[6 + j] - (values[11] - values[6 + j]) for j in (1, 2, 3)) for row in joint)
    assert found.low == pytest.approx(
        min(differences[int(0.025 * 999)] - 2 * shift, value - errors[int(np.ceil(0.975 * 999))])
    )
    assert found.high == pytest.approx(max(differences[int(np.ceil(0.975 * 999))] - 2 * shift, value))


def test_what_cannot_be_compared_says_why(drawn):
    values, joint, sizes = drawn
    undefended = np.ones(6, dtype=bool)
    found = against_envelope(values, joint, at_equal_size(sizes, undefended))
    assert np.isnan(found[0].value)
    assert "83.000% is above that of every other release of at most its size (at most 75.000%)" in found[0].suppressed
    assert np.isnan(found[4].value) and found[4].envelope == -1
    assert "no other release" in found[4].suppressed and "500 bytes" in found[4].suppressed
    unknown = against_envelope(values, joint, at_equal_size(np.where(sizes == 500, NAN, sizes), undefended))
    assert unknown[4].suppressed == "its compressed size is not known"
    assert (unknown[5].value, unknown[5].envelope) == (found[5].value, 1)
    undefended[1] = False
    defended = against_envelope(values, joint, at_equal_size(sizes, undefended))
    assert "every other undefended release of at most its size (at most 74.000%)" in defended[0].suppressed
    assert defended[5].envelope == 2
    assert "(at most 74.000%)" in defended[1].suppressed


@pytest.fixture(scope="module")
def releases(make_bank):
    def build(accuracy, gain, noise_seed):
        """A release whose networks are right on about that fraction of non-members."""
        signals = make_bank(8, 260, gain=gain, num_holdout=10, noise_seed=noise_seed)
        wrong = np.random.default_rng([5, noise_seed]).random(signals.member.shape) > accuracy
        logits = np.array(signals.logits, dtype=np.float64)
        away = np.where(wrong, 12.0, 0.0)
        logits[:, np.arange(260), (signals.labels + 1) % 5] += away
        logits[:, np.arange(260), signals.labels] += 12 - away
        return Signals(logits, signals.labels, signals.member, signals.eligible, model_ids=signals.model_ids)

    return {
        "dense": build(0.95, 3, 0),
        "pruned": build(0.8, 2.5, 1),
        "int8": build(0.9, 1.5, 2),
        "student": build(0.75, 0.5, 3),
    }


SIZES = {"dense": 4000, "pruned": 1500, "int8": 1000, "student": 400}


def by_release(table):
    return table[table["metric"] == "auc"].set_index("release")


def test_the_table_holds_the_size_and_the_difference_at_equal_size(releases):
    facts = {name: {"compressed_bytes": size} for name, size in SIZES.items()}
    plan = ComparisonPlan(undefended=("dense",), without_defense=("dense", "pruned", "int8"))
    settings = bank_settings(releases, ["matched"])
    found = evaluate(settings, ready(["loss"]), Measuring(0, (0.1,)), Known(plan, facts)).results
    table = by_release(found.frontier)
    assert table["compressed_bytes"].to_dict() == SIZES
    assert table["size_release"].to_dict() == {"dense": "", "pruned": "int8", "int8": "", "student": ""}
    means = found.findings[found.findings["victim"] == "mean"].set_index("release")["auc"]
    assert table["size_difference"]["pruned"] == pytest.approx(means["pruned"] - means["int8"])
    assert table["size_difference_low"]["pruned"] > 0
    assert "above that of every other undefended release of at most its size" in table["size_suppressed"]["dense"]
    assert "1,000 bytes" in table["size_suppressed"]["int8"]
    # At equal accuracy nothing depends on sizes.
    without = evaluate(settings, ready(["loss"]), Measuring(0, (0.1,)), Known(plan)).results
    same = ["difference", "difference_low", "difference_high", "envelope_release", "suppressed"]
    assert by_release(without.frontier)[same].equals(table[same])
    assert set(by_release(without.frontier)["size_suppressed"]) == {"its compressed size is not known"}


def test_sizes_of_users_own_releases(releases):
    found = audit(releases, attacks="loss", fpr_levels=(0.1,), sizes=SIZES).results
    table = by_release(found.frontier)
    assert table["size_release"]["pruned"] == "int8"
    assert table["compressed_bytes"].to_dict() == SIZES
    made = found.releases.set_index("release")
    assert made["compressed_bytes"].to_dict() == SIZES
    assert made["compression_ratio"].to_dict() == {"dense": 1, "pruned": 4000 / 1500, "int8": 4, "student": 10}
    some = audit(releases, attacks="loss", fpr_levels=(0.1,), sizes={"pruned": 1500, "student": 400}).results
    assert some.frontier["size_difference"].isna().all()  # the student is less accurate
    plain = audit(releases, attacks="loss", fpr_levels=(0.1,)).results
    assert plain.frontier["size_difference"].isna().all()
    assert plain.findings.equals(found.findings)
    assert ["equal size" in " ".join(caveats(each)) for each in (found, plain)] == [False, True]
    sizes = {line.release: line.size and line.size.value for line in first_screen(found).lines}
    assert sizes["pruned"] == "1.5\u00a0kB" and {line.size for line in first_screen(plain).lines} == {None}


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"prunde": 5}, ("prunde", "pruned", "int8")),
        ({"pruned": 0}, ("pruned", "0")),
        ({"pruned": -4.0}, ("pruned", "-4.0")),
        ({"pruned": NAN}, ("pruned", "nan")),
        ({"pruned": "5"}, ("pruned", "'5'")),
        ({"pruned": True}, ("pruned", "True")),
    ],
)
def test_sizes_that_are_none_are_refused(releases, sizes, words):
    with pytest.raises(UserError) as refused:
        audit(releases, attacks="loss", sizes=sizes)
    assert all(word in str(refused.value) for word in words)


def test_a_size_of_one_release_alone_compares_nothing(releases):
    with pytest.raises(UserError, match="several releases"):
        audit({"dense": releases["dense"]}, attacks="loss", sizes={"dense": 4000})
