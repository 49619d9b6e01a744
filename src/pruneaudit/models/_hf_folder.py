"""Reads a folder of Hugging Face Transformers (config.json, model.safetensors) without running anything in it.

Nothing here imports torch or transformers, so that a study can be planned without them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pruneaudit.core.errors import UserError
from pruneaudit.core.files import ADAPTER_CONFIG_FILE, WEIGHTS_FILE, file_sha256, read_json
from pruneaudit.core.identity import canonical_json, sha256_of

CONFIG_FILE = "config.json"
INDEX_FILE = "model.safetensors.index.json"
CODE_KEY = "auto_map"
_NO_ARCHITECTURE = {
    *("_attn_implementation", "_name_or_path", "architectures", "attn_implementation", "dtype", "problem_type"),
    *("torch_dtype", "transformers_version"),
}
"""Keys of config.json that do not determine the network: notes, and what the model `hf` sets itself."""


def check_weights(folder: str) -> Path:
    """Checks that a folder has the weights of a network in one file that can be read safely, and returns the file.

    Raises:
        UserError: there is none, or weights are pickled or divided.
    """
    place = Path(folder)
    if (place / INDEX_FILE).exists():
        raise UserError(
            f"model 'hf': the weights in {folder} are divided into several files ({INDEX_FILE}), expected one; save"
            " them with model.save_pretrained(FOLDER, max_shard_size='1000GB')"
        )
    if not (place / WEIGHTS_FILE).is_file():
        pickled = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in place.glob(pattern))
        found = f"; {pickled[0]} is a pickle, which is never read" if pickled else ""
        raise UserError(
            f"model 'hf': {folder} has no {WEIGHTS_FILE}{found}; save the network with"
            " model.save_pretrained(FOLDER), which writes it"
        )
    return place / WEIGHTS_FILE


def is_of_transformers(folder: Path) -> bool:
    """Whether a folder's config.json names an architecture, as Transformers writes it; a run's own files do not."""
    try:
        config = read_json(folder / CONFIG_FILE)
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and isinstance(config.get("model_type"), str)


def network_in(folder: str) -> str:
    """Returns the architecture of a folder's network, as canonical JSON text without notes.

    Raises:
        UserError: it is no folder or holds an adapter; or config.json is missing or unreadable, names no architecture,
            needs code from the folder, or describes quantised weights.
    """
    file = Path(folder) / CONFIG_FILE
    if not file.parent.is_dir():
        raise UserError(
            f"model 'hf': got folder = '{folder}', expected a folder on this machine with {CONFIG_FILE} and"
            f" {WEIGHTS_FILE}; names on a hub are never looked up, so download it first and give its path"
        )
    if (file.parent / ADAPTER_CONFIG_FILE).exists():  # Transformers would look for the adapter's base on a hub
        raise UserError(
            f"model 'hf': {folder} holds an adapter ({ADAPTER_CONFIG_FILE}), expected a whole network; merge it with"
            " peft_model.merge_and_unload().save_pretrained(FOLDER), and give that folder"
        )
    if not file.is_file():
        raise UserError(f"model 'hf': {folder} has no {CONFIG_FILE}; give a folder that save_pretrained wrote")
    try:
        config = read_json(file)
    except (OSError, ValueError) as error:
        raise UserError(
            f"model 'hf': {file} is not readable ({error}); give a folder that save_pretrained wrote"
        ) from None
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise UserError(f"model 'hf': {file} names no 'model_type'; give a folder that save_pretrained wrote")
    check_plain(config, str(file))
    labels = config.pop("id2label", None)
    config.pop("label2id", None)
    if "num_labels" not in config:
        config["num_labels"] = len(labels) if isinstance(labels, dict) else 2  # the default of Transformers
    return canonical_json({key: value for key, value in config.items() if key not in _NO_ARCHITECTURE})


def check_plain(config: Mapping[str, Any], where: str) -> None:
    """Refuses a configuration that needs code from its folder, or describes quantised weights.

    Args:
        config: the configuration.
        where: its file or setting, for messages.

    Raises:
        UserError: it does.
    """
    if CODE_KEY in config:
        raise UserError(
            f"{where}: its network needs code from its folder ('{CODE_KEY}'), which is never run; use an"
            " architecture of Transformers, or your own function as model"
        )
    if "quantization_config" in config:
        raise UserError(
            f"{where}: its weights are quantised ('quantization_config'), expected float weights; give the folder from"
            " before, and name the compressor in a release"
        )


def folder_sha256(folder: str) -> str:
    """Returns the hash of a folder's architecture and weights, 64 hex digits; notes in config.json do not count.

    Raises:
        UserError: as for `network_in`.
    """
    return sha256_of([json.loads(network_in(folder)), file_sha256(check_weights(folder))])
