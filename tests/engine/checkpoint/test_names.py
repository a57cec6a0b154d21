"""Names of others, written out as they stand in their files, become those of PySlowFast's own."""

import json
from pathlib import Path

import pytest
import torch

from slowfast_atfr.config import ConfigError
from slowfast_atfr.engine.checkpoint.names import (
    from_caffe2,
    from_release,
    from_torchvision,
    is_release,
    rename,
    without,
    without_ddp,
)
from tests.engine.foreign_weights import caffe2_names, torchvision_shapes

GOLDEN = Path(__file__).parents[2] / "models" / "golden"
CAFFE2 = {
    "conv1_w": "s1.pathway0_stem.conv.weight",
    "res_conv1_bn_s": "s1.pathway0_stem.bn.weight",
    "res_conv1_bn_b": "s1.pathway0_stem.bn.bias",
    "res_conv1_bn_rm": "s1.pathway0_stem.bn.running_mean",
    "res_conv1_bn_riv": "s1.pathway0_stem.bn.running_var",
    "t_conv1_w": "s1.pathway1_stem.conv.weight",
    "t_res_conv1_bn_s": "s1.pathway1_stem.bn.weight",
    "res2_0_branch1_w": "s2.pathway0_res0.branch1.weight",
    "res2_0_branch1_bn_riv": "s2.pathway0_res0.branch1_bn.running_var",
    "res4_22_branch2a_w": "s4.pathway0_res22.branch2.a.weight",
    "res4_0_branch2a_bn_rm": "s4.pathway0_res0.branch2.a_bn.running_mean",
    "res5_2_branch2c_bn_b": "s5.pathway0_res2.branch2.c_bn.bias",
    "t_res3_0_branch1_w": "s3.pathway1_res0.branch1.weight",
    "t_res3_0_branch1_bn_s": "s3.pathway1_res0.branch1_bn.weight",
    "t_res3_1_branch2b_bn_riv": "s3.pathway1_res1.branch2.b_bn.running_var",
    "t_pool1_subsample_w": "s1_fuse.conv_f2s.weight",
    "t_pool1_subsample_bn_s": "s1_fuse.bn.weight",
    "t_pool1_subsample_bn_rm": "s1_fuse.bn.running_mean",
    "t_res2_2_branch2c_bn_subsample_w": "s2_fuse.conv_f2s.weight",
    "t_res4_5_branch2c_bn_subsample_bn_b": "s4_fuse.bn.bias",
    "t_res4_22_branch2c_bn_subsample_bn_riv": "s4_fuse.bn.running_var",
    "nonlocal_conv3_1_theta_w": "s3.pathway0_nonlocal1.conv_theta.weight",
    "nonlocal_conv3_1_phi_b": "s3.pathway0_nonlocal1.conv_phi.bias",
    "nonlocal_conv3_3_g_w": "s3.pathway0_nonlocal3.conv_g.weight",
    "nonlocal_conv4_5_out_b": "s4.pathway0_nonlocal5.conv_out.bias",
    "nonlocal_conv4_5_bn_s": "s4.pathway0_nonlocal5.bn.weight",
    "nonlocal_conv4_20_bn_riv": "s4.pathway0_nonlocal20.bn.running_var",
    "pred_w": "head.projection.weight",
    "pred_b": "head.projection.bias",
}


@pytest.mark.parametrize(("blob", "name"), CAFFE2.items())
def test_blobs_of_caffe2(blob, name):
    assert from_caffe2(blob) == name


@pytest.mark.parametrize(
    "blob",
    ["conv1_w_momentum", "res2_0_branch2a_bn_s_momentum", "t_pool1_subsample_bn_b_momentum", "lr", "model_iter"],
)
def test_what_is_the_optimizers_is_dropped(blob):
    assert from_caffe2(blob) is None


@pytest.mark.parametrize(
    "blob", ["fc7_w", "conv1", "res2_0_w", "nonlocal_conv3_1_w", "nonlocal_conv3_1_psi_w", "t_pool2_subsample_w", ""]
)
def test_a_blob_that_is_not_understood_keeps_its_name(blob):
    assert from_caffe2(blob) == blob


@pytest.mark.parametrize(("network", "pathways"), [("slow_r50", 1), ("slowfast_r50", 2)])
def test_the_blobs_of_a_network_are_its_weights(network, pathways):
    keys = {key for key in json.loads((GOLDEN / f"{network}.json").read_text())["keys"] if "num_batches" not in key}
    table = caffe2_names((3, 4, 6, 3), "abc", pathways)
    assert set(table.values()) == keys and len(table) == len(keys)
    assert {blob: from_caffe2(blob) for blob in table} == table


TORCHVISION = {
    "conv1.weight": "s1.pathway0_stem.conv.weight",
    "bn1.running_var": "s1.pathway0_stem.bn.running_var",
    "layer1.0.conv1.weight": "s2.pathway0_res0.branch2.a.weight",
    "layer1.0.bn1.num_batches_tracked": "s2.pathway0_res0.branch2.a_bn.num_batches_tracked",
    "layer3.22.conv3.weight": "s4.pathway0_res22.branch2.c.weight",
    "layer4.2.bn2.running_mean": "s5.pathway0_res2.branch2.b_bn.running_mean",
    "layer2.0.downsample.0.weight": "s3.pathway0_res0.branch1.weight",
    "layer2.0.downsample.1.bias": "s3.pathway0_res0.branch1_bn.bias",
    "fc.weight": "head.projection.weight",
    "fc.bias": "head.projection.bias",
}


@pytest.mark.parametrize(("name", "ours"), TORCHVISION.items())
def test_names_of_torchvision(name, ours):
    assert from_torchvision(name) == ours


@pytest.mark.parametrize("name", ["layer1.0.se.fc1.weight", "layer1.0.conv4.weight", "conv2.weight"])
def test_a_name_that_is_none_of_torchvisions_stays(name):
    assert from_torchvision(name) == name


def test_a_resnet_50_of_torchvision_is_slow_without_time():
    golden = json.loads((GOLDEN / "slow_r50.json").read_text())["keys"]
    shapes = {from_torchvision(name): shape for name, shape in torchvision_shapes((3, 4, 6, 3), classes=400).items()}
    assert shapes == {key: tuple(shape[:2] + shape[3:] if len(shape) == 5 else shape) for key, shape in golden.items()}


def test_samplers_of_the_release():
    gen = torch.Generator().manual_seed(0)
    shapes = {
        "fc.0.weight": (2, 4),
        "fc.0.bias": (2,),
        "fc.2.weight": (3, 2),
        "fc.2.bias": (3,),
        "bn.running_mean": (3,),
    }
    shapes |= {"bn.weight": (3,), "bn.bias": (3,), "bn.running_var": (3,), "bn.num_batches_tracked": ()}
    for prefix, ours in (
        ("s2.pathway0_ts_layer.", "s2_sgs.pathway0.embed."),
        ("s3.pathway1_ts_layer.", "s3_sgs.pathway1.embed."),
        ("s4.ts_layer.", "s4_sgs.pathway0.embed."),
    ):
        theirs = {prefix + name: torch.randn(shape, generator=gen) for name, shape in shapes.items()}
        other = {"s2.pathway0_res0.branch2.a.weight": torch.zeros(1)}
        assert is_release(theirs) and not is_release(other)
        found = from_release(theirs | other)
        expected = {ours + name: theirs[prefix + name] for name in shapes if name.startswith("bn.")}
        expected |= {f"{ours}fc1.{leaf}": theirs[f"{prefix}fc.0.{leaf}"] for leaf in ("weight", "bias")}
        expected[f"{ours}fc2.weight"] = theirs[f"{prefix}fc.2.weight"]
        expected[f"{ours}bn.running_mean"] = theirs[f"{prefix}bn.running_mean"] - theirs[f"{prefix}fc.2.bias"]
        assert found.keys() == (expected | other).keys()
        assert all(torch.equal(found[name], value) for name, value in (expected | other).items())


def test_two_weights_of_one_name_are_told():
    with pytest.raises(ConfigError, match="a.weight and b.weight of the checkpoint would both be weight"):
        rename({"a.weight": torch.zeros(1), "b.weight": torch.zeros(1)}, lambda name: name[2:])
    assert list(rename({"a": torch.zeros(1), "b": torch.zeros(1)}, {"b": "c"}.get)) == ["c"]


def test_patterns_are_removed_once_each():
    assert without("backbone.s1.backbone.conv", ["backbone."]) == "s1.backbone.conv"
    assert without("backbone.s1.ema.conv", ["backbone.", "ema."]) == "s1.conv"
    assert without("s1.conv", ()) == "s1.conv"


def test_the_prefix_of_ddp_is_removed_where_all_have_it():
    assert [without_ddp(["module.a", "module.b"])(name) for name in ("module.a", "module.b")] == ["a", "b"]
    assert [without_ddp(["module.a", "b"])(name) for name in ("module.a", "b")] == ["module.a", "b"]
