"""Augmentation of a training clip: a plan with all random choices, then its application to every frame."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from fvcore.common.config import CfgNode

from slowfast_atfr.config import parse_rand_augment
from slowfast_atfr.datasets.augmentation.rand_augment import Operation, draw_color_jitter, draw_rand_augment
from slowfast_atfr.datasets.augmentation.random_erasing import Erasing, draw_erasing, erase
from slowfast_atfr.datasets.transform import ResizedCrop, Window, cut_into, train_window


@dataclass(frozen=True)
class ClipPlan:
    """Changes of all frames of a clip, in this order.

    operations: of RandAugment or colour jitter, on the whole frame. window: cut, resized and perhaps mirrored. erasing:
    of the cut clip.
    """

    operations: tuple[Operation, ...]
    window: Window | ResizedCrop
    erasing: Erasing | None


def draw_plans(
    cfg: CfgNode, rng: np.random.Generator, *, may_flip: bool = True, crop_size: int = 0
) -> tuple[ClipPlan, ...]:
    """Draw the plans of training clips from the same frames: AUG.NUM_SAMPLE, or one without AUG.ENABLE.

    Args:
        cfg: reads AUG and DATA.
        rng: of all choices.
        may_flip: False never mirrors, even with DATA.RANDOM_FLIP.
        crop_size: in pixels; 0: DATA.TRAIN_CROP_SIZE.
    """
    return tuple(_draw_plan(cfg, rng, may_flip, crop_size) for _ in range(cfg.AUG.NUM_SAMPLE if cfg.AUG.ENABLE else 1))


def _draw_plan(cfg: CfgNode, rng: np.random.Generator, may_flip: bool, crop_size: int) -> ClipPlan:
    aug = cfg.AUG
    window = train_window(cfg, rng, may_flip=may_flip, crop_size=crop_size)
    if not aug.ENABLE:
        return ClipPlan((), window, None)
    if aug.AA_TYPE:
        operations = draw_rand_augment(parse_rand_augment(aug.AA_TYPE), aug.INTERPOLATION, rng)
    else:
        operations = draw_color_jitter(aug.COLOR_JITTER, rng) if aug.COLOR_JITTER else ()
    erasing = draw_erasing(window.size, probability=aug.RE_PROB, most=aug.RE_COUNT, rng=rng)
    return ClipPlan(operations, window, erasing)


def cut_planned(frame: np.ndarray, plans: Sequence[ClipPlan]) -> np.ndarray:
    """Apply every plan but its erasing to a frame.

    Args:
        frame: (H, W, 3) uint8 RGB.
    Returns:
        (len(plans), size, size, 3) uint8 RGB.
    """
    size = plans[0].window.size
    out = np.empty((len(plans), size, size, 3), np.uint8)
    for row, plan in zip(out, plans, strict=True):
        changed = frame
        for operation in plan.operations:
            changed = operation(changed)
        cut_into(row, changed, plan.window)
    return out


def erase_planned(clip: np.ndarray, plan: ClipPlan, cfg: CfgNode) -> None:
    """Apply the erasing of a plan to a clip, (T, H, W, 3) uint8 RGB, in place."""
    if plan.erasing is not None:
        erase(clip, plan.erasing, mode=cfg.AUG.RE_MODE, mean=cfg.DATA.MEAN, std=cfg.DATA.STD)
