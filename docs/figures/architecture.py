#!/usr/bin/env python3
"""Draw docs/architecture.png: architecture.py [OUTPUT]. The way of two clips from the list of videos to json_stats.

Needs the `viz` extra (matplotlib).
"""

import sys
from pathlib import Path

from slowfast_atfr.analysis.figures import new_figure
from slowfast_atfr.analysis.merging import COLORS

OUTPUT = Path(__file__).resolve().parents[1] / "architecture.png"
FRAMES, KEPT, SIDE = 6, (3, 1), 0.13  # frames of a clip, maps that each clip keeps, side of a map in the picture
WIDTH, HEIGHT, STEP = 2.0, 0.74, 2.45  # of a box, and from one box to the next
NETWORK = "network: float on the GPU or CPU"
ROWS = {  # title: (height of the row, its color, boxes of (what happens, file below slowfast_atfr))
    "data workers: uint8 on the CPU": (
        4.5,
        "#DCE9F5",
        (
            ("a line of train.csv:\npath and label", "datasets/kinetics.py"),
            ("frame numbers\nof a random window", "datasets/clip_sampling.py"),
            ("decode these frames", "datasets/decoder.py"),
            ("crop, mirror, augment", "datasets/augmentation/"),
            ("stack clips:\n(N, T, H, W, 3)", "datasets/loader.py"),
        ),
    ),
    NETWORK: (
        2.85,
        "#F9E3C8",
        (
            ("normalise, one tensor\nfor each pathway", "models/inputs.py"),
            ("stem s1 and stage s2\non all maps", "models/video_resnet.py"),
            ("SGS: embed, group,\nadd up, drop", "sgs/temporal_sampler.py"),
            ("stages s3 to s5 on\npacked clips", "models/, packed/"),
            ("mean over each clip's\nmaps, classify", "models/head.py"),
        ),
    ),
    "training loop: engine/train.py": (
        0.5,
        "#DDEFDD",
        (
            ("loss over the batch", "engine/losses.py"),
            ("backward pass,\noptimizer step", "engine/step.py"),
            ("GFLOPs of each clip,\nits active bins", "analysis/macs.py, sgs/record.py"),
            ("means over clips\nand processes", "engine/metrics/meters.py"),
            ("json_stats: {...}\nin stdout.log", "utils/logging.py"),
        ),
    ),
}
NOTES = (
    "two clips, 6 frames each",
    "6 maps each",
    "3 and 1 active bins",
    "end to end, no padding",
    "scores of each clip",
)


def draw_architecture(path: str | Path) -> None:
    """Draw three rows of boxes, each with its file, and under the network the maps of two clips. `path`: a PNG file."""
    figure = new_figure(12.4, 5.8)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-0.25, 5 * STEP - 0.1), ylim=(0.1, 5.65))
    axes.set_axis_off()
    for title, (top, color, boxes) in ROWS.items():
        axes.text(0, top + HEIGHT + 0.14, title, fontsize=11, weight="bold", color="#333333")
        for number, (text, file) in enumerate(boxes):
            left = number * STEP
            axes.add_patch(_rectangle(left, top, WIDTH, HEIGHT, color))
            axes.text(left + WIDTH / 2, top + HEIGHT / 2, text, ha="center", va="center", fontsize=10)
            axes.text(left + WIDTH / 2, top - 0.2, file, ha="center", va="center", fontsize=8, family="monospace")
            if number:
                start = left - STEP + WIDTH
                axes.annotate("", (left, top + HEIGHT / 2), (start, top + HEIGHT / 2), arrowprops={"arrowstyle": "->"})
    _draw_maps(axes, ROWS[NETWORK][0] - 0.55)
    figure.savefig(path, dpi=100)


def _draw_maps(axes, top: float) -> None:
    """Under the network's boxes: the maps of two clips before SGS, after it, end to end, and their means."""
    for number in (0, 1):
        for clip in (0, 1):
            _draw_row(axes, number * STEP + 0.6, top - clip * 0.25, [clip] * FRAMES)
    for clip, kept in enumerate(KEPT):
        _draw_row(axes, 2 * STEP + 0.6, top - clip * 0.25, [clip] * kept)
    _draw_row(axes, 3 * STEP + 0.6, top - 0.12, [0] * KEPT[0] + [1] * KEPT[1])
    for clip in (0, 1):
        _draw_row(axes, 4 * STEP + 0.9, top - clip * 0.25, [clip])
    for number, note in enumerate(NOTES):
        axes.text(number * STEP + WIDTH / 2, top - 0.52, note, ha="center", va="center", fontsize=8.5, color="#555555")


def _draw_row(axes, left: float, bottom: float, clips: list[int]) -> None:
    for place, clip in enumerate(clips):
        axes.add_patch(_rectangle(left + place * SIDE, bottom, SIDE - 0.02, SIDE + 0.04, COLORS[clip]))


def _rectangle(left: float, bottom: float, width: float, height: float, color: str):
    from matplotlib.patches import Rectangle

    return Rectangle((left, bottom), width, height, facecolor=color, edgecolor="#444444", linewidth=0.7)


if __name__ == "__main__":
    draw_architecture(sys.argv[1] if len(sys.argv) > 1 else OUTPUT)
