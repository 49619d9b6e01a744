"""Compression: one file per method, or per family of small methods. Masks and codes are separate from the network."""

from typing import Any

from pruneaudit.compression.compressor import Compressor
from pruneaudit.core.registry import Registry

ELSEWHERE = {
    name: f"mia_prune's {name} is {ours} here, with its settings {ours}:preset=mia_prune"
    for name, ours in (
        ("l1unstructure", "l1unstructured"),
        ("l1structure", "l1structured"),
        ("l2structure", "l2structured"),
    )
}
"""Names of mia_prune that differ from ours by a letter. They are refused with advice, because its settings differ from
our defaults."""

COMMON_WORDS = {
    "magnitude": "here: l1unstructured",
    "l1": "l1unstructured removes weights, l1structured channels",
    "l2": "l2structured removes channels",
    "deep_compression": "here: deep-compression",
    "quantize": "rtn rounds weights, static8 also the inputs of layers",
    "int8": "rtn:bits=8 rounds weights, static8 also the inputs of layers",
    "ptq": "rtn or gptq for weights, static8 also for the inputs of layers",
    "ternary": "here: rtn:bits=ternary",
}
"""Common words for compressors, with their names here."""

COMPRESSORS: Registry[Compressor[Any]] = Registry(
    "compressor",
    "pruneaudit.compression",
    "COMPRESSOR",
    infrastructure={
        "calibrated",
        "activations",
        "attention",
        "storage_size",
        "chain",
        "channel_check",
        "channel_choice",
        "channel_graph",
        "channel_masks",
        "channel_silence",
        "codebooks",
        "compressed",
        "compressor",
        "corrected_grids",
        "error_correction",
        "decompositions",
        "densities",
        "drop_and_grow",
        "factored",
        "factors",
        "gamma_penalty",
        "grid_options",
        "grid_rules",
        "grids",
        "kept",
        "kept_weights",
        "latency",
        "layer_inputs",
        "layer_sizes",
        "linear_layers",
        "mask",
        "mask_options",
        "matrices",
        "moving_mask",
        "parametrized",
        "patterns",
        "quantised_training",
        "random_inputs",
        "schedules",
        "selection",
        "macs",
        "smaller_attention",
        "state",
        "structure",
        "structured",
        "teaching",
        "unit_check",
        "unit_choice",
        "unit_importance",
        "units",
    },
    elsewhere=ELSEWHERE | COMMON_WORDS,
    shared={
        "filter_norm": ("l1structured", "l2structured"),
        "optimal_brain": ("sparsegpt", "obc"),
        "unit_pruning": ("heads", "ffn"),
    },
)
