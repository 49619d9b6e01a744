"""Finding and naming files of weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pruneaudit.core.errors import UserError
from pruneaudit.external.membership import membership_of
from pruneaudit.external.weight_files import find_weights, model_names


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
    for place, word in (("x*.pt", "matches none"), ("empty", "no file of weights"), ("notes.txt", "got a '.txt' file")):
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
        (["a/x.pt", "b/x.pt"], ["a", "b"]),
        (["a/x.pt", "b/x.pt", "b/y.pt"], ["a/x", "b/x", "b/y"]),
        (["s/1/ckpt/last.ckpt", "s/2/ckpt/last.ckpt"], ["1", "2"]),
        (["x.pt", "b/x.pt"], ["x", "b/x"]),
        (["m1.pth.tar", "m2.pth.tar"], ["m1", "m2"]),
        (["a/x.pt", "a/x.pth"], ["x.pt", "x.pth"]),
        (["r/1/best.v2.pt", "r/2/best.v2.pt"], ["1", "2"]),
        (["a/x.pt"], ["x"]),
    ],
)
def test_names(files, names):
    assert model_names([Path(file) for file in files]) == names


def test_files_that_torch_may_have_written(tmp_path):
    """Endings that others use too count where the first bytes are torch's; a file that is named is always read."""
    for name in ("m1.bin", "m2.pkl", "m3.tar"):
        torch.save({"a": torch.zeros(1)}, tmp_path / name)
    torch.save({"a": torch.zeros(1)}, tmp_path / "m4.bin", _use_new_zipfile_serialization=False)
    (tmp_path / "data_batch_1.bin").write_bytes(bytes(100))
    (tmp_path / "args.pkl").write_bytes(b"\x80\x04}.")
    touched(tmp_path, "m5.th", "m6.ckpt", "m7.pth.tar", "m8.PT")
    assert found(tmp_path, "") == ["m1.bin", "m2.pkl", "m3.tar", "m4.bin", "m5.th", "m6.ckpt", "m7.pth.tar", "m8.PT"]
    assert found(tmp_path, "data_batch_1.bin") == ["data_batch_1.bin"]


def test_what_lies_beside_weights_is_passed_over(tmp_path):
    beside = ["mask.safetensors", "m.safetensors.mask.safetensors", "optimizer.pt", "scheduler.pt", "rng_state_0.pth"]
    touched(tmp_path, "m.safetensors", "masked.pt", *beside)
    assert found(tmp_path, "") == found(tmp_path, "m*") == ["m.safetensors", "masked.pt"]
    with pytest.raises(UserError, match="matches none"):
        find_weights(tmp_path / "*mask.safetensors")


def test_a_checkpoint_in_each_folder(tmp_path):
    touched(tmp_path, "bank/m10/model.safetensors", "bank/m9/model.safetensors", "bank/m9/mask.safetensors")
    touched(tmp_path, "bank/notes/readme.txt", "bank/.hidden/model.safetensors")
    wanted = ["bank/m9/model.safetensors", "bank/m10/model.safetensors"]
    assert found(tmp_path, "bank") == found(tmp_path, "bank/*") == wanted
    assert model_names([tmp_path / name for name in wanted]) == ["m9", "m10"]
    touched(tmp_path, "bank/m9/epoch-3.pt")
    with pytest.raises(UserError, match=r"m9: .*2 files.*epoch-3\.pt.*'.*/bank/\*/") as caught:
        find_weights(tmp_path / "bank")
    advised = str(caught.value).rpartition("such as '")[2].rstrip("'")
    assert len(find_weights(advised)) == 1
    assert found(tmp_path, "bank/*/model.safetensors") == wanted


def test_a_folder_of_this_program_names_its_model(tmp_path):
    touched(tmp_path, "pruned/m0/model.safetensors", "pruned/m0/summary.json", "other/model.safetensors", "dense/m1.pt")
    assert model_names([tmp_path / "pruned/m0/model.safetensors"]) == ["m0"]
    assert model_names([tmp_path / "other/model.safetensors"]) == ["model"]
    assert model_names([tmp_path / "pruned/m0/model.safetensors", tmp_path / "dense/m1.pt"]) == ["m0", "m1"]


def test_one_membership_serves_files_and_folders(tmp_path):
    touched(tmp_path, "dense/m0.pt", "dense/m1.pth.tar", "pruned/m0/model.safetensors", "pruned/m1/model.safetensors")
    given = {"member": [[True, False], [False, True]], "model_ids": ["m1", "m0"]}
    for bank in ("dense", "pruned"):
        rows = membership_of(given, find_weights(tmp_path / bank), 2)
        assert rows["model_ids"].tolist() == ["m0", "m1"]
        assert rows["member"].tolist() == [[False, True], [True, False]]
