"""A fixed share of maps after SGS, which runs all the same."""

import numpy as np
import pytest
import torch

from slowfast_atfr.reproduce.benchmarks.force_bins import fewer_bins, force_bins, ragged_lengths
from slowfast_atfr.sgs import SGS, PathwaySGS, record


@pytest.mark.parametrize(("frames", "batch"), [(13, 8), (13, 4), (8, 8), (8, 4), (32, 4), (32, 2), (32, 1), (8, 1)])
def test_ragged_clips_have_half_the_frames_on_average_and_differ_from_their_neighbours(frames, batch):
    lengths = ragged_lengths(frames, batch)
    assert len(lengths) == batch and np.mean(lengths) == pytest.approx(frames / 2, rel=0.02)
    assert min(lengths) >= 1 and max(lengths) < frames
    assert all(a != b for a, b in zip(lengths, lengths[1:], strict=False))


def test_half_of_the_bins_are_active_on_average():
    bins = fewer_bins(np.zeros((2, 8, 1), dtype=np.int32), 0.5)
    assert bins.shape == (2, 8, 1) and bins.dtype == np.int32
    assert [len(set(row)) for row in bins[..., 0].tolist()] == [2, 6]
    assert all((np.diff(row) >= 0).all() for row in bins[..., 0])


def test_every_layer_runs_and_half_of_the_maps_remain():
    layer = PathwaySGS({1: SGS(4)}, label="s2_sgs").eval()
    force_bins(layer)
    slow, fast = torch.randn(2, 8, 2, 4, 4), torch.randn(2, 4, 8, 4, 4)
    with record(layer) as log:
        out = layer([slow, fast])
    assert out[0] is slow and out[1].lengths == (2, 6)
    (clips,) = log.layers.values()
    assert [clip.num_active for clip in clips] == [2, 6] and len(clips[0].similarity) == 8
