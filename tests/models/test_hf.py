"""Networks of Transformers: from a configuration, and from a folder on disk."""

import json
import os
import shutil

import numpy as np
import pytest
import torch
from torch import nn

from pruneaudit.core.errors import UserError
from pruneaudit.data.inputs import answered, token_inputs
from pruneaudit.data.kinds import TokenShape, Vocabulary
from pruneaudit.models import MODELS, build_model
from pruneaudit.models._head import head_of
from pruneaudit.models._hf_folder import folder_sha256, network_in

os.environ.setdefault("HF_HUB_OFFLINE", "1")
transformers = pytest.importorskip("transformers")

LENGTH, CLASSES = 12, 3
WORDS = Vocabulary(size=50, padding=0, unknown=1)
SHAPE = TokenShape(LENGTH, WORDS)
IMAGE = (1, 8, 8)
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
BERT = {"model_type": "bert", **SMALL}
VIT = {"model_type": "vit", "patch_size": 2, **SMALL}
GPT2 = {"model_type": "gpt2", "n_embd": 16, "n_layer": 2, "n_head": 2}
FAMILIES = {
    "bert": BERT,
    "roberta": {**BERT, "model_type": "roberta"},
    "electra": {**BERT, "model_type": "electra", "embedding_size": 16},
    "distilbert": {"model_type": "distilbert", "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32},
    "gpt2": GPT2,
    "llama": {**BERT, "model_type": "llama"},
    "mpnet": {**BERT, "model_type": "mpnet"},
}


def build(config=BERT, shape=SHAPE, classes=CLASSES, seed=0, **options):
    options = ({} if "folder" in options else {"config": config}) | options
    return build_model("hf", options, shape, classes, torch.Generator().manual_seed(seed))


def batch(num=6, seed=0, padding=0):
    rng = np.random.default_rng(seed)
    lengths = torch.from_numpy(rng.integers(1, LENGTH + 1, num))
    ids = torch.from_numpy(rng.integers(3, WORDS.size, (num, LENGTH)))
    ids[torch.arange(LENGTH) >= lengths[:, None]] = padding
    return token_inputs(ids, lengths)


def randomised(network):
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(
                0.2 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel()))
            )
    return network.eval()


@pytest.fixture
def folder(tmp_path):
    """What a user's program leaves: a classifier of three classes, trained or not."""
    return saved(BERT, tmp_path / "mine")


def saved(config, place, kind="AutoModelForSequenceClassification", **more):
    values = {"vocab_size": WORDS.size, "max_position_embeddings": LENGTH, "num_labels": CLASSES, "pad_token_id": 0}
    values |= {key: value for key, value in {**config, **more}.items() if key != "model_type"}
    made = transformers.AutoConfig.for_model(config["model_type"], **values)
    randomised(getattr(transformers, kind).from_config(made)).save_pretrained(place)
    return place


# ------------------------------------------------------------------ from a configuration


@pytest.mark.parametrize("family", FAMILIES)
def test_texts_become_logits_and_padding_changes_nothing(family):
    needs = {"pad_token_id": 1} if family in ("roberta", "mpnet") else {}
    words = Vocabulary(WORDS.size, needs.get("pad_token_id", 0), 2)
    network = randomised(build(FAMILIES[family], TokenShape(LENGTH, words)))
    x = batch(padding=words.padding)
    logits = answered(network, x)
    assert logits.shape == (6, CLASSES) and logits.dtype == torch.float32
    other = {**x, "input_ids": torch.where(x["attention_mask"] == 1, x["input_ids"], 7)}
    length = int(x["attention_mask"][:3].sum(1).max())
    short = {key: value[:3, :length] for key, value in x.items()}
    assert network.takes_any_length and torch.allclose(answered(network, short), logits[:3], atol=1e-5)
    if family not in ("gpt2", "llama", "roberta", "mpnet"):  # those find ends, or number positions, by the padding id
        assert torch.allclose(answered(network, other), logits, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_table_is_looked_up_for_each_text(family):
    words = Vocabulary(WORDS.size, 1 if family in ("roberta", "mpnet") else 0, 2)
    network = build(FAMILIES[family], TokenShape(LENGTH, words))
    seen = {}
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Embedding) and "relative" not in name:
            layer.register_forward_hook(lambda _m, args, _o, name=name: seen.__setitem__(name, tuple(args[0].shape)))
    answered(network, batch(padding=words.padding))
    assert seen and set(seen.values()) == {(6, LENGTH)}, seen


def test_the_weights_are_those_of_the_class_itself_under_its_names():
    torch.manual_seed(5)
    config = transformers.BertConfig(
        **SMALL, vocab_size=WORDS.size, max_position_embeddings=LENGTH, num_labels=CLASSES, pad_token_id=0
    )
    with torch.random.fork_rng(devices=[]):
        seed = int(torch.randint(2**62, (), generator=torch.Generator().manual_seed(0)))
        torch.default_generator.manual_seed(seed)
        expected = transformers.BertForSequenceClassification(config).state_dict()
    before = torch.get_rng_state()
    found = build().state_dict()
    assert torch.equal(before, torch.get_rng_state())
    assert found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in found)
    again, other = build().state_dict(), build(seed=1).state_dict()
    assert all(torch.equal(found[name], again[name]) for name in found)
    assert not torch.equal(found["classifier.weight"], other["classifier.weight"])


def test_images_are_classified_too():
    x = torch.rand(4, *IMAGE, generator=torch.Generator().manual_seed(0))
    for config in (
        VIT,
        {"model_type": "convnext", "depths": [1, 1], "hidden_sizes": [8, 16], "patch_size": 2, "num_stages": 2},
    ):
        network = randomised(build(config, IMAGE))
        assert network(x).shape == (4, CLASSES)
        assert torch.equal(network(x.to(memory_format=torch.channels_last)).argmax(1), network(x).argmax(1))


def test_the_head_is_all_outside_the_body():
    assert head_of(build(), CLASSES) == ("classifier.weight", "classifier.bias")
    assert all(name.startswith("classifier.") for name in head_of(build(FAMILIES["electra"]), CLASSES))
    assert head_of(build(GPT2), CLASSES) == ("score.weight",)


@pytest.mark.parametrize(
    ("config", "shape", "said"),
    [
        ({}, SHAPE, "neither of config and folder"),
        ({"hidden_size": 8}, SHAPE, "model_type"),
        ({**BERT, "model_type": "bertt"}, SHAPE, "'bert'"),
        ({**BERT, "hiden_size": 8}, SHAPE, "'hiden_size'.*hidden_size"),
        ({**BERT, "hidden_size": "wide"}, SHAPE, "hidden_size"),
        ({**BERT, "hidden_size": 15}, SHAPE, "15"),
        ({**BERT, "num_labels": 7}, SHAPE, "7 classes.*data have 3"),
        ({**BERT, "vocab_size": 40}, SHAPE, "40 tokens.*50"),
        ({**BERT, "pad_token_id": 2}, SHAPE, "pads with id 2.*data with 0"),
        ({**BERT, "max_position_embeddings": 8}, SHAPE, "8 positions.*have 12"),
        ({**BERT, "model_type": "roberta", "max_position_embeddings": 12}, SHAPE, "11 positions.*have 12"),
        ({**GPT2, "n_positions": 8}, SHAPE, "8 positions.*have 12"),
        ({**BERT, "auto_map": {"AutoModel": "code.Mine"}}, SHAPE, "auto_map"),
        (VIT, SHAPE, "'vit'.*classifies texts"),
        (BERT, IMAGE, "'bert'.*classifies images"),
        (BERT, (5,), r"\(5,\).*mlp"),
    ],
)
def test_a_wrong_configuration_is_refused_in_one_line(config, shape, said):
    with pytest.raises(UserError, match=said):
        build(config, shape)


def test_keys_of_older_versions_can_be_ignored():
    assert build({**BERT, "gradient_checkpointing_of_old": False}, strict=False)


# ------------------------------------------------------------------ from a folder


def test_a_folder_gives_the_network_as_transformers_loads_it(folder):
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(folder, local_files_only=True)
    ours = build(folder=str(folder))
    assert ours.training and not theirs.training
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    x = batch()
    assert torch.equal(answered(ours.eval(), x), theirs(**x).logits)


def test_a_folder_of_images_whose_file_has_other_names(tmp_path):
    place = saved(VIT, tmp_path / "vit", "AutoModelForImageClassification", image_size=8, num_channels=1)
    theirs = transformers.AutoModelForImageClassification.from_pretrained(place, local_files_only=True)
    x = torch.rand(3, *IMAGE)
    assert torch.equal(build(shape=IMAGE, folder=str(place)).eval()(x), theirs(x).logits)


def test_weights_of_half_precision_become_float32(folder):
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.bfloat16)
    theirs.save_pretrained(folder)
    assert {value.dtype for value in build(folder=str(folder)).state_dict().values()} == {torch.float32}


def test_a_new_head_for_other_classes_or_for_words(tmp_path, folder):
    model = MODELS.get("hf")
    network, new = model.from_folder(model.Options(folder=str(folder), new_head=True), SHAPE, 5)
    assert new == {"classifier.weight", "classifier.bias"} and network.classifier.out_features == 5
    words = saved(BERT, tmp_path / "words", "AutoModelForMaskedLM")
    network, new = model.from_folder(model.Options(folder=str(words), new_head=True), SHAPE, 5)
    assert {name.split(".")[0] for name in new} == {"classifier", "bert"}
    assert all("pooler" in name for name in new if name.startswith("bert"))
    bare = saved(BERT, tmp_path / "bare", "AutoModel")
    network, new = model.from_folder(model.Options(folder=str(bare), new_head=True), SHAPE, 5)
    assert new == {"classifier.weight", "classifier.bias"}
    kept = transformers.AutoModel.from_pretrained(bare).state_dict()
    assert all(torch.equal(network.bert.state_dict()[name], value) for name, value in kept.items())


def test_the_identity_is_the_architecture_and_the_weights_not_the_place(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    config = json.loads((copy / "config.json").read_text())
    config |= {"transformers_version": "5.0.0", "_name_or_path": "elsewhere", "architectures": ["X"]}
    (copy / "config.json").write_text(json.dumps(config))
    assert folder_sha256(str(copy)) == folder_sha256(str(folder))
    assert json.loads(network_in(str(folder)))["num_labels"] == CLASSES
    (copy / "config.json").write_text(json.dumps(config | {"hidden_act": "relu"}))
    assert folder_sha256(str(copy)) != folder_sha256(str(folder))


def edited(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


def without(folder, name):
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    taken = {key: value for key, value in tensors.items() if name not in key}
    assert len(taken) < len(tensors)
    save_file(taken, folder / "model.safetensors", metadata={"format": "pt"})


def pickled(folder):
    from safetensors.torch import load_file

    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


DAMAGE = {
    "pickles": (pickled, r"pytorch_model\.bin is a pickle.*save_pretrained"),
    "shards": (lambda f: (f / "model.safetensors.index.json").write_text("{}"), "max_shard_size"),
    "code": (lambda f: edited(f, auto_map={"AutoModel": "code.Mine"}), "auto_map"),
    "quantised": (lambda f: edited(f, quantization_config={"bits": 4}), "quantised"),
    "adapter": (lambda f: (f / "adapter_config.json").write_text("{}"), "adapter"),
    "no config": (lambda f: (f / "config.json").unlink(), r"config\.json"),
    "no JSON": (lambda f: (f / "config.json").write_text("{"), r"config\.json"),
    "no type": (lambda f: (f / "config.json").write_text("{}"), "model_type"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), r"model\.safetensors"),
    "no file of weights": (lambda f: (f / "model.safetensors").write_bytes(b"x" * 100), "model 'hf'"),
    "a weight is missing": (lambda f: without(f, "layer.1.attention.self.query.weight"), "lacks .*query.weight"),
    "the head is missing": (lambda f: without(f, "classifier"), "lacks classifier.bias and 1 more.*new_head = true"),
    "a smaller network": (lambda f: edited(f, num_hidden_layers=1), "has also .*layer.1"),
    "another width": (lambda f: edited(f, intermediate_size=8), "has another shape of .*intermediate"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_folder_that_is_unsafe_or_incomplete_is_refused_in_one_line(folder, what):
    damage, said = DAMAGE[what]
    damage(folder)
    with pytest.raises(UserError, match=said) as caught:
        build(folder=str(folder))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_a_name_is_never_looked_up():
    with pytest.raises(UserError, match="never looked up"):
        build(folder="bert-base-uncased")


def test_other_classes_need_a_new_head(folder):
    with pytest.raises(UserError, match=r"3 classes.*data have 5.*new_head"):
        build(classes=5, folder=str(folder))
    assert answered(build(classes=5, folder=str(folder), new_head=True), batch()).shape == (6, 5)


def test_a_new_head_does_not_excuse_the_body(folder):
    without(folder, "layer.1.attention.self.query.weight")
    with pytest.raises(UserError, match=r"query\.weight"):
        build(folder=str(folder), new_head=True)
