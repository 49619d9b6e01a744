"""Users' folders of Transformers: their architecture, their tokenizer, and the order of their classes.

`models/hf.py` describes such a folder, and the cases that are refused. This file checks two further risks of users' own
networks: the classes of the data may be in another order than the network's, and another tokenizer may have made the
ids. Both would make an audit wrong without any error.
"""

# N samples, C classes

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pruneaudit.core.errors import UserError
from pruneaudit.core.files import WEIGHTS_FILE, read_json
from pruneaudit.data.audit_data import AuditData
from pruneaudit.data.kinds import TokenShape
from pruneaudit.data.source import RawSamples
from pruneaudit.data.texts import RawTexts
from pruneaudit.data.tokenizing import FILE as TOKENIZER_FILE
from pruneaudit.data.tokenizing import TextTokenizer, read_tokenizer
from pruneaudit.models._hf_folder import CONFIG_FILE, check_weights, is_of_transformers, network_in
from pruneaudit.models.hf import require_transformers

_KEPT_FILES = (CONFIG_FILE, TOKENIZER_FILE, "tokenizer_config.json", "special_tokens_map.json")
"""Files of a folder that still hold after a compression."""
NUM_COMPARED = 500
"""Texts on which two tokenizers are compared."""
_CLASSIFIERS = ("ForSequenceClassification", "ForImageClassification")
"""Ends of the names of classes that classify."""
_NO_NAME = re.compile(r"LABEL_\d+")
_NO_DIFFERENCE = ("truncation", "padding", "version")
"""Parts of a tokenizer's file that change no id of a text."""


def folder_of(file: Path) -> Path | None:
    """The folder of Transformers whose weights a file holds; None if it is none."""
    folder = file.parent
    return folder if file.name == WEIGHTS_FILE and is_of_transformers(folder) else None


def architecture_of(files: Sequence[Path]) -> dict[str, Any]:
    """The configuration that the folders of all files have.

    Raises:
        UserError: a file is in no folder of Transformers, its folder needs code or holds no classifier, or two have
            another architecture.
    """
    found: dict[str, Path] = {}
    for file in files:
        folder = folder_of(file)
        if folder is None:
            if is_of_transformers(file.parent):
                raise UserError(
                    f"{file}: got another file than {WEIGHTS_FILE} in a folder of Transformers, expected that; save the"
                    " network with model.save_pretrained(FOLDER), which writes it, or give the function that builds the"
                    " network: --factory MODULE:FUNCTION"
                )
            raise UserError(
                f"factory: got none, and {file} is not the {WEIGHTS_FILE} of a folder with a {CONFIG_FILE} of"
                " Transformers; give the function that builds the network: --factory MODULE:FUNCTION"
            )
        check_weights(str(folder))
        _check_classifies(folder)
        found.setdefault(network_in(str(folder)), folder)
    if len(found) != 1:
        first, second = [*found.values()][:2]
        raise UserError(
            f"weights: {first / CONFIG_FILE} and {second / CONFIG_FILE} are of different architectures, expected "
            f"models of one architecture; collect them separately"
        )
    config: dict[str, Any] = json.loads(next(iter(found)))
    return config


def _check_classifies(folder: Path) -> None:
    """Refuses a network without the layers that classify, such as a language model.

    Raises:
        UserError: config.json names its class, and it is no classifier.
    """
    named = _config(folder).get("architectures")
    if isinstance(named, list) and named and not any(str(name).endswith(_CLASSIFIERS) for name in named):
        raise UserError(
            f"weights: {folder} holds a {named[0]}, expected a classifier (a class ...{_CLASSIFIERS[0]}): give"
            " the folder of the fine-tuned network"
        )


def shape_in(config: Mapping[str, Any]) -> tuple[int, ...]:
    """The shape of one sample of a network, as its configuration says: (C, H, W), or that of a text.

    Args:
        config: from `architecture_of`.

    Raises:
        UserError: transformers is not installed, or the configuration says too little.
    """
    require_transformers()
    from pruneaudit.models._hf_config import largest_sample

    return largest_sample(config)


def shape_like(shape: tuple[int, ...], known: tuple[int, ...] | None) -> tuple[int, ...]:
    """A user's shape of one sample; (T,) is that of a text if the network takes texts."""
    return TokenShape(shape[0], known.vocabulary) if isinstance(known, TokenShape) and len(shape) == 1 else shape


def kept_files(folder: Path | None) -> tuple[Path, ...]:
    """The files of a network's folder that still hold after a compression."""
    if folder is None:
        return ()
    return tuple(folder / name for name in _KEPT_FILES if (folder / name).is_file())


def with_tokenizer_of(raw: RawSamples, folder: Path | None) -> RawSamples:
    """Texts with the tokenizer of a network's folder, unless the user named another; other samples do not change."""
    if folder is None or not isinstance(raw, RawTexts) or not (folder / TOKENIZER_FILE).is_file():
        return raw
    if "tokenizer" in raw.options.model_fields_set:
        return raw
    return dataclasses.replace(raw, options=raw.options.model_copy(update={"tokenizer": str(folder)}))


def check_tokenizer(data: AuditData, folder: Path) -> None:
    """Checks that the ids of texts are those that the tokenizer of a network's folder gives.

    Ids without a known tokenizer pass, and so does a folder without one.

    Args:
        data: any audit data.
        folder: the network's folder.

    Raises:
        UserError: another tokenizer made the ids.
    """
    if not data.tokenizer or not (folder / TOKENIZER_FILE).is_file():
        return
    assert data.vocabulary is not None and data.lengths is not None
    own, other = read_tokenizer(folder), TextTokenizer(data.tokenizer, data.vocabulary)
    if _essence(own.json) == _essence(other.json):
        return
    length = data.x.shape[1]
    rows = [ids[:num] for ids, num in zip(data.x[:NUM_COMPARED], data.lengths, strict=False)]
    texts = [other.decode(row) for row in rows]
    texts = [*texts, *map(str.swapcase, texts)]
    first, second = (each.encode(texts, max(length, 8)) for each in (own, other))
    differ = (first[1] != second[1]) | (first[0] != second[0]).any(axis=1)
    if differ.any() or own.vocabulary.padding != other.vocabulary.padding:
        raise UserError(
            f"tokenizer: that of the data gives other ids than {folder / TOKENIZER_FILE}, the network's own, for "
            f"{differ.sum():,} of {len(texts):,} texts; name it in the source: text:FILE:tokenizer={folder}"
        )


def with_labels_of(data: AuditData, folder: Path, note: Callable[[str], None]) -> AuditData:
    """The data with the classes of a network's folder, in its order.

    Args:
        data: all samples of a source.
        folder: the network's folder.
        note: called if the classes have other names, so that only their order can be taken.

    Raises:
        UserError: the data have other classes, or some of the same names under other numbers.
    """
    names, num_classes = _names(folder), _num_labels(folder)
    order = _order(data.classes, names, num_classes)
    if order is not None:
        known = names or tuple(map(str, range(num_classes)))
        return dataclasses.replace(data, y=np.array(order)[data.y], classes=known, num_classes=num_classes)
    if data.num_classes == num_classes:
        _check_shared(data.classes, names, folder)
        if names:
            note(
                f"{folder / CONFIG_FILE}: names the classes {_few(names)}, but the data name them "
                f"{_few(data.classes)}; they are matched in this order"
            )
        return data
    if data.num_classes < num_classes:
        mend = f"write the labels as the network's numbers, 0..{num_classes - 1}"
    else:
        mend = "give the data with which the network was trained, and others of the same classes"
    raise UserError(
        f"{folder / CONFIG_FILE}: its network has {num_classes} classes ({_few(names) or 'without names'}), the data"
        f" {data.num_classes} ({_few(data.classes)}); {mend}"
    )


def check_labels(classes: Sequence[str], folder: Path) -> None:
    """Checks that a network's folder does not name its classes in another order than the data.

    Args:
        classes: the class names of the data.
        folder: the network's folder.

    Raises:
        UserError: it does.
    """
    names = _names(folder)
    order = _order(classes, names, len(names)) if names else None
    if order is None:
        _check_shared(classes, names, folder)
    if order is not None and order != list(range(len(classes))):
        raise UserError(
            f"{folder / CONFIG_FILE}: the network's classes are {_few(names)} in this order, those of the data"
            f" {_few(classes)}; write the labels in the data as the network's numbers, 0..{len(names) - 1}"
        )


def _check_shared(classes: Sequence[str], names: Sequence[str], folder: Path) -> None:
    """Checks that the names that data and network share have the same numbers in both."""
    for number, name in enumerate(classes):
        if name in names and names.index(name) != number:
            unknown = next(each for each in classes if each not in names)
            raise UserError(
                f"{folder / CONFIG_FILE}: the class '{name}' is number {names.index(name)} of the network and {number}"
                f" of the data, and '{unknown}' is none of the network's; name the labels as it does ({_few(names)})"
            )


def _order(classes: Sequence[str], names: Sequence[str], num_classes: int) -> list[int] | None:
    """The network's number of each class, by name or as numbers; None if neither is known."""
    if set(classes) <= set(names):
        return [names.index(each) for each in classes]
    if all(re.fullmatch(r"\d+", each) and int(each) < num_classes for each in classes):
        return list(map(int, classes))
    return None


def _names(folder: Path) -> tuple[str, ...]:
    """The names of a network's classes, in order; none if it has only numbers."""
    labels = _config(folder).get("id2label")
    if not isinstance(labels, Mapping) or sorted(labels) != sorted(map(str, range(len(labels)))):
        return ()
    names = tuple(str(labels[str(number)]) for number in range(len(labels)))
    return () if all(map(_NO_NAME.fullmatch, names)) or len(set(names)) < len(names) else names


def num_labels(folder: Path | None) -> int | None:
    """The number of classes of a network's folder."""
    return None if folder is None else _num_labels(folder)


def _num_labels(folder: Path) -> int:
    return int(json.loads(network_in(str(folder)))["num_labels"])


def _config(folder: Path) -> dict[str, Any]:
    try:
        found = read_json(folder / CONFIG_FILE)
    except (OSError, ValueError):  # whoever builds the network says so
        return {}
    return found if isinstance(found, dict) else {}


def _essence(text: str) -> dict[str, Any]:
    return {key: value for key, value in json.loads(text).items() if key not in _NO_DIFFERENCE}


def _few(names: Sequence[str]) -> str:
    return ", ".join(names if len(names) <= 4 else [*names[:3], f"... ({len(names)})"])
