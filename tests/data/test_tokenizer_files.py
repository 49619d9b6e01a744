"""Tokenizers of Hugging Face's: the ids of `AutoTokenizer`, roles of tokens, and every broken folder in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pruneaudit.core.errors import UserError
from pruneaudit.data.audit_data import AuditData
from pruneaudit.data.drawing import draw
from pruneaudit.data.kinds import Vocabulary
from pruneaudit.data.same_tokens import check_same_tokens
from pruneaudit.data.texts import RawTexts, TextOptions
from pruneaudit.data.tokenizing import build_tokenizer, read_tokenizer
from pruneaudit.study import Data

tokenizers = pytest.importorskip("tokenizers")
transformers = pytest.importorskip("transformers")

TEXTS = (
    "Is my card lost?",
    "WHAT is the café's balance, please",
    "transfer money to my brother  tomorrow morning",
    "naïve 東京 🙂 zzz",
    "a",
    "[MASK] or <mask> or [PAD]",
)


def word_piece(**more: Any) -> Any:
    made = tokenizers.Tokenizer(tokenizers.models.WordPiece(unk_token="[UNK]"))
    made.normalizer = tokenizers.normalizers.BertNormalizer(**more)
    made.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = tokenizers.trainers.WordPieceTrainer(vocab_size=120, special_tokens=special, show_progress=False)
    made.train_from_iterator(TEXTS[:3], trainer)
    made.post_processor = tokenizers.processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return made


def bert(folder: Path) -> None:
    transformers.BertTokenizerFast(tokenizer_object=word_piece(), model_max_length=40).save_pretrained(folder)


def cased_bert(folder: Path) -> None:
    made = word_piece(lowercase=False)
    transformers.BertTokenizerFast(tokenizer_object=made, do_lower_case=False).save_pretrained(folder)


def byte_level(special: list[str]) -> Any:
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=320, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(TEXTS[:3], trainer)
    return made


def gpt2(folder: Path) -> None:
    end = "<|endoftext|>"
    made = transformers.GPT2TokenizerFast(
        tokenizer_object=byte_level([end]), bos_token=end, eos_token=end, unk_token=end
    )
    made.save_pretrained(folder)


def roberta(folder: Path) -> None:
    made = byte_level(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    made.post_processor = tokenizers.processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    transformers.RobertaTokenizerFast(tokenizer_object=made).save_pretrained(folder)


def unigram(folder: Path) -> None:
    made = tokenizers.Tokenizer(tokenizers.models.Unigram())
    made.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    trainer = tokenizers.trainers.UnigramTrainer(
        vocab_size=60, special_tokens=special, unk_token="<unk>", show_progress=False
    )
    made.train_from_iterator(TEXTS[:3], trainer)
    plain = transformers.PreTrainedTokenizerFast
    plain(tokenizer_object=made, pad_token="<pad>", eos_token="</s>", unk_token="<unk>").save_pretrained(folder)


KINDS = {"bert": bert, "cased": cased_bert, "gpt2": gpt2, "roberta": roberta, "unigram": unigram}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("max_length", [5, 24])
def test_ids_are_those_of_auto_tokenizer(kind: str, max_length: int, tmp_path: Path) -> None:
    KINDS[kind](tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    if theirs.pad_token is None:
        theirs.pad_token = theirs.eos_token
    expected = theirs(list(TEXTS), padding="max_length", truncation=True, max_length=max_length, return_tensors="np")
    ours = read_tokenizer(tmp_path)
    x, lengths = ours.encode(TEXTS, max_length)
    np.testing.assert_array_equal(x, expected["input_ids"])
    np.testing.assert_array_equal(lengths, expected["attention_mask"].sum(axis=1))
    assert ours.vocabulary.size == len(theirs)
    assert ours.vocabulary.padding == theirs.pad_token_id
    assert ours.vocabulary.unknown == theirs.unk_token_id
    assert ours.lengths(TEXTS).tolist() == [len(ids) for ids in theirs(list(TEXTS))["input_ids"]]


def test_a_study_stores_the_file_and_keeps_to_its_length(tmp_path: Path) -> None:
    bert(tmp_path)
    texts = (*TEXTS, "long " * 200, "Card", "card")
    raw = RawTexts(texts, np.arange(len(texts)) % 2, ("a", "b"), TextOptions(tokenizer=str(tmp_path)))
    rows = np.arange(len(texts))
    found = raw.taken(rows, np.zeros(len(texts), bool))
    assert found.x.shape[1] == 40 and found.tokenizer == (tmp_path / "tokenizer.json").read_text()
    assert found.vocabulary is not None and found.vocabulary.unknown == 1
    assert any("unknown to the tokenizer" in note for note in found.notes)
    assert found.x[7].tolist() == found.x[8].tolist() and raw.first_equal()[8] == 7


def test_a_file_alone_and_one_of_our_own_are_read(tmp_path: Path) -> None:
    made = build_tokenizer(TEXTS, 400)
    (tmp_path / "tokenizer.json").write_text(made.json)
    for path in (tmp_path, tmp_path / "tokenizer.json"):
        assert read_tokenizer(path).vocabulary == made.vocabulary
    np.testing.assert_array_equal(read_tokenizer(tmp_path).encode(TEXTS[:5], 9)[0], made.encode(TEXTS[:5], 9)[0])


def test_settings_in_the_file_do_not_cut_or_pad(tmp_path: Path) -> None:
    made = word_piece()
    made.enable_truncation(3)
    made.enable_padding(length=30)
    made.save(str(tmp_path / "tokenizer.json"))
    x, lengths = read_tokenizer(tmp_path).encode(["is my card lost"], 20)
    assert lengths.tolist() == [6] and x[0, 5:].tolist() == [3, *[0] * 14]


def test_a_left_side_is_kept_for_cutting_and_not_for_padding(tmp_path: Path) -> None:
    bert(tmp_path)
    changed(tmp_path, "tokenizer_config.json", lambda told: told.update(truncation_side="left", padding_side="left"))
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    expected = theirs(list(TEXTS), truncation=True, max_length=5)["input_ids"]
    x, lengths = read_tokenizer(tmp_path).encode(TEXTS, 5)
    assert [ids[:length].tolist() for ids, length in zip(x, lengths, strict=True)] == expected


def changed(folder: Path, name: str, change: Callable[[dict[str, Any]], Any]) -> None:
    told = json.loads((folder / name).read_text())
    change(told)
    (folder / name).write_text(json.dumps(told))


def without_roles(folder: Path) -> None:
    (folder / "tokenizer_config.json").unlink()
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "b": 1}, unk_token="b"))
    made.save(str(folder / "tokenizer.json"))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / "tokenizer.json").unlink(), r"no tokenizer\.json.*save_pretrained"),
        (lambda folder: (folder / "tokenizer.json").write_text("{"), r"cannot be read"),
        (lambda folder: (folder / "tokenizer.json").write_bytes(b"\x80\x04."), r"cannot be read"),
        (lambda folder: (folder / "tokenizer.json").write_text("[" * 9000), r"nested"),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), r"is not a tokenizer"),
        (lambda folder: changed(folder, "tokenizer.json", lambda told: told["model"].pop("vocab")), "not a tokenizer"),
        (lambda folder: (folder / "tokenizer_config.json").write_text("[]"), r"no table of settings"),
        (
            lambda folder: changed(folder, "tokenizer_config.json", lambda told: told.update(pad_token="<nothing>")),
            r"no token '<nothing>'.*pad_token",
        ),
        (
            lambda folder: changed(folder, "tokenizer_config.json", lambda told: told.update(do_lower_case=False)),
            r"do_lower_case false",
        ),
        (without_roles, r"neither a padding token nor"),
    ],
)
def test_broken_folders_are_refused_in_one_line(spoil: Callable[[Path], Any], words: str, tmp_path: Path) -> None:
    bert(tmp_path)
    spoil(tmp_path)
    with pytest.raises(UserError, match=words) as caught:
        read_tokenizer(tmp_path)
    assert str(caught.value).startswith(str(tmp_path))


def test_roles_that_nothing_names_have_stand_ins(tmp_path: Path) -> None:
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "<pad>": 1, "<mask>": 2}))
    made.save(str(tmp_path / "tokenizer.json"))
    assert read_tokenizer(tmp_path).vocabulary == Vocabulary(3, 1, 2)
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "</s>": 1}))
    made.save(str(tmp_path / "tokenizer.json"))
    assert read_tokenizer(tmp_path).vocabulary == Vocabulary(2, 1, 1)


def test_a_length_without_place_for_text_is_refused(tmp_path: Path) -> None:
    bert(tmp_path)
    with pytest.raises(UserError, match=r"max_length: got 2, .* 2 tokens around"):
        read_tokenizer(tmp_path).encode(TEXTS, 2)


def test_texts_without_a_token_are_refused(tmp_path: Path) -> None:
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "<pad>": 1}))
    made.normalizer = tokenizers.normalizers.BertNormalizer()
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.save(str(tmp_path / "tokenizer.json"))
    for text, words in (("\x00", "no token of the text in row 2"), ("b", "fails on these texts .*Missing")):
        raw = RawTexts(("a", text, "a a"), np.array([0, 1, 0]), ("x", "y"), TextOptions(tokenizer=str(tmp_path)))
        with pytest.raises(UserError, match=words):
            raw.taken(np.arange(3), np.zeros(3, bool))


def test_without_the_extra_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tokenizers", None)
    with pytest.raises(UserError, match=r"pip install 'pruneaudit\[text\]'"):
        build_tokenizer(TEXTS, 400)


def test_a_network_of_a_folder_gets_the_ids_of_its_own_tokenizer(tmp_path: Path) -> None:
    bert(tmp_path)
    texts = tuple(f"{text} {number}" for number in range(20) for text in TEXTS[:3])

    def data(**options: Any) -> AuditData:
        raw = RawTexts(texts, np.arange(len(texts)) % 2, ("a", "b"), TextOptions(**options))
        return draw(raw, Data(num_samples=30, num_public=20), seed=0)

    check_same_tokens(data(tokenizer=str(tmp_path), max_length=6), tmp_path)
    with pytest.raises(UserError, match=rf"other ids .*{tmp_path}.*tokenizer = '{tmp_path}'"):
        check_same_tokens(data(), tmp_path)
    check_same_tokens(replace(data(), tokenizer=""), tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    check_same_tokens(data(), tmp_path)
