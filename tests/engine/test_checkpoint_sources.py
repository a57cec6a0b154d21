"""Files of Caffe2 and of the paper's release: every weight ends up where it belongs, bit by bit."""

import logging
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from slowfast_atfr.config import ConfigError
from slowfast_atfr.engine.checkpoint.file import CheckpointFile, read_checkpoint
from slowfast_atfr.engine.checkpoint.load_weights import load_weights
from slowfast_atfr.engine.checkpoint.save import load_for_test
from slowfast_atfr.models import build_model
from tests.engine.foreign_weights import R50, caffe2_names, clips, of_torch, same, shuffled, weights_of
from tests.engine.small_run import start_from


def write_caffe2(path, net, table, change=lambda blob, array: array):
    """The weights of a network as Caffe2 has them, with what its optimizer leaves behind."""
    state = net.state_dict()
    blobs = {blob: change(blob, state[name].numpy()) for blob, name in table.items()}
    blobs |= {f"{blob}_momentum": np.zeros_like(array) for blob, array in blobs.items() if "_r" not in blob[-4:]}
    blobs |= {"lr": np.float32([0.1]), "model_iter": np.array([4])}
    path.write_bytes(pickle.dumps({"blobs": blobs}, 2))


def one_by_one(blob, array):
    """Caffe2's other ways to write a 1x1 convolution: 2D or 1D; and a classifier that is a convolution."""
    if blob == "pred_w":
        return array.reshape(*array.shape, 1, 1, 1)
    while array.ndim > 2 and array.shape[-1] == 1:
        array = array[..., 0]
    return array


@pytest.mark.parametrize(
    ("config", "pathways", "change"),
    [("SLOW_8x8_R50", 1, lambda blob, array: array), ("SLOWFAST_8x8_R50", 2, one_by_one)],
)
def test_caffe2_round_trip(network, tmp_path, config, pathways, change):
    source, target = network(config), network(config)
    write_caffe2(tmp_path / "file.pkl", source, caffe2_names(R50, "abc", pathways), change)
    report = load_weights(read_checkpoint(str(tmp_path / "file.pkl")), target, strict=True)
    assert report.complete and set(report.matched) == set(weights_of(source)) and report.share == 1
    assert same(weights_of(target), weights_of(source))
    with torch.inference_mode():
        assert torch.equal(target(clips(target)), source(clips(source)))


def test_caffe2s_non_local_blocks_are_found():
    net = nn.Module()
    net.s3 = nn.Module()
    block = net.s3.pathway0_nonlocal1 = nn.Module()
    block.conv_theta, block.conv_out, block.bn = nn.Conv3d(4, 2, 1), nn.Conv3d(2, 4, 1), nn.BatchNorm3d(4)
    blobs = {
        "nonlocal_conv3_1_theta_w": torch.randn(2, 4, 1, 1),
        "nonlocal_conv3_1_theta_b": torch.randn(2),
        "nonlocal_conv3_1_out_w": torch.randn(4, 2),
        "nonlocal_conv3_1_out_b": torch.randn(4),
        "nonlocal_conv3_1_bn_s": torch.randn(4, 1, 1, 1),
        "nonlocal_conv3_1_bn_b": torch.randn(4),
        "nonlocal_conv3_1_bn_rm": torch.randn(4),
        "nonlocal_conv3_1_bn_riv": torch.rand(4),
    }
    assert load_weights(CheckpointFile("file.pkl", "caffe2", blobs, {}), net, strict=True).complete
    assert torch.equal(block.conv_theta.weight.flatten(), blobs["nonlocal_conv3_1_theta_w"].flatten())
    assert torch.equal(block.conv_out.weight.flatten(), blobs["nonlocal_conv3_1_out_w"].flatten())
    assert torch.equal(block.bn.weight, blobs["nonlocal_conv3_1_bn_s"].flatten())
    assert torch.equal(block.bn.running_var, blobs["nonlocal_conv3_1_bn_riv"])
    assert torch.equal(block.bn.running_mean, blobs["nonlocal_conv3_1_bn_rm"])


def test_blobs_without_a_place_are_named(network, tmp_path):
    table = caffe2_names(R50, "abc", 1)
    del table["res5_2_branch2c_w"]
    source, target = network("SLOW_8x8_R50"), network("SLOW_8x8_R50")
    write_caffe2(tmp_path / "file.pkl", source, table | {"surprise": "head.projection.bias"})
    file = read_checkpoint(str(tmp_path / "file.pkl"))
    report = load_weights(file, target)
    assert report.unexpected == ("surprise",) and report.missing == ("s5.pathway0_res2.branch2.c.weight",)
    with pytest.raises(ConfigError, match=r"1 are missing \(s5.pathway0_res2\S+\), 1 are unexpected \(surprise\)"):
        load_weights(file, target, strict=True)


def to_release(net, prefixes):
    """The state dict of a network under the release's names; its second layer has a bias, which the norm takes off."""
    state = net.state_dict()
    for ours, theirs in prefixes.items():
        for layer, name in (("fc1", "fc.0"), ("fc2", "fc.2"), ("bn", "bn")):
            for key in [key for key in state if key.startswith(f"{ours}.embed.{layer}.")]:
                state[f"{theirs}.{name}.{key.rpartition('.')[2]}"] = state.pop(key)
        bias = state[f"{theirs}.fc.2.bias"] = torch.rand(len(state[f"{theirs}.fc.2.weight"]))
        state[f"{theirs}.bn.running_mean"] = state[f"{theirs}.bn.running_mean"] + bias
    return state


@pytest.mark.parametrize(
    ("config", "prefixes"),
    [
        ("SLOW_8x8_R50_ATFR", {"s2_sgs.pathway0": "s2.ts_layer"}),
        (
            "SLOWFAST_8x8_R50_ATFR",
            {"s2_sgs.pathway0": "s2.pathway0_ts_layer", "s2_sgs.pathway1": "s2.pathway1_ts_layer"},
        ),
    ],
)
def test_samplers_of_the_release_are_carried_over(network, caplog, config, prefixes):
    source, target = network(config), network(config)
    state = to_release(source, prefixes)
    assert load_weights(of_torch(state, cfg="TEMPORAL_SAMPLING:\n  USE_RELU: true\n"), target).complete
    assert "before the last ReLU of a stage" in caplog.text
    for name, value in weights_of(source).items():
        torch.testing.assert_close(target.state_dict()[name], value, rtol=1e-6, atol=1e-6)
    with torch.inference_mode():
        torch.testing.assert_close(target(clips(target)), source(clips(source)))


@pytest.mark.parametrize("training", [True, False])
def test_the_embedding_of_the_release_is_the_same_function(network, training):
    target = network("SLOW_8x8_R50_ATFR")
    state = to_release(target, {"s2_sgs.pathway0": "s2.ts_layer"})
    theirs = nn.ModuleDict(
        {"fc": nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 8)), "bn": nn.BatchNorm1d(8)}
    )
    prefix = "s2.ts_layer."
    theirs.load_state_dict({n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}, strict=True)
    load_weights(of_torch(state), target)
    ours = target.s2_sgs.pathway0.embed.train(training)
    means = torch.randn(20, 64)
    torch.testing.assert_close(ours(means), theirs.train(training)["bn"](theirs["fc"](means)), rtol=1e-5, atol=1e-5)


def test_a_sampler_of_the_release_with_swish_is_left(network, caplog):
    state = to_release(network("SLOW_8x8_R50_ATFR"), {"s2_sgs.pathway0": "s2.ts_layer"})
    report = load_weights(of_torch(state, cfg="TEMPORAL_SAMPLING:\n  USE_RELU: false\n"), network("SLOW_8x8_R50_ATFR"))
    assert "have Swish" in caplog.text and len(report.of_sgs) == 5
    assert all(name.startswith("s2.ts_layer.") for name in report.unexpected) and len(report.unexpected) == 8


def test_an_embedding_of_another_length_is_told(network):
    state = to_release(network("SLOW_8x8_R50_ATFR", "SGS.EMBED_DIM", "3"), {"s2_sgs.pathway0": "s2.ts_layer"})
    report = load_weights(of_torch(state), network("SLOW_8x8_R50_ATFR"))
    assert str(report.mismatched[0]) == "s2_sgs.pathway0.embed.fc2.weight: (3, 32), here (8, 32)"
    assert report.share == 1  # SGS does not count


def test_a_run_starts_from_a_file_of_caffe2_and_fine_tunes(tiny_cfg, tmp_path, caplog):
    source = shuffled(build_model(tiny_cfg(SGS__ENABLE=False, MODEL__NUM_CLASSES=7)))
    write_caffe2(tmp_path / "kinetics.pkl", source, caffe2_names((2, 2, 2, 2), "abc", 2))
    cfg = tiny_cfg(TRAIN__CHECKPOINT_FILE_PATH=tmp_path / "kinetics.pkl", TRAIN__CHECKPOINT_TYPE="caffe2")
    target = build_model(cfg)
    optimizer = torch.optim.SGD(target.parameters(), lr=0.1)
    caplog.set_level(logging.INFO, logger="slowfast_atfr")
    assert start_from(cfg, target, optimizer) == 0  # without CHECKPOINT_EPOCH_RESET: the file is of no run
    assert (
        "10 parameters of SGS" in caplog.text and "the classifier is new: 2 classes here, 7 in the file" in caplog.text
    )
    assert "CHECKPOINT_TYPE" not in caplog.text
    base = {name: value for name, value in weights_of(source).items() if not name.startswith("head.")}
    assert same({name: value for name, value in weights_of(target).items() if name in base}, base)


def test_a_file_of_caffe2_is_tested_whatever_the_flag_says(tiny_cfg, tmp_path, caplog):
    cfg = tiny_cfg(SGS__ENABLE=False, TEST__CHECKPOINT_FILE_PATH=tmp_path / "kinetics.pkl")
    source, target = shuffled(build_model(cfg)), build_model(cfg)
    write_caffe2(tmp_path / "kinetics.pkl", source, caffe2_names((2, 2, 2, 2), "abc", 2))
    assert load_for_test(cfg, target) == str(tmp_path / "kinetics.pkl")
    assert same(weights_of(target), weights_of(source))
    assert "TEST.CHECKPOINT_TYPE is 'pytorch', but" in caplog.text
    atfr = tiny_cfg(TEST__CHECKPOINT_FILE_PATH=tmp_path / "kinetics.pkl")
    with pytest.raises(ConfigError, match="The file lacks weights of SGS.*A test needs every weight from the file"):
        load_for_test(atfr, build_model(atfr))
