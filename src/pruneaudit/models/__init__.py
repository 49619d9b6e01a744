"""Network architectures, one file each, found by name.

Only files that begin with an underscore import torch at the top; they are imported when a network is built.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pruneaudit.core.errors import UserError
from pruneaudit.core.options import validated
from pruneaudit.core.registry import Registry
from pruneaudit.data.kinds import kind_of
from pruneaudit.models.init import NetworkOptions, initialise

if TYPE_CHECKING:
    import torch

    from pruneaudit.models.model import Model

__all__ = ["MODELS", "build_model", "check_takes", "initialise"]

MODELS: Registry[Model[Any]] = Registry(
    "model",
    "pruneaudit.models",
    "MODEL",
    infrastructure={"init", "model"},
    shared={"resnets": ("resnet", "resnet18", "resnet20")},
)


def build_model(
    name: str,
    options: Mapping[str, Any],
    input_shape: tuple[int, ...],
    num_classes: int,
    generator: torch.Generator,
) -> torch.nn.Module:
    """Builds a new network on the CPU, in training mode, with weights drawn only from `generator`.

    Torch's global random state is neither used nor changed.

    Args:
        name: the model's registered name.
        options: the model's own options.
        input_shape: shape of one sample: (C, H, W) for images, (F,) for tables, a `TokenShape` for texts.
        num_classes: width of the output.
        generator: a CPU generator.

    Raises:
        UserError: no such model, wrong options, or samples of a kind that the model does not accept.
    """
    import torch

    model = MODELS.get(name)
    checked = validated(model.Options, options, f"model '{name}'")
    check_takes(name, input_shape)
    # The constructors of torch's layers draw weights from the global state; these are thrown away.
    with torch.random.fork_rng(devices=[]):
        if model.draws_own_weights:
            # torch.manual_seed would also change the generators of GPUs, which are not restored.
            torch.default_generator.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        network = model.build(checked, input_shape, num_classes)
    if not model.draws_own_weights:
        initialise(network, generator, checked.init if isinstance(checked, NetworkOptions) else "kaiming_normal")
    return network


def check_takes(name: str, input_shape: tuple[int, ...]) -> None:
    """Refuses samples of a kind that a model does not accept.

    Args:
        name: the model's name.
        input_shape: shape of one sample.

    Raises:
        UserError: the message names the models that accept them.
    """
    model, kind = MODELS.get(name), kind_of(input_shape)
    if _takes(model, kind):
        return
    expected = {"image": "images (channels, height, width)", "table": "rows of a table", "tokens": "texts (token ids)"}
    own = " or ".join(words for each, words in expected.items() if _takes(model, each))
    fitting = [other for other in MODELS.names() if _takes(MODELS.get(other), kind)]
    given = {"image": "images", "table": "a table", "tokens": "texts"}[kind]
    raise UserError(
        f"model '{name}': got samples of shape {tuple(input_shape)}, expected {own}; "
        f"for {given}, use {' or '.join(fitting)}"
    )


def _takes(model: Model[Any], kind: str) -> bool:
    return {"image": model.takes_images, "table": model.takes_tables, "tokens": model.takes_tokens}[kind]
