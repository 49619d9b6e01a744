"""Exports one model of a finished run to a file that other programs can read.

| format | the file | read with |
|---|---|---|
| onnx | graph and weights; batches of any size; checked against torch before it is kept | onnxruntime |
| torch | the state dict, tensors alone | `torch.load(FILE, weights_only=True)` |
| safetensors | the state dict | `safetensors.torch.load_file(FILE)` |

A note `FILE.json` beside it describes the network, the format of inputs, and the class names. In every format the input
is the same as in training: uint8 images as (x / 255 - mean) / std with the constants of the note, float data as they
are. Weights also come with `FILE.structure.json` if channels were removed (for
`pruneaudit.compression.structure.replay`), with `FILE.mask.safetensors` if the method uses a mask, and with
`FILE.compressed.safetensors` if weights were rounded or clustered: the codes and scales, or the indices and shared
values, from which they are rebuilt (`pruneaudit.compression.state`). The export first checks that these give the
weights in the file, bit for bit.
"""

# B batch, C classes

from __future__ import annotations

import importlib
import json
import logging
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pruneaudit.compression.state import check_rebuilt, has_codes
from pruneaudit.core.errors import UserError, in_one_line
from pruneaudit.core.files import (
    COMPRESSED_FILE,
    MASK_FILE,
    STRUCTURE_FILE,
    SUMMARY_FILE,
    WEIGHTS_FILE,
    read_json,
    writing_error,
)
from pruneaudit.core.registry import nearest
from pruneaudit.data.audit_data import AuditData
from pruneaudit.engine.plan import Task
from pruneaudit.engine.task_context import stored_model
from pruneaudit.external.folder import make_readable
from pruneaudit.external.output import check_new
from pruneaudit.runs.folder import RunFolder
from pruneaudit.study.lineage import network_function
from pruneaudit.study.user_function import source_sha256, working_folder_searched
from pruneaudit.training.checkpoint import load_tensors, save_tensors
from pruneaudit.training.samples import Samples

FORMATS = ("onnx", "torch", "safetensors")
ONNX_MODULES = ("onnx", "onnxscript", "onnxruntime")
ONNX_TOLERANCE = 1e-5
"""Largest difference between the logits of onnxruntime and torch, relative to the largest logit (or to 1)."""
NOTE, STRUCTURE, MASK, COMPRESSED = BESIDE = (
    ".json",
    ".structure.json",
    ".mask.safetensors",
    ".compressed.safetensors",
)
"""Suffixes of the files beside the model."""
NUM_CHECKED = 8
"""Number of samples on which to compare onnxruntime with torch."""


@dataclass(frozen=True)
class Exported:
    """The files of an export."""

    files: tuple[Path, ...]
    """The model first, then the files beside it."""
    difference: float | None
    """onnx: the largest difference from torch's logits, relative to the largest logit (or to 1); otherwise None."""


def export(
    run: str | Path,
    release: str,
    out: str | Path,
    format: str = "onnx",
    model_id: int = 0,
    force: bool = False,
    factory: str = "",
) -> Exported:
    """Writes one model of a finished run to a file, with a note beside it.

    Args:
        run: the run's folder, such as runs/demo; the data set itself is not needed.
        release: "dense", or the name of a release.
        out: the file.
        format: `onnx`, `torch` or `safetensors`.
        model_id: the model of the release to export.
        force: replace an existing file.
        factory: for your own network: the function that builds it, `package.module:function`. ONNX needs it; other
            formats need it if layers share a tensor, to write all its names. The function that the run folder names is
            never imported, because a folder from a stranger would run the stranger's code.

    Raises:
        UserError: the run is unfinished or damaged, the release or model does not exist, its weights do not match its
            compressed state, a file exists already, the extra `onnx` is not installed, the outputs of the ONNX model
            differ from torch's, or the factory is missing or wrong. Nothing is then written.

    Example:
        >>> exported = pruneaudit.export("runs/first", "dense", "dense.safetensors", format="safetensors")
    """
    run, out = Path(run), Path(out).expanduser()
    check_format(format)
    for path in (out, *(_beside(out, suffix) for suffix in BESIDE)):
        check_new(path, force, f"model.{format}")
    held = RunFolder.open(run)
    plan, audit_data = held.finished()
    task, folder = held.model(plan, release, model_id)
    spec = _buildable(task.spec, format, factory)
    check_rebuilt(load_tensors(folder / WEIGHTS_FILE), folder)
    difference = None
    with _written(out) as staging:
        file = staging / out.name
        if format == "onnx":
            with working_folder_searched() if factory else nullcontext():
                difference = _write_onnx(stored_model(spec, audit_data, folder).eval(), _inputs(audit_data), file)
        else:
            state = stored_state(spec, audit_data, folder, factory)
            save_tensors(state, file) if format == "safetensors" else torch.save(state, file)
            _copy_beside(folder, file)
        note = _note(task, audit_data, folder, format, difference)
        _beside(file, NOTE).write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")
        names = sorted(path.name for path in staging.iterdir() if path.name != out.name)
    return Exported((out, *(out.with_name(name) for name in names)), difference)


def check_format(format: str) -> None:
    """Checks that a format is known, and that its packages are installed.

    Raises:
        UserError: the format is unknown, or a package is missing.
    """
    if format not in FORMATS:
        raise UserError(f"format: got '{format}'{nearest(format, FORMATS)}, expected {', '.join(FORMATS)}")
    for name in ONNX_MODULES if format == "onnx" else ():
        try:
            importlib.import_module(name)
        except ImportError:
            raise UserError(f"format onnx: {name} is not installed; pip install 'pruneaudit[onnx]'") from None


def _inputs(audit_data: AuditData) -> Tensor:
    """Returns a few network inputs (B, ...), contiguous in memory."""
    chosen = np.arange(len(audit_data.y)) < NUM_CHECKED
    return Samples.of(audit_data, chosen).inputs(slice(None)).contiguous()


def _buildable(spec: Mapping[str, Any], format: str, factory: str) -> Mapping[str, Any]:
    """Returns the specification from which to build a network; a user's network uses the function that they name.

    Raises:
        UserError: the function is missing, not needed, or not the one of the run.
    """
    recorded = network_function(spec)
    if not recorded and factory:
        raise UserError(f"--factory: got '{factory}', expected none (the network comes with the package); leave it out")
    if not recorded or not (factory or format == "onnx"):
        return spec
    if not factory:
        raise UserError(
            f"format onnx has to build the network with your function '{recorded}', but functions that a run folder"
            f" names are never imported: add --factory {recorded}, or use --format torch or safetensors"
        )
    function = recorded.rpartition(":")[2]
    if factory.rpartition(":")[2] != function:  # its module can have moved
        raise UserError(
            f"--factory: got '{factory}', expected the function of the run, '{function}' of '{recorded}'; give that one"
        )
    found, known = source_sha256(factory, "--factory"), spec["model"]["fingerprint"]
    if found != known:
        raise UserError(
            f"--factory: the source of '{factory}' has SHA-256 {found[:8]}, expected {known[:8]} as when the run was"
            " made; restore the module as it was then, or use --format torch or safetensors"
        )
    options = {**spec["model"]["options"], "target": factory}
    return {**spec, "model": {**spec["model"], "options": options}}


def stored_state(spec: Mapping[str, Any], audit_data: AuditData, folder: Path, factory: str = "") -> dict[str, Tensor]:
    """Returns the state dict of a stored network, with contiguous tensors.

    Calls a user's function only if the user names it. Without it, a tensor that several layers share has only its first
    name.

    Args:
        spec: as for `stored_model`.
        audit_data: the audit data of the study.
        folder: the folder of the artifact.
        factory: the user's function that builds the network, if they named it.
    """
    if network_function(spec) and not factory:
        return load_tensors(folder / WEIGHTS_FILE)
    with working_folder_searched() if factory else nullcontext():
        state = stored_model(spec, audit_data, folder).state_dict()
    return {
        name: tensor.detach().contiguous().clone() for name, tensor in state.items()
    }  # each tensor with its own memory


def _copy_beside(folder: Path, file: Path) -> None:
    """Copies the files that describe more than weights: the structure of a smaller network, masks, and codes."""
    files = {STRUCTURE_FILE: STRUCTURE, MASK_FILE: MASK} | ({COMPRESSED_FILE: COMPRESSED} if has_codes(folder) else {})
    for name, suffix in files.items():
        if (folder / name).exists():
            shutil.copyfile(folder / name, _beside(file, suffix))


def _beside(file: Path, suffix: str) -> Path:
    return file.with_name(file.name + suffix)


def _note(task: Task, audit_data: AuditData, folder: Path, format: str, difference: float | None) -> dict[str, Any]:
    """Returns the note beside the file, as JSON data."""
    summary = read_json(folder / SUMMARY_FILE)
    scale = audit_data.mean and {"divide_by": 255, "mean": audit_data.mean, "std": audit_data.std}
    checked = {} if difference is None else {"difference_from_torch": difference}
    return checked | {
        "format": format,
        "release": task.release,
        "model_id": task.model_id,
        "model": task.spec["model"],
        **{key: task.spec[key] for key in ("pruner", "compress", "defense", "prepared") if task.spec.get(key)},
        "input": {"name": "input", "shape": ["batch", *audit_data.x.shape[1:]], "type": "float32"},
        "normalisation": scale,
        "output": {"name": "logits", "shape": ["batch", audit_data.num_classes]},
        "classes": audit_data.classes,
        "summary": summary,
        "artifact": task.artifact.identity,
        "torch": torch.__version__,
    }


def _write_onnx(model: nn.Module, x: Tensor, file: Path) -> float:
    """Writes the model as ONNX, and compares onnxruntime with torch on `x` (B, ...).

    Returns:
        The largest difference from torch's logits, relative to the largest logit (or to 1).

    Raises:
        UserError: the difference is too large, or the model cannot be written as ONNX.
    """
    with _quiet(), torch.no_grad():
        try:
            shapes = ({0: torch.export.Dim("batch")},)
            program = torch.onnx.export(
                model, (x,), dynamo=True, verbose=False, input_names=["input"], output_names=["logits"],
                dynamic_shapes=shapes,
            )  # fmt: skip
            assert program is not None
            program.save(file, external_data=False)
        except Exception as error:  # ONNX does not support every network
            reason = in_one_line(error)
            raise UserError(
                f"onnx: this network cannot be written ({reason}); use format torch or safetensors"
            ) from error
        # Also a single sample, to check that the batch size is not fixed in the graph.
        difference = max(_difference(model, part, file) for part in (x, x[:1]))
    if not difference < ONNX_TOLERANCE:
        raise UserError(
            f"onnx: onnxruntime differs from torch by {difference:.2g} of the largest logit, expected below"
            f" {ONNX_TOLERANCE:g}; use format torch or safetensors"
        )
    return difference


def _difference(model: nn.Module, x: Tensor, file: Path) -> float:
    """Returns the largest difference of the logits (B, C), relative to the largest of torch's (or to 1)."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    (answer,) = session.run(["logits"], {"input": x.numpy()})
    expected = model(x).numpy()
    return float(np.abs(answer - expected).max() / max(1.0, np.abs(expected).max()))


@contextmanager
def _quiet() -> Iterator[None]:
    """Hides the exporter's internal messages from the user."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


@contextmanager
def _written(out: Path) -> Iterator[Path]:
    """Yields a private folder; moves its files beside `out` when all are written, `out` itself last."""
    staging = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        staging.mkdir(parents=True)
        yield staging
        make_readable(staging, out.name + NOTE)
        for suffix in BESIDE:  # of an earlier export
            _beside(out, suffix).unlink(missing_ok=True)
        for path in sorted(staging.iterdir(), key=lambda path: path.name == out.name):
            path.replace(out.with_name(path.name))
    except OSError as error:
        raise writing_error(out, error) from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)
