"""Clips that move for a share of their time, and layers that have seen them."""

import torch

from slowfast_atfr.packed import pack

C = 6


def moving_clip(frames=16, moves=0.5, noise=0.02, seed=0):
    """(C, T, 4, 4) that walks about for a share of its time, with the noise of a camera throughout."""
    generator = torch.Generator().manual_seed(seed)
    steps = (
        torch.randn(frames, C, 1, 1, generator=generator) * (torch.arange(frames) < moves * frames)[:, None, None, None]
    )
    clip = steps.cumsum(0) + torch.randn(1, C, 4, 4, generator=generator)
    return (clip + noise * torch.randn(frames, C, 4, 4, generator=generator)).transpose(0, 1)


def trained(layer, batches=40, batch=8):
    """The layer with thresholds from clips some static, some moving now and then, some throughout."""
    layer.train()
    with torch.no_grad():
        for number in range(batches):
            moves = [(0, 0.3, 0.6, 1)[(number + index) % 4] for index in range(batch)]
            layer(pack([moving_clip(moves=m, seed=1000 + number * batch + i) for i, m in enumerate(moves)]))
    return layer.eval()
