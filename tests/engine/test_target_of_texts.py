"""The user's own text model as a target: a folder of Transformers or a file of weights, on a CSV of texts."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pruneaudit.api import Runtime, run
from pruneaudit.core.errors import UserError
from pruneaudit.core.machine import HERE
from pruneaudit.data.kinds import TokenShape
from pruneaudit.data.tokenizing import build_tokenizer, read_tokenizer
from pruneaudit.external.asked import NetworkOptions, Queries
from pruneaudit.external.collect import collect
from pruneaudit.models import build_model
from pruneaudit.runs.folder import RunFolder
from pruneaudit.study import Study

transformers = pytest.importorskip("transformers")

# N texts, T tokens

N, NUM_MEMBERS, T = 150, 60, 10
LABELS = ("bad", "good")
SERIAL = Runtime(executor="serial")
TRAINING = """
import torch

def train(model, x, y, generator, device):
    assert set(x) == {"input_ids", "attention_mask"}
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(3):
        for rows in torch.randperm(len(y), generator=generator).split(16):
            optimizer.zero_grad()
            output = model(**{key: value[rows] for key, value in x.items()})
            torch.nn.functional.cross_entropy(output.logits, y[rows]).backward()
            optimizer.step()
"""


def save_network(place: Path, vocabulary: int, seed: int, labels: tuple[str, ...] = LABELS) -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    names = {"id2label": dict(enumerate(labels)), "max_position_embeddings": T, "pad_token_id": 0}
    config = transformers.BertConfig(vocab_size=vocabulary, **sizes, **names)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = transformers.BertForSequenceClassification(config)
        for parameter in network.parameters():
            parameter.data = 0.2 * torch.randn_like(parameter)
    network.save_pretrained(place)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    words = [f"w{number}" for number in range(40)]
    rows = [(" ".join(rng.choice(words, 4)), LABELS[rng.integers(2)]) for _ in range(N)]
    with (tmp_path / "texts.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    (tmp_path / "members.txt").write_text("\n".join(map(str, range(NUM_MEMBERS))))
    for name, seed in (("base", 1), ("mine", 2)):
        made = build_tokenizer(words, 300)
        save_network(tmp_path / name, made.vocabulary.size, seed)
        (tmp_path / name / "tokenizer.json").write_text(made.json)
    return tmp_path


def study_of(files: Path, **changes: Any) -> Study:
    options = {"folder": str(files / "base")}
    values = {
        "name": "mine",
        "seed": 3,
        "data": {"source": f"text:{files / 'texts.csv'}:tokenizer={files / 'mine'}:max_length={T}", "num_samples": 60},
        "model": {"name": "hf", "options": options},
        "training": {"epochs": 1, "batch_size": 16, "optimizer": "adam"},
        "target": {"weights": str(files / "mine"), "member": str(files / "members.txt"), "num_references": 1},
        "releases": [{"compress": "l1unstructured", "sparsity": 0.5}],
        "audit": {"attacks": ["loss"], "fpr_levels": [0.1]},
    }
    return Study.model_validate(values | changes)


def collected(files: Path, factory: str | None, weights: Path, **options: Any) -> np.ndarray:
    """The logits (N, C) of the target, as `collect` gets them."""
    member = np.arange(N)[None] < NUM_MEMBERS
    given = (str(weights), member, f"text:{files / 'texts.csv'}:tokenizer={files / 'mine'}:max_length={T}")
    return collect(factory, *given, NetworkOptions(options), Queries(), HERE).signals.logits[0]


def asked(folder: Path, release: str) -> tuple[np.ndarray, np.ndarray]:
    """The target's logits in a run, and the rows of the source."""
    held = RunFolder.open(folder)
    plan, data = held.finished()
    return held.signals(plan, data, release).logits[0], data.ids


def test_a_folder_is_audited_as_collect_asks_it(files: Path, tmp_path: Path) -> None:
    found = run(study_of(files), tmp_path / "runs", runtime=SERIAL)
    logits, rows = asked(found.folder, "dense")
    np.testing.assert_allclose(logits, collected(files, None, files / "mine")[rows], rtol=0, atol=1e-5)
    assert {"dense", "l1unstructured-0.5"} == set(found.audit.findings["release"])


def test_references_are_trained_by_the_users_function_on_texts(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_text_training.py").write_text(TRAINING)
    monkeypatch.chdir(tmp_path)
    study = study_of(files, training={"function": "own_text_training:train"}, releases=[])
    assert run(study, tmp_path / "runs", runtime=SERIAL).audit.findings["auc"].notna().all()


def test_a_file_of_weights_of_a_packaged_network(files: Path, tmp_path: Path) -> None:
    shape = TokenShape(T, read_tokenizer(files / "mine").vocabulary)
    network = build_model("tiny_transformer", {"width": 16}, shape, 2, torch.Generator().manual_seed(0))
    torch.save(network.state_dict(), files / "own.pt")
    target = {"weights": str(files / "own.pt"), "member": str(files / "members.txt"), "num_references": 1}
    model = {"name": "tiny_transformer", "options": {"width": 16}}
    found = run(study_of(files, model=model, target=target, releases=[]), tmp_path / "runs", runtime=SERIAL)
    logits, rows = asked(found.folder, "dense")
    expected = collected(files, "tiny_transformer", files / "own.pt", width=16)
    np.testing.assert_allclose(logits, expected[rows], rtol=0, atol=1e-5)


def other_tokenizer(files: Path) -> None:
    words = [f"w{number}" for number in range(39, 9, -1) for _ in range(number)]  # other words are frequent
    (files / "mine" / "tokenizer.json").write_text(build_tokenizer(words, 300).json)


def other_order(files: Path) -> None:
    config = json.loads((files / "mine" / "config.json").read_text())
    config |= {"id2label": {"0": "good", "1": "bad"}}
    (files / "mine" / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (other_tokenizer, r"tokenizer: that of the data gives other ids than .*mine"),
        (other_order, r"the network's classes are good, bad in this order, those of the data bad, good; .* 0\.\.1"),
    ],
)
def test_what_would_make_the_audit_wrong_is_refused_before_any_training(
    files: Path, tmp_path: Path, spoil: Any, words: str
) -> None:
    source = {"source": f"text:{files / 'texts.csv'}:tokenizer={files / 'base'}:max_length={T}", "num_samples": 60}
    spoil(files)
    with pytest.raises(UserError, match=words) as refused:
        run(study_of(files, data=source), tmp_path / "runs", runtime=SERIAL)
    assert "\n" not in str(refused.value)
    assert not list((tmp_path / "runs").rglob("model.safetensors"))
