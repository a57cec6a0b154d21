"""What of a config a result does not depend on, and what differs between two of the rest."""

from collections.abc import Mapping
from typing import Any

from fvcore.common.config import CfgNode

from slowfast_atfr.config.load import flatten

# Machines, places, memory, and how much is told on the way.
FREE = {"OUTPUT_DIR", "DATA.PATH_TO_DATA_DIR", "DATA.PATH_PREFIX", "NUM_GPUS", "NUM_SHARDS", "SHARD_ID", "DIST_BACKEND"}
FREE |= {"DATA_LOADER.NUM_WORKERS", "DATA_LOADER.PIN_MEMORY", "LOG_PERIOD", "LOG_MODEL_INFO", "TRAIN.ENABLE"}
FREE |= {"TRAIN.AUTO_RESUME", "TRAIN.EVAL_PERIOD", "TRAIN.CHECKPOINT_PERIOD", "TEST.SAVE_RESULTS_PATH"}
FREE |= {"DIST_TIMEOUT", "TRAIN.CHECKPOINT_ITERATIONS", "TRAIN.KILL_LOSS_EXPLOSION_FACTOR"}
FREE |= {"TENSORBOARD.ENABLE", "TENSORBOARD.LOG_DIR", "MODEL.ACT_CHECKPOINT", "MODEL.ACT_CHECKPOINT_STAGES"}
# What a run that goes on does not look at: where it once started from, and what tests alone read.
NOT_ON_THE_WAY = {"TRAIN.CHECKPOINT_FILE_PATH", "TRAIN.CHECKPOINT_TYPE", "TRAIN.CHECKPOINT_INFLATE"}
NOT_ON_THE_WAY |= {"TRAIN.CHECKPOINT_EPOCH_RESET", "TRAIN.CHECKPOINT_CLEAR_NAME_PATTERN"}
NOT_ON_THE_WAY |= {"SGS.TEST_NUM_BINS", "DATA.ENSEMBLE_METHOD"}
MOST_TOLD = 8


def changed_keys(before: Mapping[str, Any], cfg: CfgNode) -> dict[str, str]:
    """Keys that both configs have, with other values, and that a result may depend on.

    Args:
        before: dotted keys and values of a config, maybe of another version.
        cfg: the config now.
    Returns:
        the keys, each with a text such as "SGS.ORDER was 'bin' and is 'time'".
    """
    now = {key: value for key, value in flatten(cfg) if key not in FREE and key in before}
    return {k: f"{k} was {before[k]!r} and is {value!r}" for k, value in now.items() if before[k] != value}


def changed_on_the_way(before: Mapping[str, Any], cfg: CfgNode) -> dict[str, str]:
    """As `changed_keys`, of what the training of a run that goes on depends on."""
    changed = changed_keys(before, cfg)
    return {k: text for k, text in changed.items() if k not in NOT_ON_THE_WAY and not k.startswith("TEST.")}


def told(changed: Mapping[str, str]) -> str:
    """The texts of changed keys in a row, for an error or a warning; of many the first."""
    return ", ".join([*changed.values()][:MOST_TOLD])
