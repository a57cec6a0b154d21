"""Checkpoints: `checkpoints/checkpoint_epoch_00001.pyth` in the output folder, with PySlowFast's keys.

A file holds PySlowFast's `epoch` (from 0), `model_state`, `optimizer_state` and `cfg` (as text), and our `rng_state`
(of every process) and fields of `RunState`. It is written under a temporary name and then renamed, so it is always
complete. A checkpoint within an epoch has `_clips_` and the number of clips done in its name, and `epoch` of the
previous epoch; the next checkpoint replaces it.
"""

import io
import logging
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch
from fvcore.common.config import CfgNode
from torch import nn, optim
from torch.nn.parallel import DistributedDataParallel

from slowfast_atfr.config import ConfigError
from slowfast_atfr.engine.checkpoint.file import CheckpointFile, read_checkpoint
from slowfast_atfr.engine.checkpoint.load_weights import load_weights
from slowfast_atfr.engine.optimizer import LR_FACTOR
from slowfast_atfr.engine.run_state import RunState
from slowfast_atfr.utils.distributed import gather_objects, get_rank, get_world_size, on_main
from slowfast_atfr.utils.env import get_rng_state, set_rng_state
from slowfast_atfr.utils.errors import RunError
from slowfast_atfr.utils.files import remove_parts, write_whole

logger = logging.getLogger(__name__)
FILE_NAME = re.compile(r"checkpoint_epoch_(\d+)(?:_clips_(\d+))?\.pyth")
ONLY_WEIGHTS = (
    "To start a new run from its weights, set TRAIN.CHECKPOINT_FILE_PATH to it and TRAIN.CHECKPOINT_EPOCH_RESET True, "
    "in an OUTPUT_DIR without checkpoints"
)
TEST_WHOLE = "A test needs every weight from the file: use the config that it was trained with"


def checkpoint_path(output_dir: str, epoch: int, clips: int = 0) -> str:
    """Return the path after an epoch (from 0; files count from 1), or after `clips` clips of the next epoch."""
    name = f"checkpoint_epoch_{epoch + 2:05d}_clips_{clips:08d}" if clips else f"checkpoint_epoch_{epoch + 1:05d}"
    return os.path.join(output_dir, "checkpoints", f"{name}.pyth")


def save_checkpoint(cfg: CfgNode, model: nn.Module, optimizer: optim.Optimizer, epoch: int, state: RunState) -> str:
    """Write a checkpoint below OUTPUT_DIR; return its path. A collective; one process writes.

    Args:
        cfg: the user's, not that of a phase.
        model, optimizer: of the run.
        epoch: the last one that is done, from 0; -1 within the first.
        state: the rest of the run.
    Raises:
        RunError: on every process, if the file cannot be written; earlier files are kept.
    """
    rng_states, fields = gather_objects(get_rng_state()), state.fields()
    path = checkpoint_path(cfg.OUTPUT_DIR, epoch, state.clips)

    def write() -> str:
        checkpoint = {
            "epoch": epoch,
            "model_state": unwrapped(model).state_dict(),
            "optimizer_state": optimizer.state_dict(),
            "cfg": cfg.dump(),
            "rng_state": rng_states,
            **fields,
        }
        content = io.BytesIO()  # in memory first, so that a full disk raises OSError in write alone
        torch.save(checkpoint, content)
        try:
            remove_parts(os.path.dirname(path))  # of killed runs
            write_whole(path, content.getbuffer())
            for other in checkpoints_in(cfg.OUTPUT_DIR):
                if progress_of(other)[1] and other != path:
                    with suppress(FileNotFoundError):
                        os.remove(other)
        except OSError as error:
            raise RunError(
                f"cannot write the checkpoint {path}: {error.strerror or error}. Earlier checkpoints are kept; "
                "free some space or choose another OUTPUT_DIR, and start again to resume from the last one"
            ) from error
        return path

    return on_main(write)


def last_checkpoint(output_dir: str) -> CheckpointFile | None:
    """Return the latest readable checkpoint, None if there are no files. A collective; each process reads it once.

    Unreadable files are warned about.
    Raises:
        ConfigError: if there are files, and none can be read.
    """
    read: list[CheckpointFile] = []  # of the main process, which reads a file to check it

    def find() -> str | None:
        paths = checkpoints_in(output_dir)
        for path in paths:
            try:
                read.append(read_checkpoint(path))
                return path
            except ConfigError as error:
                logger.warning("skipping a damaged checkpoint: %s", error)
        if paths:
            raise ConfigError(
                f"none of the {len(paths)} checkpoint(s) in {os.path.dirname(paths[0])} can be read; "
                "move them away or choose another OUTPUT_DIR to start from scratch"
            )
        return None

    path = on_main(find)
    if path is None:
        return None
    return read[0] if read else read_checkpoint(path)


def weights_at(path: str, *, key: str, expected: str | None = None) -> CheckpointFile:
    """Read the file at a path, or the newest checkpoint of an OUTPUT_DIR. A collective.

    Args:
        path: of a file or folder.
        key: of the config that has the path, for messages.
        expected: as for `read_checkpoint`.
    Raises:
        ConfigError: if there is no such file, it is not a checkpoint, or the folder holds none.
    """
    if not os.path.isdir(path):
        return read_checkpoint(path, key=key, expected=expected)
    file = last_checkpoint(path)
    if file is None:
        rule = "which holds no checkpoint of a run; give a file, or a run's OUTPUT_DIR"
        raise ConfigError(f"{key} is the folder {path!r}, {rule}")
    return file


def load_for_test(cfg: CfgNode, model: nn.Module) -> str:
    """Load the weights to test and return their path. A collective.

    They come from TEST.CHECKPOINT_FILE_PATH (a file or the OUTPUT_DIR of a run), else from the newest checkpoint of
    OUTPUT_DIR, else from TRAIN.CHECKPOINT_FILE_PATH. Every weight must fit: a randomly initialised layer would spoil
    the result unnoticed.
    Raises:
        ConfigError: if there is no file, or it does not fit the model.
    """
    tested, started, clear = cfg.TEST.CHECKPOINT_FILE_PATH, cfg.TRAIN.CHECKPOINT_FILE_PATH, ()
    if tested:
        file = weights_at(tested, key="TEST.CHECKPOINT_FILE_PATH", expected=cfg.TEST.CHECKPOINT_TYPE)
    else:
        file = last_checkpoint(cfg.OUTPUT_DIR)
    if file is None and not started:
        raise ConfigError(
            f"nothing to test: TEST.CHECKPOINT_FILE_PATH is empty and OUTPUT_DIR ({cfg.OUTPUT_DIR}) holds no checkpoint"
        )
    if file is None:
        clear = cfg.TRAIN.CHECKPOINT_CLEAR_NAME_PATTERN
        file = read_checkpoint(started, expected=cfg.TRAIN.CHECKPOINT_TYPE)
    average = file.rest.get("ema_state")
    if cfg.SOLVER.EMA_DECAY and average:
        logger.info("%s has an average of weights (SOLVER.EMA_DECAY), which is tested", file.path)
        file = replace(file, weights=average)
    elif cfg.SOLVER.EMA_DECAY:
        logger.warning("%s has no average of weights (SOLVER.EMA_DECAY), so its last weights are tested", file.path)
    load_weights(file, unwrapped(model), clear=clear, strict=True, remedy=TEST_WHOLE)
    return file.path


def load_run_weights(file: CheckpointFile, model: nn.Module, clear: Sequence[str] = ()) -> None:
    """Load the weights of a run to resume, which must all fit. Raises ConfigError.

    Args:
        file: of the run.
        model: may be within DistributedDataParallel.
        clear: strings to remove from the names of the file's weights.
    """
    remedy = f"Does the config fit the file? {ONLY_WEIGHTS}"
    load_weights(file, unwrapped(model), clear=clear, strict=True, remedy=remedy)


def restore_run(file: CheckpointFile, optimizer: optim.Optimizer, state: RunState) -> int:
    """Restore everything but the weights of a run, and this process's random state.

    Returns:
        last epoch done, from 0; -1 if the file has none.
    Raises:
        ConfigError: if the file has no fitting optimizer state.
    """
    factors = [group.get(LR_FACTOR) for group in optimizer.param_groups]  # from the config, as BASE_LR
    try:
        optimizer.load_state_dict(file.rest["optimizer_state"])
    except (KeyError, ValueError, TypeError, AttributeError) as error:  # any other object
        raise ConfigError(
            f"{file.path} has no optimizer state that fits this run ({error}); use the settings of SOLVER, BN and "
            f"SGS.LR_FACTOR that it was saved with. {ONLY_WEIGHTS}"
        ) from None
    for group, factor in zip(optimizer.param_groups, factors, strict=True):
        group.pop(LR_FACTOR, None)
        group.update({} if factor is None else {LR_FACTOR: factor})
    _restore_rng(file.rest.get("rng_state", []), file.path)
    left = state.load(file.rest)
    if left:
        text = "%s has no %s: this state is reset, an average of weights (ema_state) to the loaded weights"
        logger.warning(text, file.path, ", ".join(left))
    return -1 if file.epoch is None else file.epoch


def checkpoints_in(output_dir: str) -> list[str]:
    """Return the paths of the checkpoints in an output folder, latest first."""
    folder = os.path.join(output_dir, "checkpoints")
    names = [name for name in os.listdir(folder) if FILE_NAME.fullmatch(name)] if os.path.isdir(folder) else []
    return [os.path.join(folder, name) for name in sorted(names, key=progress_of, reverse=True)]


def progress_of(path: str) -> tuple[int, int]:
    """Return the epochs done and the clips of the next one, from a checkpoint's name."""
    number, clips = FILE_NAME.fullmatch(os.path.basename(path)).groups()
    return (int(number), 0) if clips is None else (int(number) - 1, int(clips))


def _restore_rng(states: list[dict[str, Any]], path: str) -> None:
    if len(states) == get_world_size():
        set_rng_state(states[get_rank()])
    elif states:
        text = (
            "%s was written by a run of %d process(es), this one has %d: weights, optimizer and position carry over, "
            "random states and the means of an epoch in progress are reset"
        )
        logger.warning(text, path, len(states), get_world_size())
    else:
        logger.warning("%s has no random states: the run continues with new ones", path)


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the network without DistributedDataParallel."""
    return model.module if isinstance(model, DistributedDataParallel) else model
