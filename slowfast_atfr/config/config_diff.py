"""Differences between two configs that can change a result."""

from collections.abc import Mapping
from typing import Any

from fvcore.common.config import CfgNode

from slowfast_atfr.config.load import flatten

# Keys that no result depends on: machines, paths, memory and logging.
FREE = {"OUTPUT_DIR", "DATA.PATH_TO_DATA_DIR", "DATA.PATH_PREFIX", "NUM_GPUS", "NUM_SHARDS", "SHARD_ID", "DIST_BACKEND"}
FREE |= {"DATA_LOADER.NUM_WORKERS", "DATA_LOADER.PIN_MEMORY", "LOG_PERIOD", "LOG_MODEL_INFO", "TRAIN.ENABLE"}
FREE |= {"TRAIN.AUTO_RESUME", "TRAIN.EVAL_PERIOD", "TRAIN.CHECKPOINT_PERIOD", "TEST.SAVE_RESULTS_PATH"}
FREE |= {"DIST_TIMEOUT", "TRAIN.CHECKPOINT_ITERATIONS", "TRAIN.KILL_LOSS_EXPLOSION_FACTOR"}
FREE |= {"TENSORBOARD.ENABLE", "TENSORBOARD.LOG_DIR", "MODEL.ACT_CHECKPOINT", "MODEL.ACT_CHECKPOINT_STAGES"}
# Keys that a resumed run does not read: its initial weights, and what only tests use.
UNUSED_ON_RESUME = {"TRAIN.CHECKPOINT_FILE_PATH", "TRAIN.CHECKPOINT_TYPE", "TRAIN.CHECKPOINT_INFLATE"}
UNUSED_ON_RESUME |= {"TRAIN.CHECKPOINT_EPOCH_RESET", "TRAIN.CHECKPOINT_CLEAR_NAME_PATTERN"}
UNUSED_ON_RESUME |= {"SGS.TEST_NUM_BINS", "DATA.ENSEMBLE_METHOD"}
MAX_NAMED = 8


def changed_keys(before: Mapping[str, Any], cfg: CfgNode) -> dict[str, str]:
    """Find the keys that can change a result and have another value in the two configs; keys of one only are ignored.

    Args:
        before: dotted keys and values of a config, maybe of another version.
        cfg: the config now.
    Returns:
        the keys, each with a text such as "SGS.ORDER was 'bin' and is 'time'".
    """
    now = {key: value for key, value in flatten(cfg) if key not in FREE and key in before}
    return {k: f"{k} was {before[k]!r} and is {value!r}" for k, value in now.items() if before[k] != value}


def changed_for_resume(before: Mapping[str, Any], cfg: CfgNode) -> dict[str, str]:
    """Find, as `changed_keys`, those that the training of a resumed run depends on."""
    changed = changed_keys(before, cfg)
    return {k: text for k, text in changed.items() if k not in UNUSED_ON_RESUME and not k.startswith("TEST.")}


def format_changes(changed: Mapping[str, str]) -> str:
    """Join the first MAX_NAMED texts of changed keys, for an error or a warning."""
    return ", ".join([*changed.values()][:MAX_NAMED])
