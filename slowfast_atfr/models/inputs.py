"""What networks take: normalised clips, one for each pathway, from uint8 frames."""

from collections.abc import Sequence

import torch
from fvcore.common.config import CfgNode
from torch import Tensor

from slowfast_atfr.config import num_pathways
from slowfast_atfr.utils.upload import to_device


def normalize(
    frames: Tensor,
    mean: Sequence[float],
    std: Sequence[float],
    *,
    reverse_channels: bool = False,
) -> Tensor:
    """Return (x / 255 - mean) / std, on the frames' device.

    Args:
        frames: (N, T, H, W, 3) uint8 RGB.
        mean, std: of the three channels R, G, B, for pixels between 0 and 1.
        reverse_channels: give B, G, R.
    Returns:
        (N, 3, T, H, W) float32 in channels_last_3d.
    """
    if frames.ndim != 5 or frames.shape[-1] != 3 or frames.dtype != torch.uint8:
        raise ValueError(f"frames are uint8 in (N, T, H, W, 3), got {frames.dtype} in {tuple(frames.shape)}")
    if reverse_channels:
        frames, mean, std = frames.flip(-1), mean[::-1], std[::-1]
    pixels = frames.to(torch.float32).div_(255)
    centre, scale = to_device(torch.tensor([mean, std], dtype=torch.float32), frames.device)
    pixels.sub_(centre).div_(scale)
    return pixels.permute(0, 4, 1, 2, 3)


def pathways(frames: Tensor, cfg: CfgNode) -> list[Tensor]:
    """Return the normalised inputs of the pathways: slow takes every SLOWFAST.ALPHA-th frame, fast takes all.

    Args:
        frames: (N, T, H, W, 3) uint8 RGB.
    Returns:
        (N, 3, T_p, H, W) in channels_last_3d for each pathway p (slow, fast, or only one).
    """

    def prepare(pixels: Tensor) -> Tensor:
        return normalize(pixels, cfg.DATA.MEAN, cfg.DATA.STD, reverse_channels=cfg.DATA.BGR_INPUT)

    if num_pathways(cfg) == 1:
        return [prepare(frames)]
    slow = to_device(slow_frames(frames.shape[1], cfg), frames.device)
    return [prepare(frames.index_select(1, slow)), prepare(frames)]


def slow_frames(length: int, cfg: CfgNode) -> Tensor:
    """Return (T // SLOWFAST.ALPHA,), the frames of a clip of T that the slow pathway takes.

    Source: PySlowFast, `pack_pathway_output`: linspace(0, T - 1, T // ALPHA), truncated.
    """
    return torch.linspace(0, length - 1, length // cfg.SLOWFAST.ALPHA).long()
