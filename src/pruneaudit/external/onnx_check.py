"""Compares an ONNX file in onnxruntime with the network that was audited, and times it.

The audited network simulates integers in float32: the same values up to rounding. Onnxruntime adds in another order,
and its int8 kernels round once where the simulation rounds at several places. So a value halfway between two codes can
get either one, and that code reaches later layers. These differences are accepted:

| the file | accepted |
|---|---|
| float activations | logits differ by less than 1e-5 of the largest |
| int8 activations, float logits | the same class, except on at most 2 inputs, or 0.1% |
| int8 activations, int8 logits | as above, and logits differ by at most one step of their scale |

Inputs whose two largest logits are closer than one step are counted apart: their class can change by rounding alone.
With float logits, one step is what it would be with int8 logits: 1/255 of their range on these inputs.
"""

# N inputs, B batch, C classes

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pruneaudit.compression.macs import evaluating
from pruneaudit.core.errors import UserError
from pruneaudit.data.inputs import IDS, Inputs, answered, first_of, num_in
from pruneaudit.external.onnx_inputs import INPUT, OUTPUT, ComparedInputs, batches_of, sizes_to_try
from pruneaudit.models._outputs import is_one, logits_in, two_classes

FLOAT_TOLERANCE = 1e-5
"""Largest difference of logits without int8 activations, relative to the largest logit (or to 1)."""
MOST_OTHERS, MOST_OTHERS_FRACTION = 2, 0.001
"""Most inputs that may get another class: the larger of a number and a fraction."""
_BATCH = 128
_TIMED_BATCH, _ROUNDS = 64, 15
_FEWEST_ROUNDS, _MOST_SECONDS = 3, 3.0
_SLACK = 1e-3
"""In steps: float32 rounding of a logit that is a whole number of steps."""
INT8_KERNELS = frozenset(
    {"QLinearConv", "QGemm", "QLinearMatMul", "MatMulIntegerToFloat", "MatMulInteger", "ConvInteger", "MatMulNBits"}
)
"""Operations of onnxruntime that multiply integers."""


WEIGHTS_ONCE = "session.disable_quant_qdq"
"""The option of a session with which onnxruntime computes float weights once, when loading."""


@dataclass(frozen=True)
class Agreement:
    """How far onnxruntime and the audited network agree."""

    sources: Mapping[str, int]
    """The inputs, by source."""
    same_class: int
    """Number of inputs with the same class."""
    near_ties: int
    """Number of inputs with another class whose two largest logits are within one step."""
    others: int
    """Number of further inputs with another class."""
    difference: float
    """Largest difference of a logit."""
    relative: float
    """The same, relative to the largest logit (or to 1)."""
    step: float | None
    """One step of the logits, in their unit; None without int8 activations."""
    has_int8_logits: bool
    """Whether the logits are rounded to 8 bits."""

    @property
    def num_inputs(self) -> int:
        """N."""
        return sum(self.sources.values())

    @property
    def steps(self) -> float | None:
        """The largest difference of a logit in steps."""
        return None if not self.step else self.difference / self.step

    @property
    def most_others(self) -> int:
        """How many inputs with another class are accepted."""
        return max(MOST_OTHERS, int(MOST_OTHERS_FRACTION * self.num_inputs))

    @property
    def problem(self) -> str:
        """Why the file must not be written; empty if it may."""
        if not math.isfinite(self.difference):
            return "logits of onnxruntime or of the network are not finite"
        if self.step is None:
            if self.relative < FLOAT_TOLERANCE:
                return ""
            return (
                f"onnxruntime differs from torch by {self.relative:.2g} of the largest logit, expected below"
                f" {FLOAT_TOLERANCE:g}"
            )
        if self.has_int8_logits and not (self.steps or 0.0) <= 1 + _SLACK:
            return (
                f"onnxruntime's logits differ by up to {self.steps:.3g} steps of {self.step:.3g}, expected at most 1"
                " with output=int8 (output=float compares classes only)"
            )
        if self.others > self.most_others:
            return (
                f"onnxruntime gives another class for {self.others:,} of {self.num_inputs:,} inputs, expected at most"
                f" {self.most_others:,}"
            )
        return ""

    def described(self) -> dict[str, Any]:
        """The figures as JSON data."""
        return {
            "inputs": dict(self.sources),
            "num_inputs": self.num_inputs,
            "same_class": self.same_class,
            "near_ties": self.near_ties,
            "other_class": self.others,
            "largest_difference": self.difference,
            "step": self.step,
            "largest_difference_in_steps": self.steps,
            "logits": "int8" if self.has_int8_logits else "float32",
        }


def compare(
    model: nn.Module, session: Any, inputs: ComparedInputs, has_int8_activations: bool, logit_step: float | None
) -> Agreement:
    """Compares onnxruntime with a network.

    Args:
        model: the audited network, on the CPU.
        session: the file in onnxruntime.
        inputs: what to compare on.
        has_int8_activations: whether layers round their inputs to 8 bits.
        logit_step: the step of logits that are rounded to 8 bits; None: they are float.

    Raises:
        UserError: onnxruntime cannot run the file.
    """
    extra = sizes_to_try(inputs.x, fixed_length(session))
    batches = [*extra, *batches_of(inputs.x, _BATCH)]
    try:
        found = [torch.from_numpy(np.array(_run(session, batch))) for batch in batches]
    except Exception as error:  # onnxruntime raises errors of its own
        raise UserError(
            f"onnx: onnxruntime cannot run it ({' '.join(str(error).split())[:200]}); use format torch or safetensors"
        ) from None
    with evaluating(model), torch.no_grad():
        expected = [logits_in(answered(model, batch)) for batch in batches]
    got, wanted = (_logits(torch.cat(parts).double()) for parts in (found, expected))
    low, high = (float(end) for end in wanted.aminmax())
    step = logit_step or (_range_step(low, high) if has_int8_activations else None)
    difference, largest = float((got - wanted).abs().max()), float(wanted.abs().max())
    relative = difference / max(1.0, largest)
    num_extra = sum(map(num_in, extra))
    got, wanted = got[num_extra:], wanted[num_extra:]  # (N, C)
    differs = got.argmax(1) != wanted.argmax(1)
    two = wanted.topk(min(2, wanted.shape[1]), dim=1).values
    within = step if step is not None else FLOAT_TOLERANCE * max(1.0, largest)
    is_near = two[:, 0] - two[:, -1] <= within * (1 + _SLACK)
    near, others = int((differs & is_near).sum()), int((differs & ~is_near).sum())
    same = len(got) - near - others
    return Agreement(inputs.sources, same, near, others, difference, relative, step, logit_step is not None)


def _range_step(low: float, high: float) -> float:
    """1/255 of a range that includes 0."""
    return max((max(high, 0.0) - min(low, 0.0)) / 255, 1e-12)


def _logits(output: Tensor) -> Tensor:
    """Logits (N, C); one logit becomes those of two classes."""
    return two_classes(output) if is_one(output) else output


def _run(session: Any, x: Inputs) -> np.ndarray:
    fed = x if isinstance(x, Mapping) else {INPUT: x}
    answer: np.ndarray = session.run([OUTPUT], {name: value.numpy() for name, value in fed.items()})[0]
    return answer


def fixed_length(session: Any) -> int | None:
    """The number of tokens that each text of a file must have; None: any, or the file takes no texts."""
    shape = next((each.shape for each in session.get_inputs() if each.name == IDS), (None, None))
    return shape[1] if isinstance(shape[1], int) else None


def session_of(model: bytes, optimised: Path | None = None, computes_weights_once: bool = False) -> Any:
    """An ONNX model in onnxruntime, on one thread.

    Args:
        model: the model's bytes.
        optimised: write the graph that onnxruntime runs to this file.
        computes_weights_once: compute float weights of codes when loading, instead of in each run; then no layer runs
            on integers.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if computes_weights_once:
        options.add_session_config_entry(WEIGHTS_ONCE, "1")
    if optimised is not None:
        options.optimized_model_filepath = str(optimised)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def int8_kernels(model: bytes) -> int:
    """How many layers onnxruntime computes with integers, on this machine."""
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimised.onnx"
        session_of(model, path)
        return sum(node.op_type in INT8_KERNELS for node in onnx.load(path).graph.node)


@dataclass(frozen=True)
class Times:
    """Seconds for one batch, with float weights and as compressed; medians, on one thread."""

    float_seconds: float
    seconds: float
    batch_size: int
    rounds: int

    @property
    def ratio(self) -> float:
        """Time as compressed, relative to float; below 1 is faster."""
        return self.seconds / self.float_seconds


def times(float_session: Any, session: Any, x: Inputs) -> Times:
    """Times one batch in two sessions, in turns; after `_MOST_SECONDS` only the fewest rounds are finished."""
    batch = first_of(x, _TIMED_BATCH)
    seconds: tuple[list[float], list[float]] = ([], [])
    began = time.perf_counter()
    for turn in range(-1, _ROUNDS):
        if turn >= _FEWEST_ROUNDS and time.perf_counter() - began > _MOST_SECONDS:
            break
        for which in (0, 1) if turn % 2 else (1, 0):
            started = time.perf_counter()
            _run((float_session, session)[which], batch)
            if turn >= 0:  # the first warms up
                seconds[which].append(time.perf_counter() - started)
    return Times(statistics.median(seconds[0]), statistics.median(seconds[1]), num_in(batch), len(seconds[0]))
