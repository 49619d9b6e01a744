"""Which games a bank's releases make, and whose references each has."""

import numpy as np
import pytest

from pruneaudit.evaluation.game import bank_games, game_of


@pytest.fixture
def releases(make_bank):
    return {name: make_bank(4, 40, noise_seed=n) for n, name in enumerate(("dense", "pruned-0.9", "control"))}


def played(games):
    return [(game.release, game.knowledge) for game in games]


def test_matched_references_are_of_the_same_release(releases):
    games = bank_games(releases, ("matched",))
    assert played(games) == [("dense", "matched"), ("pruned-0.9", "matched"), ("control", "matched")]
    for game in games:
        assert game.view.attacked is game.view.reference is releases[game.release]
        np.testing.assert_array_equal(game.view.allowed, ~np.eye(4, dtype=bool))


def test_dense_knowledge_brings_dense_references_and_plays_dense_once(releases):
    games = bank_games(releases, ("matched", "dense"))
    assert played(games) == [
        ("dense", "matched"),
        ("pruned-0.9", "matched"),
        ("pruned-0.9", "dense"),
        ("control", "matched"),
        ("control", "dense"),
    ]
    for game in games:
        assert game.view.attacked is releases[game.release]
        expected = "dense" if game.knowledge == "dense" else game.release
        assert game.view.reference is releases[expected]
        np.testing.assert_array_equal(game.view.allowed, ~np.eye(4, dtype=bool))


def test_dense_knowledge_alone_is_the_matched_one_for_the_dense_release(releases):
    assert played(bank_games(releases, ("dense",))) == [
        ("dense", "matched"),
        ("pruned-0.9", "dense"),
        ("control", "dense"),
    ]


def test_the_game_to_compare_with(releases):
    games = bank_games(releases, ("matched", "dense"))
    assert game_of(games, "pruned-0.9", "dense") is games[2]
    assert game_of(games, "dense", "dense") is games[0]  # the two coincide there
    assert game_of(games, "dense", "matched") is games[0]
    assert game_of(games, "no such release", "matched") is None


def test_knowledge_of_another_release_and_of_none(make_bank):
    releases = {"dense": make_bank(noise_seed=1), "half": make_bank(noise_seed=2), "most": make_bank(noise_seed=3)}
    games = bank_games(releases, ["matched", "no-defense", "half", "lost"])
    assert [(game.release, game.knowledge) for game in games] == [
        ("dense", "matched"),
        ("dense", "half"),
        ("half", "matched"),
        ("most", "matched"),
        ("most", "half"),
    ]
    assert games[-1].view.reference is releases["half"]
    assert games[-1].view.attacked is releases["most"]


def test_without_matched_the_same_game_keeps_its_meaning(make_bank):
    releases = {"dense": make_bank(noise_seed=1), "half": make_bank(noise_seed=2)}
    games = bank_games(releases, ["half"])
    assert [(game.release, game.knowledge) for game in games] == [("dense", "half"), ("half", "matched")]


def test_the_dense_models_are_shown_beside_a_pruned_release_and_its_own_kind_of_references(releases):
    dense, matched, by_dense = bank_games(releases, ("matched", "dense"))[:3]
    assert dense.view.releases == (releases["dense"],)
    assert matched.view.releases == matched.view.references == (releases["dense"], releases["pruned-0.9"])
    assert by_dense.view.releases == (releases["pruned-0.9"],)  # all-dense references tell nothing of such a pair
    assert by_dense.view.references == (releases["dense"],)
