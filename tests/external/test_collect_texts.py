"""Networks on texts: the audit of collected answers is that of the study, and what does not fit is refused first."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import pruneaudit
from pruneaudit.core.errors import UserError
from pruneaudit.core.machine import HERE
from pruneaudit.external.asked import NetworkOptions, Queries
from pruneaudit.external.collect import Collected, collect
from pruneaudit.external.sources import whole_source
from pruneaudit.runs.folder import RunFolder
from pruneaudit.signals.signals import Signals

# M models, N samples, T tokens, V ids

NUM_MODELS, N, T, V = 4, 160, 8, 50
ATTACKS = ["loss", "lira", "rmia"]
MODULE = "collecting_texts"
NETWORKS = """
import torch
from types import SimpleNamespace
from torch import nn
from pruneaudit.data.kinds import TokenShape, Vocabulary
from pruneaudit.models._transformer import TextEncoder

class Tensors(TextEncoder):
    def __init__(self, input_shape, vocabulary_size, padding_id, num_classes):
        words = Vocabulary(vocabulary_size, padding_id, padding_id)
        super().__init__(TokenShape(input_shape[0], words), num_classes, 16, 1, 4, 0.0, 0.1)

class Renamed(Tensors):
    def forward(self, tokens, mask):
        return super().forward(tokens, mask)

class Outputs(Tensors):
    def forward(self, input_ids, attention_mask, labels=None):
        return SimpleNamespace(loss=None, logits=super().forward(input_ids, attention_mask))

class Tuples(Tensors):
    def forward(self, input_ids, **rest):
        return (super().forward(input_ids, rest["attention_mask"]),)

class Dicts(Tensors):
    def forward(self, x, mask):
        return {"logits": super().forward(x, mask), "hidden": x}

class Positions(nn.Module):
    '''Like RoBERTa: positions begin behind the padding id.'''

    def __init__(self, input_shape, num_classes, rows=V, most=T):
        super().__init__()
        self.words, self.places, self.out = nn.Embedding(rows, 4), nn.Embedding(most, 4), nn.Linear(4, num_classes)

    def forward(self, input_ids, attention_mask):
        places = attention_mask.cumsum(1) * attention_mask + 1
        return self.out((self.words(input_ids) + self.places(places)).mean(1))
"""


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A study on ids in a file, in the order of its audit data, and its networks as files."""
    folder = tmp_path_factory.mktemp("texts")
    rng = np.random.default_rng(0)
    lengths = rng.integers(2, T + 1, N)
    ids = np.where(np.arange(T) < lengths[:, None], rng.integers(2, V, (N, T)), 0)
    ids[7] = ids[5]  # a copy
    lengths[7] = lengths[5]
    known = {"vocabulary_size": V, "unknown_id": 1}
    np.savez(folder / "texts.npz", input_ids=ids, lengths=lengths, y=rng.integers(0, 2, N), **known)
    study = pruneaudit.Study.model_validate(
        {
            "name": "texts",
            "data": {"source": f"npz:{folder / 'texts.npz'}", "num_samples": 110, "num_holdout": 40},
            "model": {"name": "tiny_transformer", "options": {"width": 16}},
            "membership": {"num_models": NUM_MODELS},
            "training": {"epochs": 4, "optimizer": "adam", "learning_rate": 1e-2, "batch_size": 16},
            "releases": [{"compress": "l1unstructured", "sparsity": 0.5}],
            "audit": {"attacks": ATTACKS, "queries": 2},
        }
    )
    pruneaudit.run(study, folder)
    held = RunFolder.open(folder / "texts")
    plan, data = held.finished()
    splits = held.membership(held.study, data)
    assert data.lengths is not None and data.vocabulary is not None
    ordered = {"input_ids": data.x, "lengths": data.lengths, "y": data.y, **known}
    np.savez(folder / "ordered.npz", **ordered)
    member = {"member": splits.member, "eligible": splits.eligible, "holdout": data.holdout, "ids": data.ids}
    np.savez(folder / "member.npz", **member)
    own = {release: held.signals(plan, data, release) for release in ("dense", "l1unstructured-0.5")}
    files = {release: f"{folder}/texts/{release}-*/model-*/model.safetensors" for release in own}
    return SimpleNamespace(folder=folder, files=files, own=own, findings=pd.read_csv(folder / "texts/findings.csv"))


@pytest.fixture(autouse=True)
def networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / f"{MODULE}.py").write_text(f"V, T = {V}, {T + 2}\n{NETWORKS}")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    monkeypatch.delitem(sys.modules, MODULE, raising=False)


def collected(bank: Any, name: str = "Tensors", release: str = "dense", **changes: Any) -> Collected:
    given: dict[str, Any] = {"weights": bank.files[release], "membership": str(bank.folder / "member.npz")}
    given |= {"data": f"npz:{bank.folder / 'ordered.npz'}", "options": NetworkOptions(), "queries": Queries()}
    return collect(f"{MODULE}:{name}", runtime=HERE, **(given | changes))


@pytest.mark.parametrize("release", ["dense", "l1unstructured-0.5"])
def test_the_audit_is_that_of_the_study(bank: Any, release: str) -> None:
    found = collected(bank, release=release, queries=Queries(2)).signals
    study: Signals = bank.own[release]
    np.testing.assert_allclose(found.logits, study.logits, rtol=0, atol=1e-6)
    assert found.confidence is not None and study.confidence is not None
    np.testing.assert_allclose(found.confidence, study.confidence, rtol=0, atol=1e-4)
    assert found.copy is not None and found.copy.sum() == study.copies.sum() > 0
    expected = bank.findings[(bank.findings.release == release) & (bank.findings.references == "matched")]
    got = pruneaudit.audit(found, attacks=ATTACKS).findings
    keys = ["attack", "variant"]
    assert got[keys].fillna("").to_numpy().tolist() == expected[keys].fillna("").to_numpy().tolist()
    assert len(expected) == 3 * (NUM_MODELS + 2)
    for figure in ("auc", "auc_low", "auc_high", "balanced_accuracy", "tpr_at_10%_fpr", "num_nonmembers"):
        np.testing.assert_allclose(got[figure], expected[figure], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["Renamed", "Outputs", "Tuples", "Dicts"])
def test_any_names_of_arguments_and_any_form_of_answers(bank: Any, name: str) -> None:
    plain, other = collected(bank).signals, collected(bank, name).signals
    assert np.array_equal(plain.logits, other.logits)


def test_sensitivity_is_that_of_the_embedding(bank: Any) -> None:
    found = collected(bank, queries=Queries(sensitivity=True)).signals
    assert found.sensitivity is not None and found.sensitivity.shape == (NUM_MODELS, 150 + found.copies.sum(), 2)
    assert (found.sensitivity > 0).all()


def test_how_texts_are_fed_is_told(bank: Any) -> None:
    assert "token ids" in collected(bank).fed_as


def made(name: str, folder: Path, **options: Any) -> dict[str, Any]:
    """A factory's arguments and a file of its weights."""
    network = getattr(importlib.import_module(MODULE), name)((T,), 2, **options)
    torch.save(network.state_dict(), folder / "one.pt")
    return {"weights": str(folder / "one.pt"), "options": NetworkOptions(options)}


class Refuses:
    """No network is asked about texts that do not fit."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("pruneaudit.external.networks.collect", lambda *_: pytest.fail("asked"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rows": V - 1}, rf"one: got token ids up to {V - 1}, expected 0\.\.{V - 2}, the ids of the network"),
        ({"most": T}, rf"got texts of {T} tokens \(the longest has {T} .*at most {T - 2}; .*max_length={T - 2}"),
    ],
)
def test_texts_beyond_vocabulary_or_positions_are_refused_first(
    bank: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, int], words: str
) -> None:
    Refuses(monkeypatch)
    member = {"member": np.load(bank.folder / "member.npz")["member"][:1]}
    with pytest.raises(UserError, match=words):
        collected(bank, "Positions", membership=member, **made("Positions", tmp_path, **options))


def test_what_fits_exactly_is_taken(bank: Any, tmp_path: Path) -> None:
    member = {"member": np.load(bank.folder / "member.npz")["member"][:1]}
    found = collected(bank, "Positions", membership=member, **made("Positions", tmp_path, most=T + 2)).signals
    assert found.logits.shape[0] == 1


def test_queries_of_a_table_are_refused_still(bank: Any, tmp_path: Path) -> None:
    np.savez(tmp_path / "table.npz", x=np.random.default_rng(0).normal(size=(20, 3)), y=np.arange(20) % 2)
    with pytest.raises(UserError, match=r"queries: got 2 for a table"):
        table = {"data": f"npz:{tmp_path / 'table.npz'}", "membership": {"member": np.eye(NUM_MODELS, 20, dtype=bool)}}
        collected(bank, queries=Queries(2), **table)


def test_equal_texts_are_copies(bank: Any) -> None:
    data = whole_source(f"npz:{bank.folder / 'texts.npz'}", NetworkOptions(), None)
    assert data.copy_of is not None and data.copy_of[7] == 5 and data.is_copy.sum() == 1
    assert data.kind == "tokens"


class Loud(nn.Module):
    """It fails on texts of any length."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(V, 2)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        raise ValueError("no luck")


def test_a_network_that_fails_on_all_texts_says_why(bank: Any, tmp_path: Path) -> None:
    torch.save(Loud().state_dict(), tmp_path / "one.pt")
    member = {"member": np.load(bank.folder / "member.npz")["member"][:1]}
    arguments = {
        "weights": str(tmp_path / "one.pt"),
        "membership": member,
        "data": f"npz:{bank.folder / 'ordered.npz'}",
    }
    with pytest.raises(UserError, match=r"input_ids and attention_mask of shape .* failed .*no luck"):
        collect(Loud, options=NetworkOptions(), queries=Queries(), runtime=HERE, **arguments)
