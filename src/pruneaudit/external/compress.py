"""`pruneaudit.compress`: any network with convolutional or linear layers, compressed outside a study."""

# B batch, N samples, K channels, H height, W width, F features

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pruneaudit import __version__
from pruneaudit.compression.chain import Chained, Step, compressed, counts_embeddings
from pruneaudit.compression.compressor import CompressionContext
from pruneaudit.compression.parametrized import copied
from pruneaudit.compression.selection import check_finite
from pruneaudit.compression.state import not_rebuilt, num_left
from pruneaudit.core import seeds
from pruneaudit.core.errors import UserError
from pruneaudit.core.randomness import torch_generator
from pruneaudit.data.inputs import Inputs, contiguous, input_facts
from pruneaudit.external.compressed_model import CompressedModel
from pruneaudit.external.method import (
    Method,
    check_calibration,
    check_student,
    check_trained,
    method_of,
    needs_training,
)
from pruneaudit.external.sizes import example_of, layers_of, size_of
from pruneaudit.external.tuning import FineTuning, accuracy_of, classes_in, fine_tune, samples_of, tried
from pruneaudit.models._arguments import take_only_its_own
from pruneaudit.models._outputs import as_before, as_written, for_now
from pruneaudit.study import Plugin
from pruneaudit.training.hooks import Hook
from pruneaudit.training.samples import Samples

LAST_PHASE = seeds.FINETUNE


def compress(
    model: nn.Module,
    method: str | Plugin | Sequence[str | Plugin],
    sparsity: float | None = None,
    *,
    finetuning: FineTuning | None = None,
    test: tuple[Any, Any] | Samples | None = None,
    example: Tensor | Mapping[str, Any] | Sequence[int] | None = None,
    calibration: Any = None,
    student: nn.Module | Callable[[], nn.Module] | None = None,
    seed: int = 0,
    **degrees: Any,
) -> CompressedModel:
    """Returns a compressed copy of a network, fine-tuned if requested.

    Layers that keep all channels, because removing them is not safe, are reported with `warnings.warn`.

    Args:
        model: a network with convolutional or linear layers; it does not change.
        method: a compressor and its options, such as "l1unstructured" or "l1structured:target=macs"; or several,
            applied in order.
        sparsity: for compressors with a sparsity, the fraction to remove, in (0, 1), of the weights that they prune, or
            of their `target`. Give other degrees by name, or as options.
        finetuning: the training around the compression; default: none.
        test: x and y to measure accuracy on: before compression, after it, and after fine-tuning.
        example: one input or more (B, ...), or the shape of one without the batch, such as (3, 32, 32); for texts a
            dict of `input_ids` and `attention_mask`. Some methods need it (those that remove channels, `synflow`), and
            MACs are counted with it; default: taken from the data or a first linear layer.
        calibration: samples for methods that need some (static8, gptq, snip, ...): x as input of the network (for texts
            such a dict), or (x, y) for methods that need labels. Each method uses the first `num_samples` of them.
        student: for `distil`: a new network with initial weights, or a function that builds it. It learns from the
            outputs of `model` on the data of `finetuning`. The option `data` of the method has no effect here.
        seed: seed of all random draws.
        degrees: degrees of compressors without a sparsity: `bits`, `clusters`, `fraction`, `pattern`.

    Returns:
        The compressed network in the modes of `model`, with its constraints and sizes.

    Raises:
        UserError: the sparsity or the method does not fit, or an input that the method needs is missing.

    Example:
        >>> pruned = pruneaudit.compress(model, "l1unstructured", 0.9)
        >>> folder = pruned.save("pruned")
        >>> rounded = pruneaudit.compress(model, "rtn", bits=4)
        >>> integers = pruneaudit.compress(model, "static8", calibration=x[:256])
    """
    given = Given(finetuning or FineTuning(), test, example, calibration, student)
    pruned = make_compressed(model, method_of(method, {"sparsity": sparsity, **degrees}), given, seed)
    for note in pruned.summary["kept_whole"]:
        warnings.warn(note, stacklevel=2)
    return pruned


@dataclass(frozen=True, eq=False)
class Given:
    """The user's training, samples and example, as `compress` describes them."""

    finetuning: FineTuning
    test: tuple[Any, Any] | Samples | None = None
    example: Tensor | Mapping[str, Any] | Sequence[int] | None = None
    calibration: Any = None
    student: nn.Module | Callable[[], nn.Module] | None = None
    has_calibration_for_more: bool = False
    """Whether the calibration samples also have another use than the method."""


def make_compressed(model: nn.Module, method: Method, given: Given, seed: int) -> CompressedModel:
    """Like `compress`, which describes the arguments, but layers that keep all channels are only in `summary`."""
    if not isinstance(model, nn.Module):
        raise UserError(f"model: got {type(model).__name__}, expected a torch.nn.Module")
    finetuning = given.finetuning
    check_trained(method, finetuning.trains)
    check_calibration(method, given.calibration is not None, given.has_calibration_for_more)
    check_student(method, given.student is not None)
    network = _copied(model)
    _check_weights(network)
    samples = None if finetuning.data is None else samples_of(finetuning.data, network)
    tested = None if given.test is None else samples_of(given.test, network, "test")
    seen = None
    if given.calibration is not None:
        seen = samples_of(given.calibration, network, "calibration", may_lack_labels=not method.needs_labels)
    num_classes = max(filter(None, map(classes_in, (samples, tested, seen))), default=None)
    for_now(network, num_classes)
    if seen is not None and method.needs_labels:
        _check_scores_classes(network, seen, method)
    shown = _example(method, given.example, network, samples or tested or seen)
    embeddings = counts_embeddings(method.steps)
    before = size_of(network, shown, embeddings=embeddings)
    job = _Job(method, finetuning, samples, tested, seed, seen, network if method.has_teacher else None)
    accuracy = job.accuracy(network, "before")
    if given.student is not None:
        network = model = _student(given.student, network, samples or tested)
        for_now(network, num_classes)
    modes = {name: module.training for name, module in network.named_modules()}
    made = job.compress(network, shown, _beginning(finetuning.initial, model, method))
    if not all(step.compressor.is_done_by_training(step.options) for step in method.steps):
        accuracy |= job.accuracy(made.model, "after_pruning")
    history = job.train(made.model, made.hooks, LAST_PHASE, None) if finetuning.trains else []
    made.settle(is_of_an_earlier_epoch=False)
    job.check_held(made)
    if finetuning.trains:
        accuracy |= job.accuracy(made.model, "after_finetuning")
    for name, module in made.model.named_modules():
        module.training = modes.get(name, module.training)
    made.model.zero_grad(set_to_none=True)
    for each in (network, made.model):
        as_before(each)
    state = job.state_of(made)
    after = size_of(made.model, shown, None if job.teacher else before, embeddings, state)
    after |= _beside_teacher(after, before) if job.teacher else {}
    reached = {"sparsity": after["sparsity"], "accuracy": accuracy or None, "before": before, "after": after}
    whole = {"kept_whole": list(made.notes)}
    shape = None if shown is None else input_facts(shown)
    summary = job.asked() | {"input": shape} | reached | whole | layers_of(model, made.model, shown, num_left(state))
    for each in (network, made.model):
        take_only_its_own(each)
    # Moving masks are final after training: from here on they are held.
    held = tuple(hook for constraint in made.constraints for hook in constraint.hooks(made.model))
    hooks = held if finetuning.trains else made.hooks
    return CompressedModel(made.model, state, tuple(made.constraints), hooks, summary, tuple(history))


@dataclass(frozen=True)
class _Job:
    """One compression: method, training and data."""

    method: Method
    finetuning: FineTuning
    samples: Samples | None
    tested: Samples | None
    seed: int
    calibration: Samples | None = None
    teacher: nn.Module | None = None
    """The given network, if a new one learns from it."""

    def asked(self) -> dict[str, Any]:
        """The job as JSON data."""
        how: Any = self.finetuning.settings.model_dump(mode="json") if self.samples else None
        if self.finetuning.train is not None:
            how = "train function"
        return {
            "method": self.method.described[0] if len(self.method.steps) == 1 else self.method.described,
            "asked_sparsity": self.method.sparsity,
            "finetuning": how,
            "calibration": self._looked_at(),
            "seed": self.seed,
            "versions": {"pruneaudit": __version__, "torch": torch.__version__},
        }

    def _looked_at(self) -> dict[str, int] | None:
        """How many calibration samples each step looked at; None if none looks at any."""
        if self.calibration is None or not self.method.looking:
            return None
        return {step.name: len(self._samples_for(step) or ()) for step in self.method.looking}

    def _samples_for(self, step: Step) -> Samples | None:
        """The first calibration samples, as many as a step looks at."""
        if self.calibration is None or step not in self.method.looking:
            return None
        first = slice(step.compressor.num_samples(step.options))
        return self.calibration.chosen(first)

    def accuracy(self, network: nn.Module, when: str) -> dict[str, Any]:
        """Accuracy on the test samples, if there are any."""
        if self.tested is None:
            return {}
        return {when: accuracy_of(network, self.tested), "num_samples": len(self.tested)}

    def compress(self, network: nn.Module, example: Inputs | None, initial: Callable[[], nn.Module]) -> Chained:
        """Runs the steps, which can train in phases of their own."""
        # Only compressors that need an example use it, and for those there is one.
        shown: Inputs = torch.empty(1, 0) if example is None else example

        def context_of(number: int) -> CompressionContext:
            later = (seeds.COMPRESS_STEP.format(number + 1),) if number else ()

            def phase(model: nn.Module, hooks: Sequence[Hook], name: str, epochs: int | None) -> None:
                self.train(model, hooks, " ".join((name, *later)), epochs)

            generator = torch_generator(self.seed, seeds.PRUNE_OUTSIDE, *later)
            samples = self._samples_for(self.method.steps[number])
            return CompressionContext(shown, generator, phase, initial, samples=samples, teacher=self.teacher)

        return compressed(Chained(network), self.method.steps, context_of)

    def train(
        self, network: nn.Module, hooks: Sequence[Hook], phase: str, epochs: int | None
    ) -> list[Mapping[str, Any]]:
        """Trains with the user's function, or on the user's data; returns one row per epoch in the second case."""
        if self.finetuning.train is not None:
            with as_written(network):
                self.finetuning.train(network, hooks, phase, epochs)
            return []
        if self.samples is None:
            raise needs_training(self.method.name)
        return fine_tune(network, self.samples, self.finetuning.settings, hooks, self.seed, phase, epochs)

    def check_held(self, made: Chained) -> None:
        """Refuses a user's training that did not call the hooks: its network would not be compressed."""
        masks = made.masks
        if masks is None:
            return
        weights, kept = masks.pairs(made.model)
        moved = sum(int(((mask == 0) & (weight != 0)).sum()) for weight, mask in zip(weights, kept, strict=True))
        if moved:
            raise UserError(
                f"train: {moved:,} removed weights are not zero after it; call hook.after_step(state) of each hook"
                " after every step of the optimizer"
            )
        rounded = len(masks) / masks.num_weights  # a count is rounded in each layer
        asked = self.method.sparsity
        if self.method.needs_training and asked is not None and masks.sparsity < asked - rounded:
            raise UserError(
                f"train: sparsity {masks.sparsity:g} after it, expected {asked:g}; call every method of each hook as"
                " pruneaudit.training.loop.train does"
            )

    def state_of(self, made: Chained) -> dict[str, Tensor]:
        """The compressed state, after the last training.

        Raises:
            UserError: a user's training moved weights off their grid or cluster.
        """
        state = made.state()
        if wrong := not_rebuilt(made.model, state):
            raise UserError(
                f"train: '{wrong[0]}' is no longer compressed after it; call every method of each hook as"
                " pruneaudit.training.loop.train does"
            )
        return state


def _check_scores_classes(network: nn.Module, samples: Samples, method: Method) -> None:
    """Refuses a network without a logit per class, for methods that compute a loss."""
    output = tried(network, contiguous(samples.inputs(slice(0, 2))), "calibration")
    if not isinstance(output, Tensor) or output.ndim != 2 or output.shape[1] < 2:
        got = f"outputs {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
        raise UserError(
            f"calibration: method '{method.name}' needs a network that returns logits (N, C) of two classes or more, "
            f"got {got}; return such logits, or choose a method without labels"
        )


def _copied(model: nn.Module) -> nn.Module:
    try:
        return copied(model)
    except Exception as error:  # a user's module may refuse in any way
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"model: cannot be copied ({reason}); remove what copy.deepcopy cannot copy") from None


def _student(given: nn.Module | Callable[[], nn.Module], teacher: nn.Module, samples: Samples | None) -> nn.Module:
    """The network that learns, on the teacher's device.

    Raises:
        UserError: it is no network, or does not take the samples.
    """
    student = _copied(given) if isinstance(given, nn.Module) else given()
    if not isinstance(student, nn.Module):
        raise UserError(
            f"student: got {type(student).__name__}, expected a torch.nn.Module or a function that makes one"
        )
    _check_weights(student)
    student.to(next(teacher.parameters()).device)
    if samples is not None:
        samples_of(samples, student, "student")
    return student


def _beside_teacher(student: Mapping[str, Any], teacher: Mapping[str, Any]) -> dict[str, float]:
    """The figures of a student's size that are fractions of its teacher's."""
    share = student["prunable_weights"] / teacher["prunable_weights"]
    return {
        "effective_bits": student["effective_bits"] * share,
        "compression_ratio": teacher["compressed_bytes"] / student["compressed_bytes"],
    }


def _check_weights(model: nn.Module) -> None:
    """Refuses weights that have no shape yet, or are not finite."""
    for name, parameter in model.named_parameters():
        if isinstance(parameter, nn.parameter.UninitializedParameter):
            raise UserError(f"model: '{name}' has no shape yet; run the network on one batch first")
        try:
            check_finite(name, parameter)
        except UserError as error:
            raise UserError(f"model: {error}") from None


def _example(
    method: Method,
    given: Tensor | Mapping[str, Any] | Sequence[int] | None,
    network: nn.Module,
    samples: Samples | None,
) -> Inputs | None:
    """One input (1, ...), or None if its shape is not known; some methods need it."""
    example = example_of(given, network, samples)
    if example is None and method.needs_example:
        raise UserError(
            f"example: method '{method.name}' needs the shape of one input; give"
            " example=(3, 32, 32) or a batch, on the command line --example-shape 3,32,32"
        )
    return example


def _beginning(
    initial: nn.Module | Callable[[], nn.Module] | None, model: nn.Module, method: Method
) -> Callable[[], nn.Module]:
    """Returns a function that builds the network with the initial weights."""
    if initial is None and method.starts_anew:
        return lambda: model

    def beginning() -> nn.Module:
        if initial is None:
            raise UserError(
                f"initial: method '{method.name}' rewinds to the initial weights of the training; give"
                " FineTuning(..., initial=a network that has them), on the command line --initial-weights"
            )
        network = initial if isinstance(initial, nn.Module) else initial()
        shapes = [{name: value.shape for name, value in part.named_parameters()} for part in (network, model)]
        if shapes[0] != shapes[1]:
            raise UserError(
                "initial: got a network of another architecture than model; give one of the same architecture"
            )
        return network

    return beginning
