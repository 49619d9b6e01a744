"""Texts with labels. When a study takes its samples, its tokenizer turns them into token ids.

A tokenizer that was built on a network's members reveals some of them by itself: a text with an unknown word is never a
member (on banking77, counting unknown words gives AUC .553 without any network). So it is built on public texts, which
are in no training set, or comes from outside. All networks of a study share it.

Two texts are copies if they are equal after Unicode NFKC, casefolding, and one space for all white space: a difference
in case or in forms of letters, which most tokenizers ignore, does not make two texts different.
"""

# R texts of the source, N texts of a study, T tokens

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydantic import Field, model_validator

from pruneaudit.core.errors import UserError
from pruneaudit.core.options import Options
from pruneaudit.data.copies import first_equal
from pruneaudit.data.source import RawData, RawSamples, check_classes
from pruneaudit.data.tokenizing import MIN_VOCABULARY, TextTokenizer, build_tokenizer, read_tokenizer

PUBLIC, ALL_ROWS, SHIPPED = "public", "all-rows", "shipped"
"""Tokenizers of a study; anything else is a path."""
QUANTILE = 0.99
MOST_TOKENS = 128
"""The largest T that is chosen by default, because time grows with T."""
_CUT_TOLD = 0.02
"""A larger share of cut texts gives a note: about 1% are cut by the default."""
_UNKNOWN_TOLD = 0.01
"""A larger share of unknown tokens gives a note."""


class TextOptions(Options):
    """How texts become token ids."""

    tokenizer: str = PUBLIC
    """public: byte-level BPE, built on the public samples. all-rows: built on all texts of the source, including
    audited ones; no deployed network has such a tokenizer. Otherwise the path of a `tokenizer.json`, or of its
    folder."""
    vocabulary_size: int = Field(default=2000, ge=MIN_VOCABULARY, le=1_000_000)
    """Largest number of ids of a tokenizer that is built; few texts give fewer ids."""
    max_length: int | None = Field(default=None, ge=1, le=100_000)
    """T, the number of tokens that a text is cut or padded to; default: enough for 99% of the public texts (without a
    public part, of all texts), but at most 128, and at most the limit of the tokenizer."""

    @model_validator(mode="after")
    def _one_vocabulary(self) -> TextOptions:
        is_built = self.tokenizer in (PUBLIC, ALL_ROWS)
        if not is_built and "vocabulary_size" in self.model_fields_set:
            raise ValueError(
                f"got vocabulary_size = {self.vocabulary_size} and tokenizer = '{self.tokenizer}', but that tokenizer "
                f"has its own vocabulary; leave one out"
            )
        return self


@dataclass(frozen=True, eq=False)
class RawTexts(RawSamples):
    """All texts of a source, checked at construction.

    Raises:
        UserError: a text is empty or no Unicode, or the labels are those of fewer than two classes.

    Example:
        >>> texts = RawTexts(("Hello  there", "hello there", "Bye"), np.array([0, 0, 1]), ("hi", "bye"), TextOptions())
        >>> texts.first_equal().tolist()
        [0, 0, 2]
    """

    texts: tuple[str, ...]
    """R texts."""
    y: np.ndarray
    """(R,) int64 labels in 0..C-1."""
    classes: tuple[str, ...]
    """The C class names, by label."""
    options: TextOptions
    """How they become token ids."""
    shipped: TextTokenizer | None = None
    """The tokenizer that comes with the source, for `tokenizer = "shipped"`."""
    classes_known: bool = True
    """The classes are those of the labels."""

    def __post_init__(self) -> None:
        empty = next((row for row, text in enumerate(self.texts) if not text.strip()), None)
        if empty is not None:
            raise UserError(f"the text in row {empty + 1} is empty, expected a text in every row: remove the row")
        broken = next((row for row, text in enumerate(self.texts) if not _is_unicode(text)), None)
        if broken is not None:
            raise UserError(
                f"the text in row {broken + 1} contains half a character (a lone surrogate), expected Unicode: remove "
                f"it"
            )
        check_classes(self.y, len(self.texts), self.classes)

    def first_equal(self) -> np.ndarray:
        """Returns for each text the index (R,) of the first one that is equal after normalisation, or its own index."""
        places: dict[str, int] = {}
        return np.array([places.setdefault(normalised(text), row) for row, text in enumerate(self.texts)], np.int64)

    def followed_by(self, more: RawSamples) -> RawTexts:
        """Returns these texts, then others, whose labels number the same classes."""
        assert isinstance(more, RawTexts)
        return replace(self, texts=(*self.texts, *more.texts), y=np.concatenate([self.y, more.y]))

    def taken(self, rows: np.ndarray, public: np.ndarray) -> RawData:
        """Returns some samples as token ids, in the given order.

        Args:
            rows: (N,) int, the samples.
            public: (N,) bool, those on which a tokenizer is built.

        Raises:
            UserError: the tokenizer needs public samples and there are none, or it cannot be read.
        """
        tokenizer = self._tokenizer(rows, public)
        texts = [self.texts[row] for row in rows]
        telling = [self.texts[row] for row in rows[public]] or self.texts
        max_length = self.options.max_length or _enough_for_most(tokenizer.lengths(telling), tokenizer.longest)
        x, lengths = tokenizer.encode(texts, max_length)
        empty = np.flatnonzero(lengths == 0)
        if empty.size:
            raise UserError(
                f"the tokenizer makes no token of the text in row {rows[empty[0]] + 1}, expected one or more: remove"
                " the row, or take another tokenizer"
            )
        notes = (*self._built_on_all(), *_told_of(tokenizer, texts, x, lengths))
        vocabulary = tokenizer.vocabulary
        return RawData(
            x,
            self.y[rows],
            self.classes,
            classes_known=self.classes_known,
            lengths=lengths,
            vocabulary=vocabulary,
            tokenizer=tokenizer.json,
            notes=notes,
        )

    def _tokenizer(self, rows: np.ndarray, public: np.ndarray) -> TextTokenizer:
        asked = self.options.tokenizer
        if asked == SHIPPED and self.shipped is not None:
            return self.shipped
        if asked == ALL_ROWS:
            return build_tokenizer(self.texts, self.options.vocabulary_size)
        if asked != PUBLIC:
            return read_tokenizer(Path(asked))
        if not public.any():
            raise UserError(
                "texts: there are no public samples to build a tokenizer on; name the tokenizer of your network, as in"
                " text:FILE:tokenizer=FOLDER, or in a study of new networks set data.num_public (such as 2000)"
            )
        return build_tokenizer([self.texts[row] for row in rows[public]], self.options.vocabulary_size)

    def _built_on_all(self) -> tuple[str, ...]:
        if self.options.tokenizer != ALL_ROWS:
            return ()
        return (
            "the tokenizer was built on all texts, including audited ones, unlike that of any deployed network; "
            "without tokenizer = 'all-rows' it is built on the public samples",
        )


def normalised(text: str) -> str:
    """Returns what two copies of a text have in common: NFKC, casefolded, one space for all white space."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())


def _is_unicode(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)


def _enough_for_most(lengths: np.ndarray, longest: int | None) -> int:
    enough = int(np.quantile(lengths, QUANTILE, method="higher"))
    return min(max(enough, 1), MOST_TOKENS if longest is None else min(MOST_TOKENS, longest))


def _told_of(tokenizer: TextTokenizer, texts: Sequence[str], x: np.ndarray, lengths: np.ndarray) -> tuple[str, ...]:
    """Returns notes on what the ids (N, T) have lost of the texts."""
    num_texts, max_length = x.shape
    notes = []
    full = np.flatnonzero(lengths == max_length)
    num_cut = int((tokenizer.lengths([texts[row] for row in full.tolist()]) > max_length).sum())
    if num_cut > _CUT_TOLD * num_texts:
        notes.append(
            f"{num_cut:,} of {num_texts:,} texts ({num_cut / num_texts:.1%}) are cut after {max_length} tokens; option"
            " max_length of the source raises it"
        )
    real = np.arange(max_length) < lengths[:, None]
    is_told = tokenizer.vocabulary.unknown != tokenizer.vocabulary.padding
    share = float((x == tokenizer.vocabulary.unknown)[real].mean()) if is_told else 0.0
    if share > _UNKNOWN_TOLD:
        notes.append(f"{share:.1%} of the tokens are unknown to the tokenizer")
    alike = first_equal(x)
    pairs = [(row, first) for row, first in enumerate(alike.tolist()) if row != first]
    num_merged = sum(normalised(texts[row]) != normalised(texts[first]) for row, first in pairs)
    if num_merged:
        notes.append(
            f"{num_merged:,} text{' has' if num_merged == 1 else 's have'} the same tokens as a different text with"
            " membership of its own, so the audit finds too little; raise max_length, or take a tokenizer that keeps"
            " more of a text"
        )
    return tuple(notes)
