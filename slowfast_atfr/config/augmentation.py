"""What AUG, MIXUP and the relative crops may say; and AUG.AA_TYPE, a policy in a line of text."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fvcore.common.config import CfgNode

from slowfast_atfr.config.errors import ConfigError, fail_unless

MAX_MAGNITUDE = 10  # of RandAugment's operations
WEIGHTED_OPERATIONS = 13  # that the weights w0 leave a chance; they are drawn without repeating one
_FORM = "it is such as rand-m7-n4-mstd0.5-inc1"
_PARTS = {
    "m": "magnitude, from 0 to 10",
    "n": "operations of a clip",
    "mstd": "standard deviation of the magnitude",
    "inc": "1: every operation is stronger at a larger magnitude",
    "w": "0: operations have weights",
}


@dataclass(frozen=True)
class RandAugmentPolicy:
    """What a text such as rand-m7-n4-mstd0.5-inc1 says.

    magnitude: mean strength, 0 to MAX_MAGNITUDE. num_ops: operations drawn for a clip, each done with a chance of one
    half. magnitude_std: of a normal distribution round magnitude. increasing: a larger magnitude is always the stronger
    operation. weighted: operations are drawn by timm's weights, none twice.
    """

    magnitude: int = MAX_MAGNITUDE
    num_ops: int = 2
    magnitude_std: float = 0.0
    increasing: bool = False
    weighted: bool = False


def parse_rand_augment(text: str) -> RandAugmentPolicy:
    """The policy that AUG.AA_TYPE names.

    Raises:
        ConfigError: naming the part that is unknown, malformed or out of range.
    Source: the strings of timm and PySlowFast; as there, parts may come in any order and have defaults.
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
            raise ConfigError(f"AUG.AA_TYPE is {text!r}; its part {name} stands there twice")
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


def validate_augmentation(cfg: CfgNode) -> None:
    """Check the sections AUG and MIXUP and the relative crops of DATA. Raises ConfigError."""
    _relative_crops(cfg)
    _aug(cfg)
    _mixup(cfg)


def _relative_crops(cfg: CfgNode) -> None:
    area, aspect = cfg.DATA.TRAIN_JITTER_SCALES_RELATIVE, cfg.DATA.TRAIN_JITTER_ASPECT_RELATIVE
    for key, value, most in (("SCALES", area, 1.0), ("ASPECT", aspect, float("inf"))):
        fits = not value or (len(value) == 2 and 0 < value[0] <= value[1] <= most)
        rule = "it takes [least, most], above 0" + (" and up to 1, the whole frame" if most == 1 else "")
        fail_unless(fits, f"DATA.TRAIN_JITTER_{key}_RELATIVE", value, f"{rule}; or []")
    rule = f"it goes with DATA.TRAIN_JITTER_SCALES_RELATIVE, which is {area!r}: give both, such as [0.08, 1.0] and "
    rule += "[0.75, 1.3333], or neither"
    fail_unless(bool(area) == bool(aspect), "DATA.TRAIN_JITTER_ASPECT_RELATIVE", aspect, rule)


def _aug(cfg: CfgNode) -> None:
    aug = cfg.AUG
    fail_unless(aug.NUM_SAMPLE >= 1, "AUG.NUM_SAMPLE", aug.NUM_SAMPLE, "it is at least 1")
    fail_unless(0 <= aug.COLOR_JITTER <= 1, "AUG.COLOR_JITTER", aug.COLOR_JITTER, "it is a share, from 0 to 1")
    if aug.AA_TYPE:
        parse_rand_augment(aug.AA_TYPE)
    _one_of("AUG.INTERPOLATION", aug.INTERPOLATION, ("bilinear", "bicubic", "random"))
    _one_of("AUG.RE_MODE", aug.RE_MODE, ("pixel", "rand", "const"))
    _probability("AUG.RE_PROB", aug.RE_PROB)
    fail_unless(aug.RE_COUNT >= 1, "AUG.RE_COUNT", aug.RE_COUNT, "it is at least 1; AUG.RE_PROB 0.0 erases nothing")
    rule = "no data set of videos has clean splits, here or in PySlowFast, which never reads it; choose False"
    fail_unless(not aug.RE_SPLIT, "AUG.RE_SPLIT", aug.RE_SPLIT, rule)


def _mixup(cfg: CfgNode) -> None:
    mixup, loss = cfg.MIXUP, cfg.MODEL.LOSS_FUNC
    for key in ("ALPHA", "CUTMIX_ALPHA"):
        fail_unless(mixup[key] >= 0, f"MIXUP.{key}", mixup[key], "it is at least 0, which switches it off")
    for key in ("PROB", "SWITCH_PROB", "LABEL_SMOOTH_VALUE"):
        _probability(f"MIXUP.{key}", mixup[key])
    if not mixup.ENABLE:
        return
    rule = "so one of MIXUP.ALPHA and MIXUP.CUTMIX_ALPHA is above 0"
    fail_unless(mixup.ALPHA > 0 or mixup.CUTMIX_ALPHA > 0, "MIXUP.ENABLE", True, rule)
    rule = "MIXUP.ENABLE is True, and a mixed clip has two labels: choose soft_cross_entropy, or bce_logit"
    fail_unless(loss in ("soft_cross_entropy", "bce_logit"), "MODEL.LOSS_FUNC", loss, rule)
    clips = cfg.TRAIN.BATCH_SIZE // max(1, cfg.NUM_GPUS) * (cfg.AUG.NUM_SAMPLE if cfg.AUG.ENABLE else 1)
    rule = "MIXUP.ENABLE is True, and a process has one clip at a time, but mixing takes two"
    fail_unless(clips >= 2, "TRAIN.BATCH_SIZE", cfg.TRAIN.BATCH_SIZE, rule)


def _probability(key: str, value: float) -> None:
    fail_unless(0 <= value <= 1, key, value, "it is from 0 to 1")


def _one_of(key: str, value: Any, choices: Sequence[Any]) -> None:
    fail_unless(value in choices, key, value, f"choose one of {', '.join(map(str, choices))}")
