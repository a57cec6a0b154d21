"""SGS of one clip by tensors alone gives what the layers give, which group on the host."""

import numpy as np
import pytest
import torch

from slowfast_atfr.config import ConfigError
from slowfast_atfr.packed import to_dense
from slowfast_atfr.sgs import SGS, one_clip
from slowfast_atfr.sgs import one_clip_segments as traced
from slowfast_atfr.sgs.aligned_segments import sample_aligned
from slowfast_atfr.sgs.bins import plan_bins
from slowfast_atfr.sgs.kernels import KERNEL_REGISTRY
from slowfast_atfr.sgs.record import observed
from slowfast_atfr.sgs.segment_sampler import LOSSES, SegmentSGS
from slowfast_atfr.sgs.segments import LEAST_PENALTY, SEGMENT_MAPS, Cuts, gains, segment_losses, size_penalty
from slowfast_atfr.sgs.similarity import SIMILARITY_REGISTRY

SIMILARITIES = sorted(name for name, _ in SIMILARITY_REGISTRY)
KERNELS = sorted(name for name, _ in KERNEL_REGISTRY)


def clip_of(frames=7, distinct=7, channels=6, side=5):
    """(1, C, T, H, W) with this number of different maps, each repeated over neighbouring frames."""
    maps = torch.randn(1, channels, distinct, side, side) + 2 * torch.randn(1, channels, distinct, 1, 1)
    return maps[:, :, torch.arange(frames) * distinct // frames]


def lively(layer):
    """Bins that differ from clip to clip."""
    torch.nn.init.normal_(layer.embed.fc1.weight)
    torch.nn.init.normal_(layer.embed.fc2.weight)
    return layer.eval()


@torch.no_grad()
def check_same(layer, clip):
    layer, clip = layer.double(), clip.double()  # so that no frame is at a border of two bins by rounding
    expected = to_dense(layer(clip))
    found = layer.sample_clip(clip)
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    return found.shape[2]


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("kernel", KERNELS)
def test_bins_are_those_of_the_layer(similarity, kernel):
    layer = lively(SGS(6, similarity=similarity, kernel=kernel, embed_dim=3))
    maps = {check_same(layer, clip_of(distinct=distinct)) for distinct in (1, 2, 4, 7)}
    assert 1 in maps or similarity == "uniform_time"
    assert len(maps) > 1 or similarity == "uniform_time"


@pytest.mark.parametrize("order", ["bin", "time"])
@pytest.mark.parametrize("block", [0, 1, 3, 8])
@pytest.mark.parametrize("bins", [-1, 1, 4])
def test_orders_blocks_and_numbers_of_bins_are_those_of_the_layer(order, block, bins):
    for similarity in ("magnitude", "cartesian"):
        layer = lively(SGS(6, bins, block, similarity, "linear_mean", 3, order=order))
        for distinct in (1, 3, 7):
            check_same(layer, clip_of(distinct=distinct))


@pytest.mark.parametrize("order", ["bin", "time"])
def test_groups_are_those_of_the_plan(order):
    rng = np.random.default_rng(0)
    for _ in range(30):
        cells, block = rng.integers(0, 3, (9, 2)), np.sort(rng.integers(0, 2, 9))
        lengths = [int((block == number).sum()) for number in (0, 1)]
        if 0 in lengths:
            continue
        rows = np.zeros((2, max(lengths), 2), dtype=np.int64)
        for number, length in enumerate(lengths):
            rows[number, :length] = cells[block == number]
        plan = plan_bins(rows, [lengths], order)
        output = np.concatenate([plan.output[0, : lengths[0]], plan.counts[0] + plan.output[1, : lengths[1]]])
        members = one_clip.members_of(torch.tensor(block), torch.tensor(cells).unbind(1), order)
        assert members.shape == (sum(plan.counts), 9) and members.sum(0).eq(1).all()
        np.testing.assert_array_equal(members.int().argmax(0).numpy(), output)


SETTINGS = [
    {"num_bins": 3},
    {"num_bins": 3, "segment_map": "middle"},
    {"target_maps": 3.0},
    {"num_bins": -1},
    {"target_maps": 3.0, "loss": "motion"},
    {"target_maps": 3.0, "loss": "motion", "segment_map": "overlap"},
    {"num_bins": 3, "segment_map": "overlap"},
]


@pytest.mark.parametrize("features", ["mean", "grid"])
@pytest.mark.parametrize("block", [0, 3])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("seen", [False, True], ids=["new", "trained"])
def test_segments_are_those_of_the_layer(features, block, settings, seen):
    layer = SegmentSGS(6, block_size=block, features=features, size_penalty=0.1, **settings)
    if seen:
        layer.train()(torch.cat([clip_of(distinct=distinct) for distinct in (1, 2, 3, 5, 7)]))
    layer.eval()
    maps = [check_same(layer, clip_of(distinct=distinct)) for distinct in (1, 2, 4, 7) for _ in range(3)]
    assert len(set(maps)) > 1 or not (seen and "target_maps" in settings)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("segment_map", SEGMENT_MAPS)
def test_aligned_pathways_are_cut_alike(monkeypatch, loss, segment_map):
    slow = SegmentSGS(6, target_maps=3.0, loss=loss, segment_map=segment_map)
    fast = SegmentSGS(4, target_maps=12.0, loss=loss, segment_map=segment_map)
    layers = torch.nn.ModuleList([slow, fast])
    batch = [[clip_of(6, n), clip_of(24, n, channels=4)] for n in (1, 2, 3, 4, 5, 6)]
    sample_aligned(*layers.train(), *(torch.cat(clips) for clips in zip(*batch, strict=True)))
    layers.eval()
    lengths = set()
    for clips in batch:
        expected = [to_dense(x) for x in sample_aligned(slow, fast, *clips)]
        with monkeypatch.context() as patch:
            patch.setattr("slowfast_atfr.sgs.aligned_segments.is_exporting", lambda: True)
            found = sample_aligned(slow, fast, *clips)
        for ours, theirs in zip(found, expected, strict=True):
            assert ours.shape == theirs.shape
            torch.testing.assert_close(ours, theirs)
        lengths.add(found[0].shape[2])
    assert len(lengths) > 1


def test_cuts_and_gains_are_those_of_the_host():
    for seed, length in enumerate((2, 5, 9)):
        features = torch.randn(length, 3, generator=torch.Generator().manual_seed(seed))
        distances = traced.mean_squared_distances(features)
        losses = segment_losses(distances.numpy()[None], np.ones((1, length))) / length
        ours = traced.segment_losses(distances, torch.tensor(1.0))
        np.testing.assert_allclose(ours.numpy(), losses[0], atol=1e-6)
        costs = losses + LEAST_PENALTY * size_penalty(np.array([length]), length)
        cuts = Cuts(costs, losses, np.array([length]), length)
        curve, starts = traced.best_cuts(ours, 0.0, length)
        np.testing.assert_allclose(curve.numpy(), cuts.curve[0], atol=1e-6)
        np.testing.assert_allclose(traced.gains(curve).numpy(), gains(cuts.curve)[0], atol=1e-6)
        for count in range(1, length + 1):
            segments = traced.segments_of(starts, torch.tensor(count), length)
            np.testing.assert_array_equal(segments.numpy(), cuts.segments(np.array([count]))[0])


@pytest.mark.parametrize("side", [3, 4, 7, 10])
def test_cells_are_those_of_the_adaptive_pool(side):
    maps = torch.randn(3, 2, side, side + 1)
    torch.testing.assert_close(traced.cell_means(maps, 4), torch.nn.functional.adaptive_avg_pool2d(maps, 4))


def test_observers_see_the_members_of_each_group():
    layer, seen = lively(SGS(6, 4, kernel="linear_mean")), []
    with observed(torch.nn.Sequential(layer), lambda name, grouped: seen.append((name, grouped))):
        out = layer.sample_clip(clip_of())
    ((name, grouped),) = seen
    assert name == "0" and grouped.members.shape == (out.shape[2], 7) and grouped.members.sum(0).eq(1).all()


def test_blocks_of_a_clip_of_unknown_length_are_refused():
    class Twice(torch.nn.Module):
        def __init__(self, second):
            super().__init__()
            self.first, self.second = lively(SGS(6)), second

        def forward(self, x):
            return self.second.sample_clip(self.first.sample_clip(x))

    for second, words in ((lively(SGS(6, -1, 2)), "SGS.BLOCK_SIZE"), (SegmentSGS(6, 2).eval(), "SGS.STAGES")):
        with pytest.raises(ConfigError, match=words), torch.no_grad():
            torch.export.export(Twice(second), (clip_of(),), strict=False)


def test_a_batch_is_refused():
    with pytest.raises(ConfigError, match="for one clip, got a batch of 2"), torch.no_grad():
        torch.export.export(lively(SGS(6)), (torch.cat([clip_of(), clip_of()]),), strict=False)


def test_an_exported_layer_takes_clips_of_any_content():
    layer = lively(SGS(6, kernel="linear_mean"))
    with torch.no_grad():
        program = torch.export.export(layer, (clip_of(),), strict=False).module()
        maps = set()
        for distinct in (1, 2, 4, 7):
            clip = clip_of(distinct=distinct)
            expected = to_dense(layer(clip))
            torch.testing.assert_close(program(clip), expected, rtol=1e-4, atol=1e-4)
            maps.add(expected.shape[2])
    assert len(maps) > 1
