"""Rules on augmentation keys, and AUG.AA_TYPE, a RandAugment policy as text."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from fvcore.common.config import CfgNode

from slowfast_atfr.config.errors import ConfigError, fail_unless

MAX_MAGNITUDE = 10  # of RandAugment's operations
WEIGHTED_OPERATIONS = 13  # with a weight above 0 in w0; a clip draws none of them twice
_FORM = "an example is rand-m7-n4-mstd0.5-inc1"
_PARTS = {
    "m": "magnitude, from 0 to 10",
    "n": "operations of a clip",
    "mstd": "standard deviation of the magnitude",
    "inc": "1: every operation is stronger at a larger magnitude",
    "w": "0: operations have weights",
}


@dataclass(frozen=True)
class RandAugmentPolicy:
    """The settings that a text such as rand-m7-n4-mstd0.5-inc1 gives.

    magnitude: mean strength, 0 to MAX_MAGNITUDE. num_ops: operations drawn for a clip, each applied with probability
    one half. magnitude_std: of a normal distribution around magnitude. increasing: a larger magnitude always makes an
    operation stronger. weighted: operations are drawn by timm's weights, none twice.
    """

    magnitude: int = MAX_MAGNITUDE
    num_ops: int = 2
    magnitude_std: float = 0.0
    increasing: bool = False
    weighted: bool = False


def parse_rand_augment(text: str) -> RandAugmentPolicy:
    """Parse AUG.AA_TYPE.

    Raises:
        ConfigError: naming the part that is unknown, malformed or out of range.
    Source: timm's strings, which PySlowFast uses; parts may come in any order and have defaults.
    """
    kind, *parts = text.split("-")
    fail_unless(kind == "rand", "AUG.AA_TYPE", text, f"{_FORM}, or empty for no RandAugment")
    values: dict[str, float] = {}
    for part in parts:
        found = re.fullmatch(r"([a-z]+)(\d+(?:\.\d+)?)", part)
        name = found.group(1) if found else part
        known = ", ".join(f"{key} ({meaning})" for key, meaning in _PARTS.items())
        if found is None or name not in _PARTS:
            raise ConfigError(f"AUG.AA_TYPE is {text!r}; its part {part!r} is not one of {known}; {_FORM}")
        if name in values:
            raise ConfigError(f"AUG.AA_TYPE is {text!r}; its part {name} is given twice")
        values[name] = float(found.group(2))
    _check_parts(text, values)
    return RandAugmentPolicy(
        magnitude=int(values.get("m", MAX_MAGNITUDE)),
        num_ops=int(values.get("n", 2)),
        magnitude_std=values.get("mstd", 0.0),
        increasing=values.get("inc") == 1,
        weighted="w" in values,
    )


def _check_parts(text: str, values: dict[str, float]) -> None:
    def check(part: str, holds: bool, rule: str) -> None:
        fail_unless(part not in values or holds, "AUG.AA_TYPE", text, f"its part {part} is {rule}")

    value = values.get
    check("m", value("m", 0) in range(MAX_MAGNITUDE + 1), f"a whole number from 0 to {MAX_MAGNITUDE}")
    most = WEIGHTED_OPERATIONS if "w" in values else 100
    check("n", value("n", 1) in range(1, most + 1), f"a whole number from 1 to {most}")
    check("inc", value("inc") in (0, 1), "0 or 1")
    check("w", value("w") == 0, "0: there is one set of weights")


def augmentation_rules(cfg: CfgNode) -> Iterator[tuple[str, bool, str]]:
    """Rules on AUG, MIXUP and the relative crops of DATA: a key, whether its value fits, and the rule.

    Raises:
        ConfigError: for AUG.AA_TYPE.
    """
    area, aspect = cfg.DATA.TRAIN_JITTER_SCALES_RELATIVE, cfg.DATA.TRAIN_JITTER_ASPECT_RELATIVE
    ranges = {"SCALES": (area, 1.0, " and up to 1, the whole frame"), "ASPECT": (aspect, math.inf, "")}
    for name, (value, most, limit) in ranges.items():
        fits = not value or (len(value) == 2 and 0 < value[0] <= value[1] <= most)
        yield f"DATA.TRAIN_JITTER_{name}_RELATIVE", fits, f"it takes [least, most], above 0{limit}; or []"
    text = f"DATA.TRAIN_JITTER_SCALES_RELATIVE is {area!r}; give both, such as [0.08, 1.0] and [0.75, 1.33], or neither"
    yield "DATA.TRAIN_JITTER_ASPECT_RELATIVE", bool(area) == bool(aspect), text
    if cfg.AUG.AA_TYPE:
        parse_rand_augment(cfg.AUG.AA_TYPE)
    if cfg.MIXUP.ENABLE:
        text = "so one of MIXUP.ALPHA and MIXUP.CUTMIX_ALPHA is above 0"
        yield "MIXUP.ENABLE", cfg.MIXUP.ALPHA > 0 or cfg.MIXUP.CUTMIX_ALPHA > 0, text
        text = "MIXUP.ENABLE is True, and a mixed clip has two labels: choose soft_cross_entropy, or bce_logit"
        yield "MODEL.LOSS_FUNC", cfg.MODEL.LOSS_FUNC in ("soft_cross_entropy", "bce_logit"), text
        clips = cfg.TRAIN.BATCH_SIZE // max(1, cfg.NUM_GPUS) * (cfg.AUG.NUM_SAMPLE if cfg.AUG.ENABLE else 1)
        text = "MIXUP.ENABLE is True, and a process has one clip at a time, but mixing takes two"
        yield "TRAIN.BATCH_SIZE", clips >= 2, text
