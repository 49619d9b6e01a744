"""torchvision beside a CPU build of torch: its wheel on PyPI is built for CUDA, and lacks two operators there."""

from __future__ import annotations

import sys
import warnings

import pytest
import torch

_KEPT: list[torch.library.Library] = []
"""Declarations last as long as the object that made them."""


def torchvision_or_skip() -> None:
    """Imports torchvision, with the two operators of detection declared where its own are missing; else skips."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import torchvision
        except ModuleNotFoundError:
            pytest.skip("torchvision is not installed")
        except RuntimeError:  # operator torchvision::nms does not exist
            for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
                del sys.modules[name]
            library = torch.library.Library("torchvision", "DEF")
            for operator in ("nms", "qnms"):
                library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            _KEPT.append(library)
            import torchvision
        assert torchvision.__version__
