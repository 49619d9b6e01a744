"""Forgetting: RMIA's ratio against a copy of the network that was trained further on half A, ranked among half B."""

from dataclasses import replace

import numpy as np
import pytest

from pruneaudit.attacks import ATTACKS
from pruneaudit.attacks.attack_input import AttackInput
from pruneaudit.attacks.tuning import GRID
from pruneaudit.core.errors import UserError
from pruneaudit.evaluation import audit
from pruneaudit.metrics import auc
from pruneaudit.signals.signals import Signals

NUM_SAMPLES, NUM_HOLDOUT = 900, 500
FORGETTING = ATTACKS.get("forgetting")


def played(attack_input, **options):
    return FORGETTING(FORGETTING.Options(**options)).score(attack_input, np.random.default_rng(0))


def sigmoid(phi):
    return 1 / (1 + np.exp(-phi.astype(float)))


def log_ratio(signals, m, a):
    return np.log(sigmoid(signals.phi[m, :, 0])) - np.log(((1 + a) * sigmoid(signals.forgotten[m]) + 1 - a) / 2)


@pytest.fixture
def bank(make_bank):
    return make_bank(num_models=6, num_samples=NUM_SAMPLES, num_holdout=NUM_HOLDOUT)


@pytest.mark.parametrize("a", [0.0, 0.3, 1.0])
def test_against_a_loop(bank, make_input, a):
    attack_input = make_input(bank)
    found = played(attack_input, a=a).victims
    for m in range(bank.num_models):
        ratio = log_ratio(bank, m, a)
        for n in range(NUM_HOLDOUT, NUM_SAMPLES):
            assert found[m, n] == pytest.approx((ratio[attack_input.nulls] <= ratio[n]).mean(), abs=1e-6)
    assert np.isnan(found[:, :NUM_HOLDOUT]).all()


def test_it_finds_more_than_loss(bank, make_input):
    attack_input = make_input(bank)
    loss = ATTACKS.get("loss")().score(attack_input, np.random.default_rng(0)).victims
    assert auc(played(attack_input).victims, bank.member).mean() > auc(loss, bank.member).mean() + 0.02


def test_a_is_tuned_on_references_by_their_own_copies(make_bank, make_input):
    victims = make_bank(num_models=2, num_samples=NUM_SAMPLES, num_holdout=NUM_HOLDOUT)
    for num_references in (1, 3):
        references = make_bank(num_references, NUM_SAMPLES, num_holdout=NUM_HOLDOUT, seed=1, first_id=9)
        attack_input = make_input(victims, references)
        means = []
        for a in GRID:
            scored = [references.scored[k] for k in range(num_references)]
            pairs = [(log_ratio(references, k, a)[s], references.member[k, s]) for k, s in enumerate(scored)]
            means.append(np.mean([auc(ratio[None], member[None])[0] for ratio, member in pairs]))
        best = GRID[int(np.argmax(means))]
        assert f"a tuned {best:g}" in played(attack_input).variant
        np.testing.assert_array_equal(played(attack_input).victims, played(attack_input, a=best).victims)


def test_without_copies_of_references_a_is_fixed_beforehand(bank, make_input):
    alone = AttackInput.of([bank], [])
    without = make_input(bank, replace(bank, forgotten=None, model_ids=np.arange(10, 16), logits=bank.logits * 0.9))
    for attack_input in (alone, without):
        found = played(attack_input)
        assert "a 0.3 not tuned" in found.variant
        np.testing.assert_array_equal(found.victims, played(attack_input, a=0.3).victims)


def test_trainings_are_counted(bank, make_input):
    attack = FORGETTING()
    assert attack.num_trainings(AttackInput.of([bank], [])) == 1  # the copy
    assert attack.num_trainings(make_input(bank)) == 1 + 2 * 5  # a is tuned on five references and their copies
    assert FORGETTING(FORGETTING.Options(a=0.3)).num_trainings(make_input(bank)) == 1
    assert ATTACKS.get("rmia")().num_trainings(make_input(bank)) == 5
    for name in ("loss", "attack_p", "quantile"):
        assert ATTACKS.get(name)().num_trainings(make_input(bank)) == 0


def test_an_audit_of_one_network_takes_both_from_a_file(make_bank, tmp_path):
    make_bank(num_models=1, num_samples=NUM_SAMPLES, num_holdout=NUM_HOLDOUT).save(tmp_path / "one.npz")
    signals = Signals.load(tmp_path / "one.npz")
    findings = audit(signals, attacks=["loss", "quantile", "forgetting"], fpr_levels=[0.1]).findings
    means = findings[findings["victim"] == "mean"].set_index("attack")
    assert means["num_trainings"].to_dict() == {"loss": 0, "quantile": 0, "forgetting": 1}
    assert (means.loc[["quantile", "forgetting"], "auc"] > means.loc["loss", "auc"]).all()
    with pytest.raises(UserError, match=r"'forgetting'.*`forgotten`.*study"):
        audit(replace(signals, forgotten=None), attacks=["forgetting"])
    with pytest.raises(UserError, match=r"'quantile'.*`features`"):
        audit(replace(signals, features=None), attacks=["quantile"])


def test_what_it_lacks(bank, make_bank, make_input):
    attack = FORGETTING()
    assert attack.lacks(make_input(bank)) == ""
    assert "forgotten" in attack.lacks(make_input(replace(bank, forgotten=None)))
    few = attack.lacks(make_input(make_bank(num_models=3, num_samples=600, num_holdout=427)))  # 199 in half A
    assert all(part in few for part in ("half A", "200", "got 199"))
