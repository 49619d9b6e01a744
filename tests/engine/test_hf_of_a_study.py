"""Studies of networks of Transformers: new ones, and fine-tuned from a folder that a user has on disk."""

import shutil

import numpy as np
import pytest
import torch

from pruneaudit.api import Runtime, attack, run, verify
from pruneaudit.core.errors import UserError
from pruneaudit.core.files import WEIGHTS_FILE
from pruneaudit.data.membership import read_membership, to_text
from pruneaudit.engine.task_context import TaskContext
from pruneaudit.engine.task_spec import TaskSpec
from pruneaudit.runs.beginning import plan_study
from pruneaudit.runs.folder import RunFolder
from pruneaudit.study import Study
from pruneaudit.training.checkpoint import load_tensors

transformers = pytest.importorskip("transformers")

SERIAL = Runtime(executor="serial")
LENGTH, CLASSES, WORDS = 8, 3, 40
BERT = {"model_type": "bert", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
BERT |= {"intermediate_size": 32, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """300 texts of three classes that differ in their words, as a tokenizer's arrays."""
    rng = np.random.default_rng(0)
    lengths, y = rng.integers(2, LENGTH + 1, 300), rng.integers(0, CLASSES, 300)
    ids = rng.integers(3, WORDS, (300, LENGTH))
    ids[:, 0] = 3 + 5 * y + rng.integers(0, 5, 300)
    mask = (np.arange(LENGTH) < lengths[:, None]).astype(np.int64)
    place = tmp_path_factory.mktemp("texts") / "texts.npz"
    np.savez(place, input_ids=ids * mask, attention_mask=mask, y=y, vocabulary_size=WORDS, padding_id=0, unknown_id=1)
    return place


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """What everybody can download: a language model, without a classifier."""
    place = tmp_path_factory.mktemp("public") / "words"
    values = {**BERT, "vocab_size": WORDS, "max_position_embeddings": LENGTH, "pad_token_id": 0}
    values.pop("model_type")
    torch.manual_seed(7)
    transformers.BertForMaskedLM(transformers.BertConfig(**values)).save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def make_text_study(texts):
    def made(model, **changes):
        values = {
            "name": "small",
            "seed": 3,
            "data": {"source": f"npz:{texts}", "num_samples": 120, "num_public": 100, "num_holdout": 40},
            "membership": {"num_models": 3},
            "model": {"name": "hf", "options": model},
            "training": {"epochs": 2, "batch_size": 32, "optimizer": "adam", "learning_rate": 3e-3, "momentum": 0.0},
            "releases": [{"compress": "l1unstructured", "sparsity": 0.5}],
            "audit": {"attacks": ["loss"], "fpr_levels": [0.2]},
        }
        return Study.model_validate(values | changes)

    return made


@pytest.fixture(scope="module")
def tuned(make_text_study, words, tmp_path_factory):
    """The study, and its folder; the user's folder is gone afterwards."""
    gone = shutil.copytree(words, tmp_path_factory.mktemp("gone") / "words")
    study = make_text_study({"folder": str(gone), "new_head": True})
    out = tmp_path_factory.mktemp("tuned")
    finished = run(study, out, runtime=SERIAL)
    shutil.rmtree(gone)
    return study, finished.folder


def starts_of(folder, study):
    plan, audit_data = plan_study(study, folder=folder)
    splits = read_membership(folder, study.membership.num_models, len(audit_data.y))
    found = []
    for task in plan.models("dense"):
        places = {role: str(folder / artifact.folder) for role, artifact in task.inputs.items()}
        rows = to_text(splits, [task.model_id])
        context = TaskContext(TaskSpec(task.name, task.action, task.spec, places, staging="", membership=rows))
        found.append(context.initial_model().state_dict())
    return found


def identities(study):
    return {task.name: task.artifact.identity for task in plan_study(study)[0].tasks}


def test_a_configuration_is_trained_audited_and_compressed(make_text_study, tmp_path):
    found = run(make_text_study({"config": BERT}), tmp_path, runtime=SERIAL)
    assert set(found.audit.findings["release"]) == {"dense", "l1unstructured-0.5"}
    assert not [part for part in verify(found.folder) if part.state != "whole"]


def test_all_models_start_from_the_folder_but_for_a_head_of_their_own(tuned, words):
    study, folder = tuned
    public = load_tensors(words / "model.safetensors")
    starts = starts_of(folder, study)
    shared = [name for name in starts[0] if name in public]
    own = [name for name in starts[0] if name not in public]
    assert len(shared) > 15
    assert {name.split(".")[-2] for name in own} == {"classifier", "dense"}  # and the pooling layer
    for start in starts:
        assert all(torch.equal(start[name], public[name]) for name in shared)
    for name in own:
        assert name.endswith("bias") or not torch.equal(starts[0][name], starts[1][name]), name


def test_a_run_needs_the_users_folder_no_more(tuned, tmp_path):
    study, folder = tuned
    moved = shutil.copytree(folder, tmp_path / "small")
    assert run(study, tmp_path, runtime=SERIAL).num_tasks_done == 0
    more = study.changed(["membership.num_models=4"], "study")
    assert run(more, tmp_path, runtime=SERIAL).num_tasks_done > 0
    assert attack(moved, ["entropy"], tmp_path / "again").audit is not None
    assert RunFolder.open(moved).planned()[0].start is not None


def test_the_folders_place_is_no_part_of_identities_and_its_content_is(make_text_study, words, tmp_path):
    def study(place):
        return make_text_study({"folder": str(place), "new_head": True}, releases=[])

    copy = shutil.copytree(words, tmp_path / "copy")
    assert identities(study(copy)) == identities(study(words))
    tensors = load_tensors(copy / "model.safetensors")
    first = next(iter(tensors))
    from safetensors.torch import save_file

    save_file({**tensors, first: tensors[first] + 1}, copy / "model.safetensors", metadata={"format": "pt"})
    assert not identities(study(copy)).items() & identities(study(words)).items()


@pytest.mark.slow
def test_a_base_can_go_on_from_a_folder(make_text_study, words, tmp_path):
    study = make_text_study({"folder": str(words), "new_head": True}, base={"epochs": 3}, releases=[])
    found = run(study, tmp_path, runtime=SERIAL)
    [base] = found.folder.glob("base-*/model-*")
    weights = load_tensors(base / WEIGHTS_FILE)
    assert all(
        torch.equal(start[name], value) for start in starts_of(found.folder, study) for name, value in weights.items()
    )
    task = next(task for task in plan_study(study)[0].tasks if task.trains_base)
    assert task.spec["head"] == "new" and "start" in task.inputs
    assert "head" not in plan_study(study)[0].models("dense")[0].spec


def test_a_kept_head_is_a_public_start(make_text_study, words, tmp_path):
    place = tmp_path / "classifier"
    values = {**BERT, "vocab_size": WORDS, "max_position_embeddings": LENGTH, "pad_token_id": 0, "num_labels": CLASSES}
    values.pop("model_type")
    transformers.BertForSequenceClassification(transformers.BertConfig(**values)).save_pretrained(place)
    attacks = {"attacks": ["mask_saliency"], "fpr_levels": [0.2]}
    assert plan_study(make_text_study({"folder": str(place)}, audit=attacks))
    with pytest.raises(UserError, match="new_head = true"):
        plan_study(make_text_study({"folder": str(words), "new_head": True}, audit=attacks))


# ------------------------------------------------------------------ what is refused, before any training


def refused(study, out):
    with pytest.raises(UserError) as caught:
        run(study, out, runtime=SERIAL)
    assert not list(out.glob("*/dense-*"))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder_without_a_classifier_needs_a_new_head(make_text_study, words, tmp_path):
    said = refused(make_text_study({"folder": str(words)}), tmp_path)
    assert "new_head = true" in said


def test_two_starts_are_refused(make_text_study, words, tmp_path):
    model = {"folder": str(words), "new_head": True}
    training = {"epochs": 1, "init": "shared"}
    assert "training.init" in refused(make_text_study(model, training=training), tmp_path)
    student = {"name": "small", "parent": "init", "model": {"name": "hf", "options": model}}
    assert "from_scratch = true" in refused(make_text_study(model, releases=[student]), tmp_path)


def test_padding_ids_inside_texts_are_refused_where_they_end_a_text(make_text_study, texts, tmp_path):
    config = {"model_type": "gpt2", "n_embd": 16, "n_layer": 1, "n_head": 2}
    arrays = dict(np.load(texts))
    arrays["input_ids"] = arrays["input_ids"].copy()
    arrays["input_ids"][:, 0] = 0
    np.savez(tmp_path / "spoilt.npz", **arrays)
    data = make_text_study({"config": config}).data.model_dump() | {"source": f"npz:{tmp_path / 'spoilt.npz'}"}
    assert "padding id 0 inside" in refused(make_text_study({"config": config}, data=data), tmp_path)


# ------------------------------------------------------------------ a target from a folder


@pytest.fixture(scope="module")
def mine(make_text_study, texts, tmp_path_factory):
    """A classifier that its owner trained on some of the texts, and which these were."""
    place = tmp_path_factory.mktemp("mine")
    values = {**BERT, "vocab_size": WORDS, "max_position_embeddings": LENGTH, "pad_token_id": 0, "num_labels": CLASSES}
    values.pop("model_type")
    torch.manual_seed(5)
    transformers.BertForSequenceClassification(transformers.BertConfig(**values)).save_pretrained(place / "mine")
    np.save(place / "member.npy", (np.arange(300) % 3 == 0).astype(np.int8))
    return place


@pytest.fixture(scope="module")
def make_targeted(make_text_study, mine):
    def made(model):
        values = make_text_study(model, releases=[]).model_dump(mode="json", exclude_unset=True)
        values["data"] = {"source": values["data"]["source"], "num_samples": 100}
        target = {"weights": str(mine / "mine"), "member": str(mine / "member.npy"), "num_references": 2}
        return Study.model_validate({k: v for k, v in values.items() if k != "membership"} | {"target": target})

    return made


def test_references_of_a_target_take_its_architecture_alone(make_targeted, mine, tmp_path):
    study = make_targeted({"folder": str(mine / "mine"), "from_scratch": True})
    folder = run(study, tmp_path, runtime=SERIAL).folder
    own = load_tensors(next(folder.glob("dense-*/model-000")) / WEIGHTS_FILE)
    public = load_tensors(mine / "mine" / "model.safetensors")
    assert all(torch.equal(own[name], value) for name, value in public.items())
    assert "init" not in plan_study(study)[0].models("dense")[1].spec
    for reference in folder.glob("dense-*/model-00[12]"):
        weights = load_tensors(reference / WEIGHTS_FILE)
        assert not torch.equal(weights["classifier.weight"], own["classifier.weight"])


def test_references_never_start_from_the_targets_own_weights(make_targeted, mine, words, tmp_path):
    said = refused(make_targeted({"folder": str(mine / "mine")}), tmp_path)
    assert "target's own weights" in said and "from_scratch" in said
    allowed = plan_study(make_targeted({"folder": str(words), "new_head": True}))[0]
    assert allowed.start.weights_sha256 not in [weights.weights_sha256 for weights in allowed.files]


# ------------------------------------------------------------------ texts and tokenizer as people have them


def test_a_language_model_with_its_tokenizer_is_tuned_on_a_table_of_texts(make_text_study, tmp_path):
    """GPT-2: no padding token of its own, and a classifier that reads the last token that is none."""
    from tokenizers import ByteLevelBPETokenizer

    rng, sorts = np.random.default_rng(0), ("play a song", "book a table", "call my bank")
    y = rng.integers(0, 3, 200)
    texts = [f"{sorts[label]} {' '.join(rng.choice(list('abcdefgh'), 4))} {n}" for n, label in enumerate(y)]
    (tmp_path / "texts.csv").write_text(
        "text,label\n" + "\n".join(f"{t},{label}" for t, label in zip(texts, y, strict=True))
    )
    made = ByteLevelBPETokenizer()
    made.train_from_iterator(texts, vocab_size=300, special_tokens=["<|endoftext|>"], show_progress=False)
    place = tmp_path / "gpt2"
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=made._tokenizer, eos_token="<|endoftext|>")
    tokenizer.save_pretrained(place)
    config = transformers.GPT2Config(vocab_size=len(tokenizer), n_embd=16, n_layer=1, n_head=2, n_positions=32)
    config.bos_token_id = config.eos_token_id = tokenizer.eos_token_id
    transformers.GPT2LMHeadModel(config).save_pretrained(place)
    source = {"name": "text", "options": {"path": str(tmp_path / "texts.csv"), "tokenizer": str(place)}}
    data = {"source": source, "num_samples": 100, "num_public": 60}
    lora = {"epochs": 2, "batch_size": 16, "learning_rate": 0.05, "lora": {"r": 2}}
    study = make_text_study({"folder": str(place), "new_head": True}, data=data, training=lora)
    found = run(study, tmp_path, runtime=SERIAL)
    assert plan_study(study)[0].models("dense")[0].spec["model"]["options"]["config"].get("pad_token_id") is None
    adapter = found.results.about["release_report"]["releases"][0]["adapter"]
    assert adapter["layers"] == 1 and adapter["parameters"] == 2 * (16 + 48) + 3 * 16
