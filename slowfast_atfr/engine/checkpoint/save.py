"""Checkpoints: `checkpoints/checkpoint_epoch_00001.pyth` in the output folder, with PySlowFast's keys.

A file holds `epoch` (from 0), `model_state`, `optimizer_state`, `cfg` (as text) and, ours, `rng_state` (of every
process) and the fields of `RunState`. It is written under another name and renamed when it is complete, so a file of
this name is a whole one. A file that is written within an epoch has `_clips_` and their number in its name, and the
number of the epoch before as `epoch`; the next file takes its place. What fits of the weights of others is in
`load_weights.py`.
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
    "To start anew from its weights alone, give it as TRAIN.CHECKPOINT_FILE_PATH with TRAIN.CHECKPOINT_EPOCH_RESET "
    "True, in an OUTPUT_DIR without checkpoints"
)
TEST_WHOLE = "A test takes every weight from the file: give the config that it was trained with"


def checkpoint_path(output_dir: str, epoch: int, clips: int = 0) -> str:
    """File of an epoch, or of the so many clips of the next one that were done; epochs count from 0, files from 1."""
    name = f"checkpoint_epoch_{epoch + 2:05d}_clips_{clips:08d}" if clips else f"checkpoint_epoch_{epoch + 1:05d}"
    return os.path.join(output_dir, "checkpoints", f"{name}.pyth")


def save_checkpoint(
    cfg: CfgNode, model: nn.Module, optimizer: optim.Optimizer, epoch: int, state: RunState | None = None
) -> str:
    """Write a checkpoint below OUTPUT_DIR; return its path. A collective; one process writes.

    Args:
        cfg: of the run, whatever phase it is in.
        model, optimizer: of the run.
        epoch: the last one that is done, from 0; -1 within the first.
        state: what else the run is made of.
    Raises:
        RunError: if the file cannot be written, on every process; earlier files are then as they were.
    """
    state = RunState() if state is None else state
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
        content = io.BytesIO()  # first in memory: a full disk is then an OSError of write, and of nothing else
        torch.save(checkpoint, content)
        try:
            remove_parts(os.path.dirname(path))  # of runs that were killed while they wrote
            write_whole(path, content.getbuffer())
            for other in checkpoints_in(cfg.OUTPUT_DIR):
                if place_of(other)[1] and other != path:
                    with suppress(FileNotFoundError):
                        os.remove(other)
        except OSError as error:
            raise RunError(
                f"cannot write the checkpoint {path}: {error.strerror or error}. The checkpoints written before are as "
                "they were; free some space or choose another OUTPUT_DIR, and start again to go on from the last one"
            ) from error
        return path

    return on_main(write)


def last_checkpoint(output_dir: str) -> CheckpointFile | None:
    """The checkpoint that is farthest and can be read; None if there is none. A collective.

    Files that cannot be read are warned about. Each process reads the file once.
    Raises:
        ConfigError: if there are files, and none of them can be read.
    """
    read: list[CheckpointFile] = []  # of the main process, which has to read a file to know that it is whole

    def find() -> str | None:
        paths = checkpoints_in(output_dir)
        for path in paths:
            try:
                read.append(read_checkpoint(path))
                return path
            except ConfigError as error:
                logger.warning("passing over a damaged checkpoint: %s", error)
        if paths:
            raise ConfigError(
                f"none of the {len(paths)} checkpoint(s) in {os.path.dirname(paths[0])} can be read; "
                "move them away, or choose another OUTPUT_DIR, to start anew"
            )
        return None

    path = on_main(find)
    if path is None:
        return None
    return read[0] if read else read_checkpoint(path)


def weights_at(path: str, *, key: str, expected: str | None = None) -> CheckpointFile:
    """The file at a path, or the newest checkpoint in it where it is the OUTPUT_DIR of a run. A collective.

    Args:
        path: of a file or folder.
        key: that the path comes from, for errors and warnings.
        expected: as `read_checkpoint` has it.
    Raises:
        ConfigError: if there is no such file, it is no checkpoint, or the folder holds none.
    """
    if not os.path.isdir(path):
        return read_checkpoint(path, key=key, expected=expected)
    file = last_checkpoint(path)
    if file is None:
        rule = "which holds no checkpoint of a run; name a file, or a run's OUTPUT_DIR"
        raise ConfigError(f"{key} is the folder {path!r}, {rule}")
    return file


def load_for_test(cfg: CfgNode, model: nn.Module) -> str:
    """Load the weights to test and return their path. A collective.

    They are TEST.CHECKPOINT_FILE_PATH, or the newest checkpoint in it where that is the OUTPUT_DIR of a run; else the
    newest checkpoint of OUTPUT_DIR, else TRAIN.CHECKPOINT_FILE_PATH. They must be those of the model, one and all: a
    layer left as it was initialised would spoil the result unseen.
    Raises:
        ConfigError: if there is none of them, or it does not fit the model.
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
        logger.info("%s has an average of weights (SOLVER.EMA_DECAY): that is tested", file.path)
        file = replace(file, weights=average)
    elif cfg.SOLVER.EMA_DECAY:
        logger.warning("%s has no average of weights (SOLVER.EMA_DECAY): its last weights are tested", file.path)
    load_weights(file, unwrapped(model), clear=clear, strict=True, remedy=TEST_WHOLE)
    return file.path


def load_checkpoint(
    path: str, model: nn.Module, optimizer: optim.Optimizer | None = None, state: RunState | None = None
) -> int:
    """Load all that a checkpoint of this package or of PySlowFast holds.

    Args:
        path: of the file.
        model: receives the weights, all of which must be there and fit; may be wrapped in DistributedDataParallel.
        optimizer: to resume: receives its state, and this process goes back to its random state.
        state: to resume: receives what else the file holds.
    Returns:
        epoch at whose end it was saved, from 0; a resumed run starts with the next. -1 if the file does not tell.
    Raises:
        ConfigError: if the file is missing or no checkpoint, or what it holds is not the model's or the optimizer's.
    """
    file = read_checkpoint(path)
    load_run_weights(file, model)
    return restore_run(file, optimizer, state)


def load_run_weights(file: CheckpointFile, model: nn.Module, clear: Sequence[str] = ()) -> None:
    """Load the weights of a run that is to continue: all must be there and fit. Raises ConfigError.

    Args:
        file: of the run.
        model: may be wrapped in DistributedDataParallel.
        clear: strings that are removed from the names of the file's weights.
    """
    remedy = f"Does the config fit the file? {ONLY_WEIGHTS}"
    load_weights(file, unwrapped(model), clear=clear, strict=True, remedy=remedy)


def restore_run(file: CheckpointFile, optimizer: optim.Optimizer | None, state: RunState | None) -> int:
    """Bring back what a file holds besides the weights; arguments and result are those of `load_checkpoint`."""
    if optimizer is not None:
        factors = [group.get(LR_FACTOR) for group in optimizer.param_groups]  # the config's, as BASE_LR is
        try:
            optimizer.load_state_dict(file.rest["optimizer_state"])
        except (KeyError, ValueError, TypeError, AttributeError) as error:  # whatever stands in its place
            raise ConfigError(
                f"{file.path} has no optimizer state that fits this run ({error}); keep to the settings of SOLVER, "
                f"BN and SGS.LR_FACTOR that it was saved with. {ONLY_WEIGHTS}"
            ) from None
        for group, factor in zip(optimizer.param_groups, factors, strict=True):
            group.pop(LR_FACTOR, None)
            group.update({} if factor is None else {LR_FACTOR: factor})
        _go_on_with_rng(file.rest.get("rng_state", []), file.path)
    if state is not None:
        left = state.load(file.rest)
        if left:
            text = "%s has no %s of this run: that begins anew, an average of weights (ema_state) at the loaded ones"
            logger.warning(text, file.path, ", ".join(left))
    return -1 if file.epoch is None else file.epoch


def checkpoints_in(output_dir: str) -> list[str]:
    """Paths of the checkpoints in an output folder, the farthest first."""
    folder = os.path.join(output_dir, "checkpoints")
    names = [name for name in os.listdir(folder) if FILE_NAME.fullmatch(name)] if os.path.isdir(folder) else []
    return [os.path.join(folder, name) for name in sorted(names, key=place_of, reverse=True)]


def place_of(path: str) -> tuple[int, int]:
    """Epochs that are done when a checkpoint is written, and clips of the next one; from its name."""
    number, clips = FILE_NAME.fullmatch(os.path.basename(path)).groups()
    return (int(number), 0) if clips is None else (int(number) - 1, int(clips))


def _go_on_with_rng(states: list[dict[str, Any]], path: str) -> None:
    if len(states) == get_world_size():
        set_rng_state(states[get_rank()])
    elif states:
        text = (
            "%s was written by a run of %d process(es), this one has %d: weights, optimizer and position carry over, "
            "random states and the means of an epoch in progress start anew"
        )
        logger.warning(text, path, len(states), get_world_size())
    else:
        logger.warning("%s has no random states: the run goes on with new ones", path)


def unwrapped(model: nn.Module) -> nn.Module:
    """The network itself, without DistributedDataParallel around it."""
    return model.module if isinstance(model, DistributedDataParallel) else model
