"""What SGS did to one clip, as plain data for pictures and pages."""

from dataclasses import dataclass

import numpy as np

from slowfast_atfr.sgs import ClipRecord

# Okabe and Ito's colours, distinct with all common kinds of colour blindness, ordered for contrast.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#444444")


@dataclass(frozen=True)
class LayerMerging:
    """One SGS layer and one clip: T input maps, B' output maps.

    name: of the layer, such as s2_sgs.pathway1.
    record: see ClipRecord.
    frames: (T,) the frame of the clip at each map.
    num_bins: B of each block; empty for segments.
    maps: (T, h, w) input maps, mean over the channels.
    merged: (B', h, w) output maps, mean over the channels.
    channels: (C', T, h, w) first channels of the input maps.
    merged_channels: (C', B', h, w) the same channels of the output maps.
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
        """Return a colour for each input map, by its output map."""
        return colors_of(self.record)

    @property
    def measure(self) -> str:
        """Name of record.similarity: for segments it is the change from the previous map."""
        return "similarity" if self.num_bins else "change"

    def blocks(self) -> list[tuple[int, int]]:
        """Return the first map of each block, and one after its last."""
        borders = [0, *(np.flatnonzero(np.diff(self.record.block)) + 1).tolist(), len(self.record.block)]
        return list(zip(borders, borders[1:], strict=False))

    def borders(self, block: int) -> list[float]:
        """Return the borders of a block's bins, from 0 to its largest similarity.

        Empty where bins are not equal intervals of one coordinate: several coordinates, angles, segments.
        """
        if not self.num_bins:
            return []
        (first, end), count = self.blocks()[block], self.num_bins[block]
        values, bins = self.record.similarity[first:end], self.record.bin[first:end]
        if values.ndim > 1:
            return []
        largest = float(values.max())
        expected = np.minimum(np.floor(count * values / largest), count - 1) if largest else np.zeros(len(values))
        if np.abs(expected - bins).max() > 1:  # off by one: rounding in another precision
            return []
        return [largest * number / count for number in range(count + 1)]

    def members(self) -> list[list[int]]:
        """Return the input maps of each of the B' output maps."""
        return [np.flatnonzero(self.record.output == number).tolist() for number in range(self.record.num_active)]


@dataclass(frozen=True)
class ClipMerging:
    """A clip, its prediction, its cost, and what each SGS layer did.

    video: name of the file.
    start, end: of the clip, in seconds.
    frames: (T, H, W, 3) uint8.
    best: the best classes and their probabilities, in order.
    gflops, dense_gflops: multiply-adds x 1e-9 of this clip, and of one that keeps all maps.
    layers: from input to output.
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
        """Name a layer in words: "fast pathway, after res2"."""
        stage, _, pathway = layer.name.partition("_sgs.pathway")
        if not pathway:
            return layer.name
        of_two = {other.name for other in self.layers} != {layer.name} or pathway == "1"
        side = f"{('slow', 'fast')[int(pathway)]} pathway, " if of_two else ""
        return f"{side}after {'conv1' if stage == 's1' else f'res{stage[1:]}'}"


def colors_of(record: ClipRecord) -> list[str]:
    """Return a colour for each input map, by its output map; successive new output maps have different colours."""
    seen: dict[int, int] = {}
    return [COLORS[seen.setdefault(int(output), len(seen)) % len(COLORS)] for output in record.output]
