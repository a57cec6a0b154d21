"""The supplement's Figure A.1 for any clip: frames, the maps after a stage, and the maps that SGS merges them to.

The printed figure shows 8 frames, and the first 4 channels of their maps and of the merged maps, for 3DResNet-50, 32
bins and the kernel `linear`. The other picture shows all frames, and maps as means over channels.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from slowfast_atfr.analysis.figures import new_figure
from slowfast_atfr.analysis.merging import ClipMerging, LayerMerging

FRAMES = 8  # of Figure A.1
MOST_COLUMNS = 16  # maps in a row; longer clips show every second, third, ...


def draw_figure_a1(path: Path, clip: ClipMerging) -> None:
    """Draw 8 frames, and the first channels of their maps and of the merged maps, of each SGS layer.

    Args:
        path: PNG to write; its folder must exist.
        clip: to draw.
    Raises:
        ImportError: without matplotlib, with the command that installs it.
    """
    _draw(path, clip, _draw_channels, size=(13, 13))


def draw_mean_maps(path: Path, clip: ClipMerging) -> None:
    """Draw frames, maps and merged maps of each SGS layer, the maps as means over their channels.

    Args and raises: as for `draw_figure_a1`.
    """
    _draw(path, clip, _draw_means, size=(15, 4.6))


PICTURES = {"channels": draw_figure_a1, "means": draw_mean_maps}


def _draw(path: Path, clip: ClipMerging, draw_layer: Callable, size: tuple[float, float]) -> None:
    figure = new_figure(size[0], size[1] * len(clip.layers) + 0.6)
    cost = f"{clip.gflops:.3g} GFLOPs, {clip.gflops / clip.dense_gflops:.0%} of {clip.dense_gflops:.3g} with all maps"
    figure.suptitle(f"{clip.video}, {clip.start:.1f} to {clip.end:.1f} s: {clip.best[0][0]}; {cost}", fontsize=12)
    for part, layer in zip(figure.subfigures(len(clip.layers), 1, squeeze=False)[:, 0], clip.layers, strict=True):
        draw_layer(part, clip, layer)
    figure.savefig(path, dpi=90)


def _draw_channels(part, clip: ClipMerging, layer: LayerMerging) -> None:
    maps, channels = len(layer.record.bin), len(layer.channels)
    shown = np.linspace(0, maps - 1, min(FRAMES, maps)).round().astype(int)
    merged = _every(layer.record.num_active)
    texts = ["frames"]
    texts += [f"{side},\nchannel {channel + 1}" for side in ("input", "output") for channel in range(channels)]
    _title(part, clip, layer, f"{len(shown)} are shown" if len(shown) < maps else "")
    axes = _axes(part, texts, max(len(shown), len(merged)))
    for column, index in enumerate(shown):
        frame, color = int(layer.frames[index]), layer.colors[index]
        _show(axes[0, column], clip.frames[frame], f"frame {frame}", color)
        for row, values in zip(axes[1:], layer.channels, strict=False):
            _show(row[column], values[index], "", color, **_scale(values))
    members = layer.members()
    for column, number in enumerate(merged):
        own = members[number]
        for channel, (row, values) in enumerate(zip(axes[1 + channels :], layer.merged_channels, strict=True)):
            title = f"map {number}, from {len(own)}" if channel == 0 else ""
            _show(row[column], values[number], title, layer.colors[own[0]], **_own_scale(values[number]))


def _draw_means(part, clip: ClipMerging, layer: LayerMerging) -> None:
    shown, merged, members = _every(len(layer.record.bin)), _every(layer.record.num_active), layer.members()
    step = -(-len(layer.record.bin) // MOST_COLUMNS)
    _title(part, clip, layer, f"one of {step} is shown" if step > 1 else "")
    axes = _axes(part, ("frames", "input", "output"), max(len(shown), len(merged)))
    for column, index in enumerate(shown):
        frame, color = int(layer.frames[index]), layer.colors[index]
        _show(axes[0, column], clip.frames[frame], f"frame {frame}", color)
        _show(axes[1, column], layer.maps[index], f"map {index}", color, **_scale(layer.maps))
    for column, number in enumerate(merged):
        values, own = layer.merged[number], members[number]
        _show(axes[2, column], values, f"map {number}, from {len(own)}", layer.colors[own[0]], **_own_scale(values))


def _every(count: int) -> list[int]:
    return list(range(0, count, -(-count // MOST_COLUMNS)))


def _scale(maps: np.ndarray) -> dict:
    low, high = np.percentile(maps, (1, 99))
    return {"vmin": low, "vmax": high, "cmap": "viridis"}


def _own_scale(values: np.ndarray) -> dict:
    """Scale each map by itself: sums of more frames are larger."""
    return {"vmin": values.min(), "vmax": values.max(), "cmap": "viridis"}


def _title(part, clip: ClipMerging, layer: LayerMerging, left_out: str) -> None:
    count, merged = f"{len(layer.record.bin)} input maps", f"{layer.record.num_active} output maps"
    part.suptitle(f"{clip.title(layer)}: {count}{f' ({left_out})' if left_out else ''}, {merged}", fontsize=11)


def _axes(part, texts: Sequence[str], columns: int) -> np.ndarray:
    """Return empty cells, a row for each text."""
    axes = part.subplots(len(texts), columns, squeeze=False)
    for row, text in zip(axes, texts, strict=True):
        for cell in row:
            cell.axis("off")
        row[0].text(-0.12, 0.5, text, transform=row[0].transAxes, rotation=90, va="center", ha="right", fontsize=9)
    return axes


def _show(axes, picture: np.ndarray, title: str, color: str, **options) -> None:
    axes.axis("on")
    axes.imshow(picture, interpolation="nearest", **options)
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=8)
    for spine in axes.spines.values():
        spine.set(color=color, linewidth=3)
