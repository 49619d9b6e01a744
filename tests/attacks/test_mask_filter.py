"""The matched filter on masks, against its definition written out, and where the answer is known."""

import time
from dataclasses import replace

import numpy as np
import pytest

from pruneaudit.attacks import mask_filter
from pruneaudit.attacks.attack_input import AttackInput
from pruneaudit.attacks.mask_filter import MaskFilter, filter_products, filtered
from pruneaudit.core.errors import UserError
from pruneaudit.evaluation.attack_setting import AttackSetting
from pruneaudit.evaluation.comparison_plan import why_left_out
from pruneaudit.metrics import auc, auc_influence, two_way
from pruneaudit.signals import bits as bits_of
from pruneaudit.signals.bits import Bits
from pruneaudit.signals.signals import Signals

# M models, V victims, K references, N samples, D bits


def as_defined(victims, references, member, allowed):
    """Scores (V, N) bit by bit, as the docstring defines them."""
    scores = np.full((len(victims), member.shape[1]), np.nan)
    for v, own in enumerate(victims.astype(float)):
        known, known_member = references[allowed[v]].astype(float), member[allowed[v]]
        p = known.mean(axis=0)
        variance = np.maximum(p * (1 - p), 0.02)
        for n in range(member.shape[1]):
            inside, outside = known[known_member[:, n]], known[~known_member[:, n]]
            if len(inside) and len(outside):
                p_in = (inside.sum(axis=0) + 4 * p) / (len(inside) + 4)
                p_out = (outside.sum(axis=0) + 4 * p) / (len(outside) + 4)
                scores[v, n] = ((p_in - p_out) / variance * (own - p)).sum()
    return scores


@pytest.mark.parametrize("bits_at_once", [8, 2**14])
def test_scores_are_those_of_the_definition(monkeypatch, bits_at_once):
    monkeypatch.setattr(bits_of, "BITS_AT_ONCE", bits_at_once)
    rng = np.random.default_rng(0)
    victims, references = rng.random((3, 43)) < 0.7, rng.random((9, 43)) < 0.7
    references[:, :5], victims[0, 3] = True, False  # bits in which only a victim differs
    references[:, 5], references[2, 5] = True, False  # a bit with a small variance
    member, allowed = rng.random((9, 30)) < 0.5, rng.random((3, 9)) < 0.8
    member[:, 0], member[:, 1] = True, False  # samples without OUT, or without IN, references
    products = filter_products(Bits.of(victims), Bits.of(references), allowed)
    found = filtered(products, member, allowed)
    np.testing.assert_allclose(found, as_defined(victims, references, member, allowed), rtol=1e-10, atol=1e-10)
    assert np.isnan(found[:, :2]).all()


def test_one_bit_by_hand():
    """Three references keep the bit with the sample, one without it does not; p = 3/4, v = 3/16."""
    references, member = np.array([[True], [True], [True], [False]]), np.array([[True], [True], [True], [False]])
    allowed = np.ones((2, 4), dtype=bool)
    products = filter_products(Bits.of(np.array([[True], [False]])), Bits.of(references), allowed)
    difference = (3 + 4 * 0.75) / 7 - (0 + 4 * 0.75) / 5
    expected = [difference / (3 / 16) * 0.25, difference / (3 / 16) * -0.75]
    np.testing.assert_allclose(filtered(products, member, allowed)[:, 0], expected)


def linear_world(num_models, num_samples, num_bits, seed, shift=1.0, own_starts=False):
    """Signals whose bits are signs of start + sums over members of fixed random directions."""
    rng = np.random.default_rng(seed)
    member = rng.random((num_models, num_samples)) < 0.5
    directions = rng.normal(size=(num_samples, num_bits)) / np.sqrt(num_samples / 4)
    start = rng.normal(size=(num_models if own_starts else 1, num_bits))
    kept = start + shift * (member - 0.5) @ directions > 0
    logits = rng.normal(size=(num_models, num_samples, 3))  # say nothing
    return Signals(logits, rng.integers(3, size=num_samples), member, structure=kept)


def played(signals, references=None):
    attack_input = AttackInput.of([signals], [signals if references is None else references])
    return MaskFilter().score(attack_input, np.random.default_rng(0)).victims


def estimate(scores, member):
    return two_way(*auc_influence(scores, member))


def test_one_start_gives_members_away_and_no_output_is_looked_at():
    world = linear_world(40, 60, 3000, seed=1)
    scores = played(world)
    assert estimate(scores, world.member).low > 0.7
    other = replace(world, logits=-world.logits)
    np.testing.assert_array_equal(played(other), scores)
    labels_alone = Signals(
        predicted=world.logits.argmax(axis=2), labels=world.labels, member=world.member, structure=world.structure
    )
    np.testing.assert_array_equal(played(labels_alone), scores)


@pytest.mark.parametrize("own_starts", [False, True])
def test_coins_in_place_of_membership_are_not_found(own_starts):
    world = linear_world(40, 200, 1000, seed=2, own_starts=own_starts)
    coins = np.random.default_rng(3).random(world.member.shape) < 0.5
    found = estimate(played(replace(world, member=coins)), coins)
    assert abs(found.value - 0.5) < 4 * found.std_error
    assert found.std_error < 0.01


def test_masks_that_depend_on_the_start_alone_give_nothing_away():
    world = linear_world(40, 200, 1000, seed=4, shift=0, own_starts=True)
    found = estimate(played(world), world.member)
    assert abs(found.value - 0.5) < 4 * found.std_error


def test_own_starts_hide_most():
    """The start decides most bits, and the filter compares bits at the same place."""
    hidden = linear_world(40, 60, 3000, seed=1, shift=0.2, own_starts=True)
    shown = linear_world(40, 60, 3000, seed=1, shift=0.2)
    assert auc(played(shown), shown.member).mean() > auc(played(hidden), hidden.member).mean() + 0.1


def test_a_victim_is_no_reference_of_its_own():
    world = linear_world(8, 50, 300, seed=5)
    others = np.array([0, 1, 2, 4, 5, 6, 7])
    alone = AttackInput.of([world.take_models(np.array([3]))], [world.take_models(others)])
    scores = MaskFilter().score(alone, np.random.default_rng(0)).victims
    np.testing.assert_allclose(played(world)[3], scores[0], rtol=1e-9, atol=1e-9)


def test_bits_that_nobody_varies_change_nothing():
    world = linear_world(8, 50, 300, seed=6)
    constant = np.broadcast_to(np.arange(500) % 2 == 0, (8, 500))
    longer = replace(world, structure=np.hstack([np.asarray(world.structure), constant]))
    np.testing.assert_allclose(played(longer), played(world), rtol=1e-9, atol=1e-9)
    attack_input = AttackInput.of([longer], [longer])
    assert MaskFilter().score(attack_input, np.random.default_rng(0)).variant == (
        f"{world.structure.num_varying} of 800 bits vary"
    )


def test_order_and_meaning_of_bits_do_not_matter():
    """What is called kept, and which bit comes first, is a convention."""
    world = linear_world(8, 50, 300, seed=8)
    kept, order = np.asarray(world.structure), np.random.default_rng(9).permutation(300)
    for other in (~kept, kept[:, order]):
        np.testing.assert_allclose(played(replace(world, structure=other)), played(world), rtol=1e-9, atol=1e-9)


def test_it_is_played_in_the_settings_that_have_structure():
    world = linear_world(8, 50, 30, seed=7)
    without, shorter = replace(world, structure=None), replace(world, structure=np.asarray(world.structure)[:, :20])
    attack = MaskFilter()

    def setting(victims, references):
        return AttackSetting("r", "matched", AttackInput.of([victims], [references]))

    able, unable = setting(world, world), (setting(without, without), setting(world, without), setting(without, world))
    unequal = setting(world, shorter)
    assert why_left_out("mask_filter", attack, [*unable, able, unequal], skip=False) == ""
    assert not any(attack.fits(one.attack_input) for one in (*unable, unequal))
    assert "30 and 20" in attack.lacks(unequal.attack_input)
    for settings in ([one] for one in unable):
        assert "structure" in why_left_out("mask_filter", attack, settings, skip=True)
        with pytest.raises(UserError, match="structure") as refused:
            why_left_out("mask_filter", attack, settings, skip=False)
        assert "\n" not in str(refused.value)
    alone = AttackInput.of([world.take_models(np.array([0]))], [])
    assert "reference" in attack.lacks(alone)


def test_many_masks_of_a_large_network_take_seconds_and_little_memory(monkeypatch):
    """No array has a number for each sample and bit."""
    num_models, num_bits, num_samples = 24, 2**20, 5000
    rng = np.random.default_rng(0)
    packed = Bits(rng.integers(256, size=(num_models, num_bits // 8), dtype=np.uint8), num_bits)
    allowed = ~np.eye(num_models, dtype=bool)
    start = time.process_time()
    products = mask_filter.filter_products(packed, packed, allowed)
    scores = filtered(products, rng.random((num_models, num_samples)) < 0.5, allowed)
    assert time.process_time() - start < 20
    assert np.isfinite(scores).all()
    np.testing.assert_allclose((products * allowed).sum(axis=1), 0, atol=1e-4)  # deviations from the mean
