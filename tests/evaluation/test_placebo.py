"""Placebo rows: a bank whose members were queried cropped must fail, one queried uniformly must pass."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from pruneaudit.core.errors import UserError
from pruneaudit.data import SOURCES
from pruneaudit.evaluation import audit
from pruneaudit.evaluation.comparison_plan import ready
from pruneaudit.evaluation.data_checks import data_check
from pruneaudit.evaluation.measure import play
from pruneaudit.evaluation.placebo import placebo_input
from pruneaudit.evaluation.recorded_checks import failures, record_sanity_checks, unchecked
from pruneaudit.signals.signals import Signals

# M models, N samples

NUM_MODELS, NUM_AUDITED, NUM_PLACEBO = 8, 400, 200
ATTACKS = ("loss", "calibration", "lira", "lira:mode=offline", "rmia", "base")


def cropped(x, rng):
    """Random crops after padding by two pixels, as in training pipelines."""
    padded = np.pad(x, ((0, 0), (2, 2), (2, 2)))
    places = rng.integers(5, size=(len(x), 2))
    return np.stack([image[top : top + 8, left : left + 8] for image, (top, left) in zip(padded, places, strict=True)])


@pytest.fixture(scope="module")
def networks():
    """Eight networks trained on coins over digits, the digits, labels, members (M, N) and the coins of placebo rows."""
    rng, raw = np.random.default_rng(0), SOURCES.get("digits").load(None, None)
    rows = rng.permutation(len(raw.y))[: NUM_AUDITED + NUM_PLACEBO]
    x, y = raw.x[rows, 0].astype(np.float32) / 255, raw.y[rows]
    is_placebo = np.arange(len(rows)) >= NUM_AUDITED
    member = (rng.random((NUM_MODELS, len(rows))) < 0.5) & ~is_placebo
    placebo = np.where(is_placebo, 1 + (rng.random(member.shape) < 0.5), 0)
    made = []
    for row in member:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(len(made))
            network = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
        inputs, labels = torch.from_numpy(x[row]), torch.from_numpy(y[row])
        for _ in range(60):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(inputs), labels).backward()
            optimizer.step()
        made.append(network)
    return made, x, y, member, placebo


def asked(networks, crops):
    """Signals of the networks, which got members (and placebo rows sent as members) cropped, or all rows plainly."""
    made, x, y, member, placebo = networks
    logits = []
    for number, network in enumerate(made):
        is_cropped = (member[number] | (placebo[number] == 1)) & crops
        sent = np.where(is_cropped[:, None, None], cropped(x, np.random.default_rng(number)), x)
        with torch.no_grad():
            logits.append(network(torch.from_numpy(sent)).numpy())
    return Signals(logits=np.stack(logits), labels=y, member=member, placebo=placebo)


def test_a_bank_whose_members_were_queried_cropped_fails(networks):
    with pytest.warns(UserWarning, match="do not trust the figures of .*placebo rows"):
        found = audit(asked(networks, crops=True), attacks=ATTACKS)
    about = found.results.about
    assert failures(about).keys() == set(ATTACKS)
    assert data_check(about, "placebo")["passed"] is False
    rows = {row["attack"]: row for row in about["sanity_checks"]}
    assert rows["loss"]["high"] < 0.4  # crops cost confidence: "members" look like others
    assert all(not row["low"] <= 0.5 <= row["high"] for row in rows.values())
    record_sanity_checks(found, ready(["loss", "lira"]), 0, "")
    assert failures(found.results.about).keys() == set(ATTACKS)  # they stay beside the other sanity checks
    assert len(found.results.about["sanity_checks"]) > len(ATTACKS)


def test_a_bank_queried_uniformly_passes(networks, recwarn):
    found = audit(asked(networks, crops=False), attacks=ATTACKS)
    about = found.results.about
    assert [row["attack"] for row in about["sanity_checks"]] == list(ATTACKS)
    assert not failures(about)
    placebo = networks[4]
    expected = {"check": "placebo", "passed": True}
    expected |= {"num_as_members": (placebo == 1).sum(), "num_as_others": (placebo == 2).sum()}
    assert data_check(about, "placebo") == expected
    assert [str(warning.message) for warning in recwarn if "placebo" in str(warning.message)] == []
    # Played on placebo rows, a trained attack would still lack the sanity checks of attacks that learn.
    assert set(unchecked(about, ["loss"])) == {"loss"}


def test_placebo_rows_change_no_score_and_no_figure(networks):
    bank = asked(networks, crops=True)
    with pytest.warns(UserWarning, match="do not trust"):
        found = audit(bank, attacks=ATTACKS)
    kept = ~bank.placebos
    plain = Signals(logits=bank.logits[:, kept], labels=bank.labels[kept], member=bank.member[:, kept])
    without = audit(plain, attacks=ATTACKS)
    (played,) = found.settings
    scored = replace(played.setting, attack_input=placebo_input(played.setting.attack_input))
    for label, attack in ready(ATTACKS).items():
        scores = found.scores[label]
        assert np.isnan(scores[:, ~kept]).all()
        np.testing.assert_allclose(scores[:, kept], without.scores[label], rtol=1e-9, atol=1e-9)
        again = play(attack, label, scored, 0).victims
        np.testing.assert_array_equal(again[:, kept], scores[:, kept])
        assert (~np.isnan(again[:, ~kept])).mean() > 0.9  # IN and OUT references by path
    assert not bank.untouched_holdout.any()


def test_one_path_for_all_models_is_checked_without_in_references(networks):
    _, _, y, member, placebo = networks
    bank = asked(networks, crops=False)
    path = placebo[0]
    found = audit(replace(bank, placebo=path), attacks=("loss", "lira", "rmia"))
    assert [row["attack"] for row in found.results.about["sanity_checks"]] == ["loss", "lira", "rmia"]
    few = np.where(np.cumsum(path == 1) <= 20, path, np.where(path == 1, 0, path))
    eligible = np.broadcast_to(np.arange(len(y)) < NUM_AUDITED, member.shape)
    found = audit(replace(bank, placebo=few, eligible=eligible), attacks="loss")
    assert found.results.about["sanity_checks"] == []
    (reason,) = (row["reason"] for row in found.results.about["not_sanity_checked"])
    assert "20" in reason
    assert "30" in reason


def test_without_placebo_rows_nothing_is_checked(make_bank):
    about = audit(make_bank(4, 100), attacks="loss").results.about
    assert data_check(about, "placebo")["passed"] is None
    assert data_check(about, "inputs")["passed"] is None
    assert "sanity_checks" not in about


def test_what_cannot_be_placebo_is_refused(make_bank):
    bank = make_bank(4, 60)
    trained = int(np.flatnonzero(bank.member[2])[0])
    with pytest.raises(UserError, match=rf"sample {trained} is in the training set of model"):
        replace(bank, placebo=np.arange(60) == trained)
    with pytest.raises(UserError, match="0, 1 and 2"):
        replace(bank, placebo=np.full(60, 3))
    with pytest.raises(UserError, match=r"\(5,\).*\(60,\)"):
        replace(bank, placebo=np.zeros(5))


def test_references_have_the_same_placebo_rows(make_bank):
    victims, references = make_bank(4, 200, num_holdout=80), make_bank(8, 200, num_holdout=80, seed=1, first_id=100)
    path = np.where(np.arange(200) < 80, 1 + np.arange(200) % 2, 0)
    found = audit(replace(victims, placebo=path), references, attacks="loss,calibration")
    assert len(found.results.about["sanity_checks"]) == 2
    assert not found.settings[0].setting.attack_input.nulls.any()
    with pytest.raises(UserError, match="different rows"):
        audit(replace(victims, placebo=path), replace(references, placebo=np.where(path == 1, 0, path)))
    with pytest.raises(UserError, match="each model"):
        audit(replace(victims, placebo=np.broadcast_to(path, (4, 200))), references)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:do not trust")
def test_a_sound_audit_rarely_fails(make_bank):
    num_failed = 0
    for seed in range(200):
        bank = make_bank(6, 240, num_holdout=120, noise_seed=seed)
        coins = np.random.default_rng(seed).random((6, 240)) < 0.5
        placebo = np.where(np.arange(240) < 120, 1 + coins, 0)
        about = audit(replace(bank, placebo=placebo), attacks="loss,lira,rmia,base").results.about
        num_failed += not data_check(about, "placebo")["passed"]
    assert num_failed <= 18  # 5% of 200 is 10, with a standard deviation of 3.1
