"""CLINC150: 22,500 requests to an assistant, in 10 domains of 15 intents each (15,000 train, 3,000 val, 4,500 test).

Larson et al. 2019, "An Evaluation Dataset for Intent Classification and Out-of-Scope Prediction" (EMNLP, D19-1131), CC
BY 3.0. Requests out of scope are left out. Half of the texts have 8 words or fewer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pruneaudit.core.errors import UserError
from pruneaudit.core.files import read_json
from pruneaudit.data.download import RemoteFile
from pruneaudit.data.source import Source
from pruneaudit.data.text_files import TextFiles
from pruneaudit.data.texts import RawTexts, TextOptions

# R rows

_AT = "https://raw.githubusercontent.com/clinc/oos-eval/828f8093932c8fe6ca7936c3d2e52903b1c523de/data/"
FILES = (
    RemoteFile(
        "data_full.json",
        (f"{_AT}data_full.json",),
        2_495_390,
        "sha256:36923c3705a59e08fe9c3883d8bc2dd966ef93e22cb78ac41171782a698d56e0",
    ),
    RemoteFile(
        "domains.json",
        (f"{_AT}domains.json",),
        3_818,
        "sha256:b947b579d3b8e74b06f93b01083d8efaff2888b43a3e362533bd88a6e1211b3a",
    ),
)
"""The published files, at one commit: the texts, and the domain of each intent."""
SPLITS = ("train", "val", "test")
Labels = Literal["domains", "intents"]


class Clinc150Options(TextOptions):
    """The part, the labels, and the tokenizer."""

    path: Path | None = None
    """The folder of the two files; default: the folder of the source among the data sets."""
    labels: Labels = "domains"
    """The classes: the 10 domains, or the 150 intents."""
    split: Literal["all", "train", "val", "test"] = "all"
    """The official part to use; all: training, validation and test part (membership is drawn independently)."""


class Clinc150(Source[Clinc150Options]):
    """The requests to an assistant."""

    is_public = True

    def __init__(self, files: Sequence[RemoteFile] = FILES) -> None:
        """Sets the files of texts and of domains; default: as published."""
        self._files = TextFiles("clinc150", "CLINC150", "https://github.com/clinc/oos-eval", files)

    def load(self, options: Clinc150Options, data_root: Path | None) -> RawTexts:
        """Loads the texts of the parts, in the order of the file."""
        texts, domains = self._files.found(options.path, data_root)
        splits = SPLITS if options.split == "all" else (options.split,)
        domain_of = _domains(domains)
        rows = [row for split in splits for row in _rows(texts, split)]
        return labelled(
            [(text, domain_of[intent], intent) for text, intent in rows], domain_of, options, options.labels
        )

    def whereabouts(self, data_root: Path | None) -> str:
        """Returns the page of the data set, the size of its files, and the folder of a local copy."""
        return self._files.whereabouts(data_root)


def labelled(
    rows: Sequence[tuple[str, str, str]],
    domain_of: Mapping[str, str],
    options: TextOptions,
    labels: Labels,
    **more: Any,
) -> RawTexts:
    """Returns texts with the labels that the user asks for.

    Args:
        rows: text, domain and intent of R rows.
        domain_of: the domain of each intent of the data set.
        options: how texts become ids.
        labels: domains or intents; their names are sorted.
        more: further fields of `RawTexts`.
    """
    by_intent = labels == "intents"
    classes = sorted(domain_of) if by_intent else sorted(set(domain_of.values()))
    number = {name: label for label, name in enumerate(classes)}
    y = np.array([number[row[2 if by_intent else 1]] for row in rows], np.int64)
    return RawTexts(tuple(row[0] for row in rows), y, tuple(classes), options, **more)


def _domains(path: Path) -> dict[str, str]:
    """Returns the domain of each intent."""
    content = _read(path)
    return {str(intent): str(domain) for domain, intents in content.items() for intent in intents}


def _rows(path: Path, split: str) -> list[tuple[str, str]]:
    """Returns text and intent of each row of a part."""
    return [(str(text), str(intent)) for text, intent in _read(path)[split]]


def _read(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}): download it again") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a table of parts: download it again")
    return content


SOURCE = Clinc150()
