"""Canaries among texts: made as a CSV to train with, then asked about, and audited by a study with a target."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from command_line import succeed
from npz_files import arrays_in
from pruneaudit.core.errors import UserError
from pruneaudit.core.machine import HERE
from pruneaudit.data.canaries import read_canaries
from pruneaudit.data.drawing import load_audit_data
from pruneaudit.data.kinds import TokenShape
from pruneaudit.data.tokenizing import build_tokenizer, read_tokenizer
from pruneaudit.external.asked import NetworkOptions, Queries
from pruneaudit.external.collect import collect
from pruneaudit.models import build_model
from pruneaudit.study import Study

pytest.importorskip("tokenizers")

# n canaries, N texts, T tokens

N, NUM_MEMBERS, NUM_CANARIES, T = 180, 60, 40, 8
LABELS = ("no", "perhaps", "yes")
Rows = list[tuple[str, str]]


def write(path: Path, rows: Rows, columns: tuple[str, str] = ("body", "label")) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


def read(path: Path) -> Rows:
    with path.open(newline="") as file:
        columns, *rows = csv.reader(file)
    assert columns == ["body", "label"]
    return [(text, label) for text, label in rows]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Members, a pool, canaries of the pool, and a network trained on members and canaries until it knows them."""
    folder = tmp_path_factory.mktemp("texts")
    rng = np.random.default_rng(0)
    words = [f"w{number}" for number in range(60)]
    rows = [(", ".join(rng.choice(words, 3)), LABELS[rng.integers(3)]) for _ in range(N)]
    write(folder / "all.csv", rows)
    write(folder / "pool.csv", rows[NUM_MEMBERS:])
    np.savez(folder / "member.npz", member=np.arange(N) < NUM_MEMBERS)
    (folder / "tokenizer.json").write_text(build_tokenizer(words, 300).json)
    out = ("--out", folder / "canaries.npz", "--train", folder / "rows.csv", "--rest", folder / "rest.csv")
    succeed("canaries", "make", f"text:{folder / 'pool.csv'}:text=body", "--num", NUM_CANARIES, *out)
    tokenizer = read_tokenizer(folder)
    trained_on = rows[:NUM_MEMBERS] + read(folder / "rows.csv")
    x, lengths = tokenizer.encode([text for text, _ in trained_on], T)
    batch = {"input_ids": torch.from_numpy(x).long()}
    batch["attention_mask"] = (torch.arange(T) < torch.from_numpy(lengths)[:, None]).long()
    y = torch.tensor([LABELS.index(label) for _, label in trained_on])
    shape = TokenShape(T, tokenizer.vocabulary)
    network = build_model("tiny_transformer", {"width": 16}, shape, 3, torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adam(network.parameters(), 0.02)
    for _ in range(120):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(**batch), y).backward()
        optimizer.step()
    assert (network(**batch).argmax(1) == y).float().mean() > 0.95
    torch.save(network.state_dict(), folder / "model.pt")
    return folder


def source(folder: Path, name: str = "all.csv") -> str:
    return f"text:{folder / name}:text=body:tokenizer={folder}:max_length={T}"


def collected(folder: Path, data: str = "all.csv") -> Any:
    options = NetworkOptions({"width": 16})
    member = arrays_in(folder / "member.npz")["member"]
    given = (folder / "model.pt", {"member": member}, source(folder, data), options, Queries(), HERE)
    return collect("tiny_transformer", *given, folder / "canaries.npz").signals


def test_the_files_are_texts_with_labels(folder: Path) -> None:
    canaries, pool = read_canaries(folder / "canaries.npz"), read(folder / "pool.csv")
    assert canaries.classes == LABELS and canaries.are_texts
    assert [pool[row][0] for row in canaries.ids] == canaries.x.tolist()
    wrong = [LABELS[label] for label in canaries.y]
    assert all(pool[row][1] != label for row, label in zip(canaries.ids, wrong, strict=True))
    both = list(zip(canaries.x.tolist(), wrong, strict=True))
    assert read(folder / "rows.csv") == [row for row, coin in zip(both, canaries.member, strict=True) if coin]
    rest = read(folder / "rest.csv")
    assert set(rest) <= set(pool) and not {text for text, _ in rest} & set(canaries.x.tolist())


def test_the_network_tells_which_canaries_it_was_trained_with(folder: Path) -> None:
    signals, canaries = collected(folder), read_canaries(folder / "canaries.npz")
    planted = signals.canaries
    assert planted.sum() == NUM_CANARIES and planted[:NUM_CANARIES].all()
    np.testing.assert_array_equal(signals.member[0, planted], canaries.member)
    np.testing.assert_array_equal(signals.labels[planted], canaries.y)
    right = signals.is_correct[0, planted]
    assert right[canaries.member].mean() > 0.9 and right[~canaries.member].mean() < 0.6
    np.testing.assert_array_equal(np.flatnonzero(signals.copies) - NUM_CANARIES, np.sort(NUM_MEMBERS + canaries.ids))


def test_labels_go_by_name_and_unknown_ones_are_refused(folder: Path, tmp_path: Path) -> None:
    rows = [(text, {"no": "a", "perhaps": "z", "yes": "b"}[label]) for text, label in read(folder / "all.csv")]
    write(folder / "renamed.csv", rows)
    with pytest.raises(UserError, match=r"got label 'no', but the data have no such label"):
        collected(folder, "renamed.csv")
    np.savez(tmp_path / "numbers.npz", x=np.zeros((N, 4), np.float32), y=np.arange(N) % 3)
    given = (
        folder / "model.pt",
        np.arange(N)[None] < 9,
        f"npz:{tmp_path / 'numbers.npz'}",
        NetworkOptions(),
        Queries(),
    )
    with pytest.raises(UserError, match=r"got rows of texts, expected those of the data, float32"):
        collect("mlp", *given, HERE, folder / "canaries.npz")


@pytest.mark.parametrize(
    ("option", "name", "words"),
    [("--train", "rows.npz", r"\.csv"), ("--out", "c.csv", r"\.npz"), ("--rest", "pool.csv", "DATA too")],
)
def test_files_of_texts_have_names_that_say_so(
    folder: Path, call: Any, tmp_path: Path, option: str, name: str, words: str
) -> None:
    place = folder / name if name == "pool.csv" else tmp_path / name
    options = {"--out": tmp_path / "canaries.npz", option: place}
    given = [word for pair in options.items() for word in pair]
    code, _, err = call("canaries", "make", f"text:{folder / 'pool.csv'}:text=body", "--num", 20, *given)
    assert code == 2 and option in err and words.replace("\\", "") in err


def study_of(folder: Path) -> Study:
    np.save(folder / "member.npy", arrays_in(folder / "member.npz")["member"].astype(np.int8))
    return Study.model_validate(
        {
            "name": "mine",
            "seed": 3,
            "data": {"source": source(folder), "num_samples": 40, "num_holdout": 20},
            "model": {"name": "tiny_transformer", "options": {"width": 16}},
            "training": {"epochs": 2, "batch_size": 16},
            "target": {
                "weights": str(folder / "model.pt"),
                "member": str(folder / "member.npy"),
                "canaries": str(folder / "canaries.npz"),
                "num_references": 1,
            },
            "audit": {"attacks": ["loss"], "fpr_levels": [0.1]},
        }
    )


def test_a_study_plants_the_texts_among_its_own(folder: Path) -> None:
    study, canaries = study_of(folder), read_canaries(folder / "canaries.npz")
    data = load_audit_data(study.data, study.seed, None, study.target)
    planted = data.canary
    tokenizer = read_tokenizer(folder)
    expected, lengths = tokenizer.encode(canaries.x.tolist(), T)
    np.testing.assert_array_equal(data.x[planted], expected)
    assert data.lengths is not None and data.target_member is not None
    np.testing.assert_array_equal(data.lengths[planted], lengths)
    np.testing.assert_array_equal(data.y[planted], canaries.y)
    np.testing.assert_array_equal(data.target_member[planted], canaries.member)
    np.testing.assert_array_equal(data.ids[planted], N + np.arange(NUM_CANARIES))
    assert not set(data.ids) & set(NUM_MEMBERS + canaries.ids)


@pytest.mark.slow
def test_the_study_bounds_epsilon(folder: Path, tmp_path: Path) -> None:
    from pruneaudit.api import Runtime, run

    found = run(study_of(folder), tmp_path, runtime=Runtime(executor="serial")).audit.results.canaries
    bounds = found[(found["victim"] == "every victim") & (found["figure"] == "epsilon, one run")]
    assert (bounds["value"] > 0.5).all() and len(bounds)


def test_ids_in_a_file_keep_their_arrays(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    mask = (np.arange(T) < rng.integers(1, T + 1, 50)[:, None]).astype(int)
    known = {"input_ids": rng.integers(2, 30, (50, T)), "attention_mask": mask, "y": rng.integers(0, 3, 50)}
    np.savez(tmp_path / "pool.npz", **known, vocabulary_size=30, padding_id=0, unknown_id=1)
    out = ("--out", tmp_path / "canaries.npz", "--train", tmp_path / "rows.npz")
    succeed("canaries", "make", f"npz:{tmp_path / 'pool.npz'}", "--num", 20, *out)
    canaries, rows = read_canaries(tmp_path / "canaries.npz"), arrays_in(tmp_path / "rows.npz")
    assert canaries.x.dtype == np.int32 and canaries.lengths is not None
    np.testing.assert_array_equal(canaries.lengths, mask[canaries.ids].sum(1))
    np.testing.assert_array_equal(rows["input_ids"], known["input_ids"][canaries.ids[canaries.member]])
    assert rows["vocabulary_size"] == 30 and rows["unknown_id"] == 1
    canaries.save(tmp_path / "again.npz")
    again = read_canaries(tmp_path / "again.npz")
    assert again.vocabulary == canaries.vocabulary
    np.testing.assert_array_equal(again.x, canaries.x)
