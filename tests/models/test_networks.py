"""Every network, with and without SGS: it trains all its parameters, and a clip's result is its own."""

from pathlib import Path

import pytest
import torch

from slowfast_atfr.config import ConfigError, load_cfg, num_pathways
from slowfast_atfr.models import MODEL_REGISTRY, build_model
from slowfast_atfr.models.attention import TemporalGate
from slowfast_atfr.models.nonlocal_block import Nonlocal
from slowfast_atfr.packed import PackedClips, unpack
from slowfast_atfr.sgs import record

CONFIGS = [
    "Kinetics/SLOWFAST_8x8_R50.yaml",
    "Kinetics/SLOWFAST_8x8_R50_ATFR.yaml",
    "Kinetics/SLOWFAST_4x16_R50_ATFR.yaml",
    "SSv2/SLOWFAST_8x8_R50_ATFR.yaml",
    "Kinetics/SLOW_8x8_R50.yaml",
    "Kinetics/SLOW_8x8_R50_ATFR.yaml",
    "Kinetics/C2D_8x8_R50.yaml",
    "Kinetics/C2D_8x8_R50_ATFR.yaml",
    "Kinetics/C2D_NLN_8x8_R50_ATFR.yaml",
    "Kinetics/I3D_8x8_R50.yaml",
    "Kinetics/I3D_8x8_R50_ATFR.yaml",
    "Kinetics/I3D_NLN_8x8_R50.yaml",
    "Kinetics/I3D_NLN_8x8_R50_ATFR.yaml",
    "Kinetics/SLOW_NLN_8x8_R50.yaml",
    "Kinetics/SLOW_NLN_8x8_R50_ATFR.yaml",
    "Kinetics/SLOWFAST_NLN_8x8_R50_ATFR.yaml",
    "Kinetics/X3D_S.yaml",
    "Kinetics/X3D_S_ATFR.yaml",
    "Mini_Kinetics/3DRESNET18.yaml",
    "Mini_Kinetics/3DRESNET18_ATFR.yaml",
    "Mini_Kinetics/X3D_S_TEMPORAL_ATTENTION.yaml",
]
ATFR = [name for name in CONFIGS if "ATFR" in name]
QUICK = [  # one of each kind, the smallest
    "Kinetics/SLOWFAST_4x16_R50_ATFR.yaml",
    "Kinetics/C2D_NLN_8x8_R50_ATFR.yaml",
    "Kinetics/X3D_S_ATFR.yaml",
    "Mini_Kinetics/3DRESNET18_ATFR.yaml",
]


def slow(*case):
    return pytest.param(*case, marks=pytest.mark.slow)


EVERY_ATFR = [name if name in QUICK else slow(name) for name in ATFR]


FOLDER = Path(__file__).resolve().parents[2] / "configs"
NARROW = ["RESNET.WIDTH_PER_GROUP", "16", "X3D.WIDTH_FACTOR", "1.0", "X3D.DIM_C5", "64"]


def all_configs():
    """Those of 101 layers, and of sets that take the networks of Kinetics, are slow."""
    for path in sorted(str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.yaml")):
        yield slow(path) if "R101" in path or path.startswith(("UCF101", "HMDB51")) else path


@pytest.mark.parametrize("config", all_configs())
def test_every_yaml_builds_and_takes_a_clip(repo, to_pathways, config):
    """At its depth; test_full_size.py has the widths."""
    cfg = load_cfg(str(repo / "configs" / config), ["BN.NORM_TYPE", "batchnorm", *NARROW])
    model = build_model(cfg).eval()
    with torch.inference_mode():
        out = model(to_pathways(cfg, torch.randn(1, 3, cfg.DATA.NUM_FRAMES, 32, 32)))
    assert out.shape == (1, cfg.MODEL.NUM_CLASSES)
    assert out.sum().item() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("config", CONFIGS)
def test_a_training_step_reaches_every_parameter(thin_cfg, to_pathways, moving_clips, config):
    # zeros keep what is before them from a gradient in the first step, so final norms and gates start otherwise here
    cfg = thin_cfg(config, "RESNET.ZERO_INIT_FINAL_BN", "False", "MODEL.DROPOUT_RATE", "0.0")
    model = build_model(cfg).train()
    for module in model.modules():
        if isinstance(module, TemporalGate):
            torch.nn.init.normal_(module.conv_gate.weight)
    scores = model(to_pathways(cfg, moving_clips(3, cfg.DATA.NUM_FRAMES)))
    torch.nn.functional.cross_entropy(scores, torch.tensor([0, 3, 6])).backward()
    grads = {name: parameter.grad for name, parameter in model.named_parameters()}
    if cfg.NONLOCAL.INSTANTIATION == "softmax":  # takes no notice of phi's bias: its gradient is zero but for rounding
        grads = {name: grad for name, grad in grads.items() if not name.endswith("conv_phi.bias")}
    assert not [n for n, grad in grads.items() if grad is None or not grad.isfinite().all() or not grad.any()]


QUICK_IN_FLOAT16 = ["Kinetics/X3D_S_ATFR.yaml", "Mini_Kinetics/3DRESNET18_ATFR.yaml"]  # a CPU takes its time for others


@pytest.mark.parametrize(
    ("config", "dtype"),
    [
        *[(config, torch.bfloat16) if config in QUICK else slow(config, torch.bfloat16) for config in CONFIGS],
        *[(config, torch.float16) for config in QUICK_IN_FLOAT16],
        *[slow(config, torch.float16) for config in CONFIGS if config not in QUICK_IN_FLOAT16],
    ],
)
def test_half_precision_throughout(thin_cfg, to_pathways, moving_clips, config, dtype):
    cfg = thin_cfg(config)
    model = build_model(cfg).to(dtype)
    clips = to_pathways(cfg, moving_clips(3, cfg.DATA.NUM_FRAMES).to(dtype))
    scores = model.train()(clips)
    torch.nn.functional.cross_entropy(scores, torch.tensor([0, 3, 6])).backward()
    assert all(p.grad is not None and p.grad.dtype == dtype and p.grad.isfinite().all() for p in model.parameters())
    with torch.no_grad():
        probabilities = model.eval()(clips)
    assert scores.dtype == probabilities.dtype == dtype
    torch.testing.assert_close(probabilities.sum(1).float(), torch.ones(3), rtol=0, atol=0.02)


OTHER_SGS = [
    ("SGS.STAGES", "[conv1, res3]"),
    ("SGS.ORDER", "time", "SGS.KERNEL", "linear_mean"),
    ("SGS.STAGES", "[res2, res4]", "SGS.SIMILARITY", "spherical", "SGS.COORDINATES", "angular"),
    ("SGS.SIMILARITY", "mean_cosine", "SGS.KERNEL", "delta_normalized", "SGS.TEST_NUM_BINS", "[3]"),
]


@pytest.mark.parametrize(
    ("config", "pairs"),
    [
        *[(config, ()) if config in ATFR else slow(config, ()) for config in CONFIGS],
        *[  # each network with one of the four; the rest is slow
            slow(config, pairs) if (place + number) % 4 else (config, pairs)
            for place, config in enumerate(ATFR)
            for number, pairs in enumerate(OTHER_SGS)
        ],
    ],
)
def test_in_evaluation_a_clip_in_a_batch_is_the_clip_alone(thin_cfg, to_pathways, moving_clips, config, pairs):
    cfg = thin_cfg(config, *pairs)
    model = build_model(cfg)
    clips = moving_clips(3, cfg.DATA.NUM_FRAMES)
    clips[1, :, 4:] = clips[1, :, 4:5]  # mostly static
    with torch.no_grad():
        model.train()(to_pathways(cfg, clips))  # gives the norms statistics of their own
        together = model.eval()(to_pathways(cfg, clips))
        for index in range(len(clips)):
            alone = model(to_pathways(cfg, clips[index : index + 1]))[0]
            torch.testing.assert_close(together[index], alone, rtol=0, atol=1e-5)


SEGMENTS = ("SGS.GROUPING", "segments", "SGS.WEIGHTED_HEAD", "True")


@pytest.mark.parametrize(
    ("config", "pairs"),
    [
        ("Mini_Kinetics/3DRESNET18_ATFR.yaml", (*SEGMENTS, "SGS.NUM_BINS", "[5]")),
        ("Kinetics/X3D_S_ATFR.yaml", (*SEGMENTS, "SGS.NUM_BINS", "[4]")),
        ("Kinetics/SLOWFAST_8x8_R50_ATFR.yaml", (*SEGMENTS, "SGS.NUM_BINS", "[3, 7]", "SGS.WEIGHTED_HEAD", "False")),
        ("Kinetics/SLOWFAST_8x8_R50_ATFR.yaml", (*SEGMENTS, "SGS.NUM_BINS", "[3]", "SGS.ALIGN_PATHWAYS", "True")),
    ],
)
def test_clips_of_one_length_run_on_dense_tensors_with_the_results_of_packed_ones(
    thin_cfg, to_pathways, moving_clips, config, pairs
):
    cfg = thin_cfg(config, *pairs)
    model = build_model(cfg)
    clips = to_pathways(cfg, moving_clips(3, cfg.DATA.NUM_FRAMES))
    seen = []
    model.s4.register_forward_pre_hook(lambda module, args: seen.extend(type(x) for x in args[0]))
    with torch.no_grad():
        model.train()(clips)
        model.eval()
        seen.clear()
        dense = model(clips)
    packed = model(clips)  # with gradients nothing changes its kind
    kinds = num_pathways(cfg)
    assert seen == [torch.Tensor] * kinds + [PackedClips] * kinds
    torch.testing.assert_close(dense, packed, rtol=0, atol=1e-5)


@pytest.mark.parametrize("config", EVERY_ATFR)
def test_clips_of_a_batch_have_lengths_of_their_own(thin_cfg, to_pathways, moving_clips, config):
    cfg = thin_cfg(config, "BN.MOMENTUM", "1.0")
    model, clips = build_model(cfg), to_pathways(cfg, moving_clips(12, cfg.DATA.NUM_FRAMES))
    with torch.no_grad():
        model.train()(clips)  # gives the norms the statistics of this batch
    with torch.inference_mode(), record(model.eval()) as log:
        model(clips)
    last = [clip.num_active for clip in list(log.layers.values())[-1]]
    assert len(set(last)) > 1 and max(last) < cfg.DATA.NUM_FRAMES


@pytest.mark.parametrize("config", EVERY_ATFR)
def test_a_second_stage_samples_what_the_first_has_left(thin_cfg, to_pathways, moving_clips, config):
    cfg = thin_cfg(config, "SGS.STAGES", "[res2, res4]", "SGS.NUM_BINS", "[4]", "SGS.BLOCK_SIZE", "[0]")
    model = build_model(cfg).eval()
    with torch.inference_mode(), record(model) as log:
        model(to_pathways(cfg, moving_clips(4, cfg.DATA.NUM_FRAMES)))
    pathways = sorted(name.partition(".")[2] for name in log.layers if name.startswith("s4_sgs"))
    assert len(log.layers) == 2 * len(pathways)
    for first, second in zip(log[f"s2_sgs.{pathways[-1]}"], log[f"s4_sgs.{pathways[-1]}"], strict=True):
        assert len(second.bin) == first.num_active <= 4 and second.num_active <= len(second.bin)
    assert sum(clip.num_active for clip in log[f"s4_sgs.{pathways[-1]}"]) < 4 * 4


@pytest.mark.parametrize("config", EVERY_ATFR)
def test_fewer_bins_at_test_time_need_no_other_weights(thin_cfg, to_pathways, moving_clips, config):
    cfg = thin_cfg(config)
    trained, clips, active = build_model(cfg), to_pathways(cfg, moving_clips(4, cfg.DATA.NUM_FRAMES)), []
    with torch.no_grad():
        trained.train()(clips)
    for bins in ("[-1]", "[2]", "[1]"):
        model = build_model(thin_cfg(config, "SGS.TEST_NUM_BINS", bins)).eval()
        model.load_state_dict(trained.state_dict())
        with torch.inference_mode(), record(model) as log:
            model(clips)
        active.append(sum(clip.num_active for clip in list(log.layers.values())[-1]))
    assert active[0] > active[1] > active[2]


@pytest.mark.parametrize("config", EVERY_ATFR)
def test_padded_batches_run_and_their_clips_feel_each_other(thin_cfg, to_pathways, moving_clips, config):
    cfg = thin_cfg(config, "SGS.BATCHING", "padded", "SGS.KERNEL", "linear_mean", "MODEL.DROPOUT_RATE", "0.0")
    model, clips = build_model(cfg), moving_clips(4, cfg.DATA.NUM_FRAMES)
    clips[0, :, 1:] = clips[0, :, :1]  # one map, which the others' lengths pad
    scores = model.train()(to_pathways(cfg, clips))
    torch.nn.functional.cross_entropy(scores, torch.tensor([0, 3, 6, 1])).backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    with torch.inference_mode():
        together = model.eval()(to_pathways(cfg, clips))[0]
        alone = model(to_pathways(cfg, clips[:1]))[0]
    assert (together - alone).abs().max() > 1e-4  # packed: 1e-5, see above


@pytest.mark.parametrize("config", ["Kinetics/C2D_8x8_R50_ATFR.yaml", "Kinetics/I3D_NLN_8x8_R50_ATFR.yaml"])
def test_sgs_after_res2_takes_what_the_pool_has_left(thin_cfg, moving_clips, config):
    model, seen = build_model(thin_cfg(config, "DATA.NUM_FRAMES", "11")).eval(), {}
    assert [name for name, _ in model.named_children()][1:4] == ["s2", "pathway0_pool", "s2_sgs"]
    model.pathway0_pool.register_forward_hook(lambda _, args, out: seen.update(before=args[0], after=out))
    with torch.inference_mode(), record(model) as log:
        model([moving_clips(2, 11)])
    assert seen["before"].shape[2] == 11 and [len(clip.bin) for clip in log["s2_sgs.pathway0"]] == [5, 5]
    first, second = seen["before"][:, :, 0:10:2], seen["before"][:, :, 1:10:2]
    torch.testing.assert_close(seen["after"], torch.maximum(first, second))


@pytest.mark.parametrize(("network", "bins", "clip"), [("C2D", "[-1]", 1), ("I3D", "[1]", 0)])
def test_a_clip_too_short_for_the_pool_is_named(thin_cfg, moving_clips, network, bins, clip):
    pairs = ("SGS.STAGES", "[conv1]", "SGS.TEST_NUM_BINS", bins)
    model = build_model(thin_cfg(f"Kinetics/{network}_8x8_R50_ATFR.yaml", *pairs)).eval()
    clips = moving_clips(3, 16)
    clips[1] = clips[1, :, :1]  # static, so that one map is left of it
    with pytest.raises(ValueError, match=f"max_pool3d: clip {clip} of 3 has length 1, but a kernel of 2 frames"):
        model([clips])


@pytest.mark.parametrize("config", [name for name in CONFIGS if "NLN" in name])
def test_non_local_blocks_start_as_nothing(thin_cfg, to_pathways, moving_clips, config):
    cfg = thin_cfg(config)
    model = build_model(cfg).eval()
    blocks = [module for module in model.modules() if isinstance(module, Nonlocal)]
    assert len(blocks) == (4 if "SLOWFAST" in config else 3)
    for block in blocks:
        assert not block.bn.weight.any() and not block.bn.bias.any() and block.conv_out.weight.any()
        assert not any(conv.bias.any() for conv in (block.conv_theta, block.conv_phi, block.conv_g, block.conv_out))
        block.register_forward_hook(lambda _, args, out: changed.append(not same(args[0], out)))
    changed = []
    with torch.inference_mode():
        model(to_pathways(cfg, moving_clips(2, cfg.DATA.NUM_FRAMES)))
    assert changed == [False] * len(blocks)
    ones = build_model(thin_cfg(config, "RESNET.ZERO_INIT_FINAL_BN", "False"))
    assert all(module.bn.weight.eq(1).all() for module in ones.modules() if isinstance(module, Nonlocal))


def same(a, b):
    return all(torch.equal(*pair) for pair in zip(unpack(a), unpack(b), strict=True))


def test_ssv2_blocks_are_2_slow_and_8_fast_frames(thin_cfg, to_pathways, moving_clips):
    cfg = thin_cfg("SSv2/SLOWFAST_8x8_R50_ATFR.yaml")
    model = build_model(cfg).eval()
    with torch.inference_mode(), record(model) as log:
        model(to_pathways(cfg, moving_clips(1, 64)))
    (slow,), (fast,) = log["s2_sgs.pathway0"], log["s2_sgs.pathway1"]
    assert len(slow.bin) == 16 and len(fast.bin) == 64
    assert slow.block.max() == fast.block.max() == 7


def test_slow_goes_on_with_the_longer_of_its_bins_and_what_the_fast_one_sends(thin_cfg, to_pathways, moving_clips):
    cfg = thin_cfg("SSv2/SLOWFAST_8x8_R50_ATFR.yaml")
    model = build_model(cfg).eval()
    seen = {}
    model.s5.register_forward_hook(lambda _, __, out: seen.update(slow=out[0].lengths, fast=out[1].lengths))
    with torch.inference_mode(), record(model) as log:
        model(to_pathways(cfg, moving_clips(4, 64)))
    slow = [clip.num_active for clip in log["s2_sgs.pathway0"]]
    fast = [clip.num_active for clip in log["s2_sgs.pathway1"]]
    assert seen["fast"] == tuple(fast)
    assert seen["slow"] == tuple(max(s, -(-f // cfg.SLOWFAST.ALPHA)) for s, f in zip(slow, fast, strict=True))


@pytest.mark.parametrize("depth", [18, 50, slow(101)])
@pytest.mark.parametrize("transform", ["bottleneck_transform", "basic_transform"])
def test_depths_and_transforms_run(thin_cfg, to_pathways, depth, transform):
    cfg = thin_cfg("Kinetics/SLOWFAST_8x8_R50_ATFR.yaml", "RESNET.DEPTH", str(depth), "RESNET.TRANS_FUNC", transform)
    out = build_model(cfg).eval()(to_pathways(cfg, torch.randn(1, 3, 32, 32, 32)))
    assert out.shape == (1, 7)


@pytest.mark.parametrize("transform", ["bottleneck_transform", "basic_transform"])
def test_dilation_reaches_the_convolutions_over_space_after_the_stride(thin_cfg, transform):
    dilations = ("RESNET.SPATIAL_DILATIONS", "[[1], [1], [2], [3]]")
    model = build_model(thin_cfg("Kinetics/SLOW_8x8_R50.yaml", "RESNET.TRANS_FUNC", transform, *dilations))
    for stage, dilation in ((model.s3, 1), (model.s4, 2), (model.s5, 3)):
        for block in stage.children():
            assert block.branch2.b.dilation == (1, dilation, dilation)
            assert block.branch2.b.padding[1:] == (dilation, dilation)
            assert block.branch2.a.dilation == (1, 1, 1)


def test_the_wrong_name_for_an_architecture_says_which_go_together(repo):
    cfg = load_cfg(str(repo / "configs/Kinetics/SLOWFAST_8x8_R50.yaml")).clone()
    cfg.defrost()  # load_cfg would have refused what follows
    cfg.MODEL.MODEL_NAME = "ResNet"
    with pytest.raises(ConfigError, match="'ResNet', which goes with MODEL.ARCH slow, c2d, .*; .* is 'slowfast'"):
        build_model(cfg)
    cfg.MODEL.MODEL_NAME = "SlowFats"
    with pytest.raises(ConfigError, match="MODEL.MODEL_NAME is 'SlowFats'; choose one of .*SlowFast"):
        build_model(cfg)


@pytest.mark.parametrize("config", ["Kinetics/X3D_XS.yaml", "Kinetics/X3D_XS_ATFR.yaml"])
def test_in_half_precision_a_kernel_longer_than_the_clip_has_the_whole_gradient(
    thin_cfg, golden_fill, moving_clips, config
):
    """oneDNN leaves parts of its own as they were in memory."""
    model = golden_fill(build_model(thin_cfg(config))).eval()
    conv, clips = model.s1.pathway0_stem.conv, moving_clips(3, 4)
    assert conv.kernel_size[0] > clips.shape[2]
    found = []
    for half in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            scores = model([clips])
        found.append(torch.autograd.grad(scores.float()[:, 0].log().sum(), conv.weight)[0])
    assert torch.cosine_similarity(*(grad.flatten() for grad in found), dim=0) > 0.95


def test_the_registry_holds_the_networks():
    assert {"SlowFast", "ResNet", "X3D"} <= {name for name, _ in MODEL_REGISTRY}
