"""Reads damaged copies of videos through the data set, each as a train, val and test item, and tells what came of it.

A program of its own, since what it looks for may take the process down: python damaged_copies.py FOLDER OUT COUNT.
Every file is named on stdout before it is read; SIGALRM ends the process if an item takes longer than LIMIT seconds.
"""

import gc
import json
import os
import signal
import sys
from pathlib import Path

import numpy as np

from slowfast_atfr.config import get_cfg
from slowfast_atfr.datasets.kinetics import Kinetics

LIMIT = 20


def cut(data, rng):
    """The file up to some byte."""
    return data[: int(rng.integers(len(data)))]


def flipped(data, rng):
    """The file with up to 12 bits flipped, half of the time among the first 2000 bytes."""
    copy = bytearray(data)
    end = len(copy) if rng.integers(2) else min(len(copy), 2000)
    for place in rng.integers(0, end, int(rng.integers(1, 13))):
        copy[place] ^= 1 << int(rng.integers(8))
    return copy


def write_copies(folder, out, count):
    """Paths of the files of a folder, and of `count` copies of them in turn, cut and with flipped bits by turns."""
    originals = sorted(Path(folder).iterdir())
    paths, rng = list(originals), np.random.default_rng(0)
    for number in range(count):
        original = originals[number % len(originals)]
        paths.append(Path(out) / f"{number:03d}_{original.name}")
        paths[-1].write_bytes((cut, flipped)[number % 2](original.read_bytes(), rng))
    return paths


def data_sets(paths, out):
    """The files as Kinetics' train, val and test."""
    lists = "".join(f"{path} 0\n" for path in paths)
    for split in ("train", "val", "test"):
        (Path(out) / f"{split}.csv").write_text(lists)
    cfg = get_cfg()
    cfg.DATA.PATH_TO_DATA_DIR, cfg.DATA.NUM_FRAMES, cfg.DATA.SAMPLING_RATE = str(out), 4, 2
    cfg.DATA.TRAIN_JITTER_SCALES, cfg.DATA.TRAIN_CROP_SIZE, cfg.DATA.TEST_CROP_SIZE = [40, 48], 32, 32
    cfg.TEST.NUM_ENSEMBLE_VIEWS, cfg.TEST.NUM_SPATIAL_CROPS = 2, 1
    return {split: Kinetics(cfg, split) for split in ("train", "val", "test")}


def main(folder, out, count):
    sets = data_sets(write_copies(folder, out, count), out)
    memory = []
    for index in range(len(sets["val"])):
        print(json.dumps({"path": sets["val"].path(index)}), flush=True)
        for split, data in sets.items():
            signal.alarm(LIMIT)
            item = data[index]
            signal.alarm(0)
            shape = None if item.frames is None else list(item.frames.shape)
            skipped = [[skip.index, skip.path, skip.reason] for skip in item.skipped]
            print(json.dumps({"split": split, "shape": shape, "index": item.index, "skipped": skipped}))
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        memory.append(pages * os.sysconf("SC_PAGE_SIZE") >> 20)
    print(json.dumps({"open_files": len(os.listdir("/proc/self/fd")), "mib": memory}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
