"""Weights come back from disk as they were; what is no such file is refused in one line."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from pruneaudit.core.errors import UserError
from pruneaudit.training.checkpoint import load_tensors, load_weights, save_tensors, save_weights

MakeModel = Callable[..., nn.Module]


@pytest.mark.parametrize("name", ["mlp", "tinycnn"])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_model_comes_back_bit_by_bit(
    make_model: MakeModel, tmp_path: Path, name: str, memory_format: torch.memory_format
) -> None:
    model, other = make_model(name, seed=1), make_model(name, seed=2)
    model.to(memory_format=memory_format)  # type: ignore[call-overload]
    model(torch.randn(5, 2, 8, 8, generator=torch.Generator().manual_seed(0)))  # moves BatchNorm's statistics
    before = {key: value.clone() for key, value in model.state_dict().items()}
    save_weights(model, tmp_path / "model.safetensors")
    assert load_weights(other, tmp_path / "model.safetensors") is other
    assert other.state_dict().keys() == before.keys()
    for key, value in other.state_dict().items():
        assert value.dtype == before[key].dtype
        assert torch.equal(value, before[key])
        assert torch.equal(model.state_dict()[key], before[key])


def test_weights_may_be_read_by_whom_the_umask_says(tmp_path: Path) -> None:
    (tmp_path / "other file").touch()
    save_tensors({"a": torch.zeros(2)}, tmp_path / "weights.safetensors")
    modes = [(tmp_path / name).stat().st_mode for name in ("other file", "weights.safetensors")]
    assert modes[0] == modes[1]


def test_tensors_of_any_layout_and_type_come_back(tmp_path: Path) -> None:
    base = torch.arange(48.0).reshape(2, 3, 4, 2)
    tensors = {
        "channels_last": base.contiguous(memory_format=torch.channels_last),
        "transposed": base[0, 0].T,
        "strided": base[:, ::2],
        "mask": base > 7,
        "count": torch.tensor(3),
        "empty": torch.zeros(0, 4),
        "half": base.half(),
        "trained": base.clone().requires_grad_(),
    }
    save_tensors(tensors, tmp_path / "tensors.safetensors")
    found = load_tensors(tmp_path / "tensors.safetensors")
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].is_contiguous()
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


def test_the_same_weights_are_the_same_bytes_in_any_layout(make_model: MakeModel, tmp_path: Path) -> None:
    model = make_model()
    save_weights(model, tmp_path / "a")
    save_weights(model.to(memory_format=torch.channels_last), tmp_path / "b")  # type: ignore[call-overload]
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_another_network_is_refused(make_model: MakeModel, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_weights(make_model("mlp"), path)
    wider = nn.Sequential(nn.Flatten(), nn.Linear(128, 9), nn.ReLU(), nn.Linear(9, 3))
    for model, word in ((wider, "size mismatch"), (make_model("tinycnn"), "Missing key"), (nn.Flatten(), "Unexpected")):
        with pytest.raises(UserError, match=rf"model\.safetensors: does not fit this network \(.*{word}") as caught:
            load_weights(model, path)
        assert len(str(caught.value)) < len(str(path)) + 300


class Tied(nn.Module):
    """Two layers with one weight, and a buffer that is a part of it."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(4, 3), nn.Linear(4, 3)
        self.other.weight = self.one.weight
        self.register_buffer("part", self.one.weight.detach()[:1])


def test_a_shared_tensor_is_written_once_and_shared_again(tmp_path: Path) -> None:
    model, other, path = Tied(), Tied(), tmp_path / "model.safetensors"
    save_weights(model, path)
    assert load_tensors(path).keys() == {"one.weight", "one.bias", "other.bias", "part"}
    load_weights(other, path)
    assert other.other.weight is other.one.weight
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in other.state_dict().items())


@pytest.mark.parametrize("left_out", ["one.weight", "other.weight", ""])
def test_files_of_other_programs_name_a_shared_tensor_as_they_like(tmp_path: Path, left_out: str) -> None:
    model, other, path = Tied(), Tied(), tmp_path / "model.safetensors"
    save_tensors({name: value for name, value in model.state_dict().items() if name != left_out}, path)
    load_weights(other, path)
    assert torch.equal(other.one.weight, model.one.weight)
    differing = {name: value + ("other" in name) for name, value in model.state_dict().items()}
    save_tensors(differing, path)
    with pytest.raises(UserError, match=r"model\.safetensors: 'one\.weight' and 'other\.weight' differ in the file"):
        load_weights(other, path)


def test_files_that_hold_no_weights_are_refused(make_model: MakeModel, tmp_path: Path) -> None:
    pickled, empty, text = tmp_path / "a.pt", tmp_path / "b", tmp_path / "c"
    torch.save(make_model().state_dict(), pickled)
    empty.touch()
    text.write_text("weights")
    for path in (pickled, empty, text, tmp_path / "missing", tmp_path):
        with pytest.raises(UserError, match="not a readable safetensors file") as caught:
            load_weights(make_model(), path)
        assert str(path) in str(caught.value)


class Trap:
    """Unpickled, it would leave a file behind."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self._path,)


def test_no_code_in_a_file_is_run(tmp_path: Path) -> None:
    trap, left_behind = tmp_path / "trap", tmp_path / "left_behind"
    trap.write_bytes(pickle.dumps(Trap(left_behind)))
    with pytest.raises(UserError):
        load_tensors(trap)
    assert not left_behind.exists()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_damaged_files_give_tensors_or_one_line(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "damaged"
    save_tensors({"a": torch.ones(2, 3), "b": torch.arange(4)}, path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        found = load_tensors(path)
    except UserError as error:
        assert str(error).startswith(str(path))
    else:
        assert all(isinstance(tensor, torch.Tensor) for tensor in found.values())
