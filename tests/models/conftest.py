"""Weights and inputs that the golden figures of PySlowFast's networks were computed with, and small networks."""

import math
import zlib

import pytest
import torch
from torch import Tensor, nn

from slowfast_atfr.config import load_cfg

THIN = [
    *("RESNET.WIDTH_PER_GROUP", "16", "RESNET.DEPTH", "18", "RESNET.NUM_BLOCK_TEMP_KERNEL", "[[2], [2], [2], [2]]"),
    *("X3D.DIM_C1", "8", "X3D.WIDTH_FACTOR", "1.0", "X3D.DEPTH_FACTOR", "0.4", "X3D.DIM_C5", "64"),  # 1, 1, 2, 2 blocks
    *("DATA.TRAIN_CROP_SIZE", "32", "DATA.TEST_CROP_SIZE", "32", "MODEL.NUM_CLASSES", "7", "BN.NORM_TYPE", "batchnorm"),
]


@torch.no_grad()
def fill(model: nn.Module) -> nn.Module:
    """w[i] = sin(0.7 i + crc32(key) % 1000), scaled by the kind of the parameter."""
    for key, value in model.state_dict().items():
        leaf = key.rpartition(".")[2]
        if leaf == "num_batches_tracked":
            continue
        index = torch.arange(value.numel(), dtype=torch.float64)
        wave = torch.sin(0.7 * index + zlib.crc32(key.encode()) % 1000).reshape(value.shape)
        if leaf == "weight" and value.ndim > 1:
            wave = wave * 2 / math.sqrt(math.prod(value.shape[1:]))
        elif leaf == "weight":
            wave = 1 + 0.1 * wave
        elif leaf == "running_var":
            wave = 1 + 0.5 * wave.abs()
        else:
            wave = 0.1 * wave
        value.copy_(wave)
    return model


def wave_clips(batch: int, frames: int, crop: int) -> Tensor:
    index = torch.arange(batch * 3 * frames * crop * crop, dtype=torch.float64)
    wave = torch.sin(0.013 * index + 0.3) + 0.5 * torch.cos(0.00071 * index + 0.3)
    return wave.float().reshape(batch, 3, frames, crop, crop)


def split(cfg, clips: Tensor) -> list[Tensor]:
    """(N, 3, T, H, W) -> one entry for each pathway."""
    if cfg.MODEL.ARCH != "slowfast":
        return [clips]
    frames = clips.shape[2]
    return [clips[:, :, torch.linspace(0, frames - 1, frames // cfg.SLOWFAST.ALPHA).long()], clips]


# two blocks a stage: where non-local blocks stand in thin networks, by the number of pathways
NONLOCAL = {1: "[[[]], [[1]], [[0, 1]], [[]]]", 2: "[[[], []], [[1], []], [[0, 1], [1]], [[], []]]"}


@pytest.fixture
def golden_fill():
    return fill


@pytest.fixture
def golden_clips():
    return wave_clips


@pytest.fixture
def to_pathways():
    return split


@pytest.fixture
def thin_cfg(repo):
    """A config of the given file with few channels and 32 pixels."""

    def load(name: str, *pairs: str):
        own = ["NONLOCAL.LOCATION", NONLOCAL[2 if "SLOWFAST" in name else 1]] if "NLN" in name else []
        if "C2D" in name or "I3D" in name:
            own += ["DATA.NUM_FRAMES", "16"]  # which they halve
        return load_cfg(str(repo / "configs" / name), [*THIN, *own, *pairs])

    return load


@pytest.fixture
def moving_clips():
    """Random clips that change along time, each in a way of its own; the second half of each is static."""

    def make(batch: int, frames: int, crop: int = 32, seed: int = 0) -> Tensor:
        noise = torch.randn(batch, 3, frames, crop, crop, generator=torch.Generator().manual_seed(seed))
        noise[:, :, frames // 2 :] = 0
        return noise.cumsum(2)

    return make
