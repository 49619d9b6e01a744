"""Samples of unknown membership: no figure depends on them, in whatever file the membership is unknown."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pruneaudit.core.errors import UserError
from pruneaudit.evaluation import audit
from pruneaudit.evaluation.given import given_settings
from pruneaudit.signals.signals import Signals

# M models, N samples

HOLDOUT = 500
ATTACKS = ("loss", "calibration", "lira", "lira:mode=offline", "rmia", "base", "bavaria", "attack_p", "attack_r")


def without(bank, columns):
    """The bank without some samples at all."""
    kept = np.setdiff1d(np.arange(bank.num_samples), columns)
    return Signals(
        logits=bank.logits[:, kept],
        labels=bank.labels[kept],
        member=bank.member[:, kept],
        eligible=bank.scored[:, kept],
        ids=bank.sample_ids[kept],
        model_ids=bank.model_names,
    )


def with_unknown(bank, cells, value):
    """The bank with unknown membership in some cells."""
    member = bank.member.astype(float)
    member[tuple(zip(*cells, strict=True))] = value
    return replace(bank, member=member)


def check_equal(found, expected, columns):
    """Scores of the kept samples and AUCs with intervals are equal (a bootstrap draws weights by column)."""
    assert found.scores.keys() == expected.scores.keys()
    for label, scores in found.scores.items():
        assert np.isnan(scores[:, columns]).all()
        np.testing.assert_allclose(np.delete(scores, columns, axis=1), expected.scores[label], rtol=1e-9, atol=1e-9)
    figures = ["release", "attack", "victim", "num_members", "num_nonmembers", "auc", "auc_low", "auc_high"]
    pd.testing.assert_frame_equal(found.findings[figures], expected.findings[figures], rtol=1e-9)


@pytest.mark.parametrize("value", [np.nan, -1])
@pytest.mark.parametrize("num_holdout", [0, HOLDOUT])
def test_the_audit_is_that_without_these_samples(make_bank, value, num_holdout):
    bank = make_bank(8, 200 + num_holdout, num_holdout=num_holdout)
    last = bank.num_samples - 1
    cells = [(0, last - 1), (3, last), (3, last - 1), (5, 2)]  # the last is a holdout sample, if there is a holdout
    attacks = [name for name in ATTACKS if num_holdout or name != "attack_p"]
    with pytest.warns(UserWarning, match=f"3 of {bank.num_samples}"):
        found = audit(with_unknown(bank, cells, value), attacks=attacks)
    expected = audit(without(bank, [2, last - 1, last]), attacks=attacks)
    check_equal(found, expected, [2, last - 1, last])
    left_out = found.settings[0].setting.attack_input.attacked
    assert left_out.untouched_holdout.sum() == max(0, num_holdout - 1)
    assert not left_out.untouched_holdout[2]


@pytest.mark.parametrize("where", ["victims", "references"])
def test_a_sample_unknown_in_one_file_is_left_out_in_both(make_bank, where):
    victims, references = make_bank(4, 300), make_bank(8, 300, seed=1, first_id=100)
    cells = [(1, 10), (3, 20)]
    changed = {"victims": victims, "references": references}
    changed[where] = with_unknown(changed[where], cells, np.nan)
    attacks = ("loss", "lira", "rmia")
    with pytest.warns(UserWarning, match="2 of 300"):
        found = audit(changed["victims"], changed["references"], attacks=attacks)
    expected = audit(without(victims, [10, 20]), without(references, [10, 20]), attacks=attacks)
    check_equal(found, expected, [10, 20])


def test_releases_share_what_they_leave_out_and_stay_paired(make_bank):
    dense, pruned = make_bank(6, 200), make_bank(6, 200, noise_seed=1)
    unsure = with_unknown(pruned, [(2, 7)], np.nan)
    with pytest.raises(UserError, match="membership"):  # they say different things about model 2 and sample 7
        given_settings({"dense": replace(dense, member=~dense.member), "pruned": unsure}, None, "dense")
    settings = given_settings({"dense": with_unknown(dense, [(2, 7)], -1), "pruned": unsure}, None, "dense")
    assert [np.flatnonzero(setting.attack_input.attacked.unknown).tolist() for setting in settings] == [[7], [7]]


def test_unknown_survives_a_file_and_a_choice_of_models(make_bank, tmp_path):
    bank = with_unknown(make_bank(5, 60), [(4, 9)], np.nan)
    bank.save(tmp_path / "bank.npz")
    for other in (Signals.load(tmp_path / "bank.npz"), bank.take_models(np.array([0, 1]))):
        assert np.flatnonzero(other.unknown).tolist() == [9]
        assert not other.scored[:, 9].any()
        assert not other.counted[9]
        assert not other.untouched_holdout[9]


def test_missing_values_of_pandas_masks_and_lists_are_unknown(make_bank):
    bank = make_bank(4, 50)
    cells = np.zeros((4, 50), dtype=bool)
    cells[1, 3] = True
    lists = [
        [None if hole else bool(value) for hole, value in zip(*rows, strict=True)]
        for rows in zip(cells, bank.member, strict=True)
    ]
    for given in (pd.DataFrame(bank.member).astype("boolean").mask(cells), np.ma.array(bank.member, mask=cells), lists):
        found = replace(bank, member=given)
        assert np.flatnonzero(found.unknown).tolist() == [3]
        assert (found.member == (bank.member & ~cells)).all()


def test_minus_one_for_non_members_is_refused(make_bank):
    bank = make_bank(4, 50)
    with pytest.raises(UserError, match=r"-1.*expected 0 for non-members.*member == 1"):
        replace(bank, member=np.where(bank.member, 1, -1))
