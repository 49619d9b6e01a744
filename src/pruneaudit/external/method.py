"""The settings of one compression: compressors, degrees and fine-tuning; imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from pydantic import Field

from pruneaudit.compression import COMPRESSORS
from pruneaudit.compression.chain import Step, check_order
from pruneaudit.core.errors import UserError
from pruneaudit.core.options import validated
from pruneaudit.core.registry import nearest
from pruneaudit.study import Plugin, Release, Training
from pruneaudit.study.chains import steps_of_chain


class Tuning(Training):
    """Fine-tuning of a trained network: like a study's training, but shorter and with a smaller learning rate."""

    epochs: int = Field(default=10, ge=1, le=100_000)
    learning_rate: float = Field(default=0.01, gt=0)
    select: Literal["last"] = "last"
    """Always the last epoch's weights: there is no dev set to choose by."""
    keep_early: None = None
    """None: only a study keeps early weights."""


@dataclass(frozen=True)
class Method:
    """Compressors in order, with their validated settings."""

    asked: Release
    """The request, as a study's release."""
    steps: tuple[Step, ...]

    @property
    def name(self) -> str:
        """The compressors' names."""
        return "+".join(step.name for step in self.steps)

    @property
    def sparsity(self) -> float | None:
        """The requested sparsity, if a compressor has one."""
        return self.asked.asked("sparsity")

    @property
    def needs_example(self) -> bool:
        """Whether it needs the shape of an input."""
        return any(step.compressor.needs_example(step.options) for step in self.steps)

    @property
    def needs_training(self) -> bool:
        """Whether it only works with training."""
        return any(step.compressor.works_in_training(step.options) for step in self.steps)

    @property
    def looking(self) -> tuple[Step, ...]:
        """The steps that look at samples when they compress, which a calibration file gives."""
        return tuple(
            step
            for step in self.steps
            if step.compressor.data(step.options) != "none"
            and not step.compressor.trains(step.options)
            and not step.compressor.learns_from_parent
        )

    @property
    def needs_labels(self) -> bool:
        """Whether one of them also looks at labels."""
        return any(step.compressor.needs_labels(step.options) for step in self.looking)

    @property
    def has_teacher(self) -> bool:
        """Whether a new network learns from the given one."""
        return any(step.compressor.learns_from_parent for step in self.steps)

    @property
    def starts_anew(self) -> bool:
        """Whether it trains from initial weights instead of trained ones."""
        return any(step.compressor.origin(step.options) == "init" for step in self.steps)

    @property
    def described(self) -> list[dict[str, Any]]:
        """The steps as JSON data."""
        return [{"name": step.name, "options": step.options.model_dump(mode="json")} for step in self.steps]


def method_of(method: str | Plugin | Sequence[str | Plugin], degrees: Mapping[str, Any]) -> Method:
    """The compressors that texts such as "l1structured:target=macs" or "rtn:bits=4" name, with their settings.

    Args:
        method: one compressor, or several in order.
        degrees: degrees of the compressors by name, such as `sparsity` or `bits`, unless their options have them.

    Raises:
        UserError: a compressor or an option is unknown or wrong, or two cannot follow each other.
    """
    given = {degree: value for degree, value in degrees.items() if value is not None}
    if "sparsity" in given:
        given["sparsity"] = _checked_sparsity(given["sparsity"])
    steps = method if isinstance(method, list | tuple) else (method,)
    plugins = tuple(_plugins(steps, given))
    there = [COMPRESSORS.get(plugin.name).degree for plugin in plugins]
    for degree, value in given.items():
        if degree not in there:
            raise UserError(
                f"{degree}: got {value}, but '{plugins[0].name}' has no such degree{nearest(degree, there)}; its "
                f"degree is"
                f" {there[0]}: give it as an option, '{plugins[0].name}:{there[0]}=...'"
            )
    for plugin in plugins:
        _check_has_degree(plugin, given)
    asked = validated(Release, {"name": "asked", "compress": plugins, **given}, "method")
    chosen = tuple(
        Step(plugin.name, found, validated(found.Options, plugin.options, f"options of '{plugin.name}'"))
        for plugin in asked.compress
        for found in (COMPRESSORS.get(plugin.name),)
    )
    check_order(chosen)
    return Method(asked, chosen)


def _plugins(steps: Sequence[str | Plugin], beside: Mapping[str, Any]) -> Iterator[Plugin]:
    """The compressors; a chain's name stands for its steps."""
    for step in steps:
        plugin = step if isinstance(step, Plugin) else validated(Plugin, step, "method")
        try:
            yield from steps_of_chain(plugin, beside)
        except ValueError as error:
            raise UserError(f"method: {error}") from None


def _check_has_degree(plugin: Plugin, beside: Mapping[str, Any]) -> None:
    """Refuses a compressor without its degree; a study's message would speak of releases."""
    degree = COMPRESSORS.get(plugin.name).degree
    field = COMPRESSORS.get(plugin.name).Options.model_fields.get(degree)
    if field is None or not field.is_required() or degree in {*plugin.options, *beside}:
        return
    values = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    others = f" (or {', '.join(values[1:])})" if values else ""
    raise UserError(
        f"method: '{plugin.name}' needs {degree} among its options: write"
        f" '{plugin.name}:{degree}={values[0] if values else '...'}'{others}"
    )


def tuning_of(given: Mapping[str, Any], is_wanted: bool) -> Tuning:
    """The checked settings of fine-tuning, with defaults for those that are not given.

    Raises:
        UserError: a setting is unknown or wrong, or is given without fine-tuning.
    """
    settings = validated(Tuning, dict(given), "fine-tuning")
    if given and not is_wanted:
        raise UserError(
            f"{next(iter(given))}: has no effect without fine-tuning; give data=(x, y) as well, on the command line"
            " --data and --epochs"
        )
    return settings


def check_trained(method: Method, has_training: bool) -> None:
    """Checks that there is training for a method that works in training.

    Raises:
        UserError: there is none.
    """
    if method.needs_training and not has_training:
        raise needs_training(method.name)


def check_student(method: Method, has_student: bool) -> None:
    """Checks that there is a student for a method that teaches one, and none for another method.

    Raises:
        UserError: it is missing, or would have no effect.
    """
    if method.has_teacher and not has_student:
        raise UserError(
            f"student: method '{method.name}' trains a new network, but none was given; give student=a network or a"
            " function that builds it, on the command line --student MODULE:FUNCTION"
        )
    if has_student and not method.has_teacher:
        raise UserError(f"student: method '{method.name}' does not train a new network; leave it out, or use distil")


def _checked_sparsity(sparsity: Any) -> float:
    is_number = isinstance(sparsity, int | float) and not isinstance(sparsity, bool)
    if not is_number or not 0 < sparsity < 1:
        raise UserError(f"sparsity: got {sparsity!r}, expected above 0 and below 1 (0.9 removes 90%)")
    return float(sparsity)


def check_calibration(method: Method, has_samples: bool, has_other_use: bool = False) -> None:
    """Checks that there are samples for a method that looks at them, and none for one that does not.

    Args:
        method: the method.
        has_samples: whether calibration samples are given.
        has_other_use: whether they are used for something else too.

    Raises:
        UserError: they are missing, or would have no effect.
    """
    if method.looking and not has_samples:
        step = method.looking[0]
        wanted = step.compressor.num_samples(step.options)
        labels = " with labels, (x, y)" if method.needs_labels else ""
        raise UserError(
            f"calibration: method '{step.name}' needs {wanted or 'all'} samples{labels}, but none were given; give"
            f" calibration={'(x, y)' if labels else 'x'}, on the command line --calibration FILE.npz or a source"
        )
    if has_samples and not method.looking and not has_other_use:
        raise UserError(f"calibration: method '{method.name}' uses no samples; leave them out")


def needs_training(name: str) -> UserError:
    """The error for a method that works in training, without training."""
    return UserError(
        f"method '{name}' works during training, but there is no training; give finetuning=FineTuning((x, y), "
        f"epochs=...), or"
        " FineTuning(train=a function (model, hooks, phase, epochs)); on the command line --data and --epochs"
    )
