"""Whether the processes of a run were started for the same one: their configs, folders and lists, before it begins."""

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

# Which machine it is, where it keeps the data and how it loads them changes no result.
OWN_KEYS = {
    "SHARD_ID",
    "DATA.PATH_TO_DATA_DIR",
    "DATA.PATH_PREFIX",
    "DATA_LOADER.NUM_WORKERS",
    "DATA_LOADER.PIN_MEMORY",
}
SAMPLES = 1000  # videos of a list whose names are compared; labels are compared of all
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
    told = "; ".join(f"{key} is {theirs.get(key)!r} there and {mine.get(key)!r} here" for key in keys[:MAX_NAMED])
    more = f"; and {len(keys) - MAX_NAMED} more" if len(keys) > MAX_NAMED else ""
    raise ConfigError(
        f"process {rank} was started with another config than process 0 ('here'): {told}{more}. Start all machines "
        "with the same config and the same KEY VALUE pairs"
    )


def check_folder(folder: str, seconds: float = 30.0) -> None:
    """Whether all processes see the same folder. A collective.

    The first process makes a file in it, and the others look for that; network file systems may show it late.

    Args:
        folder: OUTPUT_DIR.
        seconds: that a process looks for the file.
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
            if name in os.listdir(folder):  # which asks the file server, where a look for one name may not
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
    """Compare the videos that all processes have found in their lists of a split. A collective.

    Raises:
        ConfigError: on every process.
    """
    differs = _first_that_differs({"videos": len(dataset), "digest": _digest(dataset, cfg.DATA.PATH_PREFIX)})
    if differs is None:
        return
    rank, mine, theirs = differs
    what = f"{theirs['videos']} videos, process 0 {mine['videos']}"
    if mine["videos"] == theirs["videos"]:
        what = "as many as process 0, but others or in another order"
    raise ConfigError(
        f"process {rank} has read a list ({dataset.split}) of {what}; "
        "DATA.PATH_TO_DATA_DIR must hold the same lists on all machines"
    )


def _first_that_differs(mine: Mapping[str, Any]) -> tuple[int, Mapping[str, Any], Mapping[str, Any]] | None:
    """The first rank whose mapping is not that of rank 0, with both mappings; what all have is sent as a digest."""
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
