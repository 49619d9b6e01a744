"""The exchange format: what is written is read back, and what is damaged is refused in one line."""

import dataclasses
import io
import zipfile

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pruneaudit.core.errors import UserError
from pruneaudit.signals.signals import Signals

SMALL = {
    "logits": np.arange(24, dtype=np.float32).reshape(2, 4, 3),
    "labels": np.array([0, 1, 2, 0]),
    "member": np.array([[True, False, True, False], [False, True, False, True]]),
}
PLAIN, COMPRESSED = io.BytesIO(), io.BytesIO()
np.savez(PLAIN, **SMALL)
np.savez_compressed(COMPRESSED, **SMALL)
FILES = {"plain": PLAIN.getvalue(), "compressed": COMPRESSED.getvalue()}


def refused(path):
    with pytest.raises(UserError) as caught:
        Signals.load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert message.count(str(path)) == 1
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


@pytest.mark.parametrize("fixture", ["bank", "complete"])
def test_what_is_saved_is_loaded(fixture, tmp_path, request):
    signals = request.getfixturevalue(fixture)
    signals.save(tmp_path / "signals.npz")
    loaded = Signals.load(str(tmp_path / "signals.npz"))
    for field in dataclasses.fields(Signals):
        before, after = getattr(signals, field.name), getattr(loaded, field.name)
        if before is None:
            assert after is None
        else:
            assert after.dtype == before.dtype
            np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize("key", ["logits", "labels", "member"])
def test_missing_key(tmp_path, key):
    np.savez(tmp_path / "s.npz", **{name: value for name, value in SMALL.items() if name != key})
    message = refused(tmp_path / "s.npz")
    assert message.startswith(f"key '{key}'") and "is missing; known keys: canary, confidence, " in message
    assert ("'probabilities'" in message) == (key == "logits")


def test_unknown_key(tmp_path):
    np.savez(tmp_path / "s.npz", **SMALL, membership=SMALL["member"])
    assert refused(tmp_path / "s.npz").startswith("unknown key 'membership'; known keys: canary")


def test_pickled_objects_are_never_loaded(tmp_path):
    np.savez(tmp_path / "s.npz", **SMALL, ids=np.array([{}, 1, 2, 3], dtype=object))
    message = refused(tmp_path / "s.npz")
    assert message.startswith("'ids' ") and "Python objects" in message and "numpy.asarray(ids, dtype=str)" in message


def test_texts_of_pandas_are_read_once_they_are_plain(tmp_path):
    """The advice, followed."""
    ids = pd.Series(list("abcd"), dtype=object)
    np.savez(tmp_path / "s.npz", **SMALL, ids=ids)
    assert "numpy.asarray(ids, dtype=str)" in refused(tmp_path / "s.npz")
    np.savez(tmp_path / "s.npz", **SMALL, ids=np.asarray(ids, dtype=str))
    assert Signals.load(tmp_path / "s.npz").ids.tolist() == list("abcd")


def test_wrong_contents_name_the_file(tmp_path):
    np.savez(tmp_path / "s.npz", **{**SMALL, "labels": np.array([0, 1, 2, 3])})
    assert refused(tmp_path / "s.npz").startswith("labels: got 0..3, expected 0..2")


def test_an_array_alone_is_no_npz(tmp_path):
    np.save(tmp_path / "s.npy", SMALL["logits"])
    assert refused(tmp_path / "s.npy").startswith("expected an .npz with logits, labels and member")


@pytest.mark.parametrize("contents", [b"", b"no zip at all", b"PK\x03\x04", b"\x93NUMPY"])
def test_other_files(tmp_path, contents):
    (tmp_path / "s.npz").write_bytes(contents)
    assert refused(tmp_path / "s.npz").startswith("expected an .npz")


def test_missing_file_and_folder(tmp_path):
    assert refused(tmp_path / "none.npz") == "cannot be read (No such file or directory); expected an .npz file"
    assert refused(tmp_path) == "cannot be read (Is a directory); expected an .npz file"


def test_an_entry_that_is_no_array(tmp_path):
    np.savez(tmp_path / "s.npz", **SMALL)
    with zipfile.ZipFile(tmp_path / "s.npz", "a") as archive:
        archive.writestr("ids", "0 1 2 3")
    assert refused(tmp_path / "s.npz").startswith("ids: got shape ()")


@pytest.mark.parametrize("which", FILES)
def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path, which):
    contents = FILES[which]
    for end in range(0, len(contents), 37):
        (tmp_path / "s.npz").write_bytes(contents[:end])
        refused(tmp_path / "s.npz")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    which=st.sampled_from(sorted(FILES)),
    damage=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_a_damaged_file_is_refused_or_says_something_valid(tmp_path, which, damage):
    contents = bytearray(FILES[which])
    for place, byte in damage:
        contents[place % len(contents)] = byte
    (tmp_path / "s.npz").write_bytes(bytes(contents))
    try:
        loaded = Signals.load(tmp_path / "s.npz")
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert loaded.logits.shape == (2, 4, 3)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(contents=st.binary(max_size=200))
def test_random_bytes_are_refused(tmp_path, contents):
    (tmp_path / "s.npz").write_bytes(contents)
    refused(tmp_path / "s.npz")
