"""RandAugment and colour jitter: operations drawn once for all frames of a clip.

Source: Cubuk et al., 2020, in the form of timm and PySlowFast: fifteen operations, their ranges, and policy strings
(`parse_rand_augment`).
"""

from dataclasses import dataclass

import cv2
import numpy as np

from slowfast_atfr.config import MAX_MAGNITUDE, RandAugmentPolicy
from slowfast_atfr.datasets.augmentation.image_ops import LEVELLESS, MOVING, VALUED

# RandAugment's operations, with timm's weights w0.
OPERATIONS = {
    "autocontrast": 0.025,
    "equalize": 0.005,
    "invert": 0.0,
    "rotate": 0.3,
    "posterize": 0.0,
    "solarize": 0.005,
    "solarize_add": 0.005,
    "saturation": 0.025,
    "contrast": 0.005,
    "brightness": 0.005,
    "sharpness": 0.025,
    "shear_x": 0.2,
    "shear_y": 0.2,
    "translate_x": 0.1,
    "translate_y": 0.1,
}
INTERPOLATIONS = {"bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}
_LARGEST = {"rotate": 30.0, "shear_x": 0.3, "shear_y": 0.3, "translate_x": 0.45, "translate_y": 0.45}
_CHANCE = 0.5  # probability of applying a drawn operation


@dataclass(frozen=True)
class Operation:
    """An operation on a frame: a key of LEVELLESS, VALUED or MOVING, and its arguments."""

    name: str
    value: float = 0.0
    interpolation: int = cv2.INTER_LINEAR

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """Return the changed frame, (H, W, 3) uint8 RGB."""
        if self.name in LEVELLESS:
            return LEVELLESS[self.name](frame)
        if self.name in VALUED:
            return VALUED[self.name](frame, self.value)
        return MOVING[self.name](frame, self.value, self.interpolation)


def draw_rand_augment(policy: RandAugmentPolicy, interpolation: str, rng: np.random.Generator) -> tuple[Operation, ...]:
    """Draw the operations of a clip, in order.

    Args:
        policy: of AUG.AA_TYPE.
        interpolation: AUG.INTERPOLATION, a key of INTERPOLATIONS; `random` draws one for each operation.
    """
    weights = list(OPERATIONS.values()) if policy.weighted else None
    names = rng.choice(list(OPERATIONS), policy.num_ops, replace=not policy.weighted, p=weights)
    drawn = []
    for name in map(str, names):
        if rng.random() >= _CHANCE:
            continue
        magnitude = np.clip(rng.normal(policy.magnitude, policy.magnitude_std), 0, MAX_MAGNITUDE)
        sign = 1 if rng.random() < 0.5 else -1
        value = operation_value(name, float(magnitude) / MAX_MAGNITUDE, sign, increasing=policy.increasing)
        flags = list(INTERPOLATIONS) if interpolation == "random" else [interpolation]
        drawn.append(Operation(name, value, INTERPOLATIONS[str(rng.choice(flags))]))
    return tuple(drawn)


def operation_value(name: str, level: float, sign: int, *, increasing: bool) -> float:
    """Return the argument of an operation.

    Args:
        name: key of OPERATIONS.
        level: magnitude / MAX_MAGNITUDE, from 0 to 1.
        sign: 1 or -1, for operations with two directions.
        increasing: whether a larger level is always a stronger change. Otherwise posterize, solarize and the factors of
            saturation, contrast, brightness and sharpness (0.1 to 1.9) are those of AutoAugment.
    """
    if name in _LARGEST:
        return sign * level * _LARGEST[name]
    if name == "solarize_add":
        return int(level * 110)
    if name == "solarize":
        return 256 - int(level * 256) if increasing else int(level * 256)
    if name == "posterize":  # 0 bits would be a black clip
        return max(1, 4 - int(level * 4) if increasing else int(level * 4))
    if name in LEVELLESS:
        return 0.0
    return 1 + sign * level * 0.9 if increasing else 0.1 + level * 1.8


def draw_color_jitter(share: float, rng: np.random.Generator) -> tuple[Operation, ...]:
    """Draw brightness, contrast and saturation in random order, each by a factor uniform in 1 - share .. 1 + share."""
    names = rng.permutation(["brightness", "contrast", "saturation"])
    return tuple(Operation(str(name), float(rng.uniform(1 - share, 1 + share))) for name in names)
