"""A study on texts with every kind of compression: the files rebuild the networks, and sizes are those of the texts."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from pruneaudit.api import Runtime, run, verify
from pruneaudit.compression.state import load_state, restored
from pruneaudit.core.errors import UserError
from pruneaudit.core.files import SUMMARY_FILE, WEIGHTS_FILE
from pruneaudit.training.checkpoint import load_tensors

# N texts, T tokens, V ids, C classes

N, T, V, C, WIDTH = 120, 8, 50, 3, 16
TUNED = {"finetune": {"epochs": 3, "batch_size": 16, "learning_rate": 0.01}}
SMALL = {"name": "tiny_transformer", "options": {"width": 8, "heads": 2}}
ONE_SHOT = [
    *("l1unstructured:sparsity=0.7", "lamp:sparsity=0.5", "wanda:sparsity=0.5", "sparsegpt:sparsity=0.5"),
    *("rtn:bits=4", "gptq:bits=3", "static8", "kmeans:clusters=8", "svd:fraction=0.5", "nm:pattern=2:4"),
    *("heads:sparsity=0.5", "ffn:sparsity=0.5", "rtn:bits=4:layers=with_embeddings"),
]
TRAINED = [
    "snip:sparsity=0.5",
    "dpf:sparsity=0.5",
    "qat:bits=4",
    "gradual:sparsity=0.5",
    "rigl:sparsity=0.5:period_steps=2",
]
RELEASES = [
    *({"compress": method} for method in ONE_SHOT),
    *({"compress": method, **TUNED} for method in TRAINED),
    {"name": "chain", "compress": ["heads:sparsity=0.25", "l1unstructured:sparsity=0.5", "rtn:bits=4"], **TUNED},
    {"name": "student", "compress": "distil:data=members", "model": SMALL, **TUNED},
]


@pytest.fixture(scope="module")
def texts_file(tmp_path_factory):
    rng = np.random.default_rng(0)
    lengths = rng.integers(2, T + 1, N)
    x = rng.integers(2, V, (N, T))
    mask = np.arange(T) < lengths[:, None]
    y = x[:, 0] % C
    file = tmp_path_factory.mktemp("texts") / "texts.npz"
    np.savez(file, input_ids=np.where(mask, x, 0), attention_mask=mask.astype(np.int64), y=y, vocabulary_size=V)
    return file


@pytest.fixture(scope="module")
def make_texts(make_study, texts_file):
    def make(releases):
        return make_study(
            data={"source": f"npz:{texts_file}", "num_samples": 60, "num_holdout": 30, "num_public": 30},
            membership={"num_models": 2},
            model={"name": "tiny_transformer", "options": {"width": WIDTH, "heads": 4}},
            releases=releases,
            audit={"attacks": ["loss"]},
        )

    return make


@pytest.fixture(scope="module")
def finished(make_texts, tmp_path_factory):
    return run(make_texts(RELEASES), tmp_path_factory.mktemp("runs"), runtime=Runtime("serial"))


@pytest.mark.slow
def test_every_method_works_on_texts(finished):
    assert not finished.failures
    names = [path.name for path in finished.folder.glob("*-????????") if (path / "model-000").exists()]
    assert len(names) >= len(RELEASES)
    for name in names:
        for folder in sorted((finished.folder / name).glob("model-*")):
            weights = load_tensors(folder / WEIGHTS_FILE)
            assert all(torch.equal(weights[key], value) for key, value in restored(load_state(folder)).items())
    assert {part.state for part in verify(finished.folder)} == {"whole"}


@pytest.mark.slow
def test_sizes_are_those_of_whole_texts(finished):
    table = pd.read_csv(finished.folder / "releases.csv").set_index("release")
    block = 4 * WIDTH * WIDTH + 2 * WIDTH * 2 * WIDTH
    dense = T * block + WIDTH * C
    assert table.loc["dense", "macs"] == dense
    assert table.loc["heads-0.5", "macs"] == dense - T * 2 * WIDTH * WIDTH
    assert table.loc["ffn-0.5", "macs"] == dense - T * 2 * WIDTH * WIDTH
    assert table.loc["static8", "bit_operations"] == 64 * dense
    entries = {entry["name"]: entry for entry in finished.results.about["release_report"]["releases"]}
    assert not any(entry["gaps"] for entry in entries.values())
    assert all(entry["latency"] for entry in entries.values())
    folder = next(finished.folder.glob("rtn-4-layers*/model-000"))
    assert {"codes/embedding.weight", "codes/classifier.weight"} <= set(load_state(folder))
    assert json.loads((folder / SUMMARY_FILE).read_text())["effective_bits"] < 6


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("l1structured:sparsity=0.3", ("texts", "'ffn'", "'heads'")),
        ("slim:sparsity=0.3", ("BatchNorm",)),
        ("synflow:sparsity=0.3", ("synflow", "texts")),
    ],
)
def test_methods_for_images_are_refused_before_any_training(method, words, make_texts, tmp_path):
    with pytest.raises(UserError) as raised:
        run(make_texts([{"name": "x", "compress": method, **TUNED}]), tmp_path, runtime=Runtime("serial"))
    assert all(word in str(raised.value) for word in ("release 'x'", *words)), str(raised.value)
    assert not list(tmp_path.rglob(WEIGHTS_FILE))
