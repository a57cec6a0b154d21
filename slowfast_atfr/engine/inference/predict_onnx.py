"""Predictions for video files by an exported ONNX file."""

import time

import numpy as np
from fvcore.common.config import CfgNode
from torch import Tensor

from slowfast_atfr.config import ConfigError
from slowfast_atfr.engine.inference.export import input_shapes
from slowfast_atfr.engine.inference.onnx_file import SCORES, OnnxFile
from slowfast_atfr.engine.inference.predict import Predictor
from slowfast_atfr.models.inputs import pathways


class OnnxPredictor(Predictor):
    """Predictor whose network is an ONNX file, which takes one clip at a time. GFLOPs are not counted.

    Args:
        file: of `slowfast-atfr export`.
        cfg: for reading videos; `file.cfg()` is that of the export.
    Raises:
        ConfigError: if the file takes clips of another shape than cfg's.
    """

    def __init__(self, file: OnnxFile, cfg: CfgNode) -> None:
        made = input_shapes(cfg)
        if made != file.input_shapes:
            raise ConfigError(
                f"{file.path} takes clips of {file.input_shapes}, but DATA.NUM_FRAMES {cfg.DATA.NUM_FRAMES} and "
                f"DATA.TEST_CROP_SIZE {cfg.DATA.TEST_CROP_SIZE} make {made}; leave them out, or export it again"
            )
        self.cfg, self.file = cfg, file

    def _scores(self, frames: Tensor) -> tuple[np.ndarray, dict[str, np.ndarray], float]:
        """As Predictor._scores; the costs are maps after each SGS layer."""
        start = time.perf_counter()
        found = [self.file(pathways(view, self.cfg)) for view in frames.split(1)]
        seconds = (time.perf_counter() - start) / len(frames)
        scores = np.concatenate([outputs.pop(SCORES) for outputs in found])
        return scores, {name: np.array([float(outputs[name]) for outputs in found]) for name in found[0]}, seconds
