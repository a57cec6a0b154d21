"""The files that a config names, looked for before ranks, data and networks."""

import os

from fvcore.common.config import CfgNode

from slowfast_atfr.config import ConfigError
from slowfast_atfr.engine.checkpoint import checkpoints_in


def check_files(cfg: CfgNode) -> None:
    """Whether the checkpoint files that the run will read are there.

    A run that resumes does not read TRAIN.CHECKPOINT_FILE_PATH, and a test may take a file that its training writes.
    Raises:
        ConfigError: naming the key and the file.
    """
    start, tested = cfg.TRAIN.CHECKPOINT_FILE_PATH, cfg.TEST.CHECKPOINT_FILE_PATH
    resumes = cfg.TRAIN.AUTO_RESUME and bool(checkpoints_in(cfg.OUTPUT_DIR))
    if cfg.TRAIN.ENABLE and start and not resumes and not os.path.isfile(start):
        raise ConfigError(f"TRAIN.CHECKPOINT_FILE_PATH is {start!r}, and there is no such file")
    own = cfg.TRAIN.ENABLE and _is_within(tested, cfg.OUTPUT_DIR)
    if cfg.TEST.ENABLE and tested and not own and not os.path.exists(tested):
        raise ConfigError(f"TEST.CHECKPOINT_FILE_PATH is {tested!r}, and there is no such file or folder")


def _is_within(path: str, folder: str) -> bool:
    path, folder = os.path.realpath(path), os.path.realpath(folder)
    return os.path.commonpath((path, folder)) == folder
