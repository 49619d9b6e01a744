"""Weights & Biases: online if you are logged in, otherwise offline, in files that `wandb sync` sends later.

Offline needs no account and no network. `WANDB_MODE` overrides this, as everywhere in W&B. Settings become the run's
config, curves its history (with the epoch as x-axis), findings its summary, and files one artifact.
"""

from __future__ import annotations

import netrc
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pruneaudit.core.options import Options
from pruneaudit.tracking.tracker import Tracker, epoch_of

DEFAULT_PROJECT = "pruneaudit"


class WandbOptions(Options):
    """Project, owner and tags of the run."""

    project: str = ""
    """The project; default: WANDB_PROJECT, or "pruneaudit"."""
    entity: str = ""
    """User or team; default: W&B's own setting."""
    tags: tuple[str, ...] = ()
    """Tags of the run."""


class Wandb(Tracker):
    """Writes a W&B run."""

    Options = WandbOptions
    modules = ("wandb",)
    name = "wandb"

    def is_remote(self) -> bool:
        """Returns whether it sends to a server: unless offline."""
        mode = os.environ.get("WANDB_MODE")
        return mode not in ("offline", "disabled") and bool(mode or is_logged_in())

    def begin(self, about: Mapping[str, Any], folder: Path) -> None:
        """Starts the W&B run.

        Raises:
            RuntimeError: WANDB_MODE is 'online', but the user is not logged in.
        """
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # errors of a privacy tool must not be sent to others
        import wandb

        said, logged_in = os.environ.get("WANDB_MODE"), is_logged_in()
        if said == "online" and not logged_in:
            raise RuntimeError("WANDB_MODE is 'online', but you are not logged in; run `wandb login`, or unset it")
        # W&B must not prompt the user, capture the terminal or inspect the repository.
        quiet = wandb.Settings(silent=True, console="off", disable_git=True, save_code=False, x_disable_stats=True)
        self._run = wandb.init(
            mode=None if said or logged_in else "offline",  # None: W&B's own setting
            project=self.options.project or os.environ.get("WANDB_PROJECT") or DEFAULT_PROJECT,
            entity=self.options.entity or None,
            tags=list(self.options.tags) or None,
            dir=str(folder),
            name=about["name"],
            group=about["name"],
            notes=about["description"] or None,
            config={**about["study"], "device": about["device"], "versions": about["versions"]},
            settings=quiet,
        )
        self._study = about["name"]
        self._run.define_metric("epoch", hidden=True)
        self._run.define_metric("*", step_metric="epoch")
        sync = f"wandb sync {shlex.quote(str(Path(self._run.dir).parent))}"
        self.place = sync if self._run.offline else str(self._run.url or "")

    def curve(self, name: str, rows: Sequence[Mapping[str, float]]) -> None:
        """Logs a row of history per epoch."""
        for index, row in enumerate(rows):
            values = {f"{name}/{key}": row[key] for key in row if key != "epoch"}
            self._run.log({"epoch": epoch_of(row, index), **values})

    def findings(self, values: Mapping[str, float]) -> None:
        """Sets values of the summary."""
        self._run.summary.update(dict(values))

    def files(self, paths: Sequence[Path]) -> None:
        """Logs one artifact of type "results"."""
        import wandb

        artifact = wandb.Artifact(f"{self._study}-results".replace("+", "-").replace("=", "-"), type="results")
        for path in paths:
            artifact.add_file(str(path))
        self._run.log_artifact(artifact)

    def end(self, failed: bool) -> None:
        """Ends the W&B run; if online, waits until everything is sent."""
        self._run.finish(exit_code=int(failed))


def is_logged_in() -> bool:
    """Returns whether a key for W&B is in the environment or where `wandb login` stores it; never prompts."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai").hostname or ""
    for place in (os.environ.get("NETRC"), "~/.netrc", "~/_netrc"):
        try:
            if place and host in netrc.netrc(Path(place).expanduser()).hosts:
                return True
        except (OSError, netrc.NetrcParseError, RuntimeError):
            continue
    return False


TRACKER = Wandb
