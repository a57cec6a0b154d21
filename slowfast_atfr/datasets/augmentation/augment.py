"""Augmentation of a training clip: a plan of all random choices, then what it does to every frame."""

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
    """What happens to all frames of a clip, in this order.

    operations: of RandAugment or colour jitter, on the whole frame. window: what is cut and resized, perhaps mirrored.
    erasing: on the clip that was cut.
    """

    operations: tuple[Operation, ...]
    window: Window | ResizedCrop
    erasing: Erasing | None


def draw_plans(
    cfg: CfgNode, rng: np.random.Generator, *, may_flip: bool = True, crop_size: int = 0
) -> tuple[ClipPlan, ...]:
    """The plans of the clips that training makes of a decoded one: AUG.NUM_SAMPLE of them, or one without AUG.ENABLE.

    Args:
        cfg: reads AUG and DATA.
        rng: the plans are a function of it.
        may_flip: False never mirrors, whatever DATA.RANDOM_FLIP says.
        crop_size: in pixels; 0 is DATA.TRAIN_CROP_SIZE.
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
    """A frame of the clip of every plan: changed and cut, not erased yet.

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
    """Erase what the plan of a clip, (T, H, W, 3) uint8 RGB, erases; in place."""
    if plan.erasing is not None:
        erase(clip, plan.erasing, mode=cfg.AUG.RE_MODE, mean=cfg.DATA.MEAN, std=cfg.DATA.STD)
