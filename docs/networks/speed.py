#!/usr/bin/env python3
"""Print what two choices for packed clips save, as ratios within one run: speed.py. See docs/networks.md."""

import math
from unittest import mock

import torch
import torch.nn.functional as F

from slowfast_atfr import create_model
from slowfast_atfr.analysis.timing import Figure, in_turn, ratio, table
from slowfast_atfr.packed import pack
from slowfast_atfr.packed.layout import Steps

CPU, ROUNDS = torch.device("cpu"), 9
SHORT = ((2, 2, 3), (3, 2, 4, 3), (8, 8, 7, 8), (3, 10, 7, 5))


class BufferOnly(Steps):
    """Always the buffer with gaps, never the dense batch."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self.stacked_results.total = math.inf  # never the cheaper one


def short_clips(lengths: tuple[int, ...], dilation: int) -> Figure:
    """A 3 x 3 x 3 convolution of 32 channels on 28 x 28 pixels, over the same in a buffer with gaps."""
    clips = [torch.randn(32, length, 28, 28) for length in lengths]
    weight = torch.randn(32, 32, 3, 3, 3).contiguous(memory_format=torch.channels_last_3d)
    given = weight, None, 1, (dilation, 1, 1), (dilation, 1, 1)
    now, buffer = pack(clips), pack(clips)
    with mock.patch("slowfast_atfr.packed.layout.Steps", BufferOnly):
        F.conv3d(buffer, *given)  # a layout keeps its steps
    tasks = {"now": lambda: F.conv3d(now, *given), "buffer": lambda: F.conv3d(buffer, *given)}
    seconds = in_turn(tasks, rounds=ROUNDS, device=CPU)
    return ratio(f"clips of {lengths} frames, dilation {dilation}, over the buffer", seconds["now"], seconds["buffer"])


def weights() -> Figure:
    """3DResNet-18 + ATFR on packed clips, its weights in channels_last_3d over torch's default."""
    clips = [torch.randn(2, 3, 16, 112, 112)]
    models = {}
    for layout in (torch.channels_last_3d, torch.contiguous_format):
        models[layout] = create_model("Mini_Kinetics/3DRESNET18_ATFR").eval()
        for parameter in models[layout].parameters():
            if parameter.ndim == 5:
                parameter.data = parameter.data.contiguous(memory_format=layout)
    tasks = {str(layout): lambda model=model: model(clips) for layout, model in models.items()}
    seconds = list(in_turn(tasks, rounds=ROUNDS, device=CPU).values())
    return ratio("3DResNet-18 at 112 pixels, weights in channels_last_3d over torch's own layout", *seconds)


if __name__ == "__main__":
    torch.set_num_threads(1)
    with torch.inference_mode():
        print(table([*(short_clips(lengths, dilation) for dilation in (4, 1) for lengths in SHORT), weights()]))
