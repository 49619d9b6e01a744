"""The holdout is split in halves by the id of each sample: always in the same way, whatever other samples there are."""

import numpy as np
import pytest

from pruneaudit.attacks.attack_input import AttackInput
from pruneaudit.core.errors import UserError
from pruneaudit.data.audit_data import AuditData, holdout_halves
from pruneaudit.engine.plan import make_plan
from pruneaudit.signals.signals import Signals
from pruneaudit.study import Study
from pruneaudit.study.parts import SUFFICIENT_HOLDOUT


def test_a_half_is_frozen_and_that_of_a_number_is_that_of_its_text():
    first, second = holdout_halves(np.ones(20, dtype=bool), np.arange(20))
    assert np.flatnonzero(second).tolist() == [1, 4, 5, 9, 10, 11, 13, 14, 15, 17]  # other halves are other scores
    assert (first ^ second).all()
    np.testing.assert_array_equal(holdout_halves(np.ones(20, dtype=bool), np.arange(20).astype(str))[1], second)


def test_it_depends_on_no_other_sample():
    rng = np.random.default_rng(0)
    ids, holdout = rng.permutation(5000), rng.random(5000) < 0.6
    first, second = holdout_halves(holdout, ids)
    np.testing.assert_array_equal(first | second, holdout)
    assert not (first & second).any()
    assert abs(second.sum() / holdout.sum() - 0.5) < 0.03
    some = holdout & (rng.random(5000) < 0.3)
    order = rng.permutation(5000)
    for part, whole in zip(holdout_halves(some[order], ids[order]), (first, second), strict=True):
        np.testing.assert_array_equal(part, (whole & some)[order])


def test_releases_with_fewer_nulls_share_the_halves_and_so_do_references_among_themselves():
    rng = np.random.default_rng(1)
    num_models, num_samples = 4, 400
    holdout = np.arange(num_samples) < 300
    member = (rng.random((num_models, num_samples)) < 0.5) & ~holdout

    def signals(usable):
        logits = rng.normal(size=(num_models, num_samples, 3))
        eligible = np.broadcast_to(~holdout, member.shape)
        return Signals(logits, np.arange(num_samples) % 3, member, eligible=eligible, holdout=usable)

    whole, shaped = signals(holdout), signals(holdout & (np.arange(num_samples) >= 100))
    assert not (whole.fitting & shaped.nulls).any() and not (whole.nulls & shaped.fitting).any()
    attack_input = AttackInput.of([whole], [shaped])
    np.testing.assert_array_equal(attack_input.nulls, whole.nulls & shaped.untouched_holdout)
    np.testing.assert_array_equal(attack_input.fitting, whole.fitting & shaped.untouched_holdout)
    among = AttackInput.of([whole], [whole]).among_references(np.arange(2))
    np.testing.assert_array_equal(among.nulls, whole.nulls)
    np.testing.assert_array_equal(among.fitting, whole.fitting)


def _audit_data(num_holdout: int, ids: np.ndarray) -> AuditData:
    parts = np.arange(len(ids)) >= len(ids) - num_holdout, np.zeros(len(ids), dtype=bool)
    x = np.random.default_rng(0).normal(size=(len(ids), 2)).astype(np.float32)
    return AuditData("made", x, np.arange(len(ids)) % 2, ids, parts[0], parts[1], parts[1], 2, ("a", "b"), None, None)


def test_a_study_counts_the_half_itself_before_anything_is_trained():
    study = Study(
        name="s",
        data={"source": "digits", "num_samples": 100, "num_holdout": SUFFICIENT_HOLDOUT},
        model="mlp",
        audit={"attacks": ["attack_p"]},
    )
    is_second = holdout_halves(np.ones(5000, dtype=bool), np.arange(5000))[1]
    of_a, of_b = np.flatnonzero(~is_second), np.flatnonzero(is_second)
    audited = 5000 + np.arange(100)
    make_plan(study, _audit_data(500, np.concatenate([audited, of_b[:200], of_a[:300]])))
    with pytest.raises(UserError, match=r"'attack_p'.*200.*got 199 of 500.*num_holdout=1000"):
        make_plan(study, _audit_data(500, np.concatenate([audited, of_b[:199], of_a[:301]])))
