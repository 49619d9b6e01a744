"""Reads the configuration files of Pruning_MIA's `run_experiment.py --config`: YAML or JSON, for one experiment.

A file has the same settings as the command line, whose options override it. Paths (`datapath`, `save_dir`) are ignored,
because they belong to another machine. Settings that have no effect in Pruning_MIA, or only one possible value, must
have that value.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from pruneaudit.core.errors import UserError
from pruneaudit.core.options import Options, validated
from pruneaudit.core.settings_file import parse_settings, read_settings

FOLDER = Path("configs")
"""The folder of files that are named without suffix."""
SUFFIXES = (".yaml", ".yml", ".json")


class _Data(Options):
    dataset: str = "cifar10"
    datapath: str = ""
    batch_size: int = 128
    workers: int = 4


class _Model(Options):
    arch: str = "resnet"
    layers: int = 20
    width_mult: Literal[1] = 1
    depth_mult: Literal[1] = 1
    model_mult: Literal[0] = 0


class _Training(Options):
    epochs: int = 200
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    nesterov: Literal[False] = False
    scheduler: Literal["multistep"] = "multistep"
    milestones: tuple[Literal[100], Literal[150]] = (100, 150)
    """For 200 epochs; the same fractions of other numbers."""
    gamma: float = Field(default=0.1, ge=0.1, le=0.1)
    step_size: int = 30
    warmup_lr: float = 0.1
    warmup_lr_epoch: Literal[0] = 0
    warmup_loss_epoch: int = 70


class _Pruning(Options):
    enabled: bool = False
    method: str = "static"
    sparsity: float = 0.5
    prune_freq: int = 16
    target_epoch: int | None = None
    freeze_epoch: int | None = None
    prune_type: str = "unstructured"
    importance_method: Literal["L1"] = "L1"
    dwa_mode: str = ""
    dwa_alpha: float = 1.0
    dwa_beta: float = 1.0
    dwa_threshold_percentile: int = 50


class _Mia(Options):
    enabled: bool = False
    attack_type: str = "lira"
    num_shadow_models: int = 64
    shadow_epochs: int = 200
    recalibrate: bool = False


class _System(Options):
    gpu: int = 0
    seed: int = 42
    deterministic: bool = True
    benchmark: bool = True
    print_freq: int = 100
    save_freq: int = 10


class _Wandb(Options):
    enabled: bool = False
    project: str | None = None
    entity: str | None = None
    name: str | None = None
    tags: tuple[str, ...] = ()
    notes: str = ""


class ExperimentConfig(Options):
    """A configuration file, section by section."""

    name: str = ""
    description: str = ""
    save_dir: str = ""
    data: _Data = _Data()
    model: _Model = _Model()
    training: _Training = _Training()
    pruning: _Pruning = _Pruning()
    mia: _Mia = _Mia()
    system: _System = _System()
    wandb: _Wandb = _Wandb()

    def options(self) -> dict[str, Any]:
        """Returns the settings as options of `run_experiment.py`, by name; None: the default."""
        pruned, its = self.pruning.enabled, self.pruning
        return {
            "name": self.name or None,
            "prune": pruned,
            "prune_method": its.method if pruned else None,
            "sparsity": its.sparsity if pruned else None,
            **self.data.model_dump(include={"dataset", "batch_size"}),
            **self.model.model_dump(include={"arch", "layers"}),
            **self.training.model_dump(include={"epochs", "lr", "momentum", "weight_decay"}),
            **(its.model_dump(include={"prune_freq", "target_epoch", "freeze_epoch"}) if pruned else {}),
            "seed": self.system.seed,
            "num_shadows": self.mia.num_shadow_models if self.mia.enabled else None,
            "wandb": self.wandb.enabled,
            "wandb_project": self.wandb.project if self.wandb.enabled else None,
            "wandb_entity": self.wandb.entity if self.wandb.enabled else None,
            "wandb_tags": list(self.wandb.tags) if self.wandb.enabled else None,
        }


def read_config(given: str) -> ExperimentConfig:
    """Reads a configuration from its file, or from the file of that name in `configs/`.

    Args:
        given: a path, or a name without its suffix.

    Raises:
        UserError: the file does not exist, or has an unknown, wrong or unsupported setting.
    """
    path = Path(given)
    if path.suffix not in SUFFIXES:
        places = [FOLDER / f"{given}{suffix}" for suffix in SUFFIXES]
        path = next((place for place in places if place.is_file()), Path(f"{given}.yaml"))
    text = read_settings(path)
    values = parse_settings(text, str(path), is_json=True) if path.suffix == ".json" else _parse_yaml(text, path)
    return validated(ExperimentConfig, values, str(path))


def _parse_yaml(text: str, path: Path) -> Any:
    try:
        import yaml
    except ImportError:
        raise UserError(
            f"{path}: reading YAML needs PyYAML, which is not installed; pip install pyyaml, or give a JSON file"
        ) from None
    try:
        values = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise UserError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: got a {type(values).__name__}, expected a table of settings")
    return values
