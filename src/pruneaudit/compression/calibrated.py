"""The base class of compressors that use samples; their options say which samples and how many."""

from __future__ import annotations

from typing import TypeVar

from pruneaudit.compression.compressor import Compressor, DataUse
from pruneaudit.compression.mask_options import CalibrationOptions

CalibrationOptionsT = TypeVar("CalibrationOptionsT", bound=CalibrationOptions)


class CalibratedCompressor(Compressor[CalibrationOptionsT]):
    """A compressor that looks at public samples, or at the network's own members."""

    def data(self, options: CalibrationOptionsT) -> DataUse:
        """Whose samples it looks at."""
        return options.data

    def num_samples(self, options: CalibrationOptionsT) -> int:
        """How many samples it looks at, at most half of those there."""
        return options.num_samples
