#!/usr/bin/env python3
"""Print how many maps segments leave of unseen clips: maps_of_clips.py FOLDER CHECKPOINT KEY VALUE ...

FOLDER has train.csv and val.csv, CHECKPOINT is a base of tools/study_accuracy.py, the pairs are those of the
study and SGS.TARGET_MAPS. Thresholds come from 320 training clips. "static": the most maps of a clip that repeats one
frame with noise of 2 grey levels. "changing": the share of steps from frame to frame at which the picture changes.
"""

import sys

import torch

from slowfast_atfr.config import load_cfg
from slowfast_atfr.datasets import build_dataset
from slowfast_atfr.engine.checkpoint.load_weights import load_weights
from slowfast_atfr.engine.checkpoint.save import weights_at
from slowfast_atfr.models import build_model
from slowfast_atfr.packed import lengths_of
from slowfast_atfr.reproduce.study.timed_clips import register_timed_clips
from slowfast_atfr.reproduce.tables import SCALED_DOWN, on_lists

folder, weights, *pairs = sys.argv[1:]
register_timed_clips()
recipe = [word for pair in (SCALED_DOWN | on_lists(folder)).items() for word in pair]
cfg = load_cfg("Mini_Kinetics/3DRESNET18_ATFR", [*recipe, "SGS.GROUPING", "segments", *pairs])
network = build_model(cfg).eval()
load_weights(weights_at(weights, key="CHECKPOINT"), network)
sgs = network.s2_sgs.pathway0


def maps_of(frames):
    """(N, T, H, W, 3) uint8 -> maps of each clip after SGS."""
    clips = ((frames.float() / 255 - 0.45) / 0.225).permute(0, 4, 1, 2, 3)
    return lengths_of(sgs(network.s2([network.s1([clips])[0]])[0]))


def batches(split):
    """320 random clips, 16 at a time."""
    data = build_dataset(cfg.TRAIN.DATASET, cfg, split)
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0)).tolist()[:320]
    return ([data[index] for index in order[start : start + 16]] for start in range(0, len(order), 16))


with torch.inference_mode():
    sgs.train()
    for clips in batches("train"):
        maps_of(torch.stack([clip.frames for clip in clips]))
    sgs.eval()
    maps, labels, changing, static = [], [], [], 0
    for clips in batches("val"):
        frames = torch.stack([clip.frames for clip in clips])
        maps, labels = [*maps, *maps_of(frames)], [*labels, *(clip.label for clip in clips)]
        changing += (frames[:, 1:] != frames[:, :-1]).flatten(2).any(2).float().mean(1).tolist()
        noise = 2 * torch.randn(frames.shape, generator=torch.Generator().manual_seed(len(maps)))
        static = max(static, *maps_of((frames[:, :1] + noise).round().clamp(0, 255)))
maps, labels, changing = torch.tensor(maps).float(), torch.tensor(labels), torch.tensor(changing)
classes = [round(maps[labels == label].mean().item(), 1) for label in range(int(labels.max()) + 1)]
print(f"mean {maps.mean():.2f}, {maps.min():.0f} to {maps.max():.0f}; by class {classes}; static {static}")
for low, high in ((0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1.01)):
    some = maps[(changing >= low) & (changing < high)]
    if len(some):
        spread = f"{some.mean():.1f}, {some.min():.0f} to {some.max():.0f}"
        print(f"changing {low:.0%} to {min(high, 1):.0%}: {len(some)} clips, maps {spread}")
