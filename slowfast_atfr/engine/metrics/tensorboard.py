"""Curves and histograms of a training run, for TensorBoard."""

import os
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
from fvcore.common.config import CfgNode

from slowfast_atfr.utils.errors import RunError

BINS = "active_bins_"
ERRORS = ("top1_err", "top5_err")  # capitalised in PySlowFast's tags
PLACES = ("_type", "epoch", "iter", "eta", "gpu_mem", "RAM")  # fields of json_stats that are not plotted


class TensorBoard:
    """Writes the numbers of json_stats as curves, and active bins of each SGS layer as histograms.

    Tags and steps are PySlowFast's, so that old and new runs compare: Train/loss, Train/Top1_err, ... by training
    iteration, Val/Top1_err, ... by validation iteration. The files are in OUTPUT_DIR/runs-DATASET, or
    OUTPUT_DIR/TENSORBOARD.LOG_DIR.

    Args:
        cfg: of the run.
        first_step: at which the run starts; later points of an interrupted run are dropped.
    Raises:
        RunError: without tensorboard, with the command that installs it.
    """

    def __init__(self, cfg: CfgNode, first_step: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            install = "pip install 'slowfast_atfr[viz]'"
            raise RunError(f"TENSORBOARD.ENABLE is True, but there is no tensorboard: {install}") from None
        folder = cfg.TENSORBOARD.LOG_DIR or f"runs-{cfg.TRAIN.DATASET}"
        self._writer = SummaryWriter(os.path.join(cfg.OUTPUT_DIR, folder), purge_step=first_step)
        self._active: dict[str, list[np.ndarray]] = defaultdict(list)

    def note(self, costs: Mapping[str, np.ndarray]) -> None:
        """Store the active bins of an iteration's clips for the next histograms."""
        for name, values in costs.items():
            if name.startswith(BINS):
                self._active[name].append(values)

    def add(self, kind: str, stats: Mapping[str, Any], step: int) -> None:
        """Add a point to each curve, such as Train/loss.

        Args:
            kind: Train, Train_epoch (means over an epoch) or Val.
            stats: as logged; numbers may be text.
            step: iteration, counted from 0 over all epochs.
        """
        for name, value in stats.items():
            if name not in PLACES:
                tag = name.capitalize() if name in ERRORS else name
                self._writer.add_scalar(f"{kind}/{tag}", float(value), step)

    def add_histograms(self, step: int) -> None:
        """Add a histogram of the active bins of each layer since the last call."""
        for name, values in self._active.items():
            counts = np.concatenate(values)
            self._writer.add_histogram(name, counts, step, bins=np.arange(counts.max() + 2) - 0.5)
        self._active.clear()
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()
