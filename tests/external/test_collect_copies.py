"""Users' own networks on data in which samples stand twice: the membership tells false non-members."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

import pruneaudit
from pruneaudit.core.machine import Here
from pruneaudit.data.copies import first_equal
from pruneaudit.data.source import RawData
from pruneaudit.external.asked import NetworkOptions, Queries
from pruneaudit.external.collect import collect
from pruneaudit.external.copies import with_copies_settled

# M models, N samples

NUM_MODELS, NUM_DIFFERENT = 8, 100


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 3))


@pytest.fixture(scope="module")
def twice(tmp_path_factory):
    """Every sample twice, a coin for each row: the arguments of `collect_signals`, and the membership."""
    folder, rng = tmp_path_factory.mktemp("weights"), np.random.default_rng(0)
    x = np.tile(rng.normal(size=(NUM_DIFFERENT, 20)).astype(np.float32), (2, 1))
    y = np.tile(np.arange(NUM_DIFFERENT) % 3, 2)
    member = rng.random((NUM_MODELS, len(y))) < 0.5
    for row in range(NUM_MODELS):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(row)
            net = network()
        optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
        inputs, labels = torch.from_numpy(x[member[row]]), torch.from_numpy(y[member[row]])
        for _ in range(80):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(inputs), labels).backward()
            optimizer.step()
        torch.save(net.state_dict(), folder / f"net-{row}.pt")
    data = RawData(x, y, tuple("abc"))
    return {"factory": network, "weights": folder, "membership": member, "data": data}, member


def collected(given, **changes):
    found = collect(**{"options": NetworkOptions(), "queries": Queries(), "runtime": Here()} | given | changes)
    return found.signals, found.notes


def test_the_auc_is_that_of_true_non_members(twice):
    given, member = twice
    signals, notes = collected(given)
    first, second = member[:, :NUM_DIFFERENT], member[:, NUM_DIFFERENT:]
    phi, agreed = signals.phi[:, :NUM_DIFFERENT, 0], first == second
    by_hand = [roc_auc_score(first[m, agreed[m]], phi[m, agreed[m]]) for m in range(NUM_MODELS)]
    findings = pruneaudit.audit(signals, attacks=("loss", "lira", "rmia")).findings.query("victim == 'mean'")
    found = findings.set_index("attack")["auc"]
    assert found["loss"] == pytest.approx(np.mean(by_hand))
    per_row = np.mean([roc_auc_score(member[m], signals.phi[m, :, 0]) for m in range(NUM_MODELS)])
    assert (found > per_row + 0.1).all()
    note = notes[0]
    assert "100 of 200 samples" in note
    assert f"of 800 pairs of a model and a repeated sample {(~agreed).sum()} are left out" in note


def test_what_a_reference_has_seen_counts_whichever_row_said_so(twice):
    given, member = twice
    signals, _ = collected(given)
    seen = member[:, :NUM_DIFFERENT] | member[:, NUM_DIFFERENT:]
    np.testing.assert_array_equal(signals.member, np.tile(seen, 2))
    assert not signals.scored[:, NUM_DIFFERENT:].any()
    assert not signals.untouched_holdout.any()


def test_copies_that_agree_are_scored_once_and_nothing_is_left_out(twice):
    given, member = twice
    together = np.tile(member[:, :NUM_DIFFERENT], 2)
    signals, notes = collected(given, membership=together)
    np.testing.assert_array_equal(signals.member, together)
    assert (signals.scored == (np.arange(2 * NUM_DIFFERENT) < NUM_DIFFERENT)).all()
    assert len(notes) == 1 and "100 of 200" in notes[0] and "left out" not in notes[0]


def test_signals_of_copies_come_back_from_disk(twice, tmp_path):
    signals, _ = collected(twice[0])
    signals.save(tmp_path / "signals.npz")
    loaded = pruneaudit.Signals.load(tmp_path / "signals.npz")
    np.testing.assert_array_equal(loaded.copies, signals.copies)
    np.testing.assert_array_equal(loaded.take_models(np.array([1])).scored, signals.scored[[1]])


def test_by_hand():
    x = np.array([[1], [2], [1], [3], [1], [2]])
    member = np.array([[1, 0, 1, 0, 1, 0], [0, 1, 1, 1, 0, 0], [0, 0, 0, 0, 0, 1]])
    eligible = np.ones((3, 6))
    eligible[:, 0] = 0
    eligible[2, 5] = eligible[2, 1] = 0
    notes: list[str] = []
    found = with_copies_settled(
        {"member": member, "eligible": eligible, "ids": np.arange(6)}, first_equal(x), notes.append
    )
    assert found["member"].tolist() == [
        [True, False, True, False, True, False],
        [True, True, True, True, True, True],
        [False, True, False, False, False, True],
    ]
    assert found["copy"].tolist() == [False, False, True, False, True, True]
    # The first of each is scored for all: row 0 too, as rows 2 and 4 may be scored; the second model has mixed copies.
    assert (found["eligible"] & ~found["copy"]).tolist() == [
        [True, True, False, True, False, False],
        [False, False, False, True, False, False],
        [True, False, False, True, False, False],
    ]
    assert "3 of 6 samples" in notes[0] and "of 6 pairs of a model and a repeated sample 2 are left out" in notes[0]


def test_data_without_copies_are_left_alone():
    given = {"member": np.eye(3, dtype=bool)}
    assert with_copies_settled(given, np.arange(3), pytest.fail) is given
