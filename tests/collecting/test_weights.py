"""Finding and naming files of weights, and reading them without running what they hold."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pruneaudit.collecting.weights import find_weights, model_names, read_weights
from pruneaudit.errors import UserError


def touched(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def found(folder: Path, *places: str) -> list[str]:
    return [file.relative_to(folder).as_posix() for file in find_weights([folder / place for place in places])]


def test_natural_order_within_a_place_and_given_order_between_places(tmp_path):
    touched(tmp_path, "m10.pt", "m9.pt", "m1.pth", "notes.txt", "b/m2.safetensors", "b/deep/m3.pt", ".hidden.pt")
    assert found(tmp_path, "") == ["m1.pth", "m9.pt", "m10.pt"]
    assert found(tmp_path, "*") == ["m1.pth", "m9.pt", "m10.pt"]
    assert found(tmp_path, "**/*.pt") == ["b/deep/m3.pt", "m9.pt", "m10.pt"]
    assert found(tmp_path, "m10.pt", "b", "m9.pt") == ["m10.pt", "b/m2.safetensors", "m9.pt"]
    assert found(tmp_path, "m9.pt", "m*.pt") == ["m9.pt", "m10.pt"]  # each once


def test_a_name_with_brackets_is_a_file_first_and_a_pattern_otherwise(tmp_path):
    touched(tmp_path, "m[1].pt", "m1.pt")
    assert found(tmp_path, "m[1].pt") == ["m[1].pt"]
    assert found(tmp_path, "m[0-9].pt") == ["m1.pt"]


def test_places_that_lead_nowhere(tmp_path):
    touched(tmp_path, "notes.txt", "empty/notes.txt")
    for place, word in (("x*.pt", "matches none"), ("empty", "holds no file"), ("notes.txt", "got a '.txt' file")):
        with pytest.raises(UserError, match=word):
            find_weights(tmp_path / place)
    with pytest.raises(UserError, match="got none"):
        find_weights([])


@given(numbers=st.lists(st.integers(0, 10**6), unique=True, min_size=1, max_size=8))
def test_numbered_files_come_in_the_order_of_their_numbers(tmp_path_factory, numbers):
    folder = touched(tmp_path_factory.mktemp("numbered"), *(f"model-{number}.pt" for number in numbers))
    assert [file.stem for file in find_weights(folder)] == [f"model-{number}" for number in sorted(numbers)]


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["a/x.pt", "b/y.pt"], ["x", "y"]),
        (["a/x.pt", "b/x.pt"], ["a/x", "b/x"]),
        (["a/x.pt", "a/x.pth"], ["x.pt", "x.pth"]),
        (["r/1/best.v2.pt", "r/2/best.v2.pt"], ["1/best.v2", "2/best.v2"]),
        (["a/x.pt"], ["x"]),
    ],
)
def test_names(files, names):
    assert model_names([Path(file) for file in files]) == names


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
        read_weights(path)
    assert "\n" not in str(caught.value)
    assert not mark.exists()
    pickle.loads(pickle.dumps(Harmful(mark)))  # noqa: S301 - it would have been
    assert mark.exists()


@pytest.mark.parametrize(
    ("held", "word"),
    [
        ({}, "empty"),
        ({"epoch": 3, "optimizer": {}}, "'epoch' is no tensor"),
        ({"state_dict": {"a": 1.0}}, "'a' is no tensor"),
        ([torch.zeros(1)], "got a list"),
        (torch.zeros(1), "got a Tensor"),
        (torch.nn.Linear(1, 1), "other objects than tensors"),
    ],
)
def test_what_is_no_state_dict(tmp_path, held, word):
    torch.save(held, tmp_path / "m.pt")
    with pytest.raises(UserError, match=word):
        read_weights(tmp_path / "m.pt")


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04" + bytes(50), bytes(100)])
def test_damaged_files(tmp_path, suffix, content):
    path = tmp_path / f"m{suffix}"
    path.write_bytes(content)
    with pytest.raises(UserError, match=str(path)):
        read_weights(path)


def test_a_layer_called_module_keeps_its_name(tmp_path):
    torch.save({"module.a": torch.zeros(1), "b": torch.zeros(1)}, tmp_path / "m.pt")
    assert set(read_weights(tmp_path / "m.pt")) == {"module.a", "b"}
