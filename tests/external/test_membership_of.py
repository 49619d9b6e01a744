"""Who was trained on what: files in many forms, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pruneaudit.core.errors import UserError
from pruneaudit.external.membership import membership_of

# M models, N samples

FILES = [Path("runs/a.pt"), Path("runs/b.pt"), Path("runs/c.pt")]
MEMBER = np.arange(15).reshape(3, 5) % 4 < 2


def test_a_matrix_its_arrays_and_a_file_say_the_same(tmp_path):
    np.savez(tmp_path / "m.npz", member=MEMBER)
    for given in (MEMBER, {"member": MEMBER}, {"member": MEMBER.tolist()}, tmp_path / "m.npz", str(tmp_path / "m.npz")):
        found = membership_of(given, FILES, 5)
        np.testing.assert_array_equal(found["member"], MEMBER)
        assert found["model_ids"].tolist() == ["a", "b", "c"]


def test_one_row_serves_every_file_and_equal_rows_serve_one():
    np.testing.assert_array_equal(membership_of(MEMBER[0], FILES, 5)["member"], MEMBER[[0, 0, 0]])
    np.testing.assert_array_equal(membership_of(MEMBER[[0, 0]], FILES[:1], 5)["member"], MEMBER[:1])
    with pytest.raises(UserError, match="3 rows for 1 files"):
        membership_of(MEMBER, FILES[:1], 5)


@pytest.mark.parametrize("names", [["c", "a", "b"], ["runs/c", "a.pt", "b"], ["c", "spare", "a", "b"]])
def test_rows_are_found_by_name(names):
    place = {"a": 0, "b": 1, "c": 2, "s": 0}
    rows = [place[Path(name).name[0]] for name in names]
    found = membership_of({"member": MEMBER[rows], "model_ids": names, "group": rows}, FILES, 5)
    np.testing.assert_array_equal(found["member"], MEMBER)
    np.testing.assert_array_equal(found["group"], [0, 1, 2])


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({}, ["'member' is missing"]),
        ({"members": MEMBER}, ["unknown key 'members'", "did you mean 'member'"]),
        ({"member": MEMBER, "logits": MEMBER}, ["unknown key 'logits'"]),
        ({"member": MEMBER[:, :4]}, ["(3, 4)", "5 samples"]),
        ({"member": MEMBER.T}, ["(5, 3)", "(models, 5)"]),
        ({"member": MEMBER[:2]}, ["2 rows for 3 files", "a, b, c"]),
        ({"member": np.zeros((0, 5), bool)}, ["(0, 5)"]),
        ({"member": np.bool_(True)}, ["member: got shape"]),
        ({"member": MEMBER, "eligible": MEMBER[:2]}, ["eligible", "(2, 5)", "(3, 5)"]),
        ({"member": MEMBER, "is_victim": [True]}, ["is_victim", "(1,)"]),
        ({"member": MEMBER, "canary": [True]}, ["canary", "(1,)"]),
        ({"member": MEMBER, "ids": np.arange(4)}, ["ids", "(4,)"]),
        ({"member": MEMBER, "placebo": np.zeros(4)}, ["placebo", "(4,)"]),
        ({"member": np.where(MEMBER, 1, -1)}, ["-1", "0 for non-members", "member == 1"]),
        ({"member": MEMBER, "model_ids": ["a", "b"]}, ["model_ids", "(2,)"]),
        ({"member": MEMBER, "model_ids": ["a", "b", "x"]}, ["no row", "runs/c.pt", "'c'", "a, b, x"]),
        ({"member": MEMBER, "model_ids": ["a", "b", "b"]}, ["model_ids", "'b'", "twice"]),
        ({"member": MEMBER, "model_ids": ["a", "a.pt", "b"]}, ["rows a, a.pt are all"]),
    ],
)
def test_mistakes(tmp_path, arrays: dict[str, Any], words):
    path = tmp_path / "m.npz"
    np.savez(path, **arrays)
    with pytest.raises(UserError) as caught:
        membership_of(path, FILES, 5)
    assert str(caught.value).startswith(f"{path}: ")
    for word in words:
        assert word in str(caught.value)


def test_a_name_that_fits_several_files():
    files = [Path("x/model.pt"), Path("y/model.pt")]
    with pytest.raises(UserError, match="'model' names several files"):
        membership_of({"member": MEMBER[:2], "model_ids": ["model", "z"]}, files, 5)
    found = membership_of({"member": MEMBER[:2], "model_ids": ["y/model", "x/model"]}, files, 5)
    np.testing.assert_array_equal(found["member"], MEMBER[[1, 0]])


def test_files_that_are_no_membership(tmp_path):
    whole = tmp_path / "m.npz"
    np.savez(whole, member=MEMBER)
    (tmp_path / "cut.npz").write_bytes(whole.read_bytes()[:-40])
    (tmp_path / "text.npz").write_text("member")
    np.savez(tmp_path / "object.npz", member=np.array([None, 1], dtype=object))
    words = {
        "cut": "npz",
        "text": "numpy.savez",
        "object": "'member' contains Python objects",
        "absent": "no such file",
    }
    for name, word in words.items():
        with pytest.raises(UserError, match=rf"{name}\.npz: .*{word}"):
            membership_of(tmp_path / f"{name}.npz", FILES, 5)


@pytest.mark.parametrize("unknown", [np.nan, -1])
def test_a_sample_of_unknown_membership_is_marked_once_for_all_models_that_are_taken(unknown):
    member = np.where(MEMBER, 1.0, 0.0)
    member[1, 2] = unknown
    found = membership_of(member, FILES, 5)
    assert found["unknown"].tolist() == [False, False, True, False, False]
    assert found["member"].tolist() == np.where(np.isin(member, (0, 1)), member, 0).tolist()
    named = {"member": member, "model_ids": ["a", "b", "c"]}
    assert "unknown" not in membership_of(named, FILES[::2], 5)  # the row of b is not taken
    assert membership_of(member[1], FILES[:1], 5)["unknown"].sum() == 1


@pytest.mark.parametrize(
    ("name", "text", "unknown"),
    [("m.txt", "1\n3\n", []), ("m.csv", "row,member\n0,0\n1,1\n2,-1\n3,1\n", [2]), ("m.txt", "0\n1\n0\n1\n", [])],
)
def test_one_model_can_have_a_list(tmp_path, name, text, unknown):
    (tmp_path / name).write_text(text)
    found = membership_of(tmp_path / name, [Path("a.pt")], 4)
    assert found["member"].tolist() == [[False, True, False, True]]
    assert np.flatnonzero(found.get("unknown", np.zeros(4))).tolist() == unknown


def test_a_list_of_another_length_is_refused_by_the_name_of_its_file(tmp_path):
    (tmp_path / "m.txt").write_text("7\n")
    with pytest.raises(UserError, match=r"^.*m\.txt: ") as refused:
        membership_of(tmp_path / "m.txt", [Path("a.pt")], 4)
    assert str(refused.value).count("m.txt") == 1
