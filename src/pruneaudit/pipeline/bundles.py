"""Several models of the bank trained side by side, as one piece of work.

Where a model stands follows from its number, and an empty place is as good as a neighbour: a model has the same bits
in a full bundle, beside fewer others, or alone. There are no checkpoints in between; such trainings are short.
"""

from __future__ import annotations

from collections.abc import Sequence

from pruneaudit.pipeline.engines import num_places
from pruneaudit.pipeline.own import Own, write_trained
from pruneaudit.pipeline.request import Request
from pruneaudit.study import Training
from pruneaudit.training.loop import DivergedTrainingError
from pruneaudit.training.stacked import raise_if_diverged, train_stacked


def train_side_by_side(requests: Sequence[Request]) -> dict[str, str]:
    """Trains models of one bank, and writes each into its own staging folder.

    Args:
        requests: of training tasks of one bank, at most as many as it has places.

    Returns:
        What went wrong with those that failed beside others, a line by name of the request.

    Raises:
        DivergedTrainingError: the only model's loss is no longer a finite number.
    """
    spec = requests[0].spec
    settings, places = Training.model_validate(spec["training"]), num_places(spec)
    owns = [Own(request) for request in requests]
    states = train_stacked(
        [own.initial_model() for own in owns],
        [own.members() for own in owns],
        settings,
        [own.generator("training") for own in owns],
        hooks=[own.hooks(settings) for own in owns],
        places=[own.model_id % places for own in owns],
        num_places=places,
    )
    failed = {}
    for own, state in zip(owns, states, strict=True):
        try:
            raise_if_diverged(state)
        except DivergedTrainingError as error:
            if len(owns) == 1:
                raise
            failed[own.request.name] = f"{type(error).__name__}: {error}"
        else:
            write_trained(own, state.model, state.history)
    return failed
