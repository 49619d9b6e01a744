"""Whether small networks are trained one by one or side by side: as asked, or by trying both for a moment.

What is chosen shapes the weights (by rounding), so that it belongs to an artifact's identity and is named in
reports; how long the trial took does not.
"""

# G models side by side, n samples of one model

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from pruneaudit.errors import UserError
from pruneaudit.study import Training
from pruneaudit.training.hooks import Hook, TrainingState
from pruneaudit.training.loop import DivergedTrainingError, train
from pruneaudit.training.samples import Samples, Shuffled
from pruneaudit.training.stackable import obstacle
from pruneaudit.training.stacked import train_stacked

Engine = Literal["plain", "stacked"]
NUM_PLACES = 8
"""Models side by side: more gain little and take longer to fill."""
LEAST_GAIN = 1.15
"""How many times faster side by side must be in the trial to be chosen; less is within a busy machine's noise."""
SLOW_STEP_SECONDS = 0.03
"""A network whose single step takes longer spends it on arithmetic, and there is no overhead to share."""
NUM_ROUNDS = 5


@dataclass(frozen=True)
class Choice:
    """Which engine trains, and why."""

    engine: Engine
    reason: str
    """A few words, for logs and reports; the same on every machine that chooses the same."""


def choose_engine(
    asked: Engine | Literal["auto"],
    make_model: Callable[[], nn.Module],
    samples: Samples,
    settings: Training,
    hooks: Sequence[Hook] = (),
    num_places: int = NUM_PLACES,
) -> Choice:
    """The engine for trainings of one kind.

    Args:
        asked: an engine, which is taken as it is; `auto` tries both, unless something speaks against `stacked`.
        make_model: a fresh network on the samples' device.
        samples: one model's training set.
        settings: of the trainings.
        hooks: one model's.
        num_places: G.

    Raises:
        UserError: `stacked` is asked for, and these models cannot be trained so.
    """
    if asked == "plain":
        return Choice("plain", "asked for")
    reason = obstacle([make_model()], [samples], [hooks])
    if settings.precision != "float32":
        reason = f"side by side computes in float32, not in {settings.precision}"
    if reason and asked == "stacked":
        raise UserError(f"engine 'stacked' cannot train these models: {reason}; use engine = 'plain' or 'auto'")
    if reason:
        return Choice("plain", f"not trainable side by side: {reason}")
    if asked == "stacked":
        return Choice("stacked", "asked for")
    if worth_stacking(make_model, samples, settings, num_places):
        return Choice("stacked", "faster in a trial")
    return Choice("plain", "side by side was not faster in a trial")


def worth_stacking(
    make_model: Callable[[], nn.Module], samples: Samples, settings: Training, num_places: int = NUM_PLACES
) -> bool:
    """Whether G models train faster side by side: both ways in turn for a few steps, the best time of each.

    Takes some tenths of a second for small networks, and a few plain steps for others. Its answer may change with
    what else the machine does; ask once, and keep the answer.

    Args:
        make_model: a fresh network on the samples' device.
        samples: one model's training set; two or three batches of it are used.
        settings: of the trainings.
        num_places: G.
    """
    few = slice(0, 2 * settings.batch_size + settings.batch_size // 2)
    samples = Samples(samples.stored[few], samples.y[few])
    num_steps = Shuffled(len(samples), settings.batch_size).num_batches
    # A tiny learning rate: a trial that diverged would tell nothing.
    brief = settings.model_copy(update={"epochs": 2, "learning_rate": 1e-6})

    def plain() -> float:
        clock = _Clock(samples.y.device)
        train(make_model(), samples, brief, torch.Generator(), [clock])
        return clock.seconds * num_places

    def stacked() -> float:
        clock = _Clock(samples.y.device)
        models = [make_model() for _ in range(num_places)]
        own = [torch.Generator() for _ in models]
        train_stacked(models, [samples] * num_places, brief, own, hooks=[[clock], *[()] * (num_places - 1)])
        return clock.seconds

    try:
        if plain() / num_places > num_steps * SLOW_STEP_SECONDS:
            return False
        times = [(plain(), stacked()) for _ in range(NUM_ROUNDS)]
    except DivergedTrainingError:
        return False
    alone, together = (min(column) for column in zip(*times, strict=True))
    return alone > LEAST_GAIN * together


class _Clock(Hook):
    """The time from the end of the first epoch to that of the last: no start, only steps."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._times = device, list[float]()

    @property
    def seconds(self) -> float:
        """Between the two."""
        return self._times[-1] - self._times[0]

    def epoch_end(self, state: TrainingState) -> None:
        """Waits for the device, and looks at the clock; the processor's own, which other programs disturb less."""
        if self._device.type == "cpu":
            self._times.append(time.process_time())
            return
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        self._times.append(time.perf_counter())
