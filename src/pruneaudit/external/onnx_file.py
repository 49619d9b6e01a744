"""Writes the audited network as an ONNX file, after comparing both in onnxruntime.

Weights on a grid are stored as codes and scales, shared values once, and activations of 8 bits as int8 kernels
(`onnx_codes.py`). The file is written only if onnxruntime agrees with the network (`onnx_check.py`). The file contains
no samples: the graph is traced with zeros.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from pruneaudit.core.errors import UserError, in_one_line
from pruneaudit.external.onnx_check import (
    WEIGHTS_ONCE,
    Agreement,
    Times,
    compare,
    fixed_length,
    int8_kernels,
    session_of,
    times,
)
from pruneaudit.external.onnx_codes import activations, fold_into, put_activations, put_codes, without_rounding
from pruneaudit.external.onnx_graph import float_graph, fold_norms
from pruneaudit.external.onnx_inputs import ComparedInputs

NOTE = ".json"
"""Suffix of the file with the note."""
ONNX_MODULES = ("onnx", "onnxscript", "onnxruntime")


@dataclass(frozen=True)
class OnnxFacts:
    """What a file holds, and how it compares with its network."""

    agreement: Agreement
    """Onnxruntime against the network."""
    stored: Mapping[str, str]
    """By parameter name the type of the codes of each weight that has codes; `float32` for weights without codes."""
    num_bytes: int
    """Size of the file."""
    float_bytes: int
    """Size of the same network with float weights."""
    num_kernels: int
    """How many layers onnxruntime computes with integers, on this machine."""
    num_rounded: int
    """How many layers have int8 activations."""
    times: Times | None
    """Time as stored and with float weights; None if all weights are float."""
    times_computed_once: Times | None
    """The same if onnxruntime computes float weights of codes once, when loading; None without codes, or with int8
    activations."""
    fixed_length: int | None = None
    """Texts: how many tokens each must have; None: any number, up to what the network takes."""

    def described(self) -> dict[str, Any]:
        """The facts as JSON data."""
        found: dict[str, Any] = {
            "agreement": self.agreement.described(),
            "weights": dict(self.stored),
            "bytes": self.num_bytes,
            "bytes_float32": self.float_bytes,
            "int8_layers": self.num_rounded,
            "int8_kernels": self.num_kernels,
        }
        if self.times is not None:
            once = self.times_computed_once
            found["latency"] = {
                "ratio_to_float32": self.times.ratio,
                "ratio_with_weights_computed_once": None if once is None else once.ratio,
                "seconds": self.times.seconds,
                "seconds_float32": self.times.float_seconds,
                "batch_size": self.times.batch_size,
                "rounds": self.times.rounds,
                "threads": 1,
            }
        return found

    def lines(self) -> list[str]:
        """The facts for a terminal."""
        agreement = self.agreement
        where = " + ".join(f"{count:,} {name}" for name, count in agreement.sources.items())
        lines = [
            f"onnxruntime gives the class of the audited network for {agreement.same_class:,} of"
            f" {agreement.num_inputs:,} inputs ({where})"
        ]
        if agreement.near_ties or agreement.others:
            lines.append(
                f"  of the others, {agreement.near_ties:,} have two logits within one step, and {agreement.others:,}"
                f" do not (at most {agreement.most_others:,} accepted)"
            )
        steps = "" if agreement.steps is None else f", {agreement.steps:.2g} steps of {agreement.step:.3g}"
        lines.append(
            f"onnxruntime and torch differ by at most {agreement.relative:.1e} (relative to the largest logit{steps})"
        )
        if self.num_rounded:
            lines.append(f"int8 kernels: {self.num_kernels} of {self.num_rounded} layers with int8 activations")
        if self.fixed_length is not None:
            lines.append(f"each text must have {self.fixed_length} tokens: this network takes no other length")
        if self.times is not None:
            lines.append(
                f"size {self.num_bytes / self.float_bytes:.2f} of the float file's ({self.float_bytes:,} bytes); time"
                f" {self.times.ratio:.2f} of its time (batches of {self.times.batch_size}, one thread, this machine)"
            )
        if self.times_computed_once is not None:
            lines.append(
                f"  {self.times_computed_once.ratio:.2f} of its time with the session option {WEIGHTS_ONCE} = 1, which"
                " computes float weights once, when loading"
            )
        return lines


def check_installed() -> None:
    """Checks that the packages of ONNX are installed.

    Raises:
        UserError: one is missing.
    """
    for name in ONNX_MODULES:
        try:
            importlib.import_module(name)
        except ImportError:
            raise UserError(f"format onnx: {name} is not installed; pip install 'pruneaudit[onnx]'") from None


def write_onnx(model: nn.Module, state: Mapping[str, Tensor], inputs: ComparedInputs, file: Path) -> OnnxFacts:
    """Writes a network as ONNX, if onnxruntime agrees with it.

    Args:
        model: the audited network, on the CPU.
        state: its compressed state, which rebuilds its weights bit for bit; empty for a dense network.
        inputs: what to compare on.
        file: the file to write.

    Raises:
        UserError: the network cannot be written as ONNX, or onnxruntime's answers differ. Nothing is then written.
    """
    is_rounded = bool(activations(model))
    with without_rounding(model) as plain:
        graph = float_graph(plain, inputs.x)
    try:
        floats = graph.copy()
        fold_into(floats, fold_norms(floats))
        stored = put_codes(graph, model, state, fold_norms(graph))
        if is_rounded:
            put_activations(graph, model)
        made, float_made = (each.model().SerializeToString() for each in (graph, floats))
        session = session_of(made)
    except UserError:
        raise
    except Exception as error:  # a network's graph can have any form
        raise UserError(
            f"onnx: this network cannot be written ({in_one_line(error)}); use format torch or safetensors"
        ) from error
    logit_step = next((each.scale for each in activations(model, "output").values()), None)
    agreement = compare(model, session, inputs, is_rounded, logit_step)
    if agreement.problem:
        raise UserError(
            f"onnx: {agreement.problem}; no ONNX file is written: use the audited weights themselves, from"
            " --format safetensors or the folder that compress saved"
        )
    float_session = session_of(float_made)
    timed = times(float_session, session, inputs.x) if stored or is_rounded else None
    once = None
    if not is_rounded and any(key.startswith("codes/") for key in state):
        once = times(float_session, session_of(made, computes_weights_once=True), inputs.x)
    length = fixed_length(session)
    kernels = int8_kernels(made) if is_rounded else 0
    file.write_bytes(made)
    return OnnxFacts(
        agreement, stored, len(made), len(float_made), kernels, len(activations(model)), timed, once, length
    )
