"""What a training run starts from: random weights, the weights of a file, or the point that an earlier run reached.

The weights are loaded right after the network is built, so that all that is made from weights (the average of
SOLVER.EMA_DECAY, DDP's broadcast) is made from those; optimizer, random states and the rest follow when they exist.
"""

import logging
import os
from dataclasses import dataclass

from fvcore.common.config import CfgNode
from torch import nn, optim

from slowfast_atfr.config import ConfigError
from slowfast_atfr.config.config_diff import format_changes
from slowfast_atfr.engine.checkpoint.file import FILE_PATH, CheckpointFile, read_checkpoint
from slowfast_atfr.engine.checkpoint.load_weights import load_weights
from slowfast_atfr.engine.checkpoint.save import (
    ONLY_WEIGHTS,
    checkpoints_in,
    last_checkpoint,
    load_run_weights,
    place_of,
    restore_run,
    unwrapped,
)
from slowfast_atfr.engine.run_state import RunState
from slowfast_atfr.utils.distributed import on_main
from slowfast_atfr.utils.errors import RunError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Start:
    """The start of a run, and the file that it comes from.

    file: None starts from random weights.
    resumes: the file's run continues: optimizer, random states, position. False takes the weights that fit, and starts
        at epoch 0.
    inflate: repeat 2D kernels along time.
    clear: strings that are removed from the names of the file's weights.
    """

    file: CheckpointFile | None = None
    resumes: bool = False
    inflate: bool = False
    clear: tuple[str, ...] = ()

    def load_weights(self, model: nn.Module) -> None:
        """Give the network the file's weights.

        Raises:
            ConfigError: if none of them fits, or a run is to continue and one is missing or left over.
        """
        if self.file is None:
            return
        if self.resumes:
            load_run_weights(self.file, model, self.clear)
        else:
            load_weights(self.file, unwrapped(model), inflate=self.inflate, clear=self.clear)

    def restore(self, optimizer: optim.Optimizer, state: RunState) -> int:
        """Bring back the rest of a run that continues; return the epoch, from 0, that the run starts with.

        Raises:
            ConfigError: if the file has no optimizer state that fits.
        """
        if self.file is None or not self.resumes:
            return 0
        return restore_run(self.file, optimizer, state) + 1


def find_start(cfg: CfgNode, *, max_epoch: int = 0) -> Start:
    """What a run starts from. A collective; each process reads the file once.

    With TRAIN.AUTO_RESUME that is the newest checkpoint of OUTPUT_DIR; where there is none, TRAIN.CHECKPOINT_FILE_PATH.
    A file of a run continues it, unless CHECKPOINT_EPOCH_RESET or CHECKPOINT_INFLATE asks for its weights alone.
    Without TRAIN.AUTO_RESUME, the checkpoints that an earlier run left in OUTPUT_DIR are moved aside.

    Args:
        cfg: of the run.
        max_epoch: epochs of the run; SOLVER.MAX_EPOCH if not given.
    Raises:
        ConfigError: if a file cannot be read, or CHECKPOINT_FILE_PATH is already past the last epoch.
        RunError: if checkpoints cannot be moved.
    """
    resumed = last_checkpoint(cfg.OUTPUT_DIR) if cfg.TRAIN.AUTO_RESUME else None
    if resumed is not None:
        changes = resumed.changes(cfg)
        if changes:
            text = "the run resumes from %s, which was trained with another config: %s. %s"
            remedy = "To start anew, choose another OUTPUT_DIR, or remove the checkpoints"
            logger.warning(text, resumed.path, format_changes(changes), remedy)
        return Start(resumed, resumes=True)
    start = _given_start(cfg, max_epoch or cfg.SOLVER.MAX_EPOCH)
    if not cfg.TRAIN.AUTO_RESUME:
        on_main(lambda: _move_aside(cfg, start))
    return start


def _given_start(cfg: CfgNode, max_epoch: int) -> Start:
    """The start that TRAIN.CHECKPOINT_FILE_PATH names."""
    train, path = cfg.TRAIN, cfg.TRAIN.CHECKPOINT_FILE_PATH
    if not path:
        without = [leaf for leaf in ("CHECKPOINT_EPOCH_RESET", "CHECKPOINT_INFLATE") if train[leaf]]
        if without:
            text = "TRAIN.%s is True, but %s is empty: the run starts from random weights, with a recipe of fine-tuning"
            logger.warning(text, " and ".join(without), FILE_PATH)
        return Start()
    file, clear = read_checkpoint(path, expected=train.CHECKPOINT_TYPE), tuple(train.CHECKPOINT_CLEAR_NAME_PATTERN)
    if train.CHECKPOINT_EPOCH_RESET or train.CHECKPOINT_INFLATE or file.epoch is None:
        return Start(file, inflate=train.CHECKPOINT_INFLATE, clear=clear)
    if file.epoch + 1 >= max_epoch:
        raise ConfigError(
            f"TRAIN.CHECKPOINT_FILE_PATH is {path!r}, saved after {file.epoch + 1} epochs, and the run has {max_epoch} "
            f"(SOLVER.MAX_EPOCH): nothing is left to train. {ONLY_WEIGHTS}"
        )
    return Start(file, resumes=True, clear=clear)


def _move_aside(cfg: CfgNode, start: Start) -> None:
    """Move the checkpoints of an earlier run out of the way of a run that does not continue it.

    A run that goes back to one of them keeps that one and those before it: they are its own past.
    """
    paths = checkpoints_in(cfg.OUTPUT_DIR)
    same = [path for path in paths if start.file is not None and _is_same_file(path, start.file.path)]
    if same and not start.resumes:
        raise ConfigError(
            f"TRAIN.CHECKPOINT_FILE_PATH is {start.file.path!r}, one of the checkpoints in OUTPUT_DIR that this run, "
            "which starts at epoch 0 without TRAIN.AUTO_RESUME, would write over; choose another OUTPUT_DIR"
        )
    moved = [path for path in paths if not same or place_of(path) > place_of(same[0])]
    if not moved:
        return
    folder = _unused(os.path.join(cfg.OUTPUT_DIR, "checkpoints_old"))
    try:
        os.makedirs(folder)
        for path in moved:
            os.replace(path, os.path.join(folder, os.path.basename(path)))
    except OSError as error:
        raise RunError(
            f"TRAIN.AUTO_RESUME is False, and the checkpoints of an earlier run in {cfg.OUTPUT_DIR} cannot be moved to "
            f"{folder}: {error.strerror}; choose another OUTPUT_DIR"
        ) from None
    text = "TRAIN.AUTO_RESUME is False: %d checkpoint(s) of an earlier run are moved to %s"
    logger.warning(text, len(moved), folder)


def _is_same_file(path: str, other: str) -> bool:
    return os.path.exists(other) and os.path.samefile(path, other)


def _unused(path: str) -> str:
    """The path, or the first of path_2, path_3, ... that does not exist."""
    number, name = 1, path
    while os.path.exists(name):
        number += 1
        name = f"{path}_{number}"
    return name
