"""Reading files of weights without running what they hold."""

from __future__ import annotations

import argparse
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from pruneaudit.core.errors import UserError
from pruneaudit.external.weights import read_checkpoint


class Harmful:
    """What runs a command when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("write", [torch.save, lambda held, path: path.write_bytes(pickle.dumps(held))])
def test_code_in_a_checkpoint_is_never_run(tmp_path, write):
    mark, path = tmp_path / "mark", tmp_path / "m.pt"
    write({"weight": torch.zeros(2), "more": Harmful(mark)}, path)
    with pytest.raises(UserError, match=r"m\.pt: .*torch\.save\(model\.state_dict\(\), path\)") as caught:
        read_checkpoint(path)
    assert "\n" not in str(caught.value)
    assert not mark.exists()
    pickle.loads(pickle.dumps(Harmful(mark)))  # noqa: S301 - it would have been
    assert mark.exists()


@pytest.mark.parametrize(
    ("held", "word"),
    [
        ({}, "no tensors"),
        ({"epoch": 3, "optimizer": {}}, "no tensors"),
        ({"state_dict": {"a": 1.0}}, "no tensors"),
        ([torch.zeros(1)], "got a list"),
        (torch.zeros(1), "got a Tensor"),
        (torch.nn.Linear(1, 1), r"objects other than tensors, such as torch\.nn\..*Linear"),
    ],
)
def test_what_is_no_state_dict(tmp_path, held, word):
    torch.save(held, tmp_path / "m.pt")
    with pytest.raises(UserError, match=word):
        read_checkpoint(tmp_path / "m.pt")


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04" + bytes(50), bytes(100)])
def test_damaged_files(tmp_path, suffix, content):
    path = tmp_path / f"m{suffix}"
    path.write_bytes(content)
    with pytest.raises(UserError, match=str(path)):
        read_checkpoint(path)


def test_tensors_by_their_keys(tmp_path):
    inner = {"a": torch.zeros(1), "b.c": torch.ones(2)}
    held = {"epoch": 3, "state_dict": inner, "optimizer": {"state": {0: {"step": torch.ones(())}}, "lr": 0.1}}
    held["same again"] = held["state_dict"]
    torch.save(held, tmp_path / "m.pt")
    checkpoint = read_checkpoint(tmp_path / "m.pt")
    assert checkpoint.containers == ("", "state_dict", "optimizer", "optimizer.state", "optimizer.state.0")
    assert list(checkpoint.tensors) == ["state_dict.a", "state_dict.b.c", "optimizer.state.0.step"]
    assert list(checkpoint.under("state_dict")) == ["a", "b.c"]
    assert list(checkpoint.under("state_dict.b")) == ["c"]


def test_dicts_that_hold_themselves(tmp_path):
    held: dict = {"a": torch.zeros(1)}
    held["again"] = held
    torch.save(held, tmp_path / "m.pt")
    assert list(read_checkpoint(tmp_path / "m.pt").tensors) == ["a"]


@pytest.mark.parametrize(
    "value",
    [
        *(np.float64(91.2), np.float32(1), np.int64(3), np.bool_(True), np.str_("best"), np.zeros(3), np.arange(4)),
        *(np.array(["a", "b"]), argparse.Namespace(lr=0.1, name="net"), {"a", "b"}, None, "text", [1, (2.0, b"x")]),
        OrderedDict(best=np.float64(1)),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("new_format", [True, False])
def test_values_beside_the_weights(tmp_path, value, new_format):
    held = {"state_dict": {"a": torch.ones(2)}, "value": value, "more": {"inner": [value]}}
    torch.save(held, tmp_path / "m.pt", _use_new_zipfile_serialization=new_format)
    assert torch.equal(read_checkpoint(tmp_path / "m.pt").tensors["state_dict.a"], torch.ones(2))


def test_arrays_of_objects_are_refused(tmp_path):
    mark = tmp_path / "mark"
    torch.save({"a": torch.ones(2), "more": np.array([Harmful(mark)])}, tmp_path / "m.pt")
    with pytest.raises(UserError, match="could be code"):
        read_checkpoint(tmp_path / "m.pt")
    assert not mark.exists()


def test_what_is_allowed_here_is_allowed_nowhere_else(tmp_path):
    torch.save({"a": torch.ones(2), "value": argparse.Namespace()}, tmp_path / "m.pt")
    read_checkpoint(tmp_path / "m.pt")
    assert argparse.Namespace not in torch.serialization.get_safe_globals()
