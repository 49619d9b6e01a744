"""What is asked of one pruning: the method, the sparsity, and the fine-tuning; torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from pruneaudit.compression import PRUNERS
from pruneaudit.compression.pruner import Pruner
from pruneaudit.core.errors import UserError
from pruneaudit.core.options import Options, validated
from pruneaudit.study import Plugin, Training


class Tuning(Training):
    """Fine-tuning of a network that has been trained: as a study's training, but shorter and gentler."""

    epochs: int = Field(default=10, ge=1, le=100_000)
    learning_rate: float = Field(default=0.01, gt=0)
    select: Literal["last"] = "last"
    """The last epoch's weights are kept: there is no dev set here to choose by."""


@dataclass(frozen=True)
class Method:
    """A pruning method with its validated options."""

    name: str
    pruner: Pruner
    options: Options

    @property
    def needs_example(self) -> bool:
        """Whether it has to know the shape of an input."""
        return self.pruner.changes_architecture(self.options)

    @property
    def needs_training(self) -> bool:
        """Whether it is nothing without training."""
        return self.pruner.needs_training(self.options)

    @property
    def starts_anew(self) -> bool:
        """Whether it trains from initial weights instead of trained ones."""
        return self.pruner.origin(self.options) == "init"


def method_of(method: str | Plugin) -> Method:
    """The method that a text such as "l1structured:target=macs" names, with its options.

    Raises:
        UserError: the method or an option is unknown or wrong.
    """
    parsed = method if isinstance(method, Plugin) else validated(Plugin, method, "method")
    pruner = PRUNERS.get(parsed.name)
    return Method(parsed.name, pruner, validated(pruner.Options, parsed.options, f"options of '{parsed.name}'"))


def tuning_of(given: Mapping[str, Any], is_wanted: bool) -> Tuning:
    """The settings of fine-tuning, checked; the defaults where nothing was given.

    Raises:
        UserError: a setting is unknown or wrong, or was given though nothing is fine-tuned.
    """
    settings = validated(Tuning, dict(given), "fine-tuning")
    if given and not is_wanted:
        raise UserError(
            f"{next(iter(given))}: has no effect without fine-tuning; give data=(x, y) as well, on the command line"
            " --data and --epochs"
        )
    return settings


def check_asked(method: Method, sparsity: float, has_training: bool) -> None:
    """Checks what can be checked without a network.

    Raises:
        UserError: the sparsity is no number in (0, 1), or the method needs training and there is none.
    """
    if isinstance(sparsity, bool) or not isinstance(sparsity, int | float) or not 0 < sparsity < 1:
        raise UserError(f"sparsity: got {sparsity!r}, expected above 0 and below 1 (0.9 removes 90%)")
    if method.needs_training and not has_training:
        raise needs_training(method.name)


def needs_training(name: str) -> UserError:
    """What is missing where a method works in training and nobody trains."""
    return UserError(
        f"method '{name}' works in training, and there is none; give finetuning=FineTuning((x, y), epochs=...), or"
        " FineTuning(train=a function (model, hooks, phase, epochs)); on the command line --data and --epochs"
    )
