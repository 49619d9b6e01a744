"""Attacks that train a classifier: what it is shown, what it learns from, and above all what it never sees."""

import copy
import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from pruneaudit.attacks import ATTACKS
from pruneaudit.attacks._fitting import Recipe, fit, log_odds
from pruneaudit.attacks._networks import AttentionNetwork, posterior_mlp
from pruneaudit.attacks.attack_input import AttackInput
from pruneaudit.attacks.classifier import ClassifierAttack
from pruneaudit.core.errors import UserError
from pruneaudit.evaluation import audit
from pruneaudit.evaluation.crossfit import thresholds
from pruneaudit.metrics import auc, auc_influence, best_threshold, two_way

# V victims, K references, N samples, C classes, F features, n rows

NAMES = ("nn", "nn_cls", "nn_top3", "samia", "shokri_nn")
SHORT = {"epochs": 2, "max_rows": 256}
SEED = 3


def attack_of(name="nn", **options):
    attack = ATTACKS.get(name)
    return attack(attack.Options(**{**SHORT, **options}))


def scored(attack_input, name="nn", **options):
    return attack_of(name, **options).score(attack_input, np.random.default_rng(0))


def limits(attack_input, scores):
    return thresholds(attack_of(), attack_input, scores, SEED, np.random.default_rng(0))[:, 0]  # one for all classes


@pytest.fixture
def pooled(make_bank, make_input):
    """Every model is a victim and the others' reference; holdout first, canaries last."""
    bank = make_bank(num_models=10, num_samples=90, num_holdout=10)
    return make_input(replace(bank, canary=np.arange(90) >= 80))


@pytest.fixture
def apart(make_bank, make_input):
    return make_input(make_bank(2, 90), make_bank(8, 90, first_id=100, seed=1))


def with_reference_members(attack_input, member):
    references = replace(attack_input.reference, member=member)
    return AttackInput.of(
        [references if attack_input.attacked is attack_input.reference else attack_input.attacked],
        [references],
        attack_input.allowed,
    )


def test_all_of_them_are_here():
    """Of those that look at one release; test_pair_attacks.py has the other."""
    found = {name for name in ATTACKS.names() if issubclass(ATTACKS.get(name), ClassifierAttack)}
    assert found == {*NAMES, "pair_nn"}


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (posterior_mlp(10), 170_114),  # 10 * 512 + 512 + 512 * 256 + 256 + 256 * 128 + 128 + 128 * 2 + 2
        (posterior_mlp(3), 166_530),
        (posterior_mlp(20), 175_234),
        # BatchNorm 60; embedding 256; 3 layers of (16,640 attention + 16,576 feed-forward + 256 norms); head 41,154
        (AttentionNetwork(10), 141_886),
    ],
)
def test_number_of_parameters(network, expected):
    assert sum(parameter.numel() for parameter in network.parameters()) == expected


def test_networks_are_the_published_ones():
    kinds = [type(layer).__name__ for layer in posterior_mlp(4)]
    assert kinds == [*("Linear", "ReLU", "Dropout") * 2, "Linear", "ReLU", "Linear"]
    network = AttentionNetwork(4)
    dropouts = [m.p for net in (posterior_mlp(4), network) for m in net.modules() if isinstance(m, torch.nn.Dropout)]
    assert set(dropouts) == {0.2}
    for layer in network.encoder:
        assert (layer.norm_first, layer.self_attn.num_heads, layer.self_attn.dropout) == (False, 4, 0.2)
        assert layer.activation is torch.nn.functional.gelu


def test_a_token_is_what_is_known_of_one_class():
    network, shown = AttentionNetwork(4).eval(), []
    network.embed.register_forward_pre_hook(lambda _, inputs: shown.append(inputs[0]))
    posteriors, sensitivity, label = np.random.default_rng(0).random((3, 5, 4)).astype(np.float32)
    network(torch.from_numpy(np.hstack([posteriors, sensitivity, label])))
    expected = np.stack([posteriors, sensitivity, label], axis=2) / np.sqrt(1 + 1e-5)  # BatchNorm as it begins
    np.testing.assert_allclose(shown[0].detach().numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_what_the_classifier_is_shown(name, make_bank):
    bank = make_bank(num_models=2, num_samples=20, num_classes=4)
    samples = np.array([7, 3, 11])
    found = attack_of(name).features(bank, 1, samples)
    assert found.dtype == np.float32
    for row, n in zip(found, samples, strict=True):
        p = np.exp(bank.logits[1, n].astype(float))
        p = (p / p.sum()).tolist()
        label = [float(c == bank.labels[n]) for c in range(4)]
        falling = sorted(p, reverse=True)
        expected = {
            "nn": p,
            "nn_cls": p + label,
            "nn_top3": falling[:3],
            "samia": p + bank.sensitivity[1, n].tolist() + label,
            "shokri_nn": falling,
        }[name]
        np.testing.assert_allclose(row, expected, rtol=1e-5)


def test_two_classes_have_two_largest_posteriors(make_bank, make_input):
    attack_input = make_input(make_bank(num_models=4, num_samples=60, num_classes=2))
    assert attack_of("nn_top3").features(attack_input.attacked, 0, np.arange(5)).shape == (5, 2)
    assert np.isfinite(scored(attack_input, "nn_top3").victims).all()


def test_options_go_before_the_preset():
    attack = ATTACKS.get("nn")
    assert attack().recipe() == Recipe("adam", 3e-4, 0.0, 20, 128, schedule="constant", select_epoch=True)
    published = Recipe(*("sgd", 1e-3, 5e-4, 100, 128), schedule="steps", select_epoch=False, weights_of_mia_prune=True)
    assert attack(attack.Options(preset="mia_prune")).recipe() == published
    mixed = attack(attack.Options(preset="mia_prune", epochs=3, learning_rate=0.1)).recipe()
    assert mixed == replace(published, epochs=3, learning_rate=0.1)


def test_the_preset_learns_from_every_reference_and_accuses_above_even_odds(make_bank, make_input):
    """Nothing is selected on held-out rows, so none are held out."""
    attack_input = make_input(make_bank(2, 60), make_bank(5, 60, first_id=9))
    published = {"preset": "mia_prune", "epochs": 2, "max_rows": None}
    before = scored(attack_input, **published)
    assert before.held_out == ()
    assert before.threshold == 0
    np.testing.assert_array_equal(limits(attack_input, before), [0, 0])
    for row in range(5):
        member = attack_input.reference.member.copy()
        member[row] ^= True
        assert (scored(with_reference_members(attack_input, member), **published).victims != before.victims).any()
    assert scored(attack_input).threshold is None


def test_the_preset_has_a_threshold_even_with_one_reference(make_bank, make_input):
    attack_input = make_input(make_bank(2, 60), make_bank(1, 60, first_id=50))
    scores = scored(attack_input, preset="mia_prune")
    assert np.isfinite(scores.victims).all()
    np.testing.assert_array_equal(limits(attack_input, scores), [0, 0])


@pytest.mark.parametrize("preset", ["default", "mia_prune"])
@pytest.mark.parametrize("name", NAMES)
def test_only_the_preset_begins_with_the_weights_of_mia_prune(name, preset, make_bank, make_input, monkeypatch):
    begun = []
    network = ATTACKS.get(name).network

    def watched(self, num_features):
        made = network(self, num_features)
        made.register_forward_pre_hook(lambda module, _: begun.append(copy.deepcopy(module)) if not begun else None)
        return made

    monkeypatch.setattr(ATTACKS.get(name), "network", watched)
    scored(make_input(make_bank(4, 60)), name, preset=preset, epochs=1)
    linear = [layer for layer in begun[0].modules() if type(layer) is torch.nn.Linear]
    assert len(linear) == (3 + 2 * 3 if name == "samia" else 4)
    assert all(not layer.bias.any() for layer in linear) == (preset == "mia_prune")


def test_how_it_was_trained_is_said(apart):
    assert scored(apart).variant == "default recipe, 2 epochs, 256 rows"
    assert scored(apart, max_rows=None, epochs=1, preset="mia_prune").variant == "mia_prune recipe, 1 epochs, all rows"


@pytest.mark.parametrize("name", NAMES)
def test_nothing_of_a_victims_fold_is_in_its_score_or_threshold(name, pooled):
    before = scored(pooled, name)
    before_limits = limits(pooled, before)
    folds = [part.victims for part in before.held_out]
    assert sorted(len(fold) for fold in folds) == [2, 2, 3, 3]
    assert sorted(np.concatenate(folds)) == list(range(10))
    assert np.isfinite(before_limits).all()
    for fold in folds[:2]:
        member = pooled.attacked.member.copy()
        member[fold, 10:] ^= True  # the victim's own row, and its fold mates'
        turned = with_reference_members(pooled, member)
        after = scored(turned, name)
        np.testing.assert_array_equal(after.victims[fold], before.victims[fold])
        np.testing.assert_array_equal(limits(turned, after)[fold], before_limits[fold])
        others = np.setdiff1d(np.arange(10), fold)
        assert (np.nanmax(np.abs(after.victims[others] - before.victims[others]), axis=1) > 0).all()


def test_neither_are_the_logits_of_its_fold_mates(pooled):
    before = scored(pooled)
    fold = before.held_out[0].victims
    logits = pooled.attacked.logits.copy()
    logits[fold[1:]] *= -2
    bank = replace(pooled.attacked, logits=logits)
    turned = AttackInput.of([bank], [bank])
    after = scored(turned)
    np.testing.assert_array_equal(after.victims[fold[0]], before.victims[fold[0]])
    assert limits(turned, after)[fold[0]] == limits(pooled, before)[fold[0]]


@pytest.mark.parametrize("name", ["nn", "shokri_nn"])
def test_rows_that_teach_the_threshold_teach_nothing_else(name, apart):
    before = scored(apart, name)
    (part,) = before.held_out
    decides = np.zeros(apart.reference.member.shape, dtype=bool)
    decides[part.references] = ~np.isnan(part.scores)
    assert decides.sum() == 2 * 45  # half of the samples, on a quarter of eight references
    turned = with_reference_members(apart, apart.reference.member ^ decides)
    after = scored(turned, name)
    np.testing.assert_array_equal(after.victims, before.victims)
    np.testing.assert_array_equal(after.held_out[0].scores, part.scores)
    assert (limits(turned, after) != limits(apart, before)).all()


def test_all_other_rows_teach(make_bank, make_input):
    """Every reference but the held-out ones trains, and the rest of the held-out ones selects the epoch."""
    attack_input = make_input(make_bank(1, 60), make_bank(5, 60, first_id=9))
    before = scored(attack_input, epochs=8)
    (part,) = before.held_out
    for row in range(5):
        member = attack_input.reference.member.copy()
        member[row] ^= True
        changed = (scored(with_reference_members(attack_input, member), epochs=8).victims != before.victims).any()
        assert changed or row in part.references
    assert len(part.references) == 1


def test_held_out_scores_come_from_what_scores_the_victims(apart):
    (part,) = scored(apart).held_out
    posing = replace(apart.reference.take_models(part.references), model_ids=np.array([7, 8]), is_victim=None)
    again = scored(AttackInput.of([posing], [apart.reference]))
    decides = ~np.isnan(part.scores)
    np.testing.assert_allclose(again.victims[decides], part.scores[decides], rtol=1e-4, atol=1e-6)


def test_the_threshold_is_the_best_on_held_out_rows(pooled):
    scores = scored(pooled)
    found = limits(pooled, scores)
    for part in scores.held_out:
        assert not set(part.references) & set(part.victims)
        decides = ~np.isnan(part.scores)
        expected = best_threshold(part.scores[decides], pooled.reference.member[part.references][decides])
        np.testing.assert_array_equal(found[part.victims], expected)


def test_a_threshold_is_worth_something_on_victims(make_bank, make_input):
    bank = make_bank(num_models=8, num_samples=400, gain=4)
    attack_input = make_input(bank)
    scores = scored(attack_input, "nn_cls", epochs=5, max_rows=1000, learning_rate=3e-3)
    accused = scores.victims >= limits(attack_input, scores)[:, None]
    assert (accused == bank.member).mean() > 0.65
    assert (auc(scores.victims, bank.member) > 0.7).all()


def test_canaries_and_ineligible_samples_teach_nothing(pooled):
    member = pooled.attacked.member.copy()
    member[:, 80:] ^= True
    turned = with_reference_members(pooled, member)
    np.testing.assert_array_equal(scored(turned).victims, scored(pooled).victims)
    assert np.isfinite(scored(pooled).victims[:, 80:]).all()  # canaries are scored all the same


def test_groups_keep_to_themselves(make_bank, make_input):
    bank = replace(make_bank(num_models=12, num_samples=60), group=np.arange(12) % 2)
    before = scored(make_input(bank)).victims
    member = bank.member.copy()
    member[1::2] ^= True
    after = scored(make_input(replace(bank, member=member))).victims
    np.testing.assert_array_equal(after[::2], before[::2])
    assert (after[1::2] != before[1::2]).all()


def test_one_reference_gives_scores_but_no_threshold(make_bank, make_input):
    for attack_input in (make_input(make_bank(2, 60)), make_input(make_bank(3, 60), make_bank(1, 60, first_id=50))):
        scores = scored(attack_input)
        assert np.isfinite(scores.victims).all()
        assert scores.held_out == ()
        assert np.isnan(limits(attack_input, scores)).all()


def test_references_without_members_teach_nothing(make_bank, make_input):
    references = replace(make_bank(4, 60, first_id=50), is_victim=np.arange(4) == 0)
    member = references.member.copy()
    member[1:] = False
    alone = make_input(make_bank(2, 60), replace(references, member=member), np.arange(4)[None].repeat(2, axis=0) > 0)
    scores = scored(alone)
    assert np.isnan(scores.victims).all()
    assert np.isnan(limits(alone, scores)).all()


@pytest.mark.parametrize(
    ("num_samples", "num_classes", "num_trained"),
    [(160, 2, 1), (1000, 2, 2), (1000, 3, 3)],  # the third class is rare
)
def test_a_class_with_enough_rows_has_its_own_classifier(
    num_samples, num_classes, num_trained, make_bank, make_input, monkeypatch
):
    labels = np.arange(num_samples) % 2
    labels[:5] = num_classes - 1
    taught = []
    trained = ClassifierAttack.trained

    def noted(self, train, held_out, rng):
        taught.append(sorted(set(train.labels.tolist())))
        assert set(held_out.labels.tolist()) <= set(train.labels.tolist())
        return trained(self, train, held_out, rng)

    monkeypatch.setattr(ClassifierAttack, "trained", noted)
    victims = replace(make_bank(1, num_samples, num_classes), labels=labels)
    references = replace(make_bank(2, num_samples, num_classes, first_id=50), labels=labels)
    scores = scored(make_input(victims, references), "shokri_nn", max_rows=None, preset="mia_prune", epochs=1)
    assert np.isfinite(scores.victims).all()
    assert len(taught) == num_trained
    assert taught[:2] == [[0], [1]] or taught == [[0, 1]]


def test_nothing_global_changes_and_nothing_global_matters(apart):
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    first = scored(apart).victims
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.set_num_threads(2 if threads == 1 else 1)
    try:
        torch.rand(5)
        np.testing.assert_array_equal(scored(apart).victims, first)
    finally:
        torch.set_num_threads(threads)
        torch.random.set_rng_state(state)
    other = attack_of().score(apart, np.random.default_rng(1)).victims
    assert (other != first).all()


def test_missing_sensitivity_is_refused_by_name(make_bank, make_input):
    bank = make_bank(num_models=4, num_samples=40)
    without = replace(bank, sensitivity=None)
    assert attack_of("samia").lacks(make_input(bank)) == ""
    for attack_input in (AttackInput.of([without], [bank]), AttackInput.of([bank], [without])):
        assert "sensitivity" in attack_of("samia").lacks(attack_input)
    with pytest.raises(UserError, match="'samia' needs sensitivity signals"):
        audit(without, attacks=["samia"])


def toy(num_rows, seed=0):
    """One feature that tells."""
    rng = np.random.default_rng(seed)
    member = np.arange(num_rows) % 2 == 0
    return (rng.normal(size=(num_rows, 1)) + 2 * member[:, None]).astype(np.float32), member


def logistic():
    return torch.nn.Linear(1, 2)


PLAIN = Recipe("sgd", 0.01, 0.0, 5, 16, schedule="constant", select_epoch=True)


def test_fitting_finds_the_true_log_odds():
    features, member = toy(4000)
    network = fit(logistic, features, member, (features[:0], member[:0]), replace(PLAIN, epochs=10), seed=0)
    x = np.linspace(-1, 3, 9, dtype=np.float32)[:, None]
    np.testing.assert_allclose(log_odds(network, x), 2 * x[:, 0] - 2, atol=0.5)  # of N(2, 1) against N(0, 1)


def test_the_epoch_with_the_lowest_held_out_loss_is_kept():
    features, member = toy(200)
    held_out = (features, ~member)  # each epoch makes it worse
    kept = fit(logistic, features, member, held_out, PLAIN, seed=0)
    first = fit(logistic, features, member, held_out, replace(PLAIN, epochs=1), seed=0)
    last = fit(logistic, features, member, held_out, replace(PLAIN, select_epoch=False), seed=0)
    np.testing.assert_array_equal(log_odds(kept, features), log_odds(first, features))
    assert (log_odds(last, features) != log_odds(first, features)).all()


@pytest.mark.parametrize("num_rows", [2, 3, 16, 17, 33])
def test_no_batch_of_one_row(num_rows):
    features, member = toy(num_rows)

    def build():
        return torch.nn.Sequential(torch.nn.BatchNorm1d(1), logistic())  # refuses to learn from one row

    for optimizer in ("sgd", "adam"):
        recipe = replace(PLAIN, optimizer=optimizer, epochs=1)
        assert np.isfinite(log_odds(fit(build, features, member, (features, member), recipe, 0), features)).all()


def test_the_learning_rate_falls_twice():
    features, member = toy(64)
    seen = []

    def build():
        network = logistic()
        network.register_forward_pre_hook(lambda module, _: seen.append(module.weight.detach().clone()))
        return network

    recipe = replace(PLAIN, epochs=4, batch_size=64, schedule="steps")  # one step an epoch, and momentum
    network = fit(build, features, member, (features[:0], member[:0]), recipe, seed=0)
    seen.append(network.weight.detach())
    moved = [float((after - before).abs().max()) for before, after in itertools.pairwise(seen)]
    assert len(moved) == 4
    assert moved[1] > moved[0]
    assert moved[2] < 0.3 * moved[1]
    assert moved[3] < 0.3 * moved[2]


def test_the_learning_rate_falls_along_torchs_cosine():
    features, member = toy(64)
    first = []

    def build():
        network = logistic()
        first.append(copy.deepcopy(network))
        return network

    recipe = replace(PLAIN, epochs=7, batch_size=64, learning_rate=0.3, schedule="cosine", weight_decay=5e-4)
    found = fit(build, features, member, (features[:0], member[:0]), recipe, seed=0)
    expected = first[0]
    optimizer = torch.optim.SGD(expected.parameters(), lr=0.3, momentum=0.9, weight_decay=5e-4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=7)
    for _ in range(7):  # one batch an epoch
        loss = torch.nn.functional.cross_entropy(expected(torch.from_numpy(features)), torch.from_numpy(member).long())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
    for one, other in zip(found.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nn", "nn_cls", "shokri_nn"])
def test_long_training_finds_nothing_where_there_is_nothing(name, make_bank, make_input):
    """Samples recur in every model, so a classifier can learn them by heart; independent coins make that worthless."""
    bank = make_bank(num_models=8, num_samples=1000, gain=0, seed=5)
    scores = scored(make_input(bank), name, epochs=40, max_rows=4000, learning_rate=1e-3).victims
    found = two_way(*auc_influence(scores, bank.member))
    assert abs(found.value - 0.5) < 4 * found.std_error
    assert found.std_error < 0.02


def test_it_learns_on_the_device_that_it_is_given(apart):
    attack = attack_of("nn", epochs=1)
    attack.device = "cuda:99"
    with pytest.raises((RuntimeError, AssertionError), match=r"(?i)cuda"):
        attack.score(apart, np.random.default_rng(0))
