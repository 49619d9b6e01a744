"""Builds classifiers of Hugging Face Transformers, offline, and reads their folders.

Forward hooks on the network give each text its own positions, and take the logits from the output. So weights keep the
names that they have in Transformers.
"""

# B batch, T positions, C classes

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pruneaudit.core.errors import UserError, in_one_line
from pruneaudit.core.files import WEIGHTS_FILE
from pruneaudit.data.inputs import IDS
from pruneaudit.data.kinds import TokenShape
from pruneaudit.models._hf_config import POSITIONS_AFTER_PADDING, config_of
from pruneaudit.models._hf_folder import CONFIG_FILE
from pruneaudit.models._hf_options import HfOptions
from pruneaudit.models._outputs import LogitsAlone


class PositionsOfEach:
    """A hook before a network that numbers the positions of each text: (B, T) instead of (1, T).

    A table that is looked up once for a whole batch has no gradient of single texts, as DP-SGD needs.
    """

    def __call__(self, network: nn.Module, args: Any, kwargs: dict[str, Any]) -> Any:
        """Adds `position_ids` to the arguments if they have none."""
        ids = kwargs.get(IDS)
        if ids is None or kwargs.get("position_ids") is not None:
            return None
        return args, {**kwargs, "position_ids": torch.arange(ids.shape[1], device=ids.device).expand(ids.shape)}


def from_config(options: HfOptions, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """Builds a network with new weights, drawn from torch's global generator, in training mode.

    Args:
        options: with a configuration.
        input_shape: (C, H, W) of images, or the shape of a text, which knows the vocabulary.
        num_classes: C.

    Raises:
        UserError: the configuration is wrong or does not fit the data.
    """
    with _offline():
        config = config_of(options.config, input_shape, num_classes, options.strict)
        network = _made(
            lambda: _auto_class(input_shape).from_config(
                config,
                attn_implementation=_attention(options, config, input_shape),
                dtype=torch.float32,
                trust_remote_code=False,
            ),
            f"config of '{options.config['model_type']}'",
        )
    return _answering(network, input_shape, num_classes)


def from_folder(
    options: HfOptions, settled: HfOptions, input_shape: tuple[int, ...], num_classes: int
) -> tuple[nn.Module, frozenset[str]]:
    """Builds the network of a folder with its weights, in training mode.

    Args:
        options: with a folder.
        settled: the same with the folder's configuration instead.
        input_shape: as for `from_config`.
        num_classes: C.

    Returns:
        The network, and the names of those of its tensors that are not the folder's: none, or those of a new head.

    Raises:
        UserError: the folder's weights are incomplete, or its network does not fit the data.
    """
    with _offline():
        config = config_of(settled.config, input_shape, num_classes, settled.strict)
        network, report = _made(
            lambda: _auto_class(input_shape).from_pretrained(
                options.folder,
                config=config,
                attn_implementation=_attention(options, config, input_shape),
                dtype=torch.float32,
                ignore_mismatched_sizes=True,  # reported, and refused below
                local_files_only=True,
                output_loading_info=True,
                trust_remote_code=False,
                use_safetensors=True,
            ),
            options.folder,
        )
    new = _names_of_new_head(report, network, options)
    return _answering(network.train(), input_shape, num_classes), new


def state_in_folder(network: nn.Module, folder: Path) -> dict[str, Tensor] | None:
    """Reads the weights of a folder by the names that a network has in memory, which can differ from those in the file.

    Args:
        network: any network; one that is not of Transformers has the names of its files.
        folder: the folder of a file of weights.

    Returns:
        The state dict; None if the network or the folder is not of Transformers, or weights are missing, left over or
        of another shape.
    """
    transformers = sys.modules.get("transformers")  # whoever built such a network has imported it
    if transformers is None or not isinstance(network, transformers.PreTrainedModel):
        return None
    if not (folder / CONFIG_FILE).is_file() or not (folder / WEIGHTS_FILE).is_file():
        return None
    with _offline(), torch.random.fork_rng(devices=[]):
        try:
            found, report = type(network).from_pretrained(
                folder,
                config=network.config,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,
                local_files_only=True,
                output_loading_info=True,
                use_safetensors=True,
            )
        except Exception:  # whoever asked tries the file itself next, and says what does not fit
            return None
    differ = any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    state: dict[str, Tensor] = found.state_dict()
    return None if differ else state


def _names_of_new_head(report: Mapping[str, Any], network: nn.Module, options: HfOptions) -> frozenset[str]:
    """Checks what the folder lacked or had too much; returns the names of the tensors of a new head.

    With `new_head` the layers outside the encoder may differ, and so may a pooling layer, which language models lack.

    Raises:
        UserError: weights are missing, left over or of another shape elsewhere, or without `new_head`.
    """
    body = f"{network.base_model_prefix}."

    def is_of_head(name: str) -> bool:
        return not name.startswith(body) or ".pooler." in name

    missing, left_over = report["missing_keys"], report["unexpected_keys"]
    mismatched = {name if isinstance(name, str) else name[0] for name in report["mismatched_keys"]}
    found = ((missing, "lacks {}"), (mismatched, "has another shape of {}"), (left_over, "has also {}"))
    for names, words in found:
        wrong = sorted(name for name in names if not (options.new_head and is_of_head(name)))
        if wrong:
            more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
            mend = "set new_head = true" if all(map(is_of_head, wrong)) else "save it again with save_pretrained"
            raise UserError(
                f"model 'hf': {options.folder} {words.format(wrong[0])}{more}, expected exactly the weights of its"
                f" {CONFIG_FILE}; {mend}"
            )
    if report.get("error_msgs"):
        raise UserError(f"model 'hf': {options.folder}: {in_one_line(ValueError(report['error_msgs'][0]))}")
    if not options.new_head:
        return frozenset()
    return frozenset(name for name in network.state_dict() if not name.startswith(body) or name in missing)


def _auto_class(input_shape: tuple[int, ...]) -> Any:
    from transformers import AutoModelForImageClassification, AutoModelForSequenceClassification

    return (
        AutoModelForSequenceClassification if isinstance(input_shape, TokenShape) else AutoModelForImageClassification
    )


def _attention(options: HfOptions, config: Any, input_shape: tuple[int, ...]) -> str:
    """The way to compute attention: as the options say, if the architecture has it, else step by step."""
    network = _auto_class(input_shape)._model_mapping[type(config)]
    return options.attention if getattr(network, "_supports_sdpa", False) else "eager"


def _made(make: Any, what: str) -> Any:
    """Calls Transformers; whatever it raises becomes one line."""
    try:
        return make()
    except Exception as error:  # networks check their configuration, and files their content, in many ways
        raise UserError(f"model 'hf': {what}: {in_one_line(error)}") from error


@contextmanager
def _offline() -> Iterator[None]:
    """Within it, Transformers looks nothing up on a hub and prints no progress and no remarks."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when it is imported
    from transformers.utils import logging

    level, shows_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shows_bars:
            logging.enable_progress_bar()


def _answering(network: Any, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """The network with the hooks that it needs."""
    network.register_forward_hook(LogitsAlone(num_classes))
    if isinstance(input_shape, TokenShape):
        network.takes_any_length = True  # training may leave out columns that are padding for a whole batch
        numbers_itself = network.config.model_type in POSITIONS_AFTER_PADDING  # by its ids, text by text
        if not numbers_itself and "position_ids" in inspect.signature(network.forward).parameters:
            network.register_forward_pre_hook(PositionsOfEach(), with_kwargs=True)
    answering: nn.Module = network
    return answering
