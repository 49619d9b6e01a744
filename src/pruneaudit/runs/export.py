"""Exports one model of a finished run to a file that other programs can read.

| format | the file | read with |
|---|---|---|
| onnx | graph and weights; batches of any size, texts of any length; checked against torch first | onnxruntime |
| torch | the state dict, tensors alone | `torch.load(FILE, weights_only=True)` |
| safetensors | the state dict | `safetensors.torch.load_file(FILE)` |

A note `FILE.json` describes the network, the format of inputs, and the class names. In every format the input is the
same as in training: uint8 images as (x / 255 - mean) / std with the constants of the note, float data as they are,
texts as `input_ids` and `attention_mask`, whose tokenizer is in `FILE.tokenizer.json`. Weights also come with
`FILE.structure.json` if the architecture was changed (for `pruneaudit.compression.structure.replay`), with
`FILE.mask.safetensors` if the method uses a mask, and with `FILE.compressed.safetensors` if weights were rounded or
clustered: the codes and scales, or the indices and shared values, from which they are rebuilt
(`pruneaudit.compression.state`). The export first checks that these give the weights in the file, bit for bit.
"""

# B batch, C classes

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pruneaudit.compression.state import check_rebuilt, has_codes, load_state
from pruneaudit.core.errors import UserError
from pruneaudit.core.files import COMPRESSED_FILE, MASK_FILE, STRUCTURE_FILE, SUMMARY_FILE, WEIGHTS_FILE, read_json
from pruneaudit.core.registry import nearest
from pruneaudit.data.audit_data import AuditData
from pruneaudit.data.inputs import example_of
from pruneaudit.engine.plan import Plan, Task
from pruneaudit.engine.task_context import stored_model
from pruneaudit.external.folder import beside, new_files
from pruneaudit.external.onnx_file import NOTE, OnnxFacts, check_installed, write_onnx
from pruneaudit.external.onnx_inputs import NUM_INPUTS, ComparedInputs, input_note, inputs_of
from pruneaudit.external.output import check_new
from pruneaudit.runs.folder import RunFolder
from pruneaudit.study.lineage import network_function
from pruneaudit.study.user_function import source_sha256, working_folder_searched
from pruneaudit.training.checkpoint import load_tensors, save_tensors
from pruneaudit.training.samples import Samples

FORMATS = ("onnx", "torch", "safetensors")
STRUCTURE, MASK, COMPRESSED = ".structure.json", ".mask.safetensors", ".compressed.safetensors"
TOKENIZER = ".tokenizer.json"
BESIDE = (NOTE, STRUCTURE, MASK, COMPRESSED, TOKENIZER)
"""Suffixes of the further files next to the model."""


@dataclass(frozen=True)
class Exported:
    """The files of an export."""

    files: tuple[Path, ...]
    """The model first, then the further files."""
    onnx: OnnxFacts | None
    """For onnx: facts about the file, and the comparison of onnxruntime with the network; otherwise None."""

    @property
    def difference(self) -> float | None:
        """onnx: largest difference from torch's logits, relative to the largest logit (or to 1); otherwise None."""
        return None if self.onnx is None else self.onnx.agreement.relative


def export(
    run: str | Path,
    release: str,
    out: str | Path,
    format: str = "onnx",
    model_id: int = 0,
    force: bool = False,
    factory: str = "",
) -> Exported:
    """Writes one model of a finished run to a file, and a note about it to `FILE.json`.

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
    file = ExportFile(Path(out).expanduser(), format, force, factory)
    file.check()
    held = _opened(Path(run))
    return export_model(held, *held.finished(), (release, model_id), file)


@dataclass(frozen=True)
class ExportFile:
    """The file to write; its fields are as for `export`."""

    path: Path
    format: str = "onnx"
    force: bool = False
    factory: str = ""

    def check(self) -> None:
        """Checks that it can be written.

        Raises:
            UserError: the format is unknown, a package is missing, or a file exists already.
        """
        check_format(self.format)
        for path in (self.path, *(beside(self.path, suffix) for suffix in BESIDE)):
            check_new(path, self.force, f"model.{self.format}")


def export_model(
    held: RunFolder, plan: Plan, audit_data: AuditData, model: tuple[str, int], file: ExportFile
) -> Exported:
    """Writes a model of a run to a file.

    Args:
        held: the folder of the run.
        plan: a plan with the release.
        audit_data: the audit data of the plan.
        model: the release, and the id of its model.
        file: the file, which was checked.

    Raises:
        UserError: as for `export`.
    """
    task, folder = held.model(plan, *model)
    out, format, factory = file.path, file.format, file.factory
    spec = _buildable(task.spec, format, factory)
    check_rebuilt(load_tensors(folder / WEIGHTS_FILE), folder)
    facts = None
    with new_files(out, BESIDE) as staging:
        new = staging / out.name
        if format == "onnx":
            with working_folder_searched() if factory else nullcontext():
                network = stored_model(spec, audit_data, folder).eval()
                facts = write_onnx(network, load_state(folder), _inputs(audit_data), new)
        else:
            state = stored_state(spec, audit_data, folder, factory)
            save_tensors(state, new) if format == "safetensors" else torch.save(state, new)
            _copy_beside(folder, new)
        if audit_data.tokenizer:
            beside(new, TOKENIZER).write_bytes(audit_data.tokenizer.encode())
        note = _note(task, audit_data, folder, format, facts)
        beside(new, NOTE).write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")
        names = sorted(path.name for path in staging.iterdir() if path.name != out.name)
    return Exported((out, *(out.with_name(name) for name in names)), facts)


def _opened(run: Path) -> RunFolder:
    if not RunFolder(run).is_begun and (run / WEIGHTS_FILE).is_file() and (run / SUMMARY_FILE).is_file():
        raise UserError(
            f"{run}: contains a network that `compress` saved, expected the folder of a run; add --onnx FILE to"
            f" `compress`, or call pruneaudit.load_compressed(build, {str(run)!r}).to_onnx(FILE) in Python"
        )
    return RunFolder.open(run)


def check_format(format: str) -> None:
    """Checks that a format is known, and that its packages are installed.

    Raises:
        UserError: the format is unknown, or a package is missing.
    """
    if format not in FORMATS:
        raise UserError(f"format: got '{format}'{nearest(format, FORMATS)}, expected {', '.join(FORMATS)}")
    if format == "onnx":
        check_installed()


def _inputs(audit_data: AuditData) -> ComparedInputs:
    """Returns inputs to compare onnxruntime with torch on: of the holdout, then public ones, then noise on them."""
    parts = {"holdout": audit_data.holdout, "public": audit_data.public}
    chosen = {name: part & (part.cumsum() <= NUM_INPUTS) for name, part in parts.items()}
    x = {name: Samples.of(audit_data, part).inputs(slice(None)) for name, part in chosen.items() if part.any()}
    num_ids = audit_data.vocabulary.size if audit_data.vocabulary else 0
    return inputs_of(x, audit_data.input_shape, torch.float32, num_ids)


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
            shutil.copyfile(folder / name, beside(file, suffix))


def _note(task: Task, audit_data: AuditData, folder: Path, format: str, facts: OnnxFacts | None) -> dict[str, Any]:
    """Returns the note beside the file, as JSON data."""
    summary = read_json(folder / SUMMARY_FILE)
    scale = audit_data.mean and {"divide_by": 255, "mean": audit_data.mean, "std": audit_data.std}
    checked = {} if facts is None else {"difference_from_torch": facts.agreement.relative, "onnx": facts.described()}
    return checked | {
        "format": format,
        "release": task.release,
        "model_id": task.model_id,
        "model": task.spec["model"],
        **{key: task.spec[key] for key in ("pruner", "compress", "defense", "prepared") if task.spec.get(key)},
        "input": _input_note(audit_data, facts),
        "normalisation": scale,
        "output": {"name": "logits", "shape": ["batch", audit_data.num_classes]},
        "classes": audit_data.classes,
        "summary": summary,
        "artifact": task.artifact.identity,
        "torch": torch.__version__,
    }


def _input_note(audit_data: AuditData, facts: OnnxFacts | None) -> dict[str, Any]:
    """Returns what the network takes, as JSON data; of texts also the numbers of their vocabulary."""
    note = input_note(example_of(audit_data.input_shape), None if facts is None else facts.fixed_length)
    words = audit_data.vocabulary
    if words is None:
        return note
    return note | {"vocabulary_size": words.size, "padding_id": words.padding, "unknown_id": words.unknown}
