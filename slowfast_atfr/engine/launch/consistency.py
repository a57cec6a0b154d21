"""Checks before a run that all its processes have the same config, folder and lists."""

import hashlib
import os
import socket
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from fvcore.common.config import CfgNode

from slowfast_atfr.config import ConfigError
from slowfast_atfr.config.load import flatten
from slowfast_atfr.datasets.video_dataset import VideoDataset
from slowfast_atfr.utils.distributed import gather_objects, get_rank, on_main

# Keys that may differ between machines: they change no result.
OWN_KEYS = {
    "SHARD_ID",
    "DATA.PATH_TO_DATA_DIR",
    "DATA.PATH_PREFIX",
    "DATA_LOADER.NUM_WORKERS",
    "DATA_LOADER.PIN_MEMORY",
}
SAMPLES = 1000  # video names compared; labels are all compared
MAX_NAMED = 5


def check_config(cfg: CfgNode) -> None:
    """Compare the configs of all processes. A collective.

    Raises:
        ConfigError: naming a process and the keys in which it differs from the first; on every process.
    """
    differs = _first_that_differs({key: value for key, value in flatten(cfg) if key not in OWN_KEYS})
    if differs is None:
        return
    rank, mine, theirs = differs
    keys = [key for key in sorted(mine.keys() | theirs.keys()) if mine.get(key) != theirs.get(key)]
    shown = [f"{key} is {theirs.get(key)!r} there and {mine.get(key)!r} here" for key in keys[:MAX_NAMED]]
    shown += [f"and {len(keys) - MAX_NAMED} more"] if len(keys) > MAX_NAMED else []
    raise ConfigError(
        f"process {rank} was started with another config than process 0 ('here'): {'; '.join(shown)}. Start all "
        "machines with the same config and the same KEY VALUE pairs"
    )


def check_folder(folder: str, seconds: float = 30.0) -> None:
    """Check that all processes see the same folder. A collective.

    The first process makes a file in it and the others look for it; network file systems may show it late.

    Args:
        folder: OUTPUT_DIR.
        seconds: time-out of the look-up.
    Raises:
        ConfigError: naming the machines that do not see it; on every process.
    """
    name = on_main(lambda: _make_marker(folder))
    missing = [place for place in gather_objects(None if _sees(folder, name, seconds) else _place()) if place]
    on_main(lambda: _remove(os.path.join(folder, name)))
    if missing:
        here = on_main(_place)
        raise ConfigError(
            f"OUTPUT_DIR is {folder!r}, which is not one folder for all processes: {', '.join(missing[:MAX_NAMED])} "
            f"cannot see what {here} writes there. Choose a folder that all machines share"
        )


def _make_marker(folder: str) -> str:
    name = f".seen_by_all_{uuid.uuid4().hex}"
    try:
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, name), "x", encoding="utf-8"):
            return name
    except OSError as error:
        raise ConfigError(f"OUTPUT_DIR is {folder!r}, which cannot be written: {error.strerror}") from None


def _sees(folder: str, name: str, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while True:
        with suppress(OSError):
            if name in os.listdir(folder):  # unlike os.path.exists, this asks the file server
                return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)


def _place() -> str:
    return f"process {get_rank()} on {socket.gethostname()}"


def _remove(path: str) -> None:
    with suppress(OSError):
        os.remove(path)


def check_videos(dataset: VideoDataset, cfg: CfgNode) -> None:
    """Compare the lists of videos of all processes. A collective.

    Raises:
        ConfigError: on every process.
    """
    differs = _first_that_differs({"videos": len(dataset), "digest": _digest(dataset, cfg.DATA.PATH_PREFIX)})
    if differs is None:
        return
    rank, mine, theirs = differs
    what = f"{theirs['videos']} videos, process 0 one of {mine['videos']}"
    if mine["videos"] == theirs["videos"]:
        what = f"{theirs['videos']} videos, as process 0, but different ones or in another order"
    raise ConfigError(
        f"process {rank} has read a list ({dataset.split}) of {what}; "
        "DATA.PATH_TO_DATA_DIR must hold the same lists on all machines"
    )


def _first_that_differs(mine: Mapping[str, Any]) -> tuple[int, Mapping[str, Any], Mapping[str, Any]] | None:
    """Return the first rank whose mapping differs from rank 0's, and both; only digests are sent if all agree."""
    digest = hashlib.sha256(repr(sorted(mine.items())).encode("utf-8", "surrogateescape")).digest()
    if len(set(gather_objects(digest))) == 1:
        return None
    everyones = gather_objects(dict(mine))
    rank = next(rank for rank, theirs in enumerate(everyones) if theirs != everyones[0])
    return rank, everyones[0], everyones[rank]


def _digest(dataset: VideoDataset, prefix: str) -> str:
    digest = hashlib.sha256(dataset.labels.tobytes())
    for index in range(0, len(dataset), max(1, len(dataset) // SAMPLES)):
        name = dataset.path(index).removeprefix(prefix).lstrip("/")
        digest.update(name.encode("utf-8", "surrogateescape") + b"\n")
    return digest.hexdigest()
