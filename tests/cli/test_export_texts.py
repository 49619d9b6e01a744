"""`pruneaudit export` of networks on texts: with their tokenizer, for any batch and any length."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from command_line import succeed
from pruneaudit.data.tokenizing import read_tokenizer
from pruneaudit.runs.folder import RunFolder
from pruneaudit.signals.signals import Signals

pytest.importorskip("tokenizers")

T, N = 8, 120
STUDY = """
name = "tiny"
data = {{ source = "text:{file}:max_length={length}:vocabulary_size=300", num_samples = 60, num_public = 40 }}
membership = {{ num_models = 2 }}
{model}
training = {{ epochs = 1, batch_size = 32 }}
releases = [{{ compress = "rtn", bits = 4 }}]
audit = {{ attacks = ["loss"] }}
"""
SIZES = "hidden_size = 16, num_hidden_layers = 1, num_attention_heads = 2, intermediate_size = 32"
MODELS = {
    "own": 'model = { name = "tiny_transformer", options = { width = 16 } }',
    "bert": f'model = {{ name = "hf", options = {{ config = {{ model_type = "bert", {SIZES} }} }} }}',
}


def finished(folder: Path, model: str) -> Path:
    rng = np.random.default_rng(0)
    rows = [(" ".join(f"w{word}" for word in rng.integers(0, 40, 4)), "ab"[row % 2]) for row in range(N)]
    with (folder / "texts.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    study = STUDY.format(file=folder / "texts.csv", length=T, model=MODELS[model])
    (folder / "study.toml").write_text(study)
    succeed("run", folder / "study.toml", "--out", folder, "--executor", "serial", "--quiet")
    return folder / "tiny"


@pytest.mark.parametrize(
    ("model", "format"),
    [("own", "safetensors"), *(pytest.param(model, "onnx", marks=pytest.mark.slow) for model in MODELS)],
)
def test_an_export_says_how_to_encode_texts(call: Any, tmp_path: Path, model: str, format: str) -> None:
    if model == "bert":
        pytest.importorskip("transformers")
    run_folder = finished(tmp_path, model)
    out = tmp_path / "exported" / f"model.{format}"
    out.parent.mkdir()
    code, said, err = call("export", run_folder, "--release", "rtn-4", "--format", format, "--out", out)
    assert (code, err) == (0, "")
    note = json.loads(Path(f"{out}.json").read_text())
    assert note["input"]["names"] == ["input_ids", "attention_mask"] and note["input"]["most_tokens"] == T
    assert f"{out.name}.tokenizer.json" in said
    held = RunFolder.open(run_folder)
    plan, data = held.finished()
    assert data.lengths is not None and data.vocabulary is not None
    assert note["input"]["vocabulary_size"] == data.vocabulary.size
    assert Path(f"{out}.tokenizer.json").read_text() == data.tokenizer
    if format != "onnx":
        return
    assert set(note["onnx"]["weights"].values()) == {"int4"} and note["onnx"]["agreement"]["same_class"] >= 998
    tokenizer = read_tokenizer(Path(f"{out}.tokenizer.json"))
    with (tmp_path / "texts.csv").open(newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    expected = held.signals(plan, data, "rtn-4").logits[0]
    session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    for count in (1, 7, len(data.ids)):
        ids, lengths = tokenizer.encode([texts[row] for row in data.ids[:count]], T)
        longest = int(lengths.max())  # texts need no padding beyond the longest of a batch
        mask = np.arange(longest) < lengths[:, None]
        fed = {"input_ids": ids[:, :longest].astype(np.int64), "attention_mask": mask.astype(np.int64)}
        (logits,) = session.run(["logits"], fed)
        np.testing.assert_allclose(logits, expected[:count], rtol=0, atol=1e-5)


def test_collect_asks_exported_networks_as_the_study_did(call: Any, tmp_path: Path) -> None:
    run_folder = finished(tmp_path, "own")
    out = [tmp_path / f"m{number}.safetensors" for number in range(2)]
    for number, path in enumerate(out):
        given = ("--release", "dense", "--model-id", number, "--format", "safetensors", "--out", path)
        assert call("export", run_folder, *given)[0] == 0
    held = RunFolder.open(run_folder)
    plan, data = held.finished()
    splits = held.membership(held.study, data)
    member = np.zeros((2, N), bool)
    member[:, data.ids] = splits.member
    np.savez(tmp_path / "member.npz", member=member, model_ids=["m0", "m1"])
    source = f"text:{tmp_path / 'texts.csv'}:tokenizer={out[0]}.tokenizer.json:max_length={T}"
    given = ("--factory", "tiny_transformer", "--factory-option", "width=16", "--membership", tmp_path / "member.npz")
    weights = ("--weights", out[0], "--weights", out[1])
    code, _, err = call("collect", *given, *weights, "--data", source, "--out", tmp_path / "signals.npz", "--quiet")
    assert code == 0, err
    found = Signals.load(tmp_path / "signals.npz").logits[:, data.ids]
    np.testing.assert_allclose(found, held.signals(plan, data, "dense").logits, rtol=0, atol=1e-6)
