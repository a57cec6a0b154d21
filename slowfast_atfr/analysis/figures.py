"""Pictures of what SGS does. Needs the `viz` extra (matplotlib)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slowfast_atfr.analysis.merging import colors_of
from slowfast_atfr.sgs import ClipRecord

MAX_THUMBNAILS = 16


@dataclass(frozen=True)
class ClipPicture:
    """A clip to draw.

    frames: (T, H, W, 3) uint8.
    record: what SGS did to its T maps.
    title: a line of text about it.
    measure: name of record.similarity.
    """

    frames: np.ndarray
    record: ClipRecord
    title: str
    measure: str = "similarity"


def new_figure(width: float, height: float) -> Any:
    """Return an empty matplotlib figure, in inches, which needs no screen.

    Raises:
        ImportError: without matplotlib, with the command that installs it.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("pictures need matplotlib: pip install 'slowfast_atfr[viz]'") from None
    return Figure(figsize=(width, height), layout="constrained")


def draw_merging(path: str | Path, clips: Sequence[ClipPicture]) -> None:
    """Draw for each clip its frames, their similarity over time, and which of them are merged.

    A run of one colour below the frames is one group, which becomes a single map. Dotted lines separate blocks.

    Args:
        path: PNG to write; its folder must exist.
        clips: one row each.
    Raises:
        ImportError: without matplotlib, with the command that installs it.
    """
    figure = new_figure(13, 3.3 * len(clips))
    for row, clip in zip(figure.subfigures(len(clips), 1, squeeze=False)[:, 0], clips, strict=True):
        row.suptitle(clip.title, fontsize=11)
        top, middle, bottom = row.subplots(3, 1, gridspec_kw={"height_ratios": [5, 4, 1.2]}, sharex=True)
        _thumbnails(top, clip.frames)
        _similarity(middle, clip.record, clip.measure)
        _bins(bottom, clip.record)
        top.set_xlim(-0.5, len(clip.record.bin) - 0.5)
    figure.savefig(path, dpi=90)


def _thumbnails(axes, frames: np.ndarray) -> None:
    """Evenly spaced frames, side by side along the time axis."""
    count = min(MAX_THUMBNAILS, len(frames))
    edges = np.linspace(-0.5, len(frames) - 0.5, count + 1)
    for left, right in zip(edges, edges[1:], strict=False):
        frame = frames[int(round((left + right) / 2))]
        axes.imshow(frame, extent=(left, right, 0, 1), aspect="auto", interpolation="antialiased")
    axes.set_ylim(0, 1)
    axes.axis("off")


def _similarity(axes, record: ClipRecord, name: str) -> None:
    """A line for each coordinate, with points if there is only one."""
    axes.plot(record.similarity, color="#444444", linewidth=1, zorder=1)
    if record.similarity.ndim == 1:
        time = range(len(record.similarity))
        axes.scatter(time, record.similarity, c=colors_of(record), s=22, zorder=2, edgecolors="none")
    axes.set_ylim(0, 1.12 * max(float(record.similarity.max()), 1e-6))
    axes.set_ylabel(name)
    _separate_blocks(axes, record)


def _bins(axes, record: ClipRecord) -> None:
    axes.bar(range(len(record.bin)), 1, width=1, color=colors_of(record))
    for frame, (output, before) in enumerate(zip(record.output, [-1, *record.output[:-1]], strict=True)):
        if output != before:
            axes.text(frame - 0.4, 0.5, str(output), va="center", fontsize=8, color="white", fontweight="bold")
    axes.set_yticks([])
    axes.set_ylabel("goes to", rotation=0, ha="right", va="center")
    axes.set_xlabel(f"temporal map: {len(record.bin)} enter, {record.num_active} leave")
    _separate_blocks(axes, record)


def _separate_blocks(axes, record: ClipRecord) -> None:
    for frame in np.flatnonzero(np.diff(record.block)):
        axes.axvline(frame + 0.5, color="#888888", linewidth=0.8, linestyle=":")
