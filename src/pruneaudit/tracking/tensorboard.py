"""TensorBoard: event files in the run folder, written by TensorBoard's own writer (no TensorFlow, no torch).

Each `run` writes to a separate folder, RUN/tensorboard/<start>, so that the curves of a resumed study do not overlap
with those of earlier attempts. Curves are scalars with the epoch as step, findings are scalars at step 0, settings
are a text. TensorBoard stores no files: a text gives the path of the report.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pruneaudit.core.options import Options
from pruneaudit.tracking.tracker import Tracker, epoch_of


class TensorboardOptions(Options):
    """The log folder."""

    folder: str = ""
    """Its path; default: `tensorboard` in the run folder."""


class Tensorboard(Tracker):
    """Writes event files."""

    Options = TensorboardOptions
    modules = ("tensorboard",)
    name = "tensorboard"

    def is_remote(self) -> bool:
        """Returns False: it writes files."""
        return False

    def begin(self, about: Mapping[str, Any], folder: Path) -> None:
        """Opens the event file."""
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        root = Path(self.options.folder) if self.options.folder else folder / "tensorboard"
        began = "".join(character for character in about["created"][:19] if character.isalnum())
        self._writer = EventFileWriter(str(root / began))
        self.place = f"tensorboard --logdir {shlex.quote(str(root))}"
        self._text("study", "```json\n" + json.dumps(about["study"], indent=1) + "\n```")

    def curve(self, name: str, rows: Sequence[Mapping[str, float]]) -> None:
        """Writes scalars with the epoch as step."""
        for index, row in enumerate(rows):
            self._scalars(epoch_of(row, index), {f"{name}/{key}": row[key] for key in row if key != "epoch"})

    def findings(self, values: Mapping[str, float]) -> None:
        """Writes scalars at step 0."""
        self._scalars(0, values)

    def files(self, paths: Sequence[Path]) -> None:
        """Writes a text with their paths."""
        self._text("files", "\n".join(f"- {path.resolve()}" for path in paths))

    def end(self, failed: bool) -> None:
        """Flushes and closes the event file."""
        self._writer.close()

    def _scalars(self, step: int, values: Mapping[str, float]) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        self._add(step, Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]))

    def _text(self, tag: str, text: str) -> None:
        """Writes a text, as Markdown."""
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.plugins.text.metadata import create_summary_metadata
        from tensorboard.util.tensor_util import make_tensor_proto

        metadata = create_summary_metadata(tag, "")
        tensor = make_tensor_proto([text.encode()], shape=(1,))
        self._add(0, Summary(value=[Summary.Value(tag=tag, metadata=metadata, tensor=tensor)]))

    def _add(self, step: int, summary: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))


TRACKER = Tensorboard
