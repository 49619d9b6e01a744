"""Inputs of layers as codes of 8 bits: ranges from calibration samples, and the hooks that round in each pass.

A layer with the buffers `input_scale` and `input_zero` (both () float32) sees s (q - z) instead of its input x, with
the code q = clamp(round(x / s) + z, 0, 255): what QuantizeLinear and DequantizeLinear of ONNX compute. Rounding is
half to even, and z is a whole number, so that zeros stay zero. The range is that of the calibration inputs, widened to
include 0: s = (hi - lo) / 255 and z = round(-lo / s). It is the same for all samples, so the logits of a sample do not
depend on other samples. With the buffers `output_scale` and `output_zero` the layer's output is rounded in the same
way.

In training the gradient passes a rounded input where its code is inside 0..255, and is 0 elsewhere, as in
`torch.fake_quantize_per_tensor_affine`. Ranges do not change.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from pruneaudit.compression.layer_inputs import SAMPLES_AT_ONCE, LayerInputs, visit_inputs
from pruneaudit.compression.macs import INPUT_CODE_BITS, evaluating
from pruneaudit.compression.smaller_attention import with_own_code
from pruneaudit.core.errors import UserError
from pruneaudit.core.options import Options
from pruneaudit.data.inputs import answered
from pruneaudit.training.samples import Samples

HIGHEST = 2**INPUT_CODE_BITS - 1
"""The highest code; the lowest is 0."""
SMALLEST_SCALE = 1e-12
"""Scale of inputs that are all 0."""
Range = tuple[float, float]
"""Least and greatest input."""


class ActivationsRecord(Options):
    """Which layers see codes."""

    kind: Literal["activations"] = "activations"
    inputs: tuple[str, ...]
    """Layers whose inputs are quantised."""
    output: str = ""
    """The layer whose output is quantised; empty: none."""


def replay_activations(model: nn.Module, text: str) -> nn.Module:
    """Adds hooks and buffers to a freshly built network; the buffers get their values with the weights.

    Args:
        model: the network; changed in place.
        text: an `ActivationsRecord` as JSON text.

    Raises:
        UserError: the text is no such record, or names a layer that this network does not have.
    """
    try:
        record = ActivationsRecord.model_validate_json(text)
    except ValidationError as error:
        reason = error.errors(include_url=False)[0]["msg"]
        raise UserError(f"structure: not a record of quantised inputs ({reason}); make the release again") from None
    whole = {name: (0.0, float(HIGHEST)) for name in record.inputs}
    quantise(model, whole, record.output, (0.0, float(HIGHEST)))
    return model


def quantise(model: nn.Module, ranges: Mapping[str, Range], output: str = "", output_range: Range = (0, 0)) -> str:
    """Makes layers round their inputs from now on, in place.

    Args:
        model: the network.
        ranges: the range of the inputs of each layer, by its name.
        output: the layer whose output is rounded too; empty: none.
        output_range: the range of that output.

    Returns:
        The record for `replay_activations`, as JSON text.

    Raises:
        UserError: the network has no layer of that name.
    """
    for encoder in model.modules():
        if isinstance(encoder, nn.TransformerEncoder):
            encoder.use_nested_tensor = False  # hooks see plain tensors
    for name, covered in ranges.items():
        layer = _layer(model, name)
        attention = layer if isinstance(layer, nn.MultiheadAttention) else _layer(model, name.rpartition(".")[0])
        if isinstance(attention, nn.MultiheadAttention):
            with_own_code(model, attention)  # torch's reads weights without calling layers
        _add_buffers(layer, "input", covered)
        layer.register_forward_pre_hook(round_input, with_kwargs=True)
    if output:
        layer = _layer(model, output)
        _add_buffers(layer, "output", output_range)
        layer.register_forward_hook(round_output)
    return ActivationsRecord(inputs=tuple(ranges), output=output).model_dump_json()


def round_input(
    layer: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The hook of a layer before its pass: rounds its input; of an attention queries, keys and values."""
    scale, zero = layer.get_buffer("input_scale"), layer.get_buffer("input_zero")
    if isinstance(layer, nn.MultiheadAttention):
        given = tuple(rounded(x, scale, zero) for x in inputs[:3])
        others = {key: rounded(named[key], scale, zero) for key in ("query", "key", "value") if key in named}
        return (*given, *inputs[3:]), named | others
    if inputs:
        return (rounded(inputs[0], scale, zero), *inputs[1:]), named
    return inputs, {**named, "input": rounded(named["input"], scale, zero)}


def round_output(layer: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    """The hook of a layer after its pass: rounds its output."""
    return rounded(output, layer.get_buffer("output_scale"), layer.get_buffer("output_zero"))


def rounded(x: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
    """The values of the nearest codes, in the shape and type of `x`; see the module for the gradient."""
    numbers = x.detach().float()
    codes = (torch.round(numbers / scale) + zero).clamp(0, HIGHEST)
    values = (scale * (codes - zero)).to(x.dtype)
    if not (torch.is_grad_enabled() and x.requires_grad):
        return values
    inside = x.clamp((-0.5 - zero) * scale, (HIGHEST + 0.5 - zero) * scale)
    return values + (inside - inside.detach())  # exactly the values: the difference is 0


def scale_and_zero(covered: Range) -> tuple[float, float]:
    """The step and the code of 0 of a range."""
    low, high = min(covered[0], 0.0), max(covered[1], 0.0)
    scale = max((high - low) / HIGHEST, SMALLEST_SCALE)
    return scale, float(round(-low / scale))


def _add_buffers(layer: nn.Module, which: str, covered: Range) -> None:
    like = next(layer.parameters())
    for key, value in zip(("scale", "zero"), scale_and_zero(covered), strict=True):
        layer.register_buffer(f"{which}_{key}", torch.tensor(value, dtype=torch.float32, device=like.device))


def _layer(model: nn.Module, name: str) -> nn.Module:
    try:
        return model.get_submodule(name)
    except AttributeError:
        raise UserError(f"structure: no layer '{name}' in this network; it was made for another architecture") from None


# ------------------------------------------------------------------ calibration


def input_ranges(model: nn.Module, samples: Samples, layers: Sequence[LayerInputs], percentile: float) -> list[Range]:
    """The range of the inputs of each layer, in the network as it is.

    Args:
        model: the network, on the samples' device.
        samples: the calibration samples.
        layers: from `layers_in_order`.
        percentile: of the inputs that must be covered at either end, in [90, 100]; 100: least and greatest.

    Raises:
        UserError: an input is not finite.
    """
    if percentile < 100:
        return [_percentiles(each, percentile) for each in layers]
    found: dict[str, list[Tensor]] = {each.name: [] for each in layers}
    modules = {each.name: each.layers for each in layers}
    visit_inputs(model, samples, modules, lambda name, x: found[name].append(torch.stack(x.aminmax())))
    return [_finite(each.name, torch.stack(found[each.name]).float()) for each in layers]


def _percentiles(layer: LayerInputs, percentile: float) -> Range:
    """The range without the same number of inputs at either end; only these inputs are in memory."""
    num_inputs, ends = 0, [torch.empty(0), torch.empty(0)]

    def count(x: Tensor) -> None:
        nonlocal num_inputs
        num_inputs += x.numel()

    layer.visit(count)
    kept = math.floor((1 - percentile / 100) * num_inputs + 1e-9) + 1

    def keep_ends(x: Tensor) -> None:
        numbers = x.float().flatten()
        for end, largest in enumerate((False, True)):
            there = torch.cat([ends[end].to(numbers.device), numbers])
            ends[end] = there.topk(min(kept, len(there)), largest=largest).values

    layer.visit(keep_ends)
    return _finite(layer.name, torch.stack([ends[0].max(), ends[1].min()]))


@torch.no_grad()
def output_range(model: nn.Module, samples: Samples, layer: nn.Module, name: str) -> Range:
    """The range of the logits, if they are the output of `layer`.

    Args:
        model: the network, on the samples' device.
        samples: the calibration samples.
        layer: its last layer.
        name: the name of that layer, for messages.

    Raises:
        UserError: the network changes the output of that layer.
    """
    outputs: list[Tensor] = []
    handle = layer.register_forward_hook(lambda _, inputs, output: outputs.append(output))
    found = []
    try:
        with evaluating(model):
            for start in range(0, len(samples), SAMPLES_AT_ONCE):
                outputs.clear()
                logits = answered(model, samples.inputs(slice(start, start + SAMPLES_AT_ONCE)))
                if not outputs or outputs[-1].shape != logits.shape or not torch.equal(outputs[-1], logits):
                    raise UserError(
                        f"output: the logits are not the output of the last quantised layer '{name}', so int8 logits"
                        " cannot be its output; use output=float, or do not exclude the last layer"
                    )
                found.append(torch.stack(logits.float().aminmax()))
    finally:
        handle.remove()
    return _finite(name, torch.stack(found))


def _finite(name: str, limits: Tensor) -> Range:
    low, high = float(limits.min()), float(limits.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise UserError(
            f"'{name}': its inputs or outputs for the calibration samples are not all finite; use weights from a"
            " training that did not diverge"
        )
    return low, high
