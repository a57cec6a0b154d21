"""The networks are PySlowFast's: keys, shapes, parameter counts, outputs, gradients and the means of every stage."""

import json
import zlib
from pathlib import Path

import pytest
import torch

from slowfast_atfr.analysis import clip_macs
from slowfast_atfr.config import load_cfg
from slowfast_atfr.models import build_model

GOLDEN = {path.stem: json.loads(path.read_text()) for path in (Path(__file__).parent / "golden").glob("*.json")}
SLOW = pytest.mark.slow
CASES = [
    pytest.param("slowfast_r50", "slowfast_8x8_r50", "Kinetics/SLOWFAST_8x8_R50.yaml", marks=SLOW),
    pytest.param("slowfast_r50", "slowfast_8x8_r50_crop256", "Kinetics/SLOWFAST_8x8_R50.yaml", marks=SLOW),
    pytest.param("slowfast_r50", "ssv2_slowfast_64f_r50", "SSv2/SLOWFAST_8x8_R50.yaml", marks=SLOW),
    pytest.param("slow_r50", "slow_8x8_r50", "Kinetics/SLOW_8x8_R50.yaml", marks=SLOW),
    pytest.param("i3d_r50", "i3d_8x8_r50", "Kinetics/I3D_8x8_R50.yaml", marks=SLOW),
    ("x3d_s", "x3d_s", "Kinetics/X3D_S.yaml"),
    ("x3d_s", "x3d_s_crop182", "Kinetics/X3D_S.yaml"),
]


def pairs_of(pathways):
    return [[x.mean().item(), x.abs().mean().item()] for x in pathways]


def watch_stages(model):
    """Means of what leaves each stage, as they come."""
    means = {}
    for stage in ("s1", "s2", "s3", "s4", "s5"):
        getattr(model, stage).register_forward_hook(
            lambda _, __, out, stage=stage: means.update({stage: pairs_of(out)})
        )
    return means


@pytest.mark.parametrize(("network", "case", "config"), CASES)
def test_outputs_and_stage_means(repo, golden_fill, golden_clips, to_pathways, network, case, config):
    golden = GOLDEN[network]["cases"][case]
    cfg = load_cfg(str(repo / "configs" / config), ["BN.NORM_TYPE", "batchnorm"])
    assert golden["num_frames"] == cfg.DATA.NUM_FRAMES and golden["alpha"] in (None, cfg.SLOWFAST.ALPHA)
    model = golden_fill(build_model(cfg)).eval()
    assert sum(p.numel() for p in model.parameters()) == golden["num_params"]
    means = watch_stages(model)
    with torch.inference_mode():
        clips = golden_clips(len(golden["output_argmax"]), golden["num_frames"], golden["crop"])
        out = model(to_pathways(cfg, clips))
    assert out.argmax(1).tolist() == golden["output_argmax"]
    torch.testing.assert_close(out[:, :8], torch.tensor(golden["output_first_8"]), rtol=1e-4, atol=1e-30)
    assert out.double().square().sum().item() == pytest.approx(golden["output_sum_sq"], rel=1e-4)
    for stage, expected in golden["stage_mean_and_absmean"].items():
        assert means[stage] == [pytest.approx(pair, rel=1e-4) for pair in expected], stage


def state_of(cfg):
    """Keys and shapes; the values are nowhere."""
    with torch.device("meta"):
        return build_model(cfg).state_dict()


@pytest.mark.parametrize(
    ("network", "config", "classes"),
    [
        ("slowfast_r50", "Kinetics/SLOWFAST_8x8_R50.yaml", 400),
        ("slowfast_r50", "SSv2/SLOWFAST_8x8_R50.yaml", 174),
        ("slow_r50", "Kinetics/SLOW_8x8_R50.yaml", 400),
        ("i3d_r50", "Kinetics/I3D_8x8_R50.yaml", 400),
        ("x3d_s", "Kinetics/X3D_S.yaml", 400),
    ],
)
def test_keys_and_shapes_in_pyslowfasts_order(repo, network, config, classes):
    cfg = load_cfg(str(repo / "configs" / config))
    found = [(key, list(value.shape)) for key, value in state_of(cfg).items()]
    expected = {key: list(shape) for key, shape in GOLDEN[network]["keys"].items()}
    for key in ("head.projection.weight", "head.projection.bias"):
        expected[key][0] = classes
    assert found == list(expected.items())


VARIANTS = GOLDEN.pop("variants")
# each has smaller ones beside it, which have all but its size; test_nonlocal_block.py has all kinds of attention
LARGE = (
    "c2d",
    "i3d_nln",
    "i3d_nln_r101",
    "slowfast_r101",
    "slowfast_4x16",
    "slowfast_nln",
    "x3d_m",
    "x3d_l",
    "x3d_groups",
    "slow_nln",
    "slow_nln_train",
    "slow_nln_temporal_pool_and_groups",
    "slow_nln_softmax_groups",
    "slow_dilated",
    "slow_sigmoid",
)


def filled_in_float64(cfg, golden_fill, scale):
    """Golden weights, those whose name contains a key of scale times its value.

    Attention by dot_product is of the third degree in what comes in, and large weights of the classifier make a softmax
    of ones and zeros.
    """
    model = golden_fill(build_model(cfg)).double()
    for key, value in model.state_dict().items():
        for part, factor in scale.items():
            if part in key:
                value.mul_(factor)
    return model


# Computed in float64, so that nothing but rounding may differ. Crops beyond the 64 of training have several windows.
@pytest.mark.parametrize("variant", [pytest.param(name, marks=SLOW) if name in LARGE else name for name in VARIANTS])
def test_variants_in_float64(repo, golden_fill, golden_clips, to_pathways, variant):
    golden = VARIANTS[variant]
    pairs = ["DATA.TRAIN_CROP_SIZE", "64", "MODEL.NUM_CLASSES", "8", "MODEL.DROPOUT_RATE", "0.0", *golden["pairs"]]
    cfg = load_cfg(str(repo / "configs" / f"{golden['config']}.yaml"), pairs)
    model = filled_in_float64(cfg, golden_fill, golden["scale"]).train(golden["train"])
    assert sum(p.numel() for p in model.parameters()) == golden["num_params"]
    keys = [(key, tuple(value.shape)) for key, value in model.state_dict().items()]
    assert zlib.crc32(repr(keys).encode()) == golden["keys_crc32"], "another key, shape or order"
    means = {}
    for stage in golden["stage_absmean"]:
        getattr(model, stage).register_forward_hook(
            lambda _, __, out, stage=stage: means.update({stage: [x.abs().mean().item() for x in out]})
        )
    clips = golden_clips(golden["clips"], cfg.DATA.NUM_FRAMES, golden["crop"]).double()
    out = model(to_pathways(cfg, clips))
    expected = torch.tensor(golden["output"], dtype=torch.float64)
    assert means == {stage: pytest.approx(mean, rel=1e-7) for stage, mean in golden["stage_absmean"].items()}
    torch.testing.assert_close(out, expected, rtol=1e-7, atol=1e-30)
    if "grad_norms" in golden:
        (out * torch.arange(out.numel(), dtype=torch.float64).sin().view_as(out)).sum().backward()
        norms = {key: model.get_parameter(key).grad.norm().item() for key in golden["grad_norms"]}
        assert norms == pytest.approx(golden["grad_norms"], rel=1e-6)


def nonlocal_keys(name, dim):
    for conv, (out, channels) in {
        **dict.fromkeys(("conv_theta", "conv_phi", "conv_g"), (dim // 2, dim)),
        "conv_out": (dim, dim // 2),
    }.items():
        yield f"{name}.{conv}.weight", (out, channels, 1, 1, 1)
        yield f"{name}.{conv}.bias", (out,)
    for leaf in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.bn.{leaf}", (dim,)
    yield f"{name}.bn.num_batches_tracked", ()


@pytest.mark.parametrize("network", ["C2D", "I3D", "SLOW", "SLOWFAST"])
def test_non_local_blocks_add_their_keys_after_their_residual_blocks(repo, network):
    pairs = ["SLOWFAST.FUSION_KERNEL_SZ", "5"]  # the base's is 7
    base, nln = (
        state_of(load_cfg(str(repo / f"configs/Kinetics/{network}{infix}_8x8_R50.yaml"), pairs))
        for infix in ("", "_NLN")
    )
    places = {
        f"s{stage}.pathway0_res{index}.branch2.c_bn.num_batches_tracked": (f"s{stage}.pathway0_nonlocal{index}", dim)
        for stage, dim, blocks in ((3, 512, (1, 3)), (4, 1024, (1, 3, 5)))
        for index in blocks
    }
    expected = []
    for key, value in base.items():
        expected.append((key, tuple(value.shape)))
        if key in places:
            expected += nonlocal_keys(*places[key])
    assert [(key, tuple(value.shape)) for key, value in nln.items()] == expected


@pytest.mark.parametrize(
    "config",
    [
        *("Kinetics/SLOWFAST_8x8_R50", "Kinetics/SLOW_8x8_R50", "Kinetics/X3D_S", "Kinetics/C2D_NLN_8x8_R50"),
        pytest.param("SSv2/SLOWFAST_8x8_R50", marks=SLOW),
        *[
            pytest.param(f"Kinetics/{name}_8x8_R50", marks=SLOW)
            for name in ("C2D", "I3D", "SLOW_NLN", "SLOWFAST_NLN", "I3D_NLN")
        ],
    ],
)
def test_sgs_adds_its_own_parameters_and_touches_no_other(repo, config):
    base, atfr = (state_of(load_cfg(str(repo / "configs" / f"{config}{suffix}.yaml"))) for suffix in ("", "_ATFR"))
    added = set(atfr) - set(base)
    assert set(base) <= set(atfr) and added
    pathways = {"s2_sgs.pathway0", "s2_sgs.pathway1"} if "SLOWFAST" in config else {"s2_sgs.pathway0"}
    assert {key.rpartition(".embed.")[0] for key in added} == pathways


def count_gflops(cfg, crop):
    """Of each of two clips."""
    with torch.device("meta"):  # shapes are all it takes
        model = build_model(cfg)
        clips = torch.empty(2, 3, cfg.DATA.NUM_FRAMES, crop, crop)
        slow = clips[:, :, :: cfg.SLOWFAST.ALPHA]
        inputs = [slow, clips] if cfg.MODEL.ARCH == "slowfast" else [clips]
        return (clip_macs(model, inputs) * 1e-9).tolist()


# Multiply-adds as published: SlowFast in Feichtenhofer et al., ICCV 2019 at 256; Slow 8x8 (54.52), C2D (25.89) and I3D
# (37.53) in PyTorchVideo's model zoo at 256, of which the last two count five for each of the 85.3 million values that
# go through a batch norm; X3D-S in PySlowFast's (1.96) at 160. The rest, 3D ResNets among them, are our count.
@pytest.mark.parametrize(
    ("config", "crop", "gflops"),
    [
        ("Kinetics/SLOWFAST_4x16_R50.yaml", 256, 36.1),
        ("Kinetics/SLOWFAST_8x8_R50.yaml", 256, 65.7),
        pytest.param("Kinetics/SLOWFAST_8x8_R50.yaml", 224, 50.3, marks=SLOW),
        pytest.param("SSv2/SLOWFAST_8x8_R50.yaml", 224, 100.6, marks=SLOW),
        ("Kinetics/SLOW_8x8_R50.yaml", 256, 54.52),
        pytest.param("Kinetics/SLOW_8x8_R50.yaml", 224, 41.74, marks=SLOW),
        pytest.param("Kinetics/SLOW_4x16_R50.yaml", 224, 20.87, marks=SLOW),
        pytest.param("Kinetics/SLOW_4x16_R50.yaml", 256, 27.26, marks=SLOW),
        pytest.param("Kinetics/C2D_8x8_R50.yaml", 224, 19.49, marks=SLOW),
        ("Kinetics/C2D_8x8_R50.yaml", 256, 25.89 - 0.427),
        pytest.param("Kinetics/I3D_8x8_R50.yaml", 224, 28.41, marks=SLOW),
        ("Kinetics/I3D_8x8_R50.yaml", 256, 37.53 - 0.427),
        pytest.param("Kinetics/I3D_8x8_R101.yaml", 224, 46.96, marks=SLOW),
        pytest.param("Kinetics/I3D_8x8_R101.yaml", 256, 61.33, marks=SLOW),
        ("Kinetics/X3D_S.yaml", 160, 1.962),
        ("Mini_Kinetics/3DRESNET18.yaml", 224, 18.06),
        ("Mini_Kinetics/X3D_S.yaml", 160, 1.962),
        ("Mini_Kinetics/3DRESNET50.yaml", 224, 31.27),
        pytest.param("Kinetics/3DRESNET50.yaml", 224, 31.27, marks=SLOW),
        pytest.param("UCF101/3DRESNET50.yaml", 224, 31.27, marks=SLOW),
        pytest.param("HMDB51/3DRESNET50.yaml", 224, 31.27, marks=SLOW),
        pytest.param("Kinetics/SLOWFAST_8x8_R101.yaml", 224, 96.40, marks=SLOW),
        pytest.param("Kinetics/SLOWFAST_8x8_R101.yaml", 256, 125.9, marks=SLOW),
    ],
)
def test_gflops_are_the_published_ones(repo, config, crop, gflops):
    counted = count_gflops(load_cfg(str(repo / "configs" / config), ["BN.NORM_TYPE", "batchnorm"]), crop)
    assert counted == pytest.approx([gflops, gflops], abs=0.05 if gflops > 36 else 0.005)


@pytest.mark.slow
def test_r101_of_the_slowfast_paper_costs_what_it_says(repo):
    pairs = ["RESNET.NUM_BLOCK_TEMP_KERNEL", "[[3, 3], [4, 4], [6, 6], [3, 3]]"]
    counted = count_gflops(load_cfg(str(repo / "configs/Kinetics/SLOWFAST_8x8_R101.yaml"), pairs), 256)
    assert [int(gflops) for gflops in counted] == [106, 106]


# Our count, with the products of the attention: torch's counter sees every operation, and takes one for two of them.
@pytest.mark.parametrize(
    ("config", "gflops", "gflops_256"),
    [
        ("C2D_NLN_8x8_R50", 27.62, 37.27),
        pytest.param("I3D_NLN_8x8_R50", 36.54, 48.92, marks=SLOW),
        pytest.param("I3D_NLN_8x8_R101", 55.08, 73.14, marks=SLOW),
        ("SLOW_NLN_4x16_R50", 26.99, 35.45),
        pytest.param("SLOW_NLN_8x8_R50", 54.59, 71.30, marks=SLOW),
        pytest.param("SLOWFAST_NLN_4x16_R50", 33.76, 44.29, marks=SLOW),
        pytest.param("SLOWFAST_NLN_8x8_R50", 62.84, 82.08, marks=SLOW),
    ],
)
def test_gflops_with_attention(repo, config, gflops, gflops_256):
    cfg = load_cfg(str(repo / f"configs/Kinetics/{config}.yaml"))
    for crop, expected in ((224, gflops), (256, gflops_256)):
        assert count_gflops(cfg, crop) == pytest.approx([expected] * 2, abs=0.006)
