"""Checks of the files that a config names, before anything is started."""

import os

from fvcore.common.config import CfgNode

from slowfast_atfr.config import ConfigError
from slowfast_atfr.engine.checkpoint.save import checkpoint_path, checkpoints_in
from slowfast_atfr.engine.multigrid import MultigridSchedule


def check_files(cfg: CfgNode) -> None:
    """Check that the checkpoint files to read exist, and that OUTPUT_DIR is valid.

    A resumed run does not read TRAIN.CHECKPOINT_FILE_PATH, and a test may read a file that its training writes.

    Raises:
        ConfigError: naming the key and the file.
    """
    start, tested = cfg.TRAIN.CHECKPOINT_FILE_PATH, cfg.TEST.CHECKPOINT_FILE_PATH
    resumes = cfg.TRAIN.AUTO_RESUME and bool(checkpoints_in(cfg.OUTPUT_DIR))
    if cfg.TRAIN.ENABLE and start and not resumes and not os.path.isfile(start):
        raise ConfigError(f"TRAIN.CHECKPOINT_FILE_PATH is {start!r}, and there is no such file")
    if cfg.TEST.ENABLE and tested and not _will_be_there(tested, cfg):
        raise ConfigError(f"TEST.CHECKPOINT_FILE_PATH is {tested!r}, and there is no such file or folder")
    if cfg.TRAIN.ENABLE and cfg.TENSORBOARD.ENABLE and not _is_utf8(cfg.OUTPUT_DIR):
        rule = "TENSORBOARD.ENABLE is True, and TensorBoard only writes to folders with names in UTF-8"
        raise ConfigError(
            f"OUTPUT_DIR is {cfg.OUTPUT_DIR!r}; {rule}: choose another OUTPUT_DIR, or set TENSORBOARD.ENABLE False"
        )


def _will_be_there(path: str, cfg: CfgNode) -> bool:
    """Return whether a file or folder will exist when the test begins: kept, or written by the training."""
    path, folder = os.path.realpath(path), os.path.realpath(cfg.OUTPUT_DIR)
    if not cfg.TRAIN.ENABLE:
        return os.path.exists(path)
    schedule, period = MultigridSchedule(cfg), cfg.TRAIN.CHECKPOINT_PERIOD
    epochs = (epoch for epoch in range(schedule.max_epoch) if schedule.is_due(epoch, period))
    if path == folder or any(path == checkpoint_path(folder, epoch) for epoch in epochs):
        return True
    is_moved = not cfg.TRAIN.AUTO_RESUME and os.path.dirname(path) == os.path.join(folder, "checkpoints")
    return os.path.exists(path) and not is_moved


def _is_utf8(text: str) -> bool:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace") == text
