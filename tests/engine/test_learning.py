"""Attacks that learn are tasks: played by the workers, kept, reused, the same whoever plays them."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from pruneaudit.api import Runtime, attack, run, verify
from pruneaudit.attacks.attack_input import HeldOut, Scores
from pruneaudit.engine.learned_scores import load_scores, save_scores
from run_bytes import bytes_of

FILES = ("findings.csv", "scores.parquet", "attack_comparisons.csv")


@pytest.fixture(scope="module")
def learning(make_study):
    return make_study(name="learning", audit={"attacks": ["loss", "nn:epochs=1", "pair_nn:epochs=1"]})


@pytest.fixture(scope="module")
def learnt(learning, tmp_path_factory):
    return run(learning, out=tmp_path_factory.mktemp("learning"), runtime=Runtime(executor="serial"))


@pytest.mark.slow
def test_workers_find_what_this_process_finds(learning, learnt, tmp_path):
    beside = run(learning, out=tmp_path, runtime=Runtime(executor="processes", jobs=2))
    assert bytes_of(beside.folder, FILES) == bytes_of(learnt.folder, FILES)
    # dense and one pruned release: nn in each of their attack settings, pair_nn where the attacker sees two releases
    played = sorted(path.name.rpartition("-")[0] for path in (beside.folder / "attacks").iterdir())
    settings = sorted({f"{row.release}-{row.references}" for row in learnt.audit.findings.itertuples()})
    assert {f"nn_epochs=1-{setting}" for setting in settings} <= set(played)
    assert not any(name.startswith("pair_nn_epochs=1-dense-") for name in played)
    assert any(name.startswith("pair_nn_epochs=1-l1") for name in played)


@pytest.mark.slow
def test_a_task_played_is_the_attack_played_in_the_audit(learnt, tmp_path):
    shutil.copytree(learnt.folder, tmp_path / "learning")
    shutil.rmtree(tmp_path / "learning/attacks")
    attacks = ["loss", "nn:epochs=1", "pair_nn:epochs=1"]
    again = attack(tmp_path / "learning", attacks, out=tmp_path / "again", runtime=Runtime(jobs=1))
    assert bytes_of(again.folder, FILES) == bytes_of(learnt.folder, FILES)


def test_what_is_there_is_not_learned_again(learning, learnt, tmp_path):
    shutil.copytree(learnt.folder, tmp_path / "learning")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "learning/attacks").rglob("scores.npz")}
    again = run(learning, out=tmp_path, runtime=Runtime(executor="serial"))
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "learning/attacks").rglob("scores.npz")} == before
    assert bytes_of(again.folder, FILES) == bytes_of(learnt.folder, FILES)


def test_a_damaged_one_is_set_aside_and_learned_again(learning, learnt, tmp_path):
    shutil.copytree(learnt.folder, tmp_path / "learning")
    damaged = next((tmp_path / "learning/attacks").glob("nn_*/scores.npz"))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    assert [part.state for part in verify(tmp_path / "learning") if part.place.startswith("attacks/nn")].count(
        "damaged"
    ) == 1
    again = run(learning, out=tmp_path, runtime=Runtime(executor="serial"))
    assert bytes_of(again.folder, FILES) == bytes_of(learnt.folder, FILES)
    states = {part.state for part in verify(tmp_path / "learning")}
    assert states == {"whole"}


def test_another_seed_or_other_models_are_other_tasks(learning, learnt, make_study, tmp_path):
    shutil.copytree(learnt.folder, tmp_path / "learning")
    larger = make_study(
        name="learning",
        audit={"attacks": ["nn:epochs=1"]},
        membership={"num_models": learning.membership.num_models + 1},
    )
    before = set((tmp_path / "learning/attacks").glob("nn_*"))
    run(larger, out=tmp_path, runtime=Runtime(executor="serial"))
    assert len(set((tmp_path / "learning/attacks").glob("nn_*"))) == 2 * len(before)


@pytest.mark.parametrize(("parts", "threshold"), [(0, 0.0), (1, None), (3, None)])
def test_scores_come_back(tmp_path, parts, threshold):
    rng = np.random.default_rng(0)
    held_out = tuple(HeldOut(np.array([k]), np.array([k, 4]), rng.normal(size=(2, 7))) for k in range(parts))
    victims = rng.normal(size=(3, 7))
    victims[1, 2] = np.nan
    scores = Scores(victims, variant="default recipe", held_out=held_out, threshold=threshold)
    save_scores(scores, tmp_path / "scores.npz")
    found = load_scores(tmp_path / "scores.npz")
    assert np.array_equal(found.victims, victims, equal_nan=True)
    assert found.variant == "default recipe"
    assert found.references is None
    assert found.threshold == threshold
    assert found.held_out is not None
    assert len(found.held_out) == parts
    for mine, theirs in zip(found.held_out, held_out, strict=True):
        assert np.array_equal(mine.victims, theirs.victims)
        assert np.array_equal(mine.references, theirs.references)
        assert np.array_equal(mine.scores, theirs.scores)
