"""The configuration of a network of Transformers, from the study or a folder and from the data.

A configuration that contradicts the data is refused before any training.
"""

# T positions of a text, C classes

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pruneaudit.core.errors import UserError, in_one_line
from pruneaudit.core.registry import nearest
from pruneaudit.data.kinds import TokenShape, Vocabulary
from pruneaudit.models._hf_folder import check_plain

_MOST_TOKENS = 128
_POSITIONS, _PADDING = "max_position_embeddings", "pad_token_id"
POSITIONS_AFTER_PADDING = frozenset(
    {
        *("camembert", "data2vec-text", "ibert", "longformer", "luke", "mpnet", "roberta", "roberta-prelayernorm"),
        *("xlm-roberta", "xlm-roberta-xl", "xmod"),
    }
)
"""Architectures that number positions from the padding id + 1: the first rows of their table are never used."""


def config_of(given: Mapping[str, Any], input_shape: tuple[int, ...], num_classes: int, strict: bool = True) -> Any:
    """Makes the configuration, a `PreTrainedConfig`.

    Args:
        given: what the study or the folder states; `model_type` is among it.
        input_shape: (C, H, W) of images, or the shape of a text, which knows the vocabulary.
        num_classes: C.
        strict: whether to refuse keys that the architecture does not know.

    Raises:
        UserError: the architecture, a key or a value is unknown or wrong, or contradicts the data.
    """
    from transformers import CONFIG_MAPPING, AutoConfig

    kind = given["model_type"]
    check_plain(given, "model 'hf': config")
    if given.get(_PADDING, 0) is None:  # GPT-2 and others have no padding token until somebody pads
        given = {key: value for key, value in given.items() if key != _PADDING}
    _check_kind(kind, input_shape)
    architecture = CONFIG_MAPPING[kind]
    known = {*architecture().to_dict(), *architecture.attribute_map, "num_labels"}
    unknown = [key for key in given if key not in known]
    if strict and unknown:
        raise UserError(
            f"model 'hf': config: unknown key '{unknown[0]}'{nearest(unknown[0], known)}, expected a key of '{kind}'"
            " (Transformers lists them); with strict = false it is ignored"
        )
    facts = {"num_labels": num_classes}
    facts |= (
        _facts_of_texts(kind, given, input_shape)
        if isinstance(input_shape, TokenShape)
        else _facts_of_images(input_shape)
    )
    own_name = architecture.attribute_map  # such as n_positions for max_position_embeddings
    stated = {own_name.get(key, key) for key in given}
    silent = {key: value for key, value in facts.items() if key in known and own_name.get(key, key) not in stated}
    values = {**silent, **{key: value for key, value in given.items() if key != "model_type"}}
    try:
        config = AutoConfig.for_model(kind, **values)
    except Exception as error:  # each architecture checks its values in a way of its own
        raise UserError(f"model 'hf': config of '{kind}': {in_one_line(error)}") from error
    if config.num_labels != num_classes:
        raise UserError(
            f"model 'hf': its network has {config.num_labels} classes (num_labels), but the data have {num_classes}; "
            f"leave"
            " num_labels out, or with a folder set new_head = true"
        )
    if isinstance(input_shape, TokenShape):
        _check_text(kind, config, input_shape)
    return config


def _check_kind(kind: str, input_shape: tuple[int, ...]) -> None:
    """Refuses architectures that do not classify these inputs."""
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES,
        MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
    )

    what, fitting, example = (
        ("texts", MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES, "bert")
        if isinstance(input_shape, TokenShape)
        else ("images", MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES, "vit")
    )
    if kind not in fitting:
        raise UserError(
            f"model 'hf': got model_type = '{kind}'{nearest(kind, fitting)}, expected an architecture of Transformers"
            f" that classifies {what}, such as '{example}'"
        )


def _facts_of_images(input_shape: tuple[int, ...]) -> dict[str, Any]:
    """What images say about their network."""
    channels, height, width = input_shape
    return {"num_channels": channels, "image_size": height if height == width else [height, width]}


def _facts_of_texts(kind: str, given: Mapping[str, Any], input_shape: TokenShape) -> dict[str, Any]:
    """What texts say about their network; positions only where the architecture has a table of them."""
    vocabulary = input_shape.vocabulary
    padding = given.get(_PADDING, vocabulary.padding)
    before = padding + 1 if kind in POSITIONS_AFTER_PADDING else 0
    return {
        "vocab_size": vocabulary.size,
        _PADDING: vocabulary.padding,
        _POSITIONS: input_shape[0] + before,
    }


def _check_text(kind: str, config: Any, input_shape: TokenShape) -> None:
    """Refuses a network for another vocabulary, or for shorter texts."""
    vocabulary, length = input_shape.vocabulary, input_shape[0]
    size, padding = getattr(config, "vocab_size", None), getattr(config, _PADDING, None)
    if size is not None and size < vocabulary.size:
        raise UserError(
            f"model 'hf': its network knows {size:,} tokens (vocab_size), the vocabulary of the data has"
            f" {vocabulary.size:,}; encode the texts with the network's own tokenizer, or leave vocab_size out"
        )
    if padding != vocabulary.padding:
        raise UserError(
            f"model 'hf': its network pads with id {padding} ({_PADDING}), the data with {vocabulary.padding}; encode"
            f" the texts with the network's own tokenizer, or leave {_PADDING} out"
        )
    positions = getattr(config, _POSITIONS, None)
    if positions is None:
        return
    usable = positions - (padding + 1 if kind in POSITIONS_AFTER_PADDING else 0)
    if usable < length:
        raise UserError(
            f"model 'hf': its network has {usable:,} positions ({_POSITIONS}), the texts have {length:,}; cut the texts"
            f" to {usable:,} tokens in data.source, or raise {_POSITIONS}"
        )


def largest_sample(given: Mapping[str, Any]) -> tuple[int, ...]:
    """Returns the shape of the largest sample that a network takes: (C, H, W), or that of a text of at most 128 tokens.

    Args:
        given: a whole configuration; `model_type` is among it.

    Raises:
        UserError: the architecture classifies neither, or the configuration does not say how large its samples are.
    """
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES

    kind = given["model_type"]
    try:
        config = AutoConfig.for_model(kind, **{key: value for key, value in given.items() if key != "model_type"})
    except Exception as error:  # each architecture checks its values in a way of its own
        raise UserError(f"model 'hf': config of '{kind}': {in_one_line(error)}") from error
    if kind in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES:
        size, channels = getattr(config, "image_size", None), getattr(config, "num_channels", None)
        if not size or not channels:
            raise UserError(f"model 'hf': the configuration of '{kind}' has no image_size; give samples: --data")
        sides = tuple(size) if isinstance(size, list | tuple) else (size, size)
        return channels, *sides
    padding = getattr(config, _PADDING, None) or 0
    before = padding + 1 if kind in POSITIONS_AFTER_PADDING else 0
    positions = getattr(config, _POSITIONS, None) or _MOST_TOKENS
    return TokenShape(min(_MOST_TOKENS, positions - before), Vocabulary(config.vocab_size, padding, padding))
