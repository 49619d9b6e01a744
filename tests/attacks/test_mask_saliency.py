"""The saliency filter: growth of kept weights at public initial weights, less that of references' masks."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

from pruneaudit.attacks import ATTACKS
from pruneaudit.attacks.attack_input import AttackInput
from pruneaudit.core.errors import UserError
from pruneaudit.evaluation import audit
from pruneaudit.evaluation.given import given_settings
from pruneaudit.evaluation.power_attacks import power_attacks
from pruneaudit.metrics import auc

# V victims, K references, N samples

SALIENCY = ATTACKS.get("mask_saliency")
NUM_HOLDOUT = 40


def played(attack_input, **options):
    return SALIENCY(SALIENCY.Options(**options)).score(attack_input, np.random.default_rng(0))


@pytest.fixture
def bank(make_bank):
    return make_bank(num_models=6, num_samples=300, num_holdout=NUM_HOLDOUT)


def test_against_a_loop(bank, make_input):
    attack_input = make_input(bank)
    found = {rate: played(attack_input, rate=rate).victims for rate in ("density", "masks")}
    given = bank.start_saliency.astype(float)
    for v in range(bank.num_models):
        others = [k for k in range(bank.num_models) if k != v]
        for rate, scores in found.items():
            own = [given[v, n] - (rate == "masks") * np.mean(given[others, n]) for n in range(bank.num_samples)]
            mean = np.mean([own[n] for n in range(NUM_HOLDOUT, bank.num_samples)])
            for n in range(NUM_HOLDOUT, bank.num_samples):
                assert scores[v, n] == pytest.approx(own[n] - mean, abs=1e-9)
            assert np.isnan(scores[v, :NUM_HOLDOUT]).all()


def test_masks_of_references_take_away_what_all_masks_have_in_common(bank, make_input):
    attack_input = make_input(bank)
    by_rate = {rate: auc(played(attack_input, rate=rate).victims, bank.member).mean() for rate in ("density", "masks")}
    assert by_rate["masks"] > by_rate["density"] + 0.05 > 0.6


def test_without_references_it_looks_at_the_victim_alone(bank, make_input):
    alone = played(AttackInput.of([bank], []))
    beside = played(make_input(bank), rate="density")
    np.testing.assert_array_equal(alone.victims, beside.victims)
    assert alone.references is None and alone.variant == beside.variant
    np.testing.assert_array_equal(beside.references, alone.victims)  # every model is a victim here
    attack = SALIENCY()
    assert attack.num_trainings(AttackInput.of([bank], [])) == 0
    assert attack.num_trainings(make_input(bank)) == 5
    assert SALIENCY(SALIENCY.Options(rate="density")).num_trainings(make_input(bank)) == 0


def test_power_has_a_curve_of_the_number_of_masks(bank):
    settings = given_settings({"signals": bank}, None, "signals")
    found, _ = power_attacks(["mask_saliency", "mask_filter"], settings)
    assert set(found) == {"mask_saliency", "mask_filter"}
    with pytest.raises(UserError, match=r"'mask_saliency:rate=density' uses no references"):
        power_attacks(["mask_saliency:rate=density"], settings)


def test_references_of_another_start_are_left_aside(bank, make_input):
    unlike = replace(bank, start_saliency=None, model_ids=np.arange(10, 16), logits=bank.logits * 0.9)
    attack_input = make_input(bank, unlike)
    np.testing.assert_array_equal(played(attack_input).victims, played(attack_input, rate="density").victims)
    assert "start_saliency" in SALIENCY(SALIENCY.Options(rate="masks")).lacks(attack_input)
    assert SALIENCY().lacks(attack_input) == ""


def test_equal_masks_say_nothing(bank, make_input):
    same = replace(bank, start_saliency=np.broadcast_to(bank.start_saliency[:1], bank.start_saliency.shape))
    scores = played(make_input(same)).victims
    np.testing.assert_array_equal(scores[:, NUM_HOLDOUT:], 0)


def test_what_references_were_trained_on_does_not_matter(bank, make_bank, make_input):
    references = make_bank(num_models=4, num_samples=300, num_holdout=NUM_HOLDOUT, seed=3, first_id=20)
    turned = replace(references, member=references.member ^ references.scored)
    np.testing.assert_array_equal(
        played(make_input(bank, references)).victims, played(make_input(bank, turned)).victims
    )


def test_an_audit_of_predictions_takes_it_from_the_file(make_bank, tmp_path):
    bank = make_bank(num_models=1, num_samples=300, num_holdout=NUM_HOLDOUT)
    findings = audit(bank, attacks=["loss", "mask_saliency"], fpr_levels=[0.1]).findings
    means = findings[findings["victim"] == "mean"].set_index("attack")
    assert means.loc["mask_saliency", "auc"] > 0.55 and means.loc["mask_saliency", "num_trainings"] == 0
    with pytest.raises(UserError, match=r"'mask_saliency'.*`start_saliency`.*training\.init"):
        audit(replace(bank, start_saliency=None), attacks=["mask_saliency"])
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        without = audit(replace(bank, start_saliency=None), attacks=["scores"], fpr_levels=[0.1]).findings
    assert "mask_saliency" not in set(without["attack"])
    assert any("'mask_saliency'" in str(note.message) and "start_saliency" in str(note.message) for note in told)
