"""Layers of several models at once: one call does what each model's own layer would do to its own batch.

Feature maps of all models lie beside each other in the channels, so that a convolution of G models is one
grouped convolution, and BatchNorm needs no change at all. Vectors lie beside each other in a leading dimension,
so that G linear layers are one batched matrix product. What mixes models does not exist here: a weight, a
statistic or a NaN of one model reaches no other.
"""

# G models side by side, B rows, C channels, H height, W width, F features
# maps: (B, G * C, H, W), channels last in memory; vectors: (G, B, F)

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pruneaudit.models._blocks import ConvNormReLU, ImageClassifier, NormReLU


@dataclass(frozen=True)
class Turn:
    """One step of all models: who takes part, and with how many rows."""

    rows: Mapping[int, int]
    """Rows of each model that takes part, by its place; the rows after them, and all rows of others, are padding."""
    num_rows: int
    """B: rows of the tensors, padding included."""
    dropout: Mapping[int, torch.Generator]
    """What each model's dropout draws from, by its place."""
    num_models: int
    """G."""
    device: torch.device

    @property
    def is_full(self) -> bool:
        """Whether no row of those who take part is padding."""
        return all(rows == self.num_rows for rows in self.rows.values())

    def counts(self) -> Tensor:
        """(G,) float32, the models' rows; 0 for those that take no part."""
        return torch.tensor([float(self.rows.get(g, 0)) for g in range(self.num_models)], device=self.device)

    def real(self) -> Tensor:
        """(B, G) float32, 1 for rows that are samples and 0 for padding."""
        return (torch.arange(self.num_rows, device=self.device)[:, None] < self.counts()).float()


Layer = Callable[[Tensor, Turn], Tensor]
"""Maps or vectors of all models to maps or vectors of all models."""


class Own:
    """What belongs to one layer in all models: its parameters and buffers, stacked, and its inner layers."""

    def __init__(self, tensors: Mapping[str, Tensor], num_models: int, prefix: str = "") -> None:
        self._tensors, self._prefix, self.num_models = tensors, prefix, num_models

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[self._prefix + name]  # (G, ...)

    def get(self, name: str) -> Tensor | None:
        """A stacked tensor that some layers have and others do not."""
        return self._tensors.get(self._prefix + name)

    def inner(self, module: nn.Module, name: str) -> Layer:
        """The stacked form of the inner layer called `name`."""
        child = getattr(module, name)
        return MAKERS[type(child)](child, Own(self._tensors, self.num_models, f"{self._prefix}{name}."))


def unsupported_layer(model: nn.Module) -> str | None:
    """Why a network cannot be built of stacked layers, in a few words; None: it can."""
    for name, module in model.named_modules():
        kind, where = type(module).__name__, f" '{name}'" if name else ""
        if type(module) not in MAKERS:
            return f"no stacked form of its layer{where} ({kind}) exists"
        if isinstance(module, nn.Conv2d) and (module.padding_mode != "zeros" or isinstance(module.padding, str)):
            return f"the padding of its layer{where} ({kind}) has no stacked form"
        if isinstance(module, nn.Flatten) and (module.start_dim, module.end_dim) != (1, -1):
            return f"its layer{where} ({kind}) does not flatten one sample at a time"
        if isinstance(module, nn.Dropout) and module.p == 1:
            return f"its layer{where} ({kind}) drops everything"
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)) and not (
            module.momentum and module.affine and module.track_running_stats
        ):
            return f"its layer{where} ({kind}) has cumulative or no statistics, or no weights"
    return None


def to_vectors(maps: Tensor, num_models: int) -> Tensor:
    """Maps without extent (B, G * F) as vectors (G, B, F)."""
    return maps.unflatten(1, (num_models, -1)).transpose(0, 1)


def to_columns(vectors: Tensor) -> Tensor:
    """Vectors (G, B, F) side by side (B, G * F)."""
    return vectors.transpose(0, 1).flatten(1)


def _linear(module: nn.Linear, own: Own) -> Layer:
    weight, bias = own["weight"], own.get("bias")  # (G, K, F), (G, K)

    def apply(x: Tensor, turn: Turn) -> Tensor:
        # With the weight on the left, its gradient comes in its own memory order: no copy, and a faster product.
        columns = x.transpose(1, 2)  # (G, F, B)
        product = torch.bmm(weight, columns) if bias is None else torch.baddbmm(bias.unsqueeze(2), weight, columns)
        return product.transpose(1, 2)  # (G, B, K)

    return apply


def _convolution(module: nn.Conv2d, own: Own) -> Layer:
    weight, bias = own["weight"], own.get("bias")  # (G, K, C, h, w), (G, K)
    stride, padding, dilation = module.stride, module.padding, module.dilation
    num_groups = module.groups * own.num_models
    assert not isinstance(padding, str), "refused before"

    def apply(x: Tensor, turn: Turn) -> Tensor:
        biases = None if bias is None else bias.flatten()
        return functional.conv2d(x, weight.flatten(0, 1), biases, stride, padding, dilation, num_groups)

    return apply


def _batch_norm(module: nn.BatchNorm1d | nn.BatchNorm2d, own: Own) -> Layer:
    weight, bias, mean, var = (own[name] for name in ("weight", "bias", "running_mean", "running_var"))  # (G, C) each
    assert module.momentum is not None
    momentum = module.momentum

    def normalised(x: Tensor, turn: Turn) -> Tensor:
        if turn.is_full:
            running = mean.view(-1), var.view(-1)  # written in place
            return functional.batch_norm(x, *running, weight.flatten(), bias.flatten(), True, momentum, module.eps)
        return _batch_norm_of_real_rows(x, turn, (weight, bias, mean, var), momentum, module.eps)

    def apply(x: Tensor, turn: Turn) -> Tensor:
        return to_vectors(normalised(to_columns(x), turn), own.num_models) if x.ndim == 3 else normalised(x, turn)

    return apply


def _batch_norm_of_real_rows(
    x: Tensor, turn: Turn, tensors: tuple[Tensor, Tensor, Tensor, Tensor], momentum: float, eps: float
) -> Tensor:
    """BatchNorm by hand, whose statistics leave padded rows out; torch's own cannot."""
    weight, bias, mean, var = tensors
    across = [0, *range(2, x.ndim)]
    shape = (1, -1, *[1] * (x.ndim - 2))
    num_channels = weight.shape[1]
    real = turn.real().repeat_interleave(num_channels, dim=1).view(len(x), *shape[1:])  # (B, G * C, 1, 1)
    pixels = x[0, 0].numel()
    counts = (turn.counts() * pixels).clamp_(min=1).repeat_interleave(num_channels).to(x)  # (G * C,)
    batch_mean = (x * real).sum(across) / counts
    centred = (x - batch_mean.view(shape)) * real
    batch_var = centred.square().sum(across) / counts
    with torch.no_grad():
        mean.view(-1).lerp_(batch_mean, momentum)
        var.view(-1).lerp_(batch_var * (counts / (counts - 1).clamp_(min=1)), momentum)  # unbiased, as torch keeps it
    scale = weight.flatten() * (batch_var + eps).rsqrt()
    return centred * scale.view(shape) + bias.flatten().view(shape)


def _group_norm(module: nn.GroupNorm, own: Own) -> Layer:
    weight, bias = own.get("weight"), own.get("bias")  # (G, C) each
    num_groups = module.num_groups * own.num_models

    def normalised(x: Tensor) -> Tensor:
        if weight is None or bias is None:
            return functional.group_norm(x, num_groups, eps=module.eps)
        return functional.group_norm(x, num_groups, weight.flatten(), bias.flatten(), module.eps)

    def apply(x: Tensor, turn: Turn) -> Tensor:
        return to_vectors(normalised(to_columns(x)), own.num_models) if x.ndim == 3 else normalised(x)

    return apply


def _dropout(module: nn.Dropout, own: Own) -> Layer:
    keep = 1 - module.p

    def apply(x: Tensor, turn: Turn) -> Tensor:
        if keep == 1:
            return x
        if x.ndim != 3:
            raise ValueError("dropout of feature maps has no stacked form")
        noise = torch.ones_like(x)  # (G, B, F)
        for g, rows in turn.rows.items():  # the numbers that torch's dropout would draw for this model alone
            noise[g, :rows] = torch.empty(rows, x.shape[2], dtype=x.dtype).bernoulli_(keep, generator=turn.dropout[g])
        return x * noise.div_(keep)

    return apply


def _flatten(module: nn.Flatten, own: Own) -> Layer:
    def apply(x: Tensor, turn: Turn) -> Tensor:
        if x.ndim == 3:
            return x
        return x.unflatten(1, (own.num_models, -1)).transpose(0, 1).flatten(2)  # (G, B, C * H * W)

    return apply


def _same_for_all(module: nn.Module, own: Own) -> Layer:
    """A layer that looks at one channel at a time and has no weights is its own stacked form."""
    return lambda x, turn: module(x)


def _sequence(module: nn.Sequential, own: Own) -> Layer:
    layers = [own.inner(module, name) for name, _ in module.named_children()]

    def apply(x: Tensor, turn: Turn) -> Tensor:
        for layer in layers:
            x = layer(x, turn)
        return x

    return apply


def _conv_norm_relu(module: ConvNormReLU, own: Own) -> Layer:
    conv, norm = own.inner(module, "conv"), own.inner(module, "norm")
    return lambda x, turn: norm(conv(x, turn), turn).relu_()


def _norm_relu(module: NormReLU, own: Own) -> Layer:
    norm = own.inner(module, "norm")
    return lambda x, turn: norm(x, turn).relu_()


def _image_classifier(module: ImageClassifier, own: Own) -> Layer:
    features, classifier = own.inner(module, "features"), own.inner(module, "classifier")
    return lambda x, turn: classifier(to_vectors(features(x, turn).mean(dim=(2, 3)), own.num_models), turn)


MAKERS: dict[type[nn.Module], Callable[[Any, Own], Layer]] = {
    nn.Linear: _linear,
    nn.Conv2d: _convolution,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.GroupNorm: _group_norm,
    nn.Dropout: _dropout,
    nn.Flatten: _flatten,
    nn.Sequential: _sequence,
    ConvNormReLU: _conv_norm_relu,
    NormReLU: _norm_relu,
    ImageClassifier: _image_classifier,
    **dict.fromkeys((nn.ReLU, nn.Identity, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d), _same_for_all),
}
"""By exact type: a subclass may do anything."""
