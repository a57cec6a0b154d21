"""SGS by segments: cost follows content, a clip is what it is alone, pathways stay aligned, sizes reach the head."""

import numpy as np
import pytest
import torch

from slowfast_atfr.config import ConfigError, load_cfg
from slowfast_atfr.models import build_model
from slowfast_atfr.packed import lengths_of, pack, sizes_of, to_frames, unpack, with_sizes
from slowfast_atfr.sgs import SegmentSGS, insert_sgs
from slowfast_atfr.sgs.segment_sampler import LOSSES, THRESHOLDS
from tests.sgs.moving_clips import C, moving_clip, trained


@pytest.mark.parametrize("loss", LOSSES)
def test_a_still_clip_is_one_map_and_cost_follows_motion(loss):
    layer = trained(SegmentSGS(C, target_maps=5, loss=loss))
    counts = {
        moves: [lengths_of(layer(moving_clip(moves=moves, seed=seed)[None]))[0] for seed in range(30)]
        for moves in (0, 0.3, 0.6, 1)
    }
    assert max(counts[0]) <= 2
    means = [np.mean(values) for values in counts.values()]
    assert means == sorted(means) and means[-1] > 2 * means[0]


@pytest.mark.parametrize("speed", [0.5, 1, 3])
def test_the_motion_loss_counts_the_time_of_motion_not_its_speed(speed):
    """Half of the time, half of the maps; cuts in motion are evenly spaced, and what is static is one map."""
    layer = trained(SegmentSGS(C, target_maps=5, loss="motion"))
    counts = {
        moves: [lengths_of(layer(speed * moving_clip(moves=moves, seed=seed)[None]))[0] for seed in range(20)]
        for moves in (0.25, 0.5, 1)
    }
    whole = np.mean(counts[1])
    assert np.mean(counts[0.5]) == pytest.approx(whole / 2, abs=1) and whole > 7
    assert np.mean(counts[0.25]) == pytest.approx(whole / 4, abs=1)
    half = sizes_of(SegmentSGS(C, num_bins=4, loss="motion").eval()(speed * moving_clip(moves=0.5)[None]))
    assert half.max() == half[-1] >= 9 and half[:-1].max() <= 3


@pytest.mark.parametrize("target", [2, 4, 7.5])
@pytest.mark.parametrize("options", [{}, {"size_penalty": 1.0}, {"loss": "motion"}], ids=str)
def test_the_mean_over_unseen_clips_is_the_target_and_a_dial_changes_it_without_training(target, options):
    layer = trained(SegmentSGS(C, target_maps=6, test_target_maps=target, **options))
    clips = [moving_clip(moves=(0, 0.3, 0.6, 1)[seed % 4], seed=seed) for seed in range(200)]
    assert np.mean(lengths_of(layer(pack(clips)))) == pytest.approx(target, rel=0.1)


@pytest.mark.parametrize("batch", [pytest.param(2, marks=pytest.mark.slow), 8])
def test_the_mean_is_the_target_where_clips_differ_and_batches_are_small(batch):
    """Clips whose motion differs by orders of magnitude: quantiles averaged over batches would leave too few maps."""
    random = np.random.default_rng(0)
    layer = SegmentSGS(C, target_maps=4).train()

    def clips(count):
        return [
            float(np.exp(1.5 * random.standard_normal())) * moving_clip(moves=1, seed=int(random.integers(1 << 30)))
            for _ in range(count)
        ]

    means = []
    with torch.no_grad():
        for step in range(1, 1 + 1200 // batch):
            layer.train()(pack(clips(batch)))
            if step > 400 // batch and step % (80 // batch) == 0:
                means.append(np.mean(lengths_of(layer.eval()(pack(clips(60))))))
    assert np.mean(means) == pytest.approx(4, rel=0.1)


SETTINGS = [
    {"num_bins": 4},
    {"target_maps": 4, "segment_map": "middle"},
    {"target_maps": 3, "block_size": 8, "loss": "motion"},
    {"target_maps": 4, "loss": "motion", "segment_map": "overlap"},
]


@pytest.mark.parametrize("options", SETTINGS)
@pytest.mark.parametrize("features", ["mean", "grid"])
def test_a_clip_does_not_feel_its_neighbours(options, features):
    layer = trained(SegmentSGS(C, features=features, size_penalty=0.5, **options), batches=4)
    clips = [moving_clip(frames, moves, seed=seed) for seed, (frames, moves) in enumerate([(16, 1), (5, 0), (9, 0.5)])]
    together = layer(pack(clips))
    sizes = np.split(sizes_of(together), np.cumsum(together.lengths)[:-1])
    for clip, out, own in zip(clips, unpack(together), sizes, strict=True):
        alone = layer(clip[None])
        assert torch.equal(unpack(alone)[0], out) and np.array_equal(sizes_of(alone), own)
        assert own.sum() == pytest.approx(clip.shape[1])


def test_clips_whose_best_cuts_tie_do_not_feel_their_neighbours_in_double_precision():
    """Clips that swing to and fro: mirrored cuts cost the same, and a longer neighbour must not decide between them."""
    layer = SegmentSGS(C, num_bins=3, loss="motion").double().eval()
    generator = torch.Generator().manual_seed(0)
    for length in (10, 13, 16):
        for _ in range(20):
            half = torch.rand(C, length // 2, 1, 1, generator=generator, dtype=torch.float64)
            clip = torch.cat([half, half.flip(1)], 1).expand(-1, -1, 2, 2)
            longer = torch.randn(C, length + 7, 2, 2, generator=generator, dtype=torch.float64)
            together = sizes_of(layer(pack([clip, longer])))[:3]
            assert np.array_equal(sizes_of(layer(clip[None])), together)


@pytest.mark.parametrize("loss", LOSSES)
def test_thresholds_serve_blocks_of_other_lengths_than_in_training(loss):
    layer = trained(SegmentSGS(C, target_maps=4, loss=loss))
    for frames in (8, 32):
        still = [lengths_of(layer(moving_clip(frames, moves=0, seed=seed)[None]))[0] for seed in range(20)]
        assert max(still) <= 2
    moving = [
        np.mean([lengths_of(layer(moving_clip(frames, moves=1, seed=seed)[None]))[0] for seed in range(20)])
        for frames in (16, 32)
    ]
    assert moving[1] == pytest.approx(moving[0], rel=0.15) and moving[0] > 4


def test_motion_counts_the_time_of_merged_maps():
    """Six maps at equal steps, the first of five frames: alone it takes as long as the others together."""
    maps = torch.arange(6.0).view(1, 6, 1, 1).expand(C, 6, 2, 2)
    layer = SegmentSGS(C, num_bins=2, loss="motion").eval()
    assert sizes_of(layer(maps[None])).tolist() == [3, 3]
    merged = with_sizes(pack([maps]), np.array([5, 1, 1, 1, 1, 1]))
    assert sizes_of(layer(merged)).tolist() == [5, 5]


def test_segments_are_means_in_the_order_of_time_and_sizes_count_frames_of_the_video():
    clip = torch.tensor([0.0, 0, 0, 5, 5, 9]).view(1, 6, 1, 1).expand(C, 6, 2, 2)
    once = SegmentSGS(C, num_bins=3).eval()(clip[None])
    assert to_frames(once)[0][:, 0, 0, 0].tolist() == [0, 5, 9] and sizes_of(once).tolist() == [3, 2, 1]
    twice = SegmentSGS(C, num_bins=2).eval()(once)
    assert sizes_of(twice).tolist() == [3, 3]
    assert to_frames(twice)[0][:, 0, 0, 0].tolist() == pytest.approx([0, (5 + 5 + 9) / 3])


def test_a_segment_can_be_the_frame_at_half_of_its_time():
    clip = torch.arange(11.0).view(1, 11, 1, 1).expand(C, 11, 2, 2)
    even = SegmentSGS(C, num_bins=3, size_penalty=1e6, segment_map="middle").eval()(clip[None])
    assert sizes_of(even).tolist() == [3, 4, 4] and to_frames(even)[0][:, 0, 0, 0].tolist() == [1, 5, 9]
    merged = with_sizes(pack([clip[:, :5]]), np.array([6, 1, 1, 1, 2]))
    one = SegmentSGS(C, num_bins=1, segment_map="middle").eval()(merged)
    assert to_frames(one)[0][:, 0, 0, 0].tolist() == [0] and sizes_of(one).tolist() == [11]


def test_the_gradient_of_a_middle_frame_is_its_map():
    clip = moving_clip(8)[None].requires_grad_()
    out = SegmentSGS(C, num_bins=2, size_penalty=1e6, segment_map="middle")(clip)
    to_frames(out)[0].sum().backward()
    assert clip.grad[0, 0, :, 0, 0].tolist() == [0, 0, 1, 0, 0, 0, 1, 0]


def test_frames_that_do_not_differ_are_pooled_uniformly():
    out = SegmentSGS(C, num_bins=4).eval()(torch.ones(1, C, 12, 3, 3))
    assert sizes_of(out).tolist() == [3, 3, 3, 3] and (to_frames(out)[0] == 1).all()


def test_overlapping_segments_take_means_over_frames_of_the_video_twice():
    clip = torch.arange(12.0).view(1, 12, 1, 1).expand(C, 12, 2, 2)
    layer = SegmentSGS(C, num_bins=5, loss="motion", segment_map="overlap").eval()
    once = layer(clip[None])
    maps, sizes = to_frames(once)[0][:, 0, 0, 0].numpy(), sizes_of(once)
    assert sizes.sum() == pytest.approx(12) and (maps * sizes).sum() == pytest.approx(66)
    twice = SegmentSGS(C, num_bins=2, loss="motion", segment_map="overlap").eval()(once)
    maps, sizes = to_frames(twice)[0][:, 0, 0, 0].numpy(), sizes_of(twice)
    assert len(sizes) == 2 and sizes.sum() == pytest.approx(12) and (maps * sizes).sum() == pytest.approx(66)


def test_the_gradient_is_that_of_the_means():
    clip = moving_clip(8).double()[None].requires_grad_()
    layer = SegmentSGS(C, num_bins=3).double()
    out = layer(clip)
    weight = torch.randn_like(to_frames(out)[0])
    (to_frames(out)[0] * weight).sum().backward()
    size = torch.tensor(sizes_of(out))
    expected = (weight / size[:, None, None, None]).repeat_interleave(size.long(), 0).permute(3, 0, 1, 2)
    torch.testing.assert_close(clip.grad[0], expected)


def test_thresholds_are_kept_with_the_weights():
    layer = trained(SegmentSGS(C, target_maps=4), batches=5)
    other = SegmentSGS(C, target_maps=4).eval()
    clip = moving_clip(moves=0, seed=3)[None]
    assert lengths_of(other(clip)) == (4,)  # not known yet: the target for every clip
    other.load_state_dict(layer.state_dict())
    assert lengths_of(other(clip)) == lengths_of(layer(clip)) != (4,)


@pytest.mark.parametrize(
    "change", [{"loss": "motion"}, {"features": "grid"}, {"size_penalty": 2.0}, {"block_size": 4}], ids=str
)
def test_thresholds_of_other_settings_are_left_out_with_a_warning(change, caplog):
    layer = trained(SegmentSGS(C, target_maps=4), batches=5)
    other = torch.nn.ModuleDict({"s2_sgs": SegmentSGS(C, target_maps=4, **change)}).eval()
    state = {f"s2_sgs.{name}": value for name, value in layer.state_dict().items()}
    other.load_state_dict(state)
    assert not any(getattr(other.s2_sgs, name).any() for name in THRESHOLDS) and state["s2_sgs.cuts"] > 0
    assert len(caplog.messages) == 1 and "the thresholds in the file are ignored" in caplog.messages[0]
    trained(other.s2_sgs, batches=2)
    assert other.s2_sgs.learnt_for.tolist() == pytest.approx(other.s2_sgs._settings())


def test_thresholds_of_the_same_settings_are_loaded_whole_halved_and_from_older_files(caplog):
    layer = trained(SegmentSGS(C, target_maps=4, size_penalty=0.1), batches=5)
    for state in (layer.state_dict(), {name: value.half() for name, value in layer.state_dict().items()}):
        for left in ([], ["learnt_for"]):
            other = SegmentSGS(C, target_maps=4, size_penalty=0.1)
            other.load_state_dict({name: value for name, value in state.items() if name not in left})
            assert other.cuts == layer.cuts and bool(other.learnt_for.any()) != bool(left)
    assert not caplog.messages


def test_settings_in_checkpoints_keep_their_numbers():
    layer = SegmentSGS(C, loss="motion", features="grid", size_penalty=3.0, block_size=8)
    assert layer._settings().tolist() == [2, 2, 3, 8]
    assert SegmentSGS(C)._settings().tolist() == [1, 1, 0, 0]


def test_half_precision_keeps_thresholds_in_float32_and_does_not_overflow():
    layer = trained(SegmentSGS(C, features="grid", target_maps=4).half(), batches=0)
    assert layer.spread.dtype == layer.gain_quantiles.dtype == torch.float32
    clips = torch.stack([moving_clip(seed=seed, moves=1) for seed in range(4)])
    layer.train()(1000 * clips.half())
    assert torch.isfinite(layer.spread) and torch.isfinite(layer.gain_quantiles).all()
    assert len(set(lengths_of(layer.eval()(1000 * clips.half())))) > 1 or lengths_of(layer(1000 * clips.half()))[0] > 1


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_frames_that_are_not_finite_name_the_clip(bad):
    clips = torch.stack([moving_clip(seed=seed) for seed in range(3)])
    clips[1, 2, 3, 0, 0] = bad
    layer = SegmentSGS(C, target_maps=4)
    with pytest.raises(FloatingPointError, match="clip 1 of the batch"):
        layer(clips)
    assert layer.spread == 0 and not layer.gain_quantiles.any()  # it has taught nothing


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"target_maps": 0.5}, "target of 0.5"),
        ({"test_target_maps": float("inf")}, "target of inf"),
        ({"size_penalty": -1}, "size_penalty -1"),
        ({"features": "edges"}, "mean, grid"),
        ({"loss": "entropy"}, "variance, motion"),
        ({"segment_map": "last"}, "mean, middle, overlap"),
        ({"num_bins": 0}, "0 bins"),
        ({"num_bins": 4, "target_maps": 4}, "choose one"),
        ({"test_num_bins": 4, "test_target_maps": 4}, "choose one"),
    ],
)
def test_wrong_arguments_are_reported(wrong, message):
    with pytest.raises(ConfigError, match=message):
        SegmentSGS(C, **wrong)


SMALL = [
    "DATA.NUM_FRAMES",
    "8",
    "DATA.TRAIN_CROP_SIZE",
    "32",
    "DATA.TEST_CROP_SIZE",
    "32",
    "RESNET.WIDTH_PER_GROUP",
    "16",
]
SMALL += ["MODEL.NUM_CLASSES", "5", "NUM_GPUS", "0", "SGS.GROUPING", "segments"]


def test_the_head_weighs_maps_by_their_sizes(repo):
    """A clip that is static after its second frame, to two maps: the weighted head averages as over all frames."""
    pairs = [*SMALL, "SGS.NUM_BINS", "[2]", "SGS.WEIGHTED_HEAD"]
    config = str(repo / "configs/Mini_Kinetics/3DRESNET18_ATFR.yaml")
    torch.manual_seed(0)
    model = build_model(load_cfg(config, [*pairs, "True"])).eval()
    x = [torch.randn(2, 12, 5, 1, 1) for _ in range(1)]
    clips = SegmentSGS(12, num_bins=2).eval()(x[0])
    model.head.pool_size = (1, 1)
    pooled = model.head.pool([clips])
    torch.testing.assert_close(pooled[..., 0, 0, 0], x[0].mean((2, 3, 4)))
    model.head.weighted = False
    assert not torch.allclose(model.head.pool([clips])[..., 0, 0, 0], x[0].mean((2, 3, 4)))


def test_any_network_takes_segments():
    net = torch.nn.Sequential(torch.nn.Conv3d(3, C, 3, padding=1), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool3d(1))
    insert_sgs(net, "1", channels=C, grouping="segments", num_bins=3)
    assert net(torch.randn(2, 3, 9, 8, 8)).shape == (2, C, 1, 1, 1)
    with pytest.raises(ConfigError, match="bins, segments"):
        insert_sgs(net, "0", grouping="clusters")


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (["SGS.TARGET_MAPS", "[0.5]"], "SGS.TARGET_MAPS"),
        (["SGS.TARGET_MAPS", "[4, 4, 4]"], "SGS.TARGET_MAPS"),
        (["SGS.SIZE_PENALTY", "-1.0"], "SGS.SIZE_PENALTY"),
        (["SGS.GROUPING", "bins", "SGS.FEATURES", "grid"], "SGS.FEATURES"),
        (["SGS.GROUPING", "bins", "SGS.SEGMENT_LOSS", "motion"], "SGS.SEGMENT_LOSS"),
        (["SGS.SEGMENT_LOSS", "entropy"], "variance, motion"),
        (["SGS.GROUPING", "trees"], "bins, segments"),
        (["SGS.ALIGN_PATHWAYS", "True"], "two pathways"),
        (["SGS.NUM_BINS", "[4]", "SGS.TARGET_MAPS", "[4]"], "SGS.NUM_BINS"),
        (["SGS.TEST_NUM_BINS", "[4]", "SGS.TEST_TARGET_MAPS", "[4]"], "SGS.TEST_NUM_BINS"),
        (["SGS.WEIGHTED_HEAD", "True", "SGS.BATCHING", "padded"], "SGS.WEIGHTED_HEAD"),
    ],
)
def test_what_does_not_fit_is_reported_before_anything_is_built(repo, pairs, message):
    with pytest.raises(ConfigError, match=message):
        load_cfg(str(repo / "configs/Mini_Kinetics/3DRESNET18_ATFR.yaml"), [*SMALL, *pairs])


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (["SGS.WEIGHTED_HEAD", "True"], "lateral fusion"),
        (["SGS.ALIGN_PATHWAYS", "True", "SGS.BLOCK_SIZE", "[2, 4]"], "SGS.BLOCK_SIZE"),
        (["SGS.ALIGN_PATHWAYS", "True", "SGS.PATHWAYS", "[1]"], "two pathways"),
        (["SGS.ALIGN_PATHWAYS", "True", "SGS.BLOCK_SIZE", "[0]", "SGS.TARGET_MAPS", "[4, 7]"], "slow pathway's number"),
    ],
)
def test_rules_of_two_pathways(repo, pairs, message):
    with pytest.raises(ConfigError, match=message):
        load_cfg(str(repo / "configs/SSv2/SLOWFAST_8x8_R50_ATFR.yaml"), [*SMALL[-2:], *pairs])
