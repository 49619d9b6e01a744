"""`pruneaudit.audit(..., families=...)`: families of predictions, with references of each release, or one set."""

import numpy as np
import pandas as pd
import pytest

import pruneaudit
from pruneaudit.core.errors import UserError
from pruneaudit.evaluation.asked_families import rival_attacks
from pruneaudit.signals.signals import Signals

MODELS, SAMPLES = 8, 300


def bank(gain, seed, num_models=MODELS, member=None, names=None):
    """Members are more confident by `gain`; labels and difficulty are common to all banks."""
    rng = np.random.default_rng(seed)
    member = np.random.default_rng(1).random((num_models, SAMPLES)) < 0.5 if member is None else member
    logits = rng.normal(size=(num_models, SAMPLES, 3))
    labels = np.random.default_rng(2).integers(3, size=SAMPLES)
    logits[:, np.arange(SAMPLES), labels] += gain * member + np.random.default_rng(3).normal(size=SAMPLES)
    return Signals(logits=logits, labels=labels, member=member, model_ids=names)


RELEASES = {"dense": bank(1.5, 10), "int8": bank(1.4, 11), "pruned": bank(0.5, 12)}
QUICK = {"attacks": ["loss"], "fpr_levels": [0.1]}


def sets_in(found):
    table = found.results.families
    return list(dict.fromkeys(table["releases"]))


def test_all_releases_or_those_named():
    found = pruneaudit.audit(RELEASES, families="all", **QUICK)
    assert len(sets_in(found)) == 7
    assert set(found.results.families["references"]) == {"matched"}
    assert len(found.results.marginal_leakage) == 12 * 2  # edges of the lattice, AUC and TPR
    two = pruneaudit.audit(RELEASES, families=[["pruned", "dense"]], **QUICK)
    assert sets_in(two) == ["dense", "pruned", "dense; pruned"]
    assert pruneaudit.audit(RELEASES, **QUICK).results.families.empty
    pair = found.results.families
    same = two.results.families.merge(pair[pair["releases"] == "dense"], on=["releases", "metric", "attack"])
    assert len(same) == 2
    np.testing.assert_allclose(same["value_x"], same["value_y"], atol=1e-12)


def test_findings_do_not_depend_on_families():
    with_families = pruneaudit.audit(RELEASES, families="all", **QUICK)
    pd.testing.assert_frame_equal(with_families.findings, pruneaudit.audit(RELEASES, **QUICK).findings)


def test_references_of_each_release_or_one_set():
    outsiders = np.array([f"r{number}" for number in range(6)])
    theirs = np.random.default_rng(4).random((6, SAMPLES)) < 0.5
    named = {
        name: bank(gain, seed, 6, theirs, outsiders)
        for name, gain, seed in (("dense", 1.5, 20), ("int8", 1.4, 21), ("pruned", 0.5, 22))
    }
    victims = {
        name: Signals(logits=given.logits, labels=given.labels, member=given.member, model_ids=np.array([*"abcdefgh"]))
        for name, given in RELEASES.items()
    }
    own = pruneaudit.audit(victims, named, families="all", **QUICK)
    assert set(own.results.families["references"]) == {"matched"}
    assert set(own.results.families["num_victims"]) == {MODELS}
    one = pruneaudit.audit(victims, named["dense"], families="all", **QUICK)
    assert set(one.results.families["references"]) == {"given"}
    assert one.results.families["value"].notna().all()


@pytest.mark.parametrize(
    ("families", "words"),
    [
        ([["dense", "int4"]], ["families", "'int4'", "'int8'"]),
        ("some", ["families", "'some'", "'all'"]),
        ([["dense"]], ["families", "one release (dense)"]),
    ],
)
def test_a_mistake_is_refused_before_any_attack(families, words):
    with pytest.raises(UserError) as refused:
        pruneaudit.audit(RELEASES, families=families, **QUICK)
    assert all(word in str(refused.value) for word in words)


def test_one_release_or_no_references_are_refused():
    with pytest.raises(UserError, match=r"one release \(signals\)"):
        pruneaudit.audit(RELEASES["dense"], families="all", **QUICK)
    alone = {name: given.take_models(np.arange(1)) for name, given in RELEASES.items()}
    with pytest.raises(UserError, match="references"):
        pruneaudit.audit(alone, families="all", **QUICK)
    few = {name: given.take_models(np.arange(3)) for name, given in RELEASES.items()}
    with pytest.raises(UserError, match="at least 3 references"):
        pruneaudit.audit(few, families="all", **QUICK)


def test_rivals_see_several_releases():
    assert list(rival_attacks(["pair_lr", "back_front"])) == ["pair_lr", "back_front"]
    assert rival_attacks([]) == {}
    for wrong in ("lira", "family"):
        with pytest.raises(UserError, match="pair_nn"):
            rival_attacks([wrong])
