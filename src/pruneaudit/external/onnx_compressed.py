"""Writes a network that was compressed outside a study as ONNX, with a note in a separate file."""

# N inputs, B batch

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from pruneaudit.compression.parametrized import copied
from pruneaudit.compression.state import not_rebuilt
from pruneaudit.core.errors import UserError
from pruneaudit.data.inputs import answered, contiguous, first_of, input_facts
from pruneaudit.external.folder import beside, new_files
from pruneaudit.external.given import inputs_of_user
from pruneaudit.external.onnx_file import NOTE, OnnxFacts, check_installed, write_onnx
from pruneaudit.external.onnx_inputs import BATCH, OUTPUT, ComparedInputs, input_note, inputs_of, name_of
from pruneaudit.external.output import check_new
from pruneaudit.external.texts import num_ids_of
from pruneaudit.external.tuning import tried
from pruneaudit.models._arguments import take_what_it_names
from pruneaudit.models._outputs import described_output, logits_in

if TYPE_CHECKING:
    from pruneaudit.external.compressed_model import CompressedModel


NO_SHAPE = (
    "onnx: the shape of an input is unknown; give inputs, or shape=(3, 32, 32), on the command line"
    " --example-shape 3,32,32"
)
"""The error without inputs and shape."""


def check_onnx_file(file: Path, force: bool) -> None:
    """Checks that an ONNX file can be written, before anything is computed for it.

    Raises:
        UserError: it exists and must not be replaced, or a package is missing.
    """
    check_installed()
    for path in (file, beside(file, NOTE)):
        check_new(path, force, "model.onnx", "--onnx")


def write_compressed(
    compressed: CompressedModel, file: Path, inputs: Any, shape: Sequence[int] | None, force: bool
) -> OnnxFacts:
    """Writes a compressed network; `CompressedModel.to_onnx` describes the arguments."""
    check_onnx_file(file, force)
    network = copied(compressed.model).cpu().eval()
    state = {name: tensor.cpu() for name, tensor in compressed.state.items()}
    if wrong := not_rebuilt(network, state):
        raise UserError(f"onnx: '{wrong[0]}' differs from its compressed state; compress the network again")
    chosen = _inputs(network, compressed.summary, inputs, shape)
    with torch.no_grad():
        logits = logits_in(answered(network, first_of(chosen.x, 2)))
    if not isinstance(logits, torch.Tensor):
        raise UserError(
            f"onnx: the network returned {described_output(logits)}, expected a tensor of logits; return only them, or"
            " a dict with the key 'logits'"
        )
    with new_files(file, (NOTE,)) as staging:
        facts = write_onnx(network, state, chosen, staging / file.name)
        note = {
            "format": "onnx",
            "input": input_note(chosen.x, facts.fixed_length),
            "output": {"name": OUTPUT, "shape": [BATCH, *logits.shape[1:]]},
            "onnx": facts.described(),
            "summary": {key: value for key, value in compressed.summary.items() if key != "files"},
        }
        beside(staging / file.name, NOTE).write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")
    return facts


def _inputs(network: nn.Module, summary: Mapping[str, Any], given: Any, shape: Sequence[int] | None) -> ComparedInputs:
    """What to compare on: the user's inputs, then the same with noise; without any, random numbers.

    Raises:
        UserError: the shape is unknown, or the network fails on the inputs.
    """
    weight = next(network.parameters())
    known: Mapping[str, Any] = summary.get("input") or {}
    if given is not None:
        x = contiguous(inputs_of_user(given, "cpu", weight.dtype, "inputs"))
        if isinstance(x, torch.Tensor) and (
            x.ndim < 2 or not len(x) or (x.is_floating_point() and not x.isfinite().all())
        ):
            raise UserError(f"inputs: got shape {tuple(x.shape)}, expected finite inputs (N, ...), N above 0")
        facts = input_facts(x)
        chosen = inputs_of({"calibration": x}, facts["shape"], getattr(torch, facts["type"]))
    else:
        lengths = tuple(shape or known.get("shape", ()))
        if not lengths:
            raise UserError(NO_SHAPE)
        num_ids = 0
        if "names" in known:  # texts
            take_what_it_names(network)
            num_ids = num_ids_of(network, lengths[0]) or 2
        chosen = inputs_of({}, lengths, getattr(torch, known.get("type", name_of(weight.dtype))), num_ids)
    if isinstance(chosen.x, Mapping):
        take_what_it_names(network)
    tried(network, first_of(chosen.x, 2), f"inputs of shape {tuple(input_facts(chosen.x)['shape'])}")
    return chosen
