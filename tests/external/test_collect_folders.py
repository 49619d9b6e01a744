"""Folders of Transformers, collected and compressed without a factory: what they say is used, or refused."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pruneaudit.core.errors import UserError
from pruneaudit.core.machine import HERE
from pruneaudit.external.asked import NetworkOptions, Queries
from pruneaudit.external.checkpoint import Asked, prune_checkpoint
from pruneaudit.external.collect import Collected, collect
from pruneaudit.external.transformers_folders import check_labels

transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

# N texts, T tokens

WORDS = [f"word{number}" for number in range(30)]
LABELS = ("bad", "good", "odd")
N, T = 60, 12


def save_tokenizer(place: Path, words: list[str], **changes: Any) -> None:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({w: i for i, w in enumerate(special + words)}, "[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    around = [("[CLS]", 2), ("[SEP]", 3)]
    made.post_processor = tokenizers.processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=around)
    roles = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    roles |= {"model_max_length": T}
    transformers.PreTrainedTokenizerFast(tokenizer_object=made, **(roles | changes)).save_pretrained(place)


def save_network(place: Path, seed: int = 0, labels: tuple[str, ...] = LABELS, **changes: Any) -> Any:
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 32}
    values = {"vocab_size": 4 + len(WORDS), "max_position_embeddings": T, **sizes, **changes}
    config = transformers.BertConfig(**values, id2label=dict(enumerate(labels)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = transformers.BertForSequenceClassification(config).eval()
        for parameter in network.parameters():
            parameter.data = 0.3 * torch.randn_like(parameter)
    network.save_pretrained(place)
    return network


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    rows = [(" ".join(rng.choice(WORDS, rng.integers(1, 9))), LABELS[number % 3]) for number in range(N)]
    with (tmp_path / "texts.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    return tmp_path / "texts.csv"


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    save_network(tmp_path / "mine")
    save_tokenizer(tmp_path / "mine", WORDS)
    return tmp_path / "mine"


def collected(weights: Any, texts: Path, data: str = "", factory: Any = None, **changes: Any) -> Collected:
    member = np.zeros((1, N), bool)
    member[0, ::2] = True
    given = {"weights": str(weights), "membership": {"member": member}, "data": data or f"text:{texts}"}
    given |= {"options": NetworkOptions(), "queries": Queries(), "runtime": HERE}
    return collect(factory, **(given | changes))


def said(network: Any, texts: Path, folder: Path) -> np.ndarray:
    """The logits (N, C) of Transformers itself."""
    with texts.open(newline="") as file:
        rows = [row["text"] for row in csv.DictReader(file)]
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    encoded = tokenizer(rows, padding=True, truncation=True, return_tensors="pt")
    with torch.no_grad():
        answer = network(input_ids=encoded["input_ids"], attention_mask=encoded["attention_mask"])
    logits: np.ndarray = getattr(answer, "logits", answer).numpy()
    return logits


def test_a_folder_says_what_it_holds(mine: Path, texts: Path) -> None:
    found = collected(mine, texts)
    network = transformers.AutoModelForSequenceClassification.from_pretrained(mine)
    np.testing.assert_allclose(found.signals.logits[0], said(network, texts, mine), rtol=0, atol=1e-5)
    assert [str(name) for name in found.signals.model_names] == ["mine"]
    assert found.signals.labels[:3].tolist() == [0, 1, 2]


def test_several_folders_are_several_models_by_their_names(mine: Path, texts: Path, tmp_path: Path) -> None:
    for seed in range(3):
        save_network(tmp_path / "bank" / f"run-{seed}", seed)
        shutil.copyfile(mine / "tokenizer.json", tmp_path / "bank" / f"run-{seed}" / "tokenizer.json")
        torch.save({}, tmp_path / "bank" / f"run-{seed}" / "optimizer.pt")
        torch.save({}, tmp_path / "bank" / f"run-{seed}" / "pytorch_model.bin")  # the same weights, in the old form
    member = np.random.default_rng(0).random((3, N)) < 0.5
    found = collected(tmp_path / "bank", texts, membership={"member": member}).signals
    assert [str(name) for name in found.model_names] == ["run-0", "run-1", "run-2"]
    alone = collected(mine, texts).signals
    np.testing.assert_array_equal(found.logits[0], alone.logits[0])


def test_classes_follow_the_networks_names(mine: Path, texts: Path, tmp_path: Path) -> None:
    save_network(tmp_path / "other", labels=("odd", "new", "good", "bad"))
    shutil.copyfile(mine / "tokenizer.json", tmp_path / "other" / "tokenizer.json")
    found = collected(tmp_path / "other", texts).signals
    assert found.labels[:3].tolist() == [3, 2, 0] and found.num_classes == 4
    save_network(tmp_path / "numbers", labels=("LABEL_0", "LABEL_1", "LABEL_2"))
    shutil.copyfile(mine / "tokenizer.json", tmp_path / "numbers" / "tokenizer.json")
    assert collected(tmp_path / "numbers", texts).signals.labels[:3].tolist() == [0, 1, 2]
    numbered = tmp_path / "numbered.csv"
    lines = texts.read_text()
    for label, number in zip(LABELS, "102", strict=True):
        lines = lines.replace(f",{label}", f",{number}")
    numbered.write_text(lines)
    assert collected(mine, numbered).signals.labels[:3].tolist() == [1, 0, 2]


def test_other_names_of_as_many_classes_are_told(mine: Path, texts: Path, tmp_path: Path) -> None:
    save_network(tmp_path / "other", labels=("a", "b", "c"))
    shutil.copyfile(mine / "tokenizer.json", tmp_path / "other" / "tokenizer.json")
    found = collected(tmp_path / "other", texts)
    assert any("a, b, c" in note and "bad, good, odd" in note for note in found.notes)


def test_a_shared_name_under_another_number_is_refused(mine: Path, texts: Path, tmp_path: Path) -> None:
    save_network(tmp_path / "other", labels=("bad", "fair", "good"))  # the data: bad, good, odd
    shutil.copyfile(mine / "tokenizer.json", tmp_path / "other" / "tokenizer.json")
    with pytest.raises(UserError, match=r"'good' is number 2 .* 1 of the data.* 'odd' .*bad, fair, good"):
        collected(tmp_path / "other", texts)
    with pytest.raises(UserError, match="'good'"):
        check_labels(LABELS, tmp_path / "other")


def test_more_classes_than_the_network_has_are_refused(mine: Path, texts: Path, tmp_path: Path) -> None:
    save_network(tmp_path / "other", labels=("a", "b"))
    shutil.copyfile(mine / "tokenizer.json", tmp_path / "other" / "tokenizer.json")
    with pytest.raises(UserError, match=r"2 classes .* 3 .*trained") as refused:
        collected(tmp_path / "other", texts)
    assert "0..1" not in str(refused.value)  # no label of three classes fits


def test_a_folder_with_pickled_weights_only_is_told_how_to_save(mine: Path, texts: Path) -> None:
    torch.save({}, mine / "pytorch_model.bin")
    (mine / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"pytorch_model\.bin.*model\.safetensors.*save_pretrained"):
        collected(mine, texts)


def test_images_of_a_folder_whose_files_have_other_names(tmp_path: Path) -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.ViTConfig(image_size=8, patch_size=4, num_channels=1, num_labels=2, **sizes)
    network = transformers.ViTForImageClassification(config).eval()
    network.save_pretrained(tmp_path / "vit")
    x = np.random.default_rng(0).normal(size=(N, 1, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "images.npz", x=x, y=np.arange(N) % 2)
    found = collected(tmp_path / "vit", tmp_path, f"npz:{tmp_path / 'images.npz'}").signals
    with torch.no_grad():
        expected = network(torch.from_numpy(x)).logits.numpy()
    np.testing.assert_allclose(found.logits[0], expected, rtol=0, atol=1e-5)


def change_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(config))


def other_tokenizer(folder: Path) -> dict[str, Any]:
    save_tokenizer(folder.parent / "another", WORDS[::-1])
    return {"data": f"text:{folder.parent / 'texts.csv'}:tokenizer={folder.parent / 'another'}"}


def sharded(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    (folder / "model.safetensors.index.json").write_text("{}")


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")


def adapter(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{}")


def two_classes(folder: Path) -> None:
    save_network(folder, labels=("a", "b"))


def too_long(folder: Path) -> dict[str, Any]:
    return {"data": f"text:{folder.parent / 'texts.csv'}:max_length={T + 1}"}


def small_vocabulary(folder: Path) -> None:
    save_network(folder, vocab_size=20)


def no_classifier(folder: Path) -> None:
    transformers.BertModel(transformers.BertConfig.from_pretrained(folder)).save_pretrained(folder)


def no_weights(folder: Path) -> dict[str, Any]:
    torch.save({"weight": torch.zeros(2)}, folder.parent / "plain.pt")
    return {"weights": str(folder.parent / "plain.pt")}


def two_architectures(folder: Path) -> dict[str, Any]:
    save_network(folder.parent / "second", num_attention_heads=2)  # the same shapes
    return {"weights": [str(folder), str(folder.parent / "second")], "membership": np.eye(2, N, dtype=bool)}


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (other_tokenizer, r"tokenizer: that of the data gives other ids than .*for \d+ of .*tokenizer=.*mine"),
        (sharded, r"divided into several files \(model\.safetensors\.index\.json\)"),
        (pickled, r"pytorch_model\.bin.* --factory"),
        (adapter, r"holds an adapter \(adapter_config\.json\)"),
        (two_classes, r"its network has 2 classes \(a, b\), the data 3 \(bad, good, odd\)"),
        (lambda folder: change_config(folder, auto_map={"AutoModel": "code.Net"}), "needs code from its folder"),
        (lambda folder: change_config(folder, quantization_config={"bits": 4}), "quantised"),
        (too_long, rf"{T} positions .*the texts have {T + 1}"),
        (small_vocabulary, r"knows 20 tokens .* has 34"),
        (no_classifier, r"mine holds a BertModel, expected a classifier"),
        (no_weights, r"plain\.pt is not the model\.safetensors of a folder .*--factory"),
        (two_architectures, "different architectures"),
    ],
)
def test_what_is_wrong_is_refused_in_one_line(mine: Path, texts: Path, spoil: Any, words: str) -> None:
    changes = spoil(mine) or {}
    weights = changes.pop("weights", str(mine))
    with pytest.raises(UserError, match=words) as refused:
        collect(
            None,
            weights,
            changes.pop("membership", {"member": np.arange(N)[None] % 2 == 0}),
            changes.pop("data", f"text:{texts}"),
            NetworkOptions(),
            Queries(),
            HERE,
        )
    assert "\n" not in str(refused.value)


def test_the_same_tokenizer_with_other_settings_passes(mine: Path, texts: Path, tmp_path: Path) -> None:
    save_tokenizer(tmp_path / "same", WORDS, model_max_length=8)
    content = json.loads((tmp_path / "same" / "tokenizer.json").read_text())
    content["truncation"] = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    (tmp_path / "same" / "tokenizer.json").write_text(json.dumps(content))
    data = f"text:{texts}:tokenizer={tmp_path / 'same'}:max_length={T}"
    np.testing.assert_array_equal(
        collected(mine, texts, data).signals.logits,
        collected(mine, texts, f"text:{texts}:max_length={T}").signals.logits,
    )


@pytest.mark.parametrize(("method", "degrees"), [("l1unstructured", {"sparsity": 0.5}), ("ffn", {"sparsity": 0.5})])
def test_a_compressed_folder_is_one_again(
    mine: Path, texts: Path, tmp_path: Path, method: str, degrees: dict[str, float]
) -> None:
    calibration = f"text:{texts}" if method == "ffn" else None
    made = prune_checkpoint(None, mine, Asked(method, degrees, calibration=calibration), f"text:{texts}")
    out = made.save(tmp_path / "pruned", force=False)
    assert {"config.json", "tokenizer.json", "tokenizer_config.json"} <= {path.name for path in out.iterdir()}
    assert made.pruned.summary["accuracy"]["num_samples"] == N
    found = collected(out, texts).signals
    np.testing.assert_allclose(found.logits[0], said(made.pruned.model.eval(), texts, mine), rtol=0, atol=1e-5)
    if method == "l1unstructured":
        again = transformers.AutoModelForSequenceClassification.from_pretrained(out)
        np.testing.assert_allclose(said(again, texts, mine), found.logits[0], rtol=0, atol=1e-5)


def test_a_folder_can_be_compressed_without_data(mine: Path) -> None:
    made = prune_checkpoint(None, mine, Asked("rtn", {"bits": 4}))
    assert made.pruned.summary["after"]["effective_bits"] < 8 and made.pruned.summary["after"]["macs"] is None
    known = prune_checkpoint(None, mine, Asked("rtn", {"bits": 4}, example_shape=(8,)))
    assert known.pruned.summary["after"]["macs"] > 0


def test_fine_tuning_of_a_folder(mine: Path, texts: Path) -> None:
    training = {"epochs": 2, "learning_rate": 1e-2, "optimizer": "adam", "batch_size": 16}
    made = prune_checkpoint(None, mine, Asked("l1unstructured", {"sparsity": 0.5}, training), f"text:{texts}")
    assert len(made.pruned.history) == 2 and made.pruned.history[1]["loss"] < made.pruned.history[0]["loss"]
    assert set(made.pruned.summary["accuracy"]) == {"before", "after_pruning", "after_finetuning", "num_samples"}


def test_a_packaged_network_goes_by_its_name(tmp_path: Path) -> None:
    from pruneaudit.data.kinds import TokenShape, Vocabulary
    from pruneaudit.models import build_model

    shape = TokenShape(T, Vocabulary(30, 0, 1))
    network = build_model("tiny_transformer", {"width": 16}, shape, 2, torch.Generator().manual_seed(0)).eval()
    torch.save(network.state_dict(), tmp_path / "one.pt")
    ids = np.random.default_rng(0).integers(2, 30, (N, T))
    np.savez(tmp_path / "ids.npz", input_ids=ids, y=np.arange(N) % 2, vocabulary_size=30, padding_id=0, unknown_id=1)
    options = NetworkOptions({"width": 16})
    given = (tmp_path / "one.pt", tmp_path, f"npz:{tmp_path / 'ids.npz'}", "tiny_transformer")
    found = collected(*given, options=options).signals
    x = torch.from_numpy(ids)
    with torch.no_grad():
        expected = network(input_ids=x, attention_mask=torch.ones_like(x)).numpy()
    np.testing.assert_allclose(found.logits[0], expected, rtol=0, atol=1e-5)
