"""The supplement's Figure A.1 for any clip: frames, the maps behind a stage, the maps that SGS makes of them."""

from pathlib import Path

import numpy as np

from slowfast_atfr.analysis.figures import new_figure
from slowfast_atfr.analysis.merging import ClipMerging, LayerMerging

MOST_COLUMNS = 16  # maps side by side; longer clips show every second one, or third, ...


def draw_figure_a1(path: Path, clip: ClipMerging) -> None:
    """Draw frames, maps and merged maps of each SGS layer, with a frame in the colour of the bin around each.

    Args:
        path: PNG to write; its folder must exist.
        clip: to draw.
    Raises:
        ImportError: without matplotlib, with the command that installs it.
    """
    figure = new_figure(15, 4.6 * len(clip.layers) + 0.6)
    cost = f"{clip.gflops:.3g} GFLOPs, {clip.gflops / clip.dense_gflops:.0%} of {clip.dense_gflops:.3g} with all maps"
    figure.suptitle(f"{clip.video}, {clip.start:.1f} to {clip.end:.1f} s: {clip.best[0][0]}; {cost}", fontsize=12)
    for part, layer in zip(figure.subfigures(len(clip.layers), 1, squeeze=False)[:, 0], clip.layers, strict=True):
        _draw_layer(part, clip, layer)
    figure.savefig(path, dpi=90)


def _draw_layer(part, clip: ClipMerging, layer: LayerMerging) -> None:
    record, colors = layer.record, layer.colors
    step = -(-len(record.bin) // MOST_COLUMNS)
    shown = list(range(0, len(record.bin), step))
    merged = list(range(0, record.num_active, -(-record.num_active // MOST_COLUMNS)))
    left_out = f"; one of {step} is shown" if step > 1 else ""
    part.suptitle(
        f"{clip.title(layer)}: {len(record.bin)} maps come in, {record.num_active} go on{left_out}", fontsize=11
    )
    columns = max(len(shown), len(merged))
    axes = part.subplots(3, columns, squeeze=False)
    low, high = np.percentile(layer.maps, (1, 99))
    members = layer.members()
    for row in axes:
        for cell in row:
            cell.axis("off")
    for column, index in enumerate(shown):
        frame = int(layer.frames[index])
        _show(axes[0, column], clip.frames[frame], f"frame {frame}", colors[index])
        _show(axes[1, column], layer.maps[index], f"map {index}", colors[index], vmin=low, vmax=high, cmap="viridis")
    for column, number in enumerate(merged):
        own = layer.merged[number]
        text = f"map {number}, from {len(members[number])}"
        _show(axes[2, column], own, text, colors[members[number][0]], vmin=own.min(), vmax=own.max(), cmap="viridis")
    for row, text in zip(axes, ("frames", "come in", "go on"), strict=True):
        row[0].text(-0.12, 0.5, text, transform=row[0].transAxes, rotation=90, va="center", ha="right", fontsize=11)


def _show(axes, picture: np.ndarray, title: str, color: str, **options) -> None:
    axes.axis("on")
    axes.imshow(picture, interpolation="nearest", **options)
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=8)
    for spine in axes.spines.values():
        spine.set(color=color, linewidth=3)
