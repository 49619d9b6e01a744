"""Which attack settings a bank's releases make, and whose references each has."""

import numpy as np
import pytest

from pruneaudit.evaluation.attack_setting import bank_settings, setting_of


@pytest.fixture
def releases(make_bank):
    return {name: make_bank(4, 40, noise_seed=n) for n, name in enumerate(("dense", "pruned-0.9", "control"))}


def played(settings):
    return [(setting.release, setting.references) for setting in settings]


def test_matched_references_are_of_the_same_release(releases):
    settings = bank_settings(releases, ("matched",))
    assert played(settings) == [("dense", "matched"), ("pruned-0.9", "matched"), ("control", "matched")]
    for setting in settings:
        assert setting.attack_input.attacked is setting.attack_input.reference is releases[setting.release]
        np.testing.assert_array_equal(setting.attack_input.allowed, ~np.eye(4, dtype=bool))


def test_dense_knowledge_brings_dense_references_and_plays_dense_once(releases):
    settings = bank_settings(releases, ("matched", "dense"))
    assert played(settings) == [
        ("dense", "matched"),
        ("pruned-0.9", "matched"),
        ("pruned-0.9", "dense"),
        ("control", "matched"),
        ("control", "dense"),
    ]
    for setting in settings:
        assert setting.attack_input.attacked is releases[setting.release]
        expected = "dense" if setting.references == "dense" else setting.release
        assert setting.attack_input.reference is releases[expected]
        np.testing.assert_array_equal(setting.attack_input.allowed, ~np.eye(4, dtype=bool))


def test_dense_knowledge_alone_is_the_matched_one_for_the_dense_release(releases):
    assert played(bank_settings(releases, ("dense",))) == [
        ("dense", "matched"),
        ("pruned-0.9", "dense"),
        ("control", "dense"),
    ]


def test_the_game_to_compare_with(releases):
    settings = bank_settings(releases, ("matched", "dense"))
    assert setting_of(settings, "pruned-0.9", "dense") is settings[2]
    assert setting_of(settings, "dense", "dense") is settings[0]  # the two coincide there
    assert setting_of(settings, "dense", "matched") is settings[0]
    assert setting_of(settings, "no such release", "matched") is None


def test_knowledge_of_another_release_and_of_none(make_bank):
    releases = {"dense": make_bank(noise_seed=1), "half": make_bank(noise_seed=2), "most": make_bank(noise_seed=3)}
    settings = bank_settings(releases, ["matched", "undefended", "half", "lost"])
    assert [(setting.release, setting.references) for setting in settings] == [
        ("dense", "matched"),
        ("dense", "half"),
        ("half", "matched"),
        ("most", "matched"),
        ("most", "half"),
    ]
    assert settings[-1].attack_input.reference is releases["half"]
    assert settings[-1].attack_input.attacked is releases["most"]


def test_without_matched_the_same_game_keeps_its_meaning(make_bank):
    releases = {"dense": make_bank(noise_seed=1), "half": make_bank(noise_seed=2)}
    settings = bank_settings(releases, ["half"])
    assert [(setting.release, setting.references) for setting in settings] == [("dense", "half"), ("half", "matched")]


def test_the_dense_models_are_shown_beside_a_pruned_release_and_its_own_kind_of_references(releases):
    dense, matched, by_dense = bank_settings(releases, ("matched", "dense"))[:3]
    assert dense.attack_input.releases == (releases["dense"],)
    assert (
        matched.attack_input.releases == matched.attack_input.references == (releases["dense"], releases["pruned-0.9"])
    )
    assert by_dense.attack_input.releases == (
        releases["pruned-0.9"],
    )  # all-dense references tell nothing of such a pair
    assert by_dense.attack_input.references == (releases["dense"],)
