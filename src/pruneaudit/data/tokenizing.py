"""Tokenizers: built on texts, or read from a file of Hugging Face's `tokenizers`; texts to ids, and back.

A tokenizer of our own is byte-level BPE (Sennrich et al. 2016, arXiv:1508.07909; bytes as in GPT-2): every text can be
written in it, so no token is unknown, and the same texts give the same ids on every machine. `[PAD]` is 0 and `[UNK]`
is 1; only `token_dropout` uses `[UNK]`. In a text, both are ordinary characters. Training WordPiece instead would give
other ids in every run.

A tokenizer from a file gives the ids that `transformers.AutoTokenizer` gives for the same folder: normalisation,
special tokens in texts and around them, such as [CLS] and [SEP]. Padding is on the right, always.
"""

# N texts, T tokens

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pruneaudit.core.errors import UserError, in_one_line
from pruneaudit.core.files import parse_json, read_bytes, read_json
from pruneaudit.data.kinds import Vocabulary

FILE = "tokenizer.json"
CONFIG_FILES = ("special_tokens_map.json", "tokenizer_config.json")
"""Files in the folder of the tokenizer, with the roles of its tokens; the later one counts."""
PADDING, UNKNOWN = "[PAD]", "[UNK]"
"""Special tokens of our own tokenizers."""
MIN_VOCABULARY = 300
"""256 bytes, two special tokens, and some to learn."""
_BLOCK = 2_000
_KNOWN_NAMES = {
    "pad_token": (PADDING, "<pad>"),
    "eos_token": ("<|endoftext|>", "</s>"),
    "unk_token": (UNKNOWN, "<unk>"),
    "mask_token": ("[MASK]", "<mask>"),
}
"""If a file does not name the token of a role, the token with one of these names has it."""
_PARALLEL = "TOKENIZERS_PARALLELISM"


@dataclass(frozen=True)
class TextTokenizer:
    """A tokenizer, and the roles of its tokens."""

    json: str
    """All of it, as JSON text."""
    vocabulary: Vocabulary
    longest: int | None = None
    """The most tokens that it was made for; None: not stated."""
    cut_side: Literal["left", "right"] = "right"
    """The end that long texts lose."""
    spells_special: bool = True
    """Whether a special token that is spelled out in a text counts as one."""

    def lengths(self, texts: Sequence[str]) -> np.ndarray:
        """Returns the number of tokens (N,) int64 of each text, uncut, with the tokens around it."""
        return np.array([len(ids) for ids in self._encoded(texts, None)], np.int64)

    def encode(self, texts: Sequence[str], max_length: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the ids of texts, cut and padded.

        Args:
            texts: N texts.
            max_length: T.

        Returns:
            int32 ids (N, T), with the padding token behind the end, and int32 lengths (N,) in 0..T.

        Raises:
            UserError: T leaves no place for text beside the tokens around it.
        """
        around = self._tokenizer.num_special_tokens_to_add(False)
        if max_length <= around:
            raise UserError(
                f"max_length: got {max_length}, but the tokenizer puts {around} tokens around every text; raise it"
            )
        x = np.full((len(texts), max_length), self.vocabulary.padding, np.int32)
        lengths = np.zeros(len(texts), np.int32)
        for row, ids in enumerate(self._encoded(texts, max_length)):
            x[row, : len(ids)] = ids
            lengths[row] = len(ids)
        return x, lengths

    def decode(self, ids: Sequence[int]) -> str:
        """Returns a text of some ids, without special tokens."""
        return str(self._tokenizer.decode(list(map(int, ids)), skip_special_tokens=True))

    def _encoded(self, texts: Sequence[str], max_length: int | None) -> Iterator[list[int]]:
        tokenizer = self._tokenizer
        if max_length is None:
            tokenizer.no_truncation()
        else:
            tokenizer.enable_truncation(max_length, direction=self.cut_side)
        for start in range(0, len(texts), _BLOCK):
            try:
                with _one_thread():
                    block = tokenizer.encode_batch_fast(list(texts[start : start + _BLOCK]))
            except Exception as error:  # such as words that it does not know, without an unknown token
                raise UserError(
                    f"the tokenizer fails on these texts ({in_one_line(error)}); take another one"
                ) from None
            yield from (each.ids for each in block)

    @cached_property
    def _tokenizer(self) -> Any:
        made = _parsed(self.json)
        made.no_padding()
        made.encode_special_tokens = not self.spells_special
        return made


def build_tokenizer(texts: Sequence[str], vocabulary_size: int) -> TextTokenizer:
    """Builds byte-level BPE on texts.

    Args:
        texts: the texts to learn frequent parts of words from; their order does not matter.
        vocabulary_size: the most ids, from `MIN_VOCABULARY`; few texts give fewer.

    Raises:
        UserError: `tokenizers` is not installed.
    """
    _check_installed()
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)  # the first word is spelled like others
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=[PADDING, UNKNOWN],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    with _one_thread():
        made.train_from_iterator(texts, trainer)
    return own_tokenizer(made.to_str())


def own_tokenizer(text: str) -> TextTokenizer:
    """Returns a tokenizer that `build_tokenizer` made, from its JSON text.

    Raises:
        UserError: `tokenizers` is not installed.
    """
    _check_installed()
    return TextTokenizer(text, Vocabulary(_num_ids(_parsed(text)), 0, 1), spells_special=False)


def read_tokenizer(path: Path) -> TextTokenizer:
    """Reads a tokenizer of Hugging Face's.

    Padding: its padding token, else the token that ends a text. Unknown (what `token_dropout` puts): its unknown token,
    else its mask token, else the padding.

    Args:
        path: a `tokenizer.json`, or the folder with one; roles of tokens are read from `tokenizer_config.json` beside
            it, if there is one.

    Raises:
        UserError: `tokenizers` is not installed, a file is missing or damaged, or no token can be the padding.
    """
    _check_installed()
    path = path.expanduser()
    file = path / FILE if path.is_dir() else path
    if not file.is_file():
        raise UserError(
            f"{path}: no {FILE}, expected a fast tokenizer of Hugging Face's; save one with"
            " AutoTokenizer.from_pretrained(...).save_pretrained(FOLDER)"
        )
    try:
        text = read_bytes(file).decode("utf-8")
        content, config = parse_json(text), _config(file.parent)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{file}: cannot be read ({in_one_line(error)}); expected JSON: save the tokenizer again"
        ) from None
    try:
        tokenizer = _parsed(text)
        roles = _roles(tokenizer, content, config)
        _check_case(content, config)
    except UserError as error:
        raise UserError(f"{file}: {error}") from None
    padding = _first(roles, "pad_token", "eos_token")
    if padding is None:
        raise UserError(
            f"{file}: names neither a padding token nor one that ends a text; name one as pad_token in "
            f"{CONFIG_FILES[-1]}, in the same folder"
        )
    unknown = _first(roles, "unk_token", "mask_token")
    vocabulary = Vocabulary(_num_ids(tokenizer), padding, padding if unknown is None else unknown)
    longest = config.get("model_max_length")
    stated = int(longest) if isinstance(longest, int | float) and 0 < longest < 1e9 else None  # 1e30: no limit
    cut_side: Literal["left", "right"] = "left" if config.get("truncation_side") == "left" else "right"
    return TextTokenizer(text, vocabulary, stated, cut_side)


def decoded(tokenizer: str, ids: Sequence[Sequence[int]]) -> list[str]:
    """Returns the texts of ids, without special tokens; empty ones if `tokenizers` or the tokenizer cannot be used.

    Args:
        tokenizer: its JSON text.
        ids: those of each text, without padding.
    """
    try:
        _check_installed()
        made = _parsed(tokenizer)
    except UserError:
        return [""] * len(ids)
    return [str(made.decode(list(each), skip_special_tokens=True)).strip() for each in ids]


def encoded(tokenizer: str, texts: Sequence[str]) -> list[list[int]]:
    """Returns the ids of texts, uncut, with the tokens around them.

    Args:
        tokenizer: its JSON text.
        texts: the texts.

    Raises:
        UserError: `tokenizers` is not installed, or the tokenizer fails.
    """
    _check_installed()
    return list(TextTokenizer(tokenizer, Vocabulary(0, 0, 0))._encoded(texts, None))


def _check_installed() -> None:
    try:
        import tokenizers  # noqa: F401
    except ImportError:
        raise UserError("texts need tokenizers, which is not installed: pip install 'pruneaudit[text]'") from None


def _parsed(text: str) -> Any:
    from tokenizers import Tokenizer

    try:
        made = Tokenizer.from_str(text)
        made.encode("a")
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic of the library is no Exception
        raise UserError(f"is not a tokenizer ({in_one_line(error)}); save it again with save_pretrained") from None
    return made


def _num_ids(tokenizer: Any) -> int:
    return 1 + max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)


def _config(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in CONFIG_FILES:
        if (folder / name).is_file():
            read = read_json(folder / name)
            if not isinstance(read, dict):
                raise ValueError(f"{name} is no table of settings")
            found |= {key: value for key, value in read.items() if value is not None}
    return found


def _roles(tokenizer: Any, content: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, int]:
    """Returns the ids of the tokens that have a role, by role."""
    roles: dict[str, int] = {}
    for role, usual in _KNOWN_NAMES.items():
        named = config.get(role)
        named = named.get("content") if isinstance(named, Mapping) else named
        if named is not None and tokenizer.token_to_id(str(named)) is None:
            raise UserError(
                f"has no token '{named}', but {CONFIG_FILES[-1]} in its folder names it as {role}; save both together "
                f"with save_pretrained"
            )
        names = (named,) if named is not None else (*_said(content, role), *usual)
        known = (tokenizer.token_to_id(str(name)) for name in names if name is not None)
        roles |= next(({role: number} for number in known if number is not None), {})
    return roles


def _said(content: Mapping[str, Any], role: str) -> tuple[Any, ...]:
    """Returns what the tokenizer's own file says of a role."""
    part, key = {"pad_token": ("padding", "pad_token"), "unk_token": ("model", "unk_token")}.get(role, ("", ""))
    section = content.get(part)
    return (section.get(key),) if isinstance(section, Mapping) else ()


def _first(roles: Mapping[str, int], *names: str) -> int | None:
    return next((roles[name] for name in names if name in roles), None)


def _check_case(content: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Refuses files that disagree on lower case: `transformers` follows the other one."""
    normalizer, asked = content.get("normalizer"), config.get("do_lower_case")
    does = normalizer.get("lowercase") if isinstance(normalizer, Mapping) else None
    if isinstance(asked, bool) and isinstance(does, bool) and asked != does:
        raise UserError(
            f"lower case is {json.dumps(does)} there, and do_lower_case {json.dumps(asked)} in {CONFIG_FILES[-1]}; save"
            " both together with save_pretrained"
        )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keeps the library from starting threads, about which it would warn in later forks of this process."""
    before = os.environ.get(_PARALLEL)
    os.environ[_PARALLEL] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_PARALLEL]
        else:
            os.environ[_PARALLEL] = before
