#!/usr/bin/env python3
"""Draw docs/sgs_bins.png, or how bins divide other positions: bins.py [POSITION ...] [--bins B] [--output PNG].

Needs the `viz` extra (matplotlib).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from slowfast_atfr.analysis.figures import new_figure
from slowfast_atfr.analysis.merging import COLORS
from slowfast_atfr.sgs.bins import assign_bins, plan_bins
from slowfast_atfr.sgs.registry import kernel_named
from slowfast_atfr.sgs.similarity import Coordinates

OUTPUT = Path(__file__).resolve().parents[1] / "sgs_bins.png"
POSITIONS = (5, 4.8, 1, 1.2, 1, 8, 7, 5.2)  # of the worked example in docs/sgs.md


def draw_bins(path: str | Path, similarity: Sequence[float], num_bins: int, *, kernel: str = "linear") -> None:
    """Draw the frames of a block in time, its bins with the kernel over them, and what each active bin adds up.

    Args:
        path: PNG to write; its folder must exist.
        similarity: Delta of each frame, >= 0, on one axis.
        num_bins: B.
        kernel: name in KERNEL_REGISTRY.
    """
    values = torch.tensor(similarity, dtype=torch.float64)[None, :, None]
    frames, largest = values.shape[1], float(values.max())
    offset, bins = assign_bins(
        Coordinates(values), torch.ones(1, frames, dtype=torch.bool), torch.tensor([float(num_bins)])
    )
    plan = plan_bins(bins.numpy(), [[frames]], "bin")
    members = torch.from_numpy(plan.output)[:, None, :] == torch.arange(plan.counts[0])[:, None]
    weights = kernel_named(kernel)(offset, members, 1.0)[0]
    own, output = bins[0, :, 0].numpy(), plan.output[0]

    figure = new_figure(11, 4.2)
    left, middle, right = figure.subplots(1, 3, width_ratios=[5, 3, 5])
    edges = np.linspace(0, largest, num_bins + 1)
    for axes in (left, middle):
        for index, (low, high) in enumerate(zip(edges, edges[1:], strict=False)):
            empty = index not in own
            axes.axhspan(
                low, high, color="#EEEEEE" if empty else COLORS[index % len(COLORS)], alpha=1 if empty else 0.18
            )
        axes.set_ylim(0, largest * 1.02)
    left.plot(range(frames), similarity, color="#444444", linewidth=1)
    left.scatter(range(frames), similarity, c=[COLORS[index % len(COLORS)] for index in own], s=50, zorder=2)
    for index, (low, high) in enumerate(zip(edges, edges[1:], strict=False)):
        text = f"bin {index}" + ("" if index in own else ",\nempty")
        left.text(frames - 0.4, (low + high) / 2, text, va="center", fontsize=9)
    left.set(xlim=(-0.5, frames + 1), xticks=range(frames), xlabel="frame", ylabel="similarity of the frame")
    left.set_title("Which bin is a frame in?")
    if kernel == "linear":  # the weights of others depend on who else is in the bin
        for low, high in zip(edges, edges[1:], strict=False):
            middle.plot([0, 1, 0], [low, (low + high) / 2, high], color="#444444", linewidth=1)
    of_frame = weights.sum(0).numpy()
    middle.scatter(of_frame, similarity, c=[COLORS[index % len(COLORS)] for index in own], s=50, zorder=2)
    middle.set(xlim=(-0.05, 1.1), xlabel="weight of the frame", yticklabels=[])
    middle.set_title(f"How much does it weigh?\n({kernel})")
    for frame in range(frames):
        color = COLORS[own[frame] % len(COLORS)]
        right.plot([0, 1], [frame, output[frame]], color=color, linewidth=0.5 + 3.5 * of_frame[frame])
        right.text(0.3, frame + (output[frame] - frame) * 0.3, f"{of_frame[frame]:.2g}", fontsize=8, ha="center",
                   va="center", bbox={"color": "white", "pad": 0.5})  # fmt: skip
    right.scatter([0] * frames, range(frames), c=[COLORS[index % len(COLORS)] for index in own], s=120, zorder=2)
    firsts = [int(own[output == index][0]) for index in range(plan.counts[0])]
    right.scatter(
        [1] * len(firsts), range(len(firsts)), c=[COLORS[b % len(COLORS)] for b in firsts], s=220, zorder=2, marker="s"
    )
    right.set(xlim=(-0.15, 1.15), xticks=[0, 1], xticklabels=[f"{frames} frames in", f"{len(firsts)} maps out"])
    right.set(yticks=range(frames), ylabel="position in time")
    right.invert_yaxis()
    right.set_title("What is added up?")
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Draw the frames of a block, its bins and the maps they make.")
    parser.add_argument("positions", nargs="*", type=float, default=POSITIONS, metavar="POSITION")
    parser.add_argument("--bins", type=int, default=4)
    parser.add_argument("--kernel", default="linear")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    args = parser.parse_args()
    draw_bins(args.output, args.positions, args.bins, kernel=args.kernel)
