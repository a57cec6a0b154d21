#!/usr/bin/env python3
"""Draw docs/augmentation.jpg: augmentation.py [OUTPUT]. Each row is one augmentation of a clip, made as in training."""

import sys
from pathlib import Path

import cv2
import numpy as np
import torch

from slowfast_atfr.config import get_cfg
from slowfast_atfr.datasets.augmentation.augment import cut_planned, draw_plans, erase_planned
from slowfast_atfr.datasets.augmentation.mixup import Mix
from slowfast_atfr.datasets.demo_scene import draw_video

OUTPUT = Path(__file__).resolve().parents[1] / "augmentation.jpg"
SIDE, SHOWN, GAP, LABEL = 96, 5, 4, 180  # pixels of a frame, frames of a row, pixels between, pixels of a row's name
_NO_POLICY = {"AA_TYPE": "", "COLOR_JITTER": 0.0, "RE_PROB": 0.0}
ROWS = {  # name: (keys of AUG, whether the crop is a stretched one, seed)
    "scale, crop, mirror": (None, False, 5),
    "random resized crop": (None, True, 18),
    "colour jitter": (_NO_POLICY | {"COLOR_JITTER": 0.4}, False, 4),
    "RandAugment m7-n4": (_NO_POLICY | {"AA_TYPE": "rand-m7-n4-mstd0.5-inc1"}, False, 13),
    "RandAugment again": (_NO_POLICY | {"AA_TYPE": "rand-m7-n4-mstd0.5-inc1"}, False, 12),
    "random erasing": (_NO_POLICY | {"RE_PROB": 1.0, "RE_COUNT": 2}, False, 2),
}


def draw_augmentations(path: str | Path) -> None:
    """Write the picture, a JPEG file: a row for each augmentation, the same frames in each."""
    video, _ = draw_video("right", np.random.default_rng(11))
    other, _ = draw_video("turning", np.random.default_rng(5))
    rows = {name: _clip(video, *how) for name, how in ROWS.items()}
    pair = np.stack([_clip(each, None, False, 0) for each in (video, other)])
    rows["mixup"] = _mixed(pair, Mix(0.6))
    rows["cutmix"] = _mixed(pair, Mix(0.7, (30, 84, 8, 62)))
    lines = [_row("frames", [_fit(video[t]) for t in _times(video)])]
    lines += [_row(name, clip) for name, clip in rows.items()]
    cv2.imwrite(str(path), cv2.cvtColor(np.concatenate(lines), cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88])


def _times(video: np.ndarray) -> np.ndarray:
    return np.linspace(0, len(video) - 1, SHOWN).astype(int)


def _clip(video: np.ndarray, aug: dict | None, stretched: bool, seed: int) -> np.ndarray:
    """(SHOWN, SIDE, SIDE, 3) uint8, as a data worker makes them."""
    cfg = get_cfg()
    cfg.DATA.TRAIN_CROP_SIZE, cfg.DATA.TRAIN_JITTER_SCALES = SIDE, [SIDE * 8 // 7, SIDE * 10 // 7]
    if stretched:
        cfg.DATA.TRAIN_JITTER_SCALES_RELATIVE, cfg.DATA.TRAIN_JITTER_ASPECT_RELATIVE = [0.08, 1.0], [0.75, 1.3333]
    if aug is not None:
        cfg.AUG.ENABLE = True
        cfg.AUG.update(aug)
    (plan,) = draw_plans(cfg, np.random.default_rng(seed))
    clip = np.concatenate([cut_planned(video[t], [plan]) for t in _times(video)])
    erase_planned(clip, plan, cfg)
    return clip


def _mixed(pair: np.ndarray, mix: Mix) -> np.ndarray:
    """The first of two (T, H, W, 3) clips, mixed with the second."""
    clips = torch.from_numpy(pair).permute(0, 4, 1, 2, 3).float().contiguous()
    mix.mix_clips([clips])
    return clips[0].permute(1, 2, 3, 0).round().byte().numpy()


def _fit(frame: np.ndarray) -> np.ndarray:
    """A whole frame in a white square."""
    height, width = (side * SIDE // max(frame.shape[:2]) for side in frame.shape[:2])
    out = np.full((SIDE, SIDE, 3), 255, np.uint8)
    top, left = (SIDE - height) // 2, (SIDE - width) // 2
    out[top : top + height, left : left + width] = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
    return out


def _row(name: str, clip: np.ndarray | list[np.ndarray]) -> np.ndarray:
    """A row's name and its frames side by side, white around them."""
    out = np.full((SIDE + GAP, LABEL + SHOWN * (SIDE + GAP), 3), 255, np.uint8)
    cv2.putText(out, name, (4, SIDE // 2 + 5), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (40, 40, 40), 1, cv2.LINE_AA)
    for number, frame in enumerate(clip):
        left = LABEL + number * (SIDE + GAP)
        out[:SIDE, left : left + SIDE] = frame
    return out


if __name__ == "__main__":
    draw_augmentations(sys.argv[1] if len(sys.argv) > 1 else OUTPUT)
