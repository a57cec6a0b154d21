"""What a training run starts from: random weights, the weights of a file, or a checkpoint of an earlier run.

Weights are loaded right after the network is built, before the average of SOLVER.EMA_DECAY and DDP copy them;
optimizer, random states and the rest are restored once they exist.
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
    progress_of,
    restore_run,
    unwrapped,
)
from slowfast_atfr.engine.run_state import RunState
from slowfast_atfr.utils.distributed import on_main
from slowfast_atfr.utils.errors import RunError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Start:
    """Where a run starts.

    file: None starts from random weights.
    resumes: continue the file's run: optimizer, random states, position. False takes the weights that fit and starts at
        epoch 0.
    inflate: repeat 2D kernels along time.
    clear: strings to remove from the names of the file's weights.
    """

    file: CheckpointFile | None = None
    resumes: bool = False
    inflate: bool = False
    clear: tuple[str, ...] = ()

    def load_weights(self, model: nn.Module) -> None:
        """Load the file's weights into the network.

        Raises:
            ConfigError: if none fits, or the run resumes and one is missing or left over.
        """
        if self.file is None:
            return
        if self.resumes:
            load_run_weights(self.file, model, self.clear)
        else:
            load_weights(self.file, unwrapped(model), inflate=self.inflate, clear=self.clear)

    def restore(self, optimizer: optim.Optimizer, state: RunState) -> int:
        """Restore the rest of a resumed run; return its first epoch, from 0.

        Raises:
            ConfigError: if the file has no fitting optimizer state.
        """
        if self.file is None or not self.resumes:
            return 0
        return restore_run(self.file, optimizer, state) + 1


def find_start(cfg: CfgNode, *, max_epoch: int) -> Start:
    """Find what a run starts from. A collective; each process reads the file once.

    With TRAIN.AUTO_RESUME that is the newest checkpoint of OUTPUT_DIR, else TRAIN.CHECKPOINT_FILE_PATH. A training
    checkpoint resumes its run, unless CHECKPOINT_EPOCH_RESET or CHECKPOINT_INFLATE asks for its weights alone.
    Without TRAIN.AUTO_RESUME, checkpoints of an earlier run in OUTPUT_DIR are moved aside.

    Args:
        cfg: of the run.
        max_epoch: epochs of the run, which multigrid training changes.
    Raises:
        ConfigError: if a file cannot be read, or CHECKPOINT_FILE_PATH is already past the last epoch.
        RunError: if checkpoints cannot be moved.
    """
    resumed = last_checkpoint(cfg.OUTPUT_DIR) if cfg.TRAIN.AUTO_RESUME else None
    if resumed is not None:
        changes = resumed.changes(cfg)
        if changes:
            text = "the run resumes from %s, which was trained with a different config: %s. %s"
            remedy = "To start from scratch, choose another OUTPUT_DIR or remove the checkpoints"
            logger.warning(text, resumed.path, format_changes(changes), remedy)
        return Start(resumed, resumes=True)
    start = _given_start(cfg, max_epoch)
    if not cfg.TRAIN.AUTO_RESUME:
        on_main(lambda: _move_aside(cfg, start))
    return start


def _given_start(cfg: CfgNode, max_epoch: int) -> Start:
    """The start that TRAIN.CHECKPOINT_FILE_PATH names."""
    train, path = cfg.TRAIN, cfg.TRAIN.CHECKPOINT_FILE_PATH
    if not path:
        without = [leaf for leaf in ("CHECKPOINT_EPOCH_RESET", "CHECKPOINT_INFLATE") if train[leaf]]
        if without:
            text = "TRAIN.%s is True, but %s is empty: the run starts from random weights with a fine-tuning config"
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
    """Move away the checkpoints of an earlier run that this run does not resume.

    A run that resumes from one of them keeps that one and earlier ones.
    """
    paths = checkpoints_in(cfg.OUTPUT_DIR)
    same = [path for path in paths if start.file is not None and _is_same_file(path, start.file.path)]
    if same and not start.resumes:
        raise ConfigError(
            f"TRAIN.CHECKPOINT_FILE_PATH is {start.file.path!r}, one of the checkpoints in OUTPUT_DIR that this run, "
            "which starts at epoch 0 without TRAIN.AUTO_RESUME, would write over; choose another OUTPUT_DIR"
        )
    moved = [path for path in paths if not same or progress_of(path) > progress_of(same[0])]
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
