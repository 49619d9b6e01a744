"""Canaries for a network that its owner trains: rows, wrong labels, coins, and their file."""

import numpy as np
import pytest

from pruneaudit.core.errors import UserError
from pruneaudit.data.canaries import draw_canaries, read_canaries
from pruneaudit.data.source import RawData

# n canaries

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(3000, 4)).astype(np.float32), RNG.integers(0, 5, 3000)
ROWS = RawData(X, Y, tuple("abcde"))


def test_labels_are_wrong_coins_are_fair_and_rows_are_different():
    drawn = draw_canaries(ROWS, 2000, seed=0)
    np.testing.assert_array_equal(drawn.x, X[drawn.ids])
    assert (drawn.y != Y[drawn.ids]).all()
    assert np.bincount((drawn.y - Y[drawn.ids]) % 5, minlength=5)[1:] == pytest.approx(500, abs=4 * np.sqrt(375))
    assert drawn.member.sum() == pytest.approx(1000, abs=4 * np.sqrt(500))
    assert len(np.unique(drawn.ids)) == 2000
    assert abs(np.corrcoef(drawn.member, drawn.y == 0)[0, 1]) < 0.1  # coins do not depend on labels


def test_a_seed_is_a_draw():
    one, same, other = (draw_canaries(ROWS, 100, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.ids, same.ids)
    np.testing.assert_array_equal(one.member, same.member)
    assert (one.member != other.member).any()


def test_of_rows_with_the_same_x_one_is_drawn():
    x = X[:40].repeat(3, axis=0)
    drawn = draw_canaries(RawData(x, Y[:120], tuple("abcde")), 40, seed=0)
    assert len(np.unique(drawn.x, axis=0)) == 40
    with pytest.raises(UserError, match=r"got 41, .* 40 rows"):
        draw_canaries(RawData(x, Y[:120], tuple("abcde")), 41, seed=0)


def test_too_few_are_refused():
    with pytest.raises(UserError, match="got 9, expected 10"):
        draw_canaries(ROWS, 9, seed=0)


def test_what_is_saved_is_read(tmp_path):
    drawn = draw_canaries(ROWS, 30, seed=7)
    drawn.save(tmp_path / "c.npz")
    found = read_canaries(tmp_path / "c.npz")
    for key in ("x", "y", "member", "ids"):
        np.testing.assert_array_equal(getattr(found, key), getattr(drawn, key))
    assert found.seed == 7


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"member": None}, "member"),
        ({"format": np.array(2)}, "format 2"),
        ({"member": np.zeros(29, bool)}, "member"),
        ({"member": np.full(30, 0.5)}, "float64"),
        ({"y": np.zeros(30)}, "float64"),
    ],
)
def test_other_files_are_refused_by_name(tmp_path, changes, words):
    path = tmp_path / "c.npz"
    draw_canaries(ROWS, 30, seed=0).save(path)
    with np.load(path) as file:
        arrays = {key: file[key] for key in file.files} | changes
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    with pytest.raises(UserError, match=words) as caught:
        read_canaries(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
