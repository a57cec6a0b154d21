"""What of a config a result does not depend on, and what differs between two of the rest."""

from collections.abc import Mapping
from typing import Any

from fvcore.common.config import CfgNode

from slowfast_atfr.config.load import flatten

# Machines, places, and how much is told on the way.
FREE = {"OUTPUT_DIR", "DATA.PATH_TO_DATA_DIR", "DATA.PATH_PREFIX", "NUM_GPUS", "NUM_SHARDS", "SHARD_ID", "DIST_BACKEND"}
FREE |= {"DATA_LOADER.NUM_WORKERS", "DATA_LOADER.PIN_MEMORY", "LOG_PERIOD", "LOG_MODEL_INFO", "TRAIN.ENABLE"}
FREE |= {"TRAIN.AUTO_RESUME", "TRAIN.EVAL_PERIOD", "TRAIN.CHECKPOINT_PERIOD", "TEST.SAVE_RESULTS_PATH"}
FREE |= {"DIST_TIMEOUT", "TRAIN.CHECKPOINT_ITERATIONS"}


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
