"""The audit data: the labelled samples of a study, and the parts that they belong to.

They are drawn once per study (`drawing.py`): all models of the bank and all releases use the same audit data.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pruneaudit.core import seeds
from pruneaudit.core.errors import UserError
from pruneaudit.core.files import check_file, read_json
from pruneaudit.core.identity import sha256_of_arrays
from pruneaudit.core.randomness import coins_of
from pruneaudit.data.kinds import Kind, TokenShape, Vocabulary, kind_of
from pruneaudit.study.data import num_given

# N samples: audited, canaries, holdout, copies, kept, public (with `drawn_first = "public"` public before, holdout
# last)
# B of them in the bank: all but the part drawn last; C classes, K channels, H height, W width, F features,
# T tokens

_ARRAYS = ("x", "y", "ids", "holdout", "public", "canary")
_FACTS = "audit_data.json"
_LEFT_OUT = "num_left_out"
_VOCABULARY = "vocabulary"
_NOTES = "notes"
_IF_THERE = ("copy_of", "target_member", "kept", "lengths")
TOKENIZER_FILE = "tokenizer.json"
"""Beside the arrays of texts."""
SAVED_FILES = (*(f"{key}.npy" for key in _ARRAYS), _FACTS)
"""The files of all saved audit data."""


@dataclass(frozen=True, eq=False)
class AuditData:
    """N samples: audited ones, canaries, holdout, public, and copies of audited ones. Never modified."""

    name: str
    """The name of their source."""
    x: np.ndarray
    """uint8 images (N, K, H, W) in 0..255; float32 images (N, K, H, W) or tables (N, F); or int32 token ids (N, T)."""
    y: np.ndarray
    """(N,) int64 labels in 0..C-1, including label noise and the wrong labels of canaries."""
    ids: np.ndarray
    """(N,) int64: the row of each sample in the source; for canaries from a file, their number in that file, counted on
    after all rows."""
    holdout: np.ndarray
    """(N,) bool: in no training set and never audited; used for nulls."""
    public: np.ndarray
    """(N,) bool: in no training set and never audited; can influence models and methods."""
    canary: np.ndarray
    """(N,) bool: planted to be memorised; excluded from ordinary findings."""
    num_classes: int
    """The number of classes, C."""
    classes: tuple[str, ...]
    """The C class names."""
    mean: tuple[float, ...] | None
    """Per channel, the mean for normalising uint8 images, in units of [0, 1]; None for float data."""
    std: tuple[float, ...] | None
    """Per channel, the standard deviation for normalising uint8 images, in units of [0, 1]; None for float data."""
    copy_of: np.ndarray | None = None
    """(N,) int64: for a copy the index of the audited sample with the same x, for other samples their own index; None
    without copies. A copy is in exactly the training sets of its original, and is never audited."""
    target_member: np.ndarray | None = None
    """(N,) bool: in the training set of the target; None without a target."""
    kept: np.ndarray | None = None
    """(N,) bool: the target's members that are not audited. They are in the training set of every reference, and never
    nulls; None without a target."""
    num_left_out: int = 0
    """With a target: number of non-members of the source that are not used, because a member or a sample of unknown
    membership has the same x."""
    classes_known: bool = True
    """Whether the source states its classes; if not, C is the highest label + 1, which can be too low."""
    lengths: np.ndarray | None = None
    """(N,) int32: the number of real tokens of each text; None for images and tables."""
    vocabulary: Vocabulary | None = None
    """The ids of the texts; None for images and tables."""
    tokenizer: str = ""
    """The JSON text of the tokenizer that made the ids, if it is known. The ids alone are part of the identity."""
    notes: tuple[str, ...] = ()
    """Notes for readers of results on how texts became ids."""

    def __post_init__(self) -> None:
        wrong = [key for key, array in self._arrays().items() if len(array) != len(self.x)]
        if wrong or len(self.classes) != self.num_classes:
            raise ValueError(
                f"audit data: the length of {wrong or 'classes'} differs from {'x' if wrong else 'num_classes'}"
            )

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one sample: (K, H, W), (F,), or a `TokenShape` (T,)."""
        shape = tuple(self.x.shape[1:])
        return shape if self.vocabulary is None else TokenShape(shape[0], self.vocabulary)

    @property
    def kind(self) -> Kind:
        """Whether the samples are images, rows of a table, or texts."""
        return kind_of(self.input_shape)

    @cached_property
    def sha256(self) -> str:
        """Hash (64 hex digits) of the whole audit data: arrays, normalisation, classes."""
        return self._hashed(len(self.y), self.holdout, {"public": self.public} if self.public.any() else {})

    @cached_property
    def bank_sha256(self) -> str:
        """Hash of the samples without the part drawn last, which influences no network.

        Holdout and public samples are hashed under one name, so that a bank keeps its networks when a part is renamed.
        """
        if not self.public.any():
            return self.sha256
        return self._hashed(self.num_in_bank, self.unseen, {})

    @cached_property
    def public_sha256(self) -> str:
        """Hash of the public samples if they were drawn last; empty if `bank_sha256` covers them."""
        if not self.public[self.num_in_bank :].any():
            return ""
        keys = ("x", "y", "ids") if self.lengths is None else ("x", "y", "ids", "lengths")
        return sha256_of_arrays({key: getattr(self, key)[self.public] for key in keys})

    @cached_property
    def num_in_bank(self) -> int:
        """B: the number of samples before the part drawn last; N if there is only one part."""
        if not (self.holdout.any() and self.public.any()):
            return len(self.y)
        return max(int(np.flatnonzero(part)[0]) for part in (self.holdout, self.public))

    @property
    def unseen(self) -> np.ndarray:
        """(N,) bool: holdout and public samples; in no training set and never audited."""
        return self.holdout | self.public

    def shaping(self, num_samples: int | None = None) -> np.ndarray:
        """Returns (N,) bool: the samples that can influence models: public ones, or holdout samples if there are none.

        Args:
            num_samples: how many, from the first, at most half of them; None: all.
        """
        part = self.public if self.public.any() else self.holdout
        return _first(part, num_given(num_samples, int(part.sum())))

    def members_for(self, member: np.ndarray, num_samples: int | None, rng: np.random.Generator) -> np.ndarray:
        """Returns (N,) bool: some of a network's members.

        Args:
            member: (N,) bool, the members.
            num_samples: how many, at most half of them; None: all.
            rng: draws one order of all samples; the first members in it are chosen.
        """
        order = rng.permutation(len(member))
        chosen = np.zeros(len(member), dtype=bool)
        chosen[order[member[order]][: num_given(num_samples, int(member.sum()))]] = True
        return chosen

    def untouched_holdout(self, num_taken: int = 0) -> np.ndarray:
        """Returns (N,) bool: the holdout without its first `num_taken` samples, which influenced a model."""
        return self.holdout & ~_first(self.holdout, num_taken)

    @cached_property
    def is_copy(self) -> np.ndarray:
        """(N,) bool: the samples that are copies of another."""
        if self.copy_of is None:
            return np.zeros(len(self.x), dtype=bool)
        return self.copy_of != np.arange(len(self.x))

    @cached_property
    def is_kept(self) -> np.ndarray:
        """(N,) bool: the target's members that are not audited; all False without a target."""
        return np.zeros(len(self.x), dtype=bool) if self.kept is None else self.kept

    @property
    def coined(self) -> np.ndarray:
        """(N,) bool: the samples whose membership a coin decides: audited ones, their copies, and canaries."""
        return ~self.unseen & ~self.is_kept

    def shared(self, coins: np.ndarray) -> np.ndarray:
        """Returns the coins (N,), with every copy given the coin of its original."""
        return coins if self.copy_of is None else coins[self.copy_of]

    @property
    def files(self) -> tuple[str, ...]:
        """The names of the files that `save` writes."""
        tokenizer = (TOKENIZER_FILE,) if self.tokenizer else ()
        return (*(f"{key}.npy" for key in self._arrays()), *tokenizer, _FACTS)

    def save(self, folder: Path) -> None:
        """Writes one `.npy` per array and `audit_data.json` to `folder`, which is created if necessary."""
        folder.mkdir(parents=True, exist_ok=True)
        for key, array in self._arrays().items():
            np.save(folder / f"{key}.npy", array, allow_pickle=False)
        facts: dict[str, Any] = {"name": self.name, "classes": self.classes, "mean": self.mean, "std": self.std}
        facts |= {_LEFT_OUT: self.num_left_out} if self.num_left_out else {}
        facts |= {_VOCABULARY: self.vocabulary.numbers} if self.vocabulary else {}
        facts |= {_NOTES: self.notes} if self.notes else {}
        if self.tokenizer:
            (folder / TOKENIZER_FILE).write_bytes(self.tokenizer.encode("utf-8"))
        (folder / _FACTS).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, mmap: bool = False, sha256: str = "") -> AuditData:
        """Loads audit data that `save` wrote.

        Args:
            folder: the folder of the files.
            mmap: map the arrays instead of reading them, so that workers share their memory. The
                mapping is copy-on-write: the files cannot change, and torch, which has no read-only
                tensors, accepts the arrays without a warning.
            sha256: its hash, if the files have already been checked; default: computed on demand.

        Raises:
            UserError: the folder contains no whole audit data.
        """
        try:
            facts = read_json(folder / _FACTS)
            mode: Literal["c"] | None = "c" if mmap else None
            for key in _ARRAYS:
                check_file(folder / f"{key}.npy")
            arrays = {key: np.load(folder / f"{key}.npy", mmap_mode=mode, allow_pickle=False) for key in _ARRAYS}
            for key in _IF_THERE:
                if (folder / f"{key}.npy").exists():
                    arrays[key] = np.load(folder / f"{key}.npy", allow_pickle=False)
            mean, std = (None if facts[key] is None else tuple(facts[key]) for key in ("mean", "std"))
            classes = tuple(facts["classes"])
            arrays |= {_LEFT_OUT: int(facts.get(_LEFT_OUT, 0))}
            arrays |= {_VOCABULARY: Vocabulary(*facts[_VOCABULARY])} if _VOCABULARY in facts else {}
            arrays |= {_NOTES: tuple(map(str, facts.get(_NOTES, ())))}
            if (folder / TOKENIZER_FILE).exists():
                arrays |= {"tokenizer": (folder / TOKENIZER_FILE).read_bytes().decode("utf-8")}
            found = cls(**arrays, name=facts["name"], num_classes=len(classes), classes=classes, mean=mean, std=std)
        except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
            raise UserError(
                f"{folder}: audit data are missing or damaged ({error}); expected {_FACTS} and one .npy per array"
            ) from None
        if sha256:
            vars(found)["sha256"] = sha256  # sets the cached property
        return found

    def _hashed(self, count: int, unseen: np.ndarray, more: dict[str, np.ndarray]) -> str:
        """Returns the hash of the first `count` samples; the key `reserve` is frozen, because existing banks use it."""
        arrays = {key: value[:count] for key, value in self._arrays().items() if key not in ("holdout", "public")}
        arrays |= {_VOCABULARY: np.array(self.vocabulary.numbers)} if self.vocabulary else {}
        arrays |= {"reserve": unseen[:count], **more, "num_classes": np.asarray(self.num_classes, np.int64)}
        return sha256_of_arrays(
            arrays | {key: np.asarray(getattr(self, key) or (), np.float64) for key in ("mean", "std")}
        )

    def _arrays(self) -> dict[str, np.ndarray]:
        there = [key for key in _IF_THERE if getattr(self, key) is not None]
        return {key: getattr(self, key) for key in (*_ARRAYS, *there)}


def _first(part: np.ndarray, count: int | None) -> np.ndarray:
    """Returns (N,) bool: the first `count` samples of a part; None: all of them."""
    return part if count is None else part & (np.cumsum(part) <= count)


def holdout_halves(holdout: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Splits a holdout in two, always in the same way: a sample's half depends on its id alone.

    So no attack that was fitted on half A, in whatever release or study, has seen half B.

    Args:
        holdout: (N,) bool.
        ids: (N,) int or str.

    Returns:
        Half A, on which attacks fit, and half B, which provides nulls; (N,) bool each.
    """
    rows = np.flatnonzero(holdout)
    is_second = np.zeros(len(holdout), dtype=bool)
    is_second[rows] = coins_of(seeds.HOLDOUT_HALVES, ids[rows])
    return holdout & ~is_second, is_second


def copies_note(audit_data: AuditData) -> list[str]:
    """Returns a note on copies in the audit data; empty if there are none."""
    if audit_data.copy_of is None:
        return []
    num_copies, num_samples = int(audit_data.is_copy.sum()), len(audit_data.y)
    num_audited = int((audit_data.coined & ~audit_data.canary).sum()) - num_copies
    equal = "equal text" if audit_data.tokenizer else "equal x"
    return [
        f"{num_copies:,} of {num_samples:,} samples repeat{'s' if num_copies == 1 else ''} an audited sample ({equal},"
        " any label): equal samples are in the same training sets, and one of each is audited"
        f" ({num_audited:,} in total)"
    ]


def left_out_note(audit_data: AuditData) -> list[str]:
    """Returns a note on non-members that a study with a target does not use; empty if there are none."""
    if not audit_data.num_left_out:
        return []
    return [
        f"{audit_data.num_left_out:,} non-members of the target are not used: a member, or a sample of unknown status,"
        " has the same x"
    ]
