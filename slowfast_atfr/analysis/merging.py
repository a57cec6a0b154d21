"""What SGS did to one clip, as plain data for pictures and pages."""

from dataclasses import dataclass

import numpy as np

from slowfast_atfr.sgs import ClipRecord

# Okabe and Ito's colours, told apart with all common kinds of colour blindness; neighbours in time alternate.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#444444")


@dataclass(frozen=True)
class LayerMerging:
    """One SGS layer and one clip: T maps come in, B' go on.

    name: of the layer, such as s2_sgs.pathway1.
    record: see ClipRecord.
    frames: (T,) frame of the clip that each map stands at.
    num_bins: B of each block; empty where frames are not put into bins.
    maps: (T, h, w) what comes in, mean over the channels.
    merged: (B', h, w) what goes on, likewise.
    channels: (C', T, h, w) the first channels of what comes in.
    merged_channels: (C', B', h, w) the same channels of the merged maps.
    """

    name: str
    record: ClipRecord
    frames: np.ndarray
    num_bins: tuple[int, ...]
    maps: np.ndarray
    merged: np.ndarray
    channels: np.ndarray
    merged_channels: np.ndarray

    @property
    def colors(self) -> list[str]:
        """A colour for each map by the one that it goes to."""
        return colors_of(self.record)

    @property
    def measure(self) -> str:
        """What record.similarity is called: of segments it is the change from the map before."""
        return "similarity" if self.num_bins else "change"

    def blocks(self) -> list[tuple[int, int]]:
        """First map of each block, and the one behind its last."""
        borders = [0, *(np.flatnonzero(np.diff(self.record.block)) + 1).tolist(), len(self.record.block)]
        return list(zip(borders, borders[1:], strict=False))

    def borders(self, block: int) -> list[float]:
        """Where a block's bins end, from 0 to its largest similarity; none where these are not what decided.

        Similarities of several coordinates, and angles, have bins of another kind.
        """
        if not self.num_bins:
            return []
        (first, end), count = self.blocks()[block], self.num_bins[block]
        values, bins = self.record.similarity[first:end], self.record.bin[first:end]
        if values.ndim > 1:
            return []
        largest = float(values.max())
        expected = np.minimum(np.floor(count * values / largest), count - 1) if largest else np.zeros(len(values))
        if np.abs(expected - bins).max() > 1:  # one off by rounding in another precision is no other rule
            return []
        return [largest * number / count for number in range(count + 1)]

    def members(self) -> list[list[int]]:
        """The maps that each of the B' was made of."""
        return [np.flatnonzero(self.record.output == number).tolist() for number in range(self.record.num_active)]


@dataclass(frozen=True)
class ClipMerging:
    """A clip, what the network says of it, what it costs, and what each SGS layer did.

    video: name of the file.
    start, end: of the clip, in seconds.
    frames: (T, H, W, 3) uint8.
    best: classes and their probabilities, best first.
    gflops, dense_gflops: multiply-adds x 1e-9 of this clip, and of one whose maps all go on.
    layers: in the order in which the clip passes them.
    """

    video: str
    start: float
    end: float
    frames: np.ndarray
    best: tuple[tuple[str, float], ...]
    gflops: float
    dense_gflops: float
    layers: tuple[LayerMerging, ...]

    def title(self, layer: LayerMerging) -> str:
        """A layer in words: "fast pathway, behind res2"."""
        stage, _, pathway = layer.name.partition("_sgs.pathway")
        if not pathway:
            return layer.name
        of_two = {other.name for other in self.layers} != {layer.name} or pathway == "1"
        side = f"{('slow', 'fast')[int(pathway)]} pathway, " if of_two else ""
        return f"{side}behind {'conv1' if stage == 's1' else f'res{stage[1:]}'}"


def colors_of(record: ClipRecord) -> list[str]:
    """A colour for each map by the one that it goes to; those that first appear one after the other differ."""
    seen: dict[int, int] = {}
    return [COLORS[seen.setdefault(int(output), len(seen)) % len(COLORS)] for output in record.output]
