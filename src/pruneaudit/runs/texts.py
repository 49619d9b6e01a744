"""Texts of a run's samples, from the token ids and the tokenizer in its audit data."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

from pruneaudit.core.files import read_bytes
from pruneaudit.data.audit_data import TOKENIZER_FILE
from pruneaudit.data.tokenizing import decoded


def texts_of(place: Path, wanted: Collection[str]) -> dict[str, str]:
    """Returns texts by sample id, as the tokenizer makes them of the ids: networks never saw more of them.

    Args:
        place: the folder of the audit data.
        wanted: ids of samples.

    Returns:
        None of images and tables, of ids whose tokenizer is unknown, or without `tokenizers`.

    Raises:
        OSError, ValueError: a file is damaged.
    """
    if not wanted or not (place / TOKENIZER_FILE).is_file():
        return {}
    x, ids, lengths = (np.load(place / f"{key}.npy", allow_pickle=False) for key in ("x", "ids", "lengths"))
    rows = [row for row, sample in enumerate(ids) if str(sample) in wanted]
    tokenizer = read_bytes(place / TOKENIZER_FILE).decode("utf-8")
    texts = decoded(tokenizer, [x[row, : lengths[row]].tolist() for row in rows])
    return {str(ids[row]): text for row, text in zip(rows, texts, strict=True) if text}
