"""`pruneaudit export` as a user meets it: a finished run in, a file for other programs out."""

import json
import shutil
import sys

import numpy as np
import onnxruntime
import pytest
import safetensors.torch
import torch

from command_line import succeed
from pruneaudit.compression.structured import replay
from pruneaudit.data.audit_data import AuditData
from pruneaudit.external.filling import filled
from pruneaudit.models import build_model

# N samples, C classes

STUDY = """
name = "tiny"
data = { source = "digits", num_samples = 120, num_holdout = 40 }
membership = { num_models = 2 }
model = { name = "tinycnn", options = { width = 4 } }
training = { epochs = 1, batch_size = 32 }
releases = [
    { compress = "l1unstructured", sparsity = 0.5 }, { compress = "l1structured", sparsity = 0.5 },
    { compress = "static8" },
]
audit = { attacks = ["loss"] }
"""
MASKED, SMALLER, INTEGERS = "l1unstructured-0.5", "l1structured-0.5", "static8"


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    (folder / "study.toml").write_text(STUDY)
    succeed("run", folder / "study.toml", "--out", folder, "--executor", "serial", "--quiet")
    return folder / "tiny"


@pytest.fixture
def export(call, run_folder, tmp_path):
    def run(release, format, *more, folder=run_folder, out=None):
        out = out or tmp_path / f"model.{format}"
        return *call("export", folder, "--release", release, "--format", format, "--out", out, *more), out

    return run


@pytest.fixture(scope="module")
def inputs(run_folder):
    """All samples (N, 1, 8, 8) as a user would prepare them, from the constants of the note."""
    audit_data = AuditData.load(next(run_folder.glob("audit_data-*")))

    def prepare(note):
        scale = note["normalisation"]
        mean, std = (np.array(scale[key], np.float32)[:, None, None] for key in ("mean", "std"))
        return ((audit_data.x / scale["divide_by"] - mean) / std).astype(np.float32)

    return prepare


def stored_logits(run_folder, release, model_id=0):
    """What the run itself has stored of that model, (N, C)."""
    return np.load(next(run_folder.glob(f"{release}-*/signals-*/model-{model_id:03d}/logits.npy")))


@pytest.mark.parametrize("release", [pytest.param("dense", marks=pytest.mark.slow), SMALLER])
@pytest.mark.slow
def test_onnx_answers_as_the_run_did(export, inputs, run_folder, release):
    code, out, err, file = export(release, "onnx", "--model-id", "1")
    assert (code, err) == (0, "")
    note = json.loads((file.parent / "model.onnx.json").read_text())
    assert note["difference_from_torch"] < 1e-5 and "differ by at most" in out
    assert note["input"]["shape"] == ["batch", 1, 8, 8] and len(note["classes"]) == 10
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    x, expected = inputs(note), stored_logits(run_folder, release, 1)
    for batch in (1, 3, len(x)):
        (logits,) = session.run(["logits"], {"input": x[:batch]})
        assert np.abs(logits - expected[:batch]).max() < 1e-5 * max(1, np.abs(expected).max())


@pytest.mark.slow
def test_integers_are_compared_on_the_holdout_and_noise_on_it(export, inputs, run_folder):
    code, out, err, file = export(INTEGERS, "onnx")
    assert (code, err) == (0, "")
    note = json.loads((file.parent / "model.onnx.json").read_text())
    assert note["onnx"]["agreement"]["inputs"] == {"holdout": 40, "noise": 960}
    assert "1,000 inputs (40 holdout + 960 noise)" in out and "int8 kernels: 3 of 4 layers" in out
    assert set(note["onnx"]["weights"].values()) == {"int8"} and len(note["onnx"]["weights"]) == 4
    assert note["onnx"]["latency"]["ratio_to_float32"] > 0
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"input": inputs(note)})
    expected = stored_logits(run_folder, INTEGERS)
    assert (logits.argmax(1) == expected.argmax(1)).mean() > 0.98


@pytest.mark.parametrize("format", ["torch", "safetensors", pytest.param("onnx", marks=pytest.mark.slow)])
def test_no_file_holds_a_sample(export, inputs, run_folder, tmp_path, format):
    """Neither as stored nor as the network takes it: torch's own export would keep the inputs that it was shown."""
    *_, file = export(INTEGERS, format)
    audit_data = AuditData.load(next(run_folder.glob("audit_data-*")))
    prepared = inputs(json.loads((file.parent / f"{file.name}.json").read_text()))
    parts = {x[number].tobytes()[: 4 * 16] for x in (audit_data.x, prepared) for number in range(len(x))}
    for path in tmp_path.iterdir():
        content = path.read_bytes()
        assert not any(part in content for part in parts), path.name


@pytest.mark.parametrize("format", ["torch", "safetensors"])
@pytest.mark.parametrize("release", ["dense", MASKED, SMALLER])
def test_weights_come_back_by_the_usual_means(export, inputs, run_folder, release, format):
    code, _, err, file = export(release, format)
    assert (code, err) == (0, "")
    state = torch.load(file, weights_only=True) if format == "torch" else safetensors.torch.load_file(file)
    beside = {path.name.removeprefix(file.name) for path in file.parent.iterdir()} - {""}
    kind = {"dense": set(), MASKED: {".mask.safetensors"}, SMALLER: {".structure.json"}}[release]
    assert beside == {".json"} | kind
    note = json.loads((file.parent / f"{file.name}.json").read_text())
    network = build_model(note["model"]["name"], note["model"]["options"], (1, 8, 8), 10, torch.Generator())
    if release == SMALLER:
        network = replay(network, (file.parent / f"{file.name}.structure.json").read_text())
    if release == MASKED:
        masks = safetensors.torch.load_file(f"{file}.mask.safetensors")
        assert all(not state[name][~mask].any() for name, mask in masks.items())
    network.load_state_dict(state)
    fresh = build_model(note["model"]["name"], note["model"]["options"], (1, 8, 8), 10, torch.Generator())
    assert all(torch.equal(tensor, state[name]) for name, tensor in filled(fresh, file).state_dict().items())
    with torch.no_grad():
        logits = network.eval()(torch.from_numpy(inputs(note))).numpy()
    assert logits == pytest.approx(stored_logits(run_folder, release), abs=1e-5)


def test_the_files_are_readable_by_the_group_as_any_other(export, tmp_path):
    *_, file = export(MASKED, "safetensors")
    (tmp_path / "plain").write_text("")
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1
    assert file.exists()


def test_a_file_that_is_there_is_left_alone_unless_forced(export, tmp_path):
    *_, file = export(SMALLER, "torch")
    before = file.read_bytes()
    code, _, err, _ = export("dense", "torch")
    assert code == 2 and "exists already" in err and file.read_bytes() == before
    assert export("dense", "torch", "--force")[0] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.torch", "model.torch.json"]


def refused(outcome, *words):
    code, out, err, file = outcome
    assert (code, out) == (2, "")
    assert err.startswith("error: ") and err.count("\n") == 1
    assert all(word in err for word in words), err
    assert not file.is_file()


def test_a_name_that_would_steer_the_terminal_is_shown_escaped(export, tmp_path):
    place = tmp_path / "a\x1b[2Jb"
    code, out, err, file = export("dense", "safetensors", out=place / "m.safetensors")
    assert (code, err) == (0, "") and file.is_file()
    assert "a\\x1b[2Jb" in out and "\x1b" not in out


def test_what_is_not_there_is_one_line_that_says_what_is(export, run_folder, tmp_path):
    refused(
        export("l1structured", "torch"), "did you mean 'l1structured-0.5'?", f"dense, {MASKED}, {SMALLER}, {INTEGERS}"
    )
    refused(export("dense", "torch", "--model-id", "2"), "has no model 2; there are: 0, 1")
    refused(export("dense", "torch", "--model-id", "-1"), "has no model -1")
    refused(export("dense", "onxx"), "did you mean 'onnx'?", "onnx, torch, safetensors")
    refused(export("dense", "torch", folder=tmp_path), "no study.json there")
    refused(export("dense", "torch", out=run_folder), "is a folder")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def copied(run_folder, tmp_path):
    return shutil.copytree(run_folder, tmp_path / "copied" / "tiny")


def test_an_unfinished_run_says_what_there_is(export, copied):
    (copied / "SHA256SUMS").unlink()
    shutil.rmtree(next(copied.glob(f"{MASKED}-*/model-001")))
    refused(export("dense", "torch", folder=copied), "not finished", "2 of dense", f"1 of {MASKED}", "pruneaudit run")


def test_damage_and_change_are_noticed(export, copied):
    weights = next(copied.glob("dense-*/model-000/model.safetensors"))
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    refused(export("dense", "torch", folder=copied), "damaged (model.safetensors has changed)")
    assert export("dense", "torch", "--model-id", "1", folder=copied)[0] == 0
    (copied / "study.json").write_text((copied / "study.json").read_text() + " ")
    refused(export(MASKED, "safetensors", folder=copied), "study.json has changed", "run the study again")


def test_a_population_that_was_changed_is_noticed(export, copied):
    labels = next(copied.glob("audit_data-*/y.npy"))
    np.save(labels, np.load(labels)[::-1].copy())
    refused(export("dense", "torch", folder=copied), "its audit data have changed")


@pytest.mark.parametrize("module", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_extra_is_named(export, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    refused(export("dense", "onnx"), f"{module} is not installed", "pip install 'pruneaudit[onnx]'")
    assert export("dense", "torch")[0] == 0
