#!/usr/bin/env python3
"""Try ideas in minutes: fine_tune_maps.py FOLDER CHECKPOINT MAPS IDEA,IDEA,... KEY VALUE ...

FOLDER has train.csv and val.csv, CHECKPOINT is a base of tools/study_accuracy.py, the pairs are those of the study. The
base's maps after res2 are computed once, of four random clips from each training video and one from each test video;
what follows is fine-tuned on them for 8 epochs. Prints top-1 of the test clips with MAPS maps in each, for each IDEA:

uniform, motion, overlap: uniform pooling, and segments of motion with SGS.SEGMENT_MAP mean and overlap
norms: overlap, and the norms' batch statistics weigh maps by their sizes
learnt: as overlap, but with extents that a small network computes from each map and its changes; gradients reach it
    through the shares, and it starts at equal extents
position: as learnt, but the extents depend on the time in the clip only
"""

import sys
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from slowfast_atfr.config import load_cfg
from slowfast_atfr.datasets import build_dataset
from slowfast_atfr.engine.checkpoint.load_weights import load_weights
from slowfast_atfr.engine.checkpoint.save import weights_at
from slowfast_atfr.models import build_model
from slowfast_atfr.reproduce.study.timed_clips import register_timed_clips
from slowfast_atfr.reproduce.tables import SCALED_DOWN, on_lists
from slowfast_atfr.sgs.overlap import map_extents, overlap
from slowfast_atfr.sgs.segments import (
    GRID,
    LEAST_PENALTY,
    STATIC,
    Cuts,
    map_weights,
    relative_motion,
    size_penalty,
    squared_distances,
)

DRAWS, EPOCHS, BATCH, RATE = 4, 8, 16, 3e-4
IDEAS = ("uniform", "motion", "overlap", "norms", "learnt", "position")
if len(sys.argv) < 5 or not sys.argv[3].isdecimal() or set(sys.argv[4].split(",")) - set(IDEAS):
    sys.exit(f"fine_tune_maps.py FOLDER CHECKPOINT MAPS IDEA,IDEA,... KEY VALUE ...; ideas are {', '.join(IDEAS)}")
folder, weights, maps, ideas, *pairs = sys.argv[1:]
count = int(maps)
register_timed_clips()
recipe = [word for pair in (SCALED_DOWN | on_lists(folder)).items() for word in pair]
cfg = load_cfg("Mini_Kinetics/3DRESNET18", [*recipe, *pairs])
torch.set_num_threads(1)
if not 1 <= count <= cfg.DATA.NUM_FRAMES:
    sys.exit(f"MAPS is {count}; it is a number from 1 to DATA.NUM_FRAMES, {cfg.DATA.NUM_FRAMES}")


def trained_base():
    network = build_model(cfg).eval()
    load_weights(weights_at(weights, key="CHECKPOINT"), network)
    return network


@torch.inference_mode()
def maps_of(network, split):
    """(N, C, T, H, W) maps after res2 in half precision, (N,) labels."""
    data, stored, labels = build_dataset(cfg.TRAIN.DATASET, cfg, split), [], []
    for start in range(0, len(data), 25):
        clips = [data[index] for index in range(start, min(start + 25, len(data)))]
        x = ((torch.stack([clip.frames for clip in clips]).float() / 255 - 0.45) / 0.225).permute(0, 4, 1, 2, 3)
        stored.append(network.s2(network.s1([x]))[0].half())
        labels += [clip.label for clip in clips]
    return torch.cat(stored).clone(), torch.tensor(labels)


def features_of(x):
    """(N, C, T, H, W) -> (N, T, F), those of SGS.FEATURES grid."""
    cells = F.adaptive_avg_pool2d(x.float().transpose(1, 2).flatten(0, 1), GRID)
    return cells.flatten(1).view(len(x), x.shape[2], -1)


def segments_of(features, idea):
    """(N, T, F) -> (N, MAPS, T) weights of frames, (N, MAPS) frames of each map; an idea that is not learnt."""
    clips, frames = features.shape[:2]
    lengths, counts = np.full(clips, frames), np.full(clips, count)
    penalty = size_penalty(lengths, frames)
    distances = squared_distances(features).numpy() / features.shape[2]
    unit, relative = relative_motion(distances, np.ones((clips, frames)))
    losses = relative(np.maximum(unit, STATIC * unit.mean()))
    if idea in ("uniform", "motion"):
        costs = penalty if idea == "uniform" else losses + LEAST_PENALTY * penalty
        members = Cuts(costs, losses, lengths, count).segments(counts)
        shares = (members[:, None] == np.arange(count)[:, None]).astype(float)
    else:
        shares = overlap(map_extents(losses, lengths, counts, 0), counts)[1]
    shares = torch.from_numpy(shares).float()
    return map_weights(shares, torch.ones(1), "mean"), shares.sum(2)


class Extents(nn.Module):
    """(N, T, F) features -> the result of `segments_of`, with gradients."""

    def __init__(self, features, by_position):
        super().__init__()
        self.norm = nn.BatchNorm1d(3 * features, affine=False)
        self.hidden, self.last = nn.Linear(3 * features, 32), nn.Linear(32, 1)
        self.position = nn.Parameter(torch.zeros(cfg.DATA.NUM_FRAMES)) if by_position else None
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, features):
        change = F.pad(features.diff(dim=1).abs(), (0, 0, 1, 1))  # before the first frame and after the last: none
        seen = torch.cat([features, change[:, :-1], change[:, 1:]], dim=2)
        if self.position is None:
            logs = self.last(F.relu(self.hidden(self.norm(seen.flatten(0, 1))))).view(seen.shape[:2])
        else:
            logs = self.position.expand(seen.shape[:2])
        until = count * logs.softmax(1).cumsum(1)
        begin = F.pad(until[:, :-1], (1, 0))
        number = torch.arange(count)[:, None]
        common = torch.minimum(until[:, None], number + 1) - torch.maximum(begin[:, None], number)
        shares = common.clamp(min=0) / (until - begin)[:, None]
        return map_weights(shares, torch.ones(1), "mean"), shares.sum(2)


def weighted_norm(norm, sizes, x):
    """Batch norm whose statistics weigh maps by `sizes[0]` (N, B)."""
    if not norm.training:
        return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
    share = sizes[0][:, None, :, None, None] / (sizes[0].sum() * x.shape[3] * x.shape[4])
    mean = (share * x).sum((0, 2, 3, 4), keepdim=True)
    variance = (share * (x - mean).square()).sum((0, 2, 3, 4), keepdim=True)
    norm.running_mean.lerp_(mean.detach().flatten(), norm.momentum)
    norm.running_var.lerp_(variance.detach().flatten(), norm.momentum)
    scale, shift = (value[:, None, None, None] for value in (norm.weight, norm.bias))
    return (x - mean) * (variance + norm.eps).rsqrt() * scale + shift


def scores_of(network, x, shares, sizes, weigh):
    """What follows res2, on maps (N, C, T, H, W) merged by `shares`; weigh: whether the head weighs them by sizes."""
    x = torch.einsum("nbt,ncthw->ncbhw", shares, x.float()).contiguous(memory_format=torch.channels_last_3d)
    for stage in (network.s3, network.s4, network.s5):
        x = stage([x])[0]
    share = sizes / sizes.sum(1, keepdim=True) if weigh else torch.full_like(sizes, 1 / count)
    return network.head.projection((x.mean((3, 4)) * share[:, None]).sum(2))


def accuracy_of(idea, draws, test):
    """Top-1 in per cent, of an idea."""
    torch.manual_seed(0)
    network, sizes_of_batch = trained_base(), [None]
    rest = nn.ModuleList([network.s3, network.s4, network.s5, network.head])
    parameters, learnt = [{"params": rest.parameters(), "lr": RATE}], None
    if idea == "norms":
        for module in rest.modules():
            if isinstance(module, nn.BatchNorm3d):
                module.forward = partial(weighted_norm, module, sizes_of_batch)
    if idea in ("learnt", "position"):
        learnt = Extents(draws[0][2].shape[2], idea == "position")
        parameters.append({"params": learnt.parameters(), "lr": 10 * RATE})
    known = [segments_of(features, idea) if learnt is None else None for *_, features in (*draws, test)]
    optimizer, videos = torch.optim.AdamW(parameters, weight_decay=1e-4), len(draws[0][0])
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * (videos // BATCH))
    for epoch in range(EPOCHS):
        rest.train()
        (x, labels, features), own = draws[epoch % DRAWS], known[epoch % DRAWS]
        for index in torch.randperm(videos).split(BATCH)[: videos // BATCH]:
            shares, sizes = learnt.train()(features[index]) if learnt else (part[index] for part in own)
            sizes_of_batch[0] = sizes
            scores = scores_of(network, x[index], shares, sizes, idea != "uniform")
            optimizer.zero_grad()
            F.cross_entropy(scores, labels[index]).backward()
            optimizer.step()
            scheduler.step()
    rest.eval()
    x, labels, features = test
    with torch.no_grad():
        shares, sizes = learnt.eval()(features) if learnt else known[-1]
        parts = zip(*(part.split(100) for part in (x, shares, sizes)), strict=True)
        scores = torch.cat([scores_of(network, *part, idea != "uniform") for part in parts])
    return 100 * (scores.argmax(1) == labels).float().mean().item()


base = trained_base()
stored = [maps_of(base, split) for split in [*["train"] * DRAWS, "val"]]
*draws, test = [(x, labels, features_of(x)) for x, labels in stored]
if len(draws[0][0]) < BATCH:
    sys.exit(f"{folder} has {len(draws[0][0])} videos to train; it takes at least {BATCH}")
for idea in ideas.split(","):
    print(f"{idea}: {accuracy_of(idea, draws, test):.1f}", flush=True)
