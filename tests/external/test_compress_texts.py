"""Networks on texts: compressed outside a study, trained on, and taken away as ONNX for any batch and length."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

import pruneaudit
from pruneaudit.core.errors import UserError
from pruneaudit.data.inputs import answered
from pruneaudit.data.kinds import TokenShape, Vocabulary
from pruneaudit.external.onnx_inputs import inputs_of
from pruneaudit.models._transformer import TextEncoder

# N texts, T tokens, V ids, C classes

N, T, V, C = 96, 10, 50, 3
SHAPE = TokenShape(T, Vocabulary(V, 0, 1))


class Renamed(TextEncoder):
    """Names of its own, and logits in a dict."""

    def forward(self, tokens: Tensor, mask: Tensor) -> Any:  # type: ignore[override]
        return {"logits": super().forward(tokens, mask)}


class Flat(nn.Module):
    """It takes texts of T tokens alone, and no mask."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.out = nn.Embedding(V, 4), nn.Linear(4 * T, C)

    def forward(self, input_ids: Tensor) -> Tensor:
        return self.out(self.words(input_ids).flatten(1))


def stirred(network: nn.Module, seed: int = 0) -> Any:
    """The network with all its numbers moved: at the start some are zero, and hide errors."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return network.eval()


def encoder(kind: type[TextEncoder] = TextEncoder, layers: int = 1) -> Any:
    return stirred(kind(SHAPE, C, 16, layers, 4, 0.0, 0.1))


def bert() -> Any:
    pytest.importorskip("transformers")
    from transformers import BertConfig, BertForSequenceClassification

    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 32}
    config = BertConfig(vocab_size=V, max_position_embeddings=T, num_labels=C, **sizes)
    return stirred(BertForSequenceClassification(config))


def roberta() -> Any:
    pytest.importorskip("transformers")
    from transformers import RobertaConfig, RobertaForSequenceClassification

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 32}
    config = RobertaConfig(vocab_size=V, max_position_embeddings=T + 2, num_labels=C, **sizes)
    return stirred(RobertaForSequenceClassification(config))


def gpt2() -> Any:
    pytest.importorskip("transformers")
    from transformers import GPT2Config, GPT2ForSequenceClassification

    own = {"pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0}
    config = GPT2Config(vocab_size=V, n_embd=16, n_layer=1, n_head=4, n_positions=T, num_labels=C, **own)
    return stirred(GPT2ForSequenceClassification(config))


@pytest.fixture(scope="module")
def texts() -> dict[str, Tensor]:
    draws = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, T + 1, (N,), generator=draws)
    mask = (torch.arange(T) < lengths[:, None]).long()
    return {"input_ids": torch.randint(2, V, (N, T), generator=draws) * mask, "attention_mask": mask}


@pytest.fixture(scope="module")
def labels(texts: dict[str, Tensor]) -> Tensor:
    return texts["input_ids"][:, 0] % C


def run(file: Path, x: dict[str, Tensor]) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    answer: np.ndarray = session.run(["logits"], {name: value.numpy() for name, value in x.items()})[0]
    return answer


def shorter(x: dict[str, Tensor], count: int, length: int) -> dict[str, Tensor]:
    return {name: value[:count, :length].contiguous() for name, value in x.items()}


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("build", "method", "kind"),
    [
        (lambda: encoder(layers=2), "rtn:bits=8", "int8"),
        pytest.param(lambda: encoder(Renamed), "rtn:bits=4", "int4", marks=SLOW),
        pytest.param(encoder, "gptq:bits=4", "int4", marks=SLOW),
        pytest.param(encoder, "kmeans:clusters=16", "uint4", marks=SLOW),
        pytest.param(encoder, "svd:fraction=0.5", None, marks=SLOW),
        pytest.param(bert, "rtn:bits=4:granularity=group:group_size=16", "int4", marks=SLOW),
        pytest.param(roberta, "rtn:bits=8", "int8", marks=SLOW),
        pytest.param(gpt2, "rtn:bits=8", "int8", marks=SLOW),
        pytest.param(gpt2, "rtn:bits=4:granularity=group:group_size=16", "int4", marks=SLOW),
    ],
)
def test_the_file_takes_other_batches_and_lengths(
    texts: dict[str, Tensor], tmp_path: Path, build: Any, method: str, kind: str | None
) -> None:
    made = pruneaudit.compress(build(), method, example=texts, calibration=texts if "gptq" in method else None)
    facts = made.to_onnx(tmp_path / "model.onnx", inputs=texts)
    assert set(facts.stored.values()) == ({kind} if kind else set()) and facts.fixed_length is None
    assert facts.agreement.sources == {"calibration": N, "noise": 1000 - N}
    note = json.loads((tmp_path / "model.onnx.json").read_text())["input"]
    assert note["names"] == ["input_ids", "attention_mask"] and note["most_tokens"] == T
    assert note["shape"] == ["batch", "length"] and note["type"] == "int64"
    network = copy.deepcopy(made.model)
    if isinstance(network, Renamed):  # the caller gets its own names back
        assert not network._forward_pre_hooks
        network.forward = lambda input_ids, attention_mask: Renamed.forward(network, input_ids, attention_mask)
    for count, length in ((1, T), (5, 3), (2, 1), (N, T)):
        x = shorter(texts, count, length)
        with torch.no_grad():
            expected = answered(network, x)
        expected = expected if isinstance(expected, Tensor) else expected["logits"]
        got = run(tmp_path / "model.onnx", x)
        np.testing.assert_allclose(got, expected.numpy(), rtol=0, atol=1e-5 * max(1, float(expected.abs().max())))


@SLOW
@pytest.mark.parametrize("build", [encoder, bert])
def test_int8_activations_run_as_integers(texts: dict[str, Tensor], tmp_path: Path, build: Any) -> None:
    made = pruneaudit.compress(build(), "static8", calibration=texts)
    facts = made.to_onnx(tmp_path / "model.onnx", inputs=texts)
    assert facts.num_kernels == facts.num_rounded == len(facts.stored) > 5
    assert facts.agreement.same_class + facts.agreement.near_ties >= 998


@SLOW
def test_onnxruntime_can_round_the_file_further(texts: dict[str, Tensor], tmp_path: Path) -> None:
    """Its `quantize_dynamic` fails on torch's own files, whose shapes of inner values are of the traced lengths."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    made = pruneaudit.compress(encoder(), "l1unstructured", 0.5, example=texts)
    made.to_onnx(tmp_path / "model.onnx", inputs=texts)
    assert not onnx.load(tmp_path / "model.onnx").graph.value_info
    quantize_dynamic(tmp_path / "model.onnx", tmp_path / "int8.onnx", weight_type=QuantType.QInt8)
    for count, length in ((3, T), (1, 4)):
        x = shorter(texts, count, length)
        plain, rounded = (run(tmp_path / name, x) for name in ("model.onnx", "int8.onnx"))
        assert 0 < np.abs(plain - rounded).max() < 0.05 * np.abs(plain).max()


@SLOW
def test_a_network_of_one_length_says_so(texts: dict[str, Tensor], tmp_path: Path) -> None:
    facts = pruneaudit.compress(stirred(Flat()), "rtn:bits=8", example=texts).to_onnx(tmp_path / "a.onnx", texts)
    assert facts.fixed_length == T and any(f"{T} tokens" in line for line in facts.lines())
    assert json.loads((tmp_path / "a.onnx.json").read_text())["input"]["shape"] == ["batch", T]


@SLOW
def test_without_inputs_texts_are_random(texts: dict[str, Tensor], tmp_path: Path) -> None:
    made = pruneaudit.compress(encoder(), "rtn:bits=8", example=texts)
    folder = made.save(tmp_path / "saved")
    again = pruneaudit.load_compressed(encoder(), folder)
    assert again.to_onnx(tmp_path / "model.onnx").agreement.sources == {"random": 1000}


def test_noise_exchanges_real_tokens_for_others_of_the_texts(texts: dict[str, Tensor]) -> None:
    chosen = inputs_of({"holdout": texts}, (T,), torch.int64)
    assert not isinstance(chosen.x, Tensor)
    assert chosen.sources == {"holdout": N, "noise": 1000 - N}
    ids, mask = (value[N:] for value in chosen.x.values())
    rows = torch.arange(1000 - N) % N
    assert torch.equal(mask, texts["attention_mask"][rows])
    changed = ids != texts["input_ids"][rows]
    assert not changed[mask == 0].any() and 0.1 < changed[mask == 1].double().mean() < 0.2


def test_random_texts_have_all_ids_and_lengths() -> None:
    chosen = inputs_of({}, (T,), torch.int64, num_ids=V).x
    assert not isinstance(chosen, Tensor)
    assert sorted(set(chosen["input_ids"].flatten().tolist())) == list(range(V))
    assert sorted(set(chosen["attention_mask"].sum(1).tolist())) == list(range(1, T + 1))


def test_fine_tuning_on_encoded_texts(texts: dict[str, Tensor], labels: Tensor) -> None:
    tuning = pruneaudit.FineTuning((texts, labels), epochs=25, learning_rate=1e-2, optimizer="adam", batch_size=16)
    network = encoder(Renamed)
    before = copy.deepcopy(network.state_dict())
    made = pruneaudit.compress(network, "l1unstructured", 0.5, finetuning=tuning, test=(texts, labels))
    accuracy = made.summary["accuracy"]
    assert accuracy["after_finetuning"] > max(0.8, accuracy["before"])
    assert made.summary["after"]["macs"] > 0 and made.summary["input"]["names"] == ["input_ids", "attention_mask"]
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert set(made.model(texts["input_ids"], texts["attention_mask"])) == {"logits"}


def test_what_a_tokenizer_of_hugging_face_returns_is_taken(texts: dict[str, Tensor]) -> None:
    pytest.importorskip("transformers")
    from transformers import BatchEncoding

    given = BatchEncoding({**texts, "token_type_ids": torch.zeros_like(texts["input_ids"])})
    made = pruneaudit.compress(encoder(), "gptq:bits=4", calibration=given)
    plain = pruneaudit.compress(encoder(), "gptq:bits=4", calibration=texts)
    assert all(torch.equal(value, plain.state[name]) for name, value in made.state.items())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"input_ids": None}, "got a dict with the keys attention_mask, expected texts: input_ids"),
        ({"token_type_ids": 1}, "got 'token_type_ids', expected input_ids and attention_mask alone"),
        ({"labels": 1}, "got 'labels'"),
        ({"attention_mask": "flipped"}, "row .* has a 1 after a 0"),
        ({"input_ids": V}, rf"got token ids up to {V}, expected 0\.\.{V - 1}"),
    ],
)
def test_wrong_texts_are_refused_in_one_line(texts: dict[str, Tensor], change: dict[str, Any], words: str) -> None:
    given: dict[str, Any] = dict(texts)
    for key, value in change.items():
        if value is None:
            del given[key]
        elif value == "flipped":
            given[key] = texts[key].flip(1)
        else:
            given[key] = torch.full_like(texts["input_ids"], value)
    with pytest.raises(UserError, match=rf"calibration.*{words}") as refused:
        pruneaudit.compress(encoder(), "gptq:bits=4", calibration=given)
    assert "\n" not in str(refused.value)


def test_texts_need_a_label_each(texts: dict[str, Tensor], labels: Tensor) -> None:
    tuning = pruneaudit.FineTuning((texts, labels[:-1]), epochs=1)
    with pytest.raises(UserError, match=rf"got {N} texts and y \({N - 1},\)"):
        pruneaudit.compress(encoder(), "l1unstructured", 0.5, finetuning=tuning)
