"""The configuration files of Pruning_MIA's `run_experiment.py --config`: YAML or JSON, all settings of one experiment.

A file says what the options of the command line say; an option that is given beside it counts more. Where data and
runs lie (`datapath`, `save_dir`) is not read from it, for these are places on another machine. Settings that have no
effect there, or whose only value is the usual one, must have that value.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from pruneaudit.core.errors import UserError
from pruneaudit.core.options import Options, validated
from pruneaudit.core.settings_file import parse_settings, read_settings

FOLDER = Path("configs")
"""Where a file that is named without its suffix lies."""
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
    """Of 200 epochs; of fewer, the same fractions."""
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
        """What the file says, as options of `run_experiment.py` by their own names; None: as usual."""
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
    """A configuration from its file, or from the one of that name in `configs/`.

    Args:
        given: a path, or a name without its suffix.

    Raises:
        UserError: there is no such file, or something in it is unknown, wrong, or not done here.
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
            f"{path}: PyYAML is not installed, which reads YAML; pip install pyyaml, or give the file as JSON"
        ) from None
    try:
        values = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise UserError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: got a {type(values).__name__}, expected a table of settings")
    return values
