"""SGS by segments: cost follows content, a clip is what it is alone, pathways stay aligned, sizes reach the head."""

import numpy as np
import pytest
import torch

from slowfast_atfr.config import ConfigError, load_cfg
from slowfast_atfr.models import build_model
from slowfast_atfr.packed import lengths_of, pack, sizes_of, to_frames, unpack
from slowfast_atfr.sgs import SegmentSGS, insert_sgs, record
from slowfast_atfr.sgs.segment_sampler import sample_aligned

C = 6


def moving_clip(frames=16, moves=0.5, noise=0.02, seed=0):
    """(C, T, 4, 4) that walks about for a share of its time, with the noise of a camera throughout."""
    generator = torch.Generator().manual_seed(seed)
    steps = (
        torch.randn(frames, C, 1, 1, generator=generator) * (torch.arange(frames) < moves * frames)[:, None, None, None]
    )
    clip = steps.cumsum(0) + torch.randn(1, C, 4, 4, generator=generator)
    return (clip + noise * torch.randn(frames, C, 4, 4, generator=generator)).transpose(0, 1)


def trained(layer, batches=40, batch=8):
    """The layer with thresholds from clips some static, some moving now and then, some throughout."""
    layer.train()
    with torch.no_grad():
        for number in range(batches):
            moves = [(0, 0.3, 0.6, 1)[(number + index) % 4] for index in range(batch)]
            layer(pack([moving_clip(moves=m, seed=1000 + number * batch + i) for i, m in enumerate(moves)]))
    return layer.eval()


def test_a_still_clip_is_one_map_and_cost_follows_motion():
    layer = trained(SegmentSGS(C, target_maps=5))
    counts = {
        moves: [lengths_of(layer(moving_clip(moves=moves, seed=seed)[None]))[0] for seed in range(30)]
        for moves in (0, 0.3, 0.6, 1)
    }
    assert max(counts[0]) <= 2
    means = [np.mean(values) for values in counts.values()]
    assert means == sorted(means) and means[-1] > 2 * means[0]


@pytest.mark.parametrize("target", [2, 4, 7.5])
@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_the_mean_over_unseen_clips_is_the_target_and_a_dial_changes_it_without_training(target, penalty):
    layer = trained(SegmentSGS(C, target_maps=6, size_penalty=penalty, test_target_maps=target))
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


@pytest.mark.parametrize("options", [{"num_bins": 4}, {"target_maps": 4}, {"target_maps": 3, "block_size": 8}])
@pytest.mark.parametrize("features", ["mean", "grid"])
def test_a_clip_does_not_feel_its_neighbours(options, features):
    layer = trained(SegmentSGS(C, features=features, size_penalty=0.5, **options), batches=4)
    clips = [moving_clip(frames, moves, seed=seed) for seed, (frames, moves) in enumerate([(16, 1), (5, 0), (9, 0.5)])]
    together = layer(pack(clips))
    sizes = np.split(sizes_of(together), np.cumsum(together.lengths)[:-1])
    for clip, out, own in zip(clips, unpack(together), sizes, strict=True):
        alone = layer(clip[None])
        assert torch.equal(unpack(alone)[0], out) and np.array_equal(sizes_of(alone), own)
        assert own.sum() == clip.shape[1]


def test_segments_are_means_in_the_order_of_time_and_sizes_count_frames_of_the_video():
    clip = torch.tensor([0.0, 0, 0, 5, 5, 9]).view(1, 6, 1, 1).expand(C, 6, 2, 2)
    once = SegmentSGS(C, num_bins=3).eval()(clip[None])
    assert to_frames(once)[0][:, 0, 0, 0].tolist() == [0, 5, 9] and sizes_of(once).tolist() == [3, 2, 1]
    twice = SegmentSGS(C, num_bins=2).eval()(once)
    assert sizes_of(twice).tolist() == [3, 3]
    assert to_frames(twice)[0][:, 0, 0, 0].tolist() == pytest.approx([0, (5 + 5 + 9) / 3])


def test_frames_that_do_not_differ_are_pooled_uniformly():
    out = SegmentSGS(C, num_bins=4).eval()(torch.ones(1, C, 12, 3, 3))
    assert sizes_of(out).tolist() == [3, 3, 3, 3] and (to_frames(out)[0] == 1).all()


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


def test_both_pathways_are_cut_at_the_same_times():
    slow, fast = (trained(SegmentSGS(C, num_bins=3), batches=2) for _ in range(2))
    clips = torch.stack([moving_clip(32, moves, seed=seed) for seed, moves in enumerate((1, 0.4))])
    out_slow, out_fast = sample_aligned(slow, fast, clips[:, :, ::4], clips)
    assert lengths_of(out_slow) == (3, 3) and lengths_of(out_fast) == (12, 12)
    assert sizes_of(out_slow).sum() == 16 and np.array_equal(sizes_of(out_fast), np.repeat(sizes_of(out_slow), 4))
    first = int(sizes_of(out_slow)[0])
    torch.testing.assert_close(unpack(out_fast)[0][:, 0], clips[0, :, :first].mean(1))
    with pytest.raises(ValueError, match="the same multiple"):
        sample_aligned(slow, fast, clips[:, :, :5], clips)


@pytest.mark.parametrize("block", [0, 3])
def test_pathways_of_clips_of_different_lengths_stay_aligned(block):
    """A last block that is shorter than others, and clips that an earlier layer has left with different lengths."""
    slow, fast = (SegmentSGS(C, 2, size * block).eval() for size in (1, 4))
    clips = [moving_clip(4 * frames, 1, seed=frames) for frames in (8, 3, 5)]
    together = sample_aligned(slow, fast, pack([clip[:, ::4] for clip in clips]), pack(clips))
    assert lengths_of(together[1]) == tuple(4 * length for length in lengths_of(together[0]))
    for index, clip in enumerate(clips):
        alone = sample_aligned(slow, fast, clip[None, :, ::4], clip[None])
        for ours, own in zip(together, alone, strict=True):
            assert torch.equal(unpack(ours)[index], unpack(own)[0])


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


def test_a_slowfast_of_aligned_segments_gives_each_clip_what_it_gives_it_alone(repo):
    keys = {"NUM_BINS": "[-1]", "TARGET_MAPS": "[3]", "ALIGN_PATHWAYS": "True", "WEIGHTED_HEAD": "True"}
    keys |= {"BLOCK_SIZE": "[0, 0]"}
    pairs = [word for key, value in keys.items() for word in (f"SGS.{key}", value)]
    pairs += ["DATA.TRAIN_CROP_SIZE", "32", "DATA.TEST_CROP_SIZE", "32", "MODEL.NUM_CLASSES", "5", *SMALL[-4:]]
    cfg = load_cfg(str(repo / "configs/Demo/SLOWFAST_R18_ATFR.yaml"), pairs)
    torch.manual_seed(0)
    model = build_model(cfg)
    clips = torch.randn(4, 3, 32, 32, 32).cumsum(2)
    clips[:2] = clips[:2, :, :1] + 0.01 * torch.randn(2, 3, 32, 32, 32)
    model.train()
    with torch.no_grad():
        model([clips[:, :, ::4], clips])
    model.eval()
    with record(model) as log, torch.no_grad():
        together = model([clips[:, :, ::4], clips])
        counts = [clip.num_active for clip in log["s2_sgs.pathway0"]]
        fast = [clip.num_active for clip in log["s2_sgs.pathway1"]]
        alone = torch.cat([model([clip[None, :, ::4], clip[None]]) for clip in clips])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    assert max(counts[:2]) < min(counts[2:]) and fast == [4 * count for count in counts]


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
