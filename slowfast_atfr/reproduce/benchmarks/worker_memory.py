"""Measure the memory of a data worker over many clips."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import numpy as np
from fvcore.common.config import CfgNode

from slowfast_atfr.datasets import build_loader
from slowfast_atfr.utils.distributed import RankInfo
from slowfast_atfr.utils.env import private_memory

MEASUREMENTS = 30


def worker_memory(cfg: CfgNode, *, warm_up: int, measured: int) -> np.ndarray:
    """Measure the private bytes of a data worker, before and after each of MEASUREMENTS equal parts of the clips.

    The loader runs in a new process, since workers inherit the free memory of their parent and may grow in it unseen.

    Args:
        cfg: of a data set; a batch is one video.
        warm_up: clips before the first measurement.
        measured: training clips, over several epochs of the same worker.
    Returns:
        (MEASUREMENTS + 1,) int64.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(_watch_worker, cfg, warm_up, measured).result()


def _watch_worker(cfg: CfgNode, warm_up: int, measured: int) -> np.ndarray:
    cfg = cfg.clone()
    cfg.DATA_LOADER.NUM_WORKERS = cfg.TRAIN.BATCH_SIZE = 1
    loader = build_loader(cfg, "train", RankInfo())
    before = multiprocessing.active_children()
    wanted = [warm_up + measured * part // MEASUREMENTS for part in range(MEASUREMENTS + 1)]
    bytes_, clips, epoch = [], 0, 0
    while len(bytes_) < len(wanted):
        loader.set_epoch(epoch)
        for batch in loader:
            clips += len(batch)
            if len(bytes_) < len(wanted) and clips >= wanted[len(bytes_)]:
                (worker,) = set(multiprocessing.active_children()) - set(before)
                bytes_.append(private_memory(worker.pid))
        epoch += 1
    return np.array(bytes_)


def growth(bytes_: np.ndarray) -> float:
    """Return the growth in per cent from the minimum of the first third of entries to that of the last.

    Minima, since the C library keeps up to a third more unused memory at times.
    """
    third = len(bytes_) // 3
    return float(bytes_[-third:].min() / bytes_[:third].min() - 1) * 100
