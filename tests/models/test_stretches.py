"""Blocks run what treats every frame on its own on plain frames, and give what they give layer by layer."""

import itertools

import pytest
import torch
from torch import nn
from torch.overrides import BaseTorchFunctionMode

from slowfast_atfr.analysis import count_macs
from slowfast_atfr.models import build_model
from slowfast_atfr.models.resnet import ResBlock
from slowfast_atfr.models.transforms import BottleneckTransform
from slowfast_atfr.packed import PackedClips
from slowfast_atfr.reproduce.benchmarks.force_bins import force_bins

CONFIGS = [
    "Kinetics/SLOWFAST_8x8_R50_ATFR.yaml",
    "Kinetics/X3D_S_ATFR.yaml",
    "Mini_Kinetics/3DRESNET18_ATFR.yaml",
    "Kinetics/C2D_8x8_R50_ATFR.yaml",
]
SPLITS = ["BN.NORM_TYPE", "sub_batchnorm", "BN.NUM_SPLITS", "2"]


@pytest.fixture
def networks(thin_cfg, to_pathways, moving_clips):
    """The same network twice, in float64; of the second one each layer is watched, so that packed clips reach it."""

    def make(config, *pairs):
        cfg = thin_cfg(config, "MODEL.DROPOUT_RATE", "0.0", *pairs)
        made = []
        for _ in range(2):
            torch.manual_seed(0)
            made.append(build_model(cfg).double())
            force_bins(made[-1], 0.5)
        for layer in made[1].modules():
            layer.register_forward_hook(lambda *_: None)
        clips = to_pathways(cfg, moving_clips(3, cfg.DATA.NUM_FRAMES).double())
        return *made, [clip.requires_grad_() for clip in clips]

    return make


def results(network, clips):
    """Scores, gradients, buffers and multiply-adds, in training and then in evaluation."""
    found = {}
    for training in (True, False):
        network.train(training)
        with count_macs(network) as counter, torch.set_grad_enabled(training):
            scores = network(clips)
            found[f"macs {training}"] = torch.from_numpy(counter.read_and_reset())
        found[f"scores {training}"] = scores.detach()
        if training:
            grads = torch.autograd.grad(scores.square().sum(), [*network.parameters(), *clips])
            found |= {f"gradient {index}": grad for index, grad in enumerate(grads)}
    return found | {name: value.clone() for name, value in network.named_buffers()}


PAIRS = [[], SPLITS, ["MODEL.ACT_CHECKPOINT", "True"], ["RESNET.INPLACE_RELU", "False"]]
QUICK = [*[(CONFIGS[1], pairs) for pairs in PAIRS], (CONFIGS[0], []), (CONFIGS[2], SPLITS), (CONFIGS[3], [])]


@pytest.mark.parametrize(
    ("config", "pairs"),
    [
        pytest.param(*case, marks=[] if case in QUICK else pytest.mark.slow)
        for case in itertools.product(CONFIGS, PAIRS)
    ],
)
def test_stretches_give_what_layers_give(networks, config, pairs):
    ours, watched, clips = networks(config, *pairs)
    ours, watched = results(ours, clips), results(watched, clips)
    for name, value in watched.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-10, atol=1e-12, msg=lambda text, n=name: f"{n}: {text}")


@pytest.fixture
def runs(monkeypatch):
    """An entry for each call of a block that runs by stretches."""
    runs, real = [], ResBlock._by_stretches
    monkeypatch.setattr(ResBlock, "_by_stretches", lambda *args: (runs.append(1), real(*args))[1])
    return runs


def blocks_after_sgs(network):
    stages = network.s3, network.s4, network.s5
    return sum(isinstance(layer, ResBlock) for stage in stages for layer in stage.modules())


def test_blocks_run_by_stretches_while_only_counters_watch(networks, runs):
    ours, watched, clips = networks(CONFIGS[1])
    with count_macs(ours):
        ours(clips)
    assert len(runs) == blocks_after_sgs(ours) > 0
    watched(clips)
    assert len(runs) == blocks_after_sgs(ours)


def test_blocks_run_by_stretches_with_a_default_device_and_not_under_other_modes(networks, runs):
    ours, _, clips = networks(CONFIGS[1])
    with torch.device("cpu"):
        ours(clips)
    assert len(runs) == blocks_after_sgs(ours) > 0
    runs.clear()
    torch.set_default_device("cpu")
    try:
        ours(clips)
    finally:
        torch.set_default_device(None)
    assert len(runs) == blocks_after_sgs(ours)
    with torch.device("cpu"), BaseTorchFunctionMode():
        ours(clips)
    assert len(runs) == blocks_after_sgs(ours)


@pytest.mark.parametrize("name", ["branch2", "branch2.b", "branch2.c_bn", "branch1", "relu"])
def test_who_watches_a_layer_sees_packed_clips(networks, name):
    ours, _, clips = networks(CONFIGS[0])
    seen = []
    ours.s4.pathway0_res0.get_submodule(name).register_forward_hook(lambda _, args, out: seen.extend([*args, out]))
    ours(clips)
    assert len(seen) == 2 and all(isinstance(x, PackedClips) for x in seen)


def test_a_layer_of_another_kind_is_called_with_packed_clips(networks):
    ours, watched, clips = networks(CONFIGS[2])
    for network in (ours, watched):
        network.s3.pathway0_res0.branch2.a_relu = nn.GELU()
    torch.testing.assert_close(ours(clips), watched(clips))


@pytest.mark.parametrize("kind", ["bottleneck_transform", "basic_transform"])
def test_a_layer_that_is_added_to_a_branch_runs_either_way(networks, kind):
    ours, watched, clips = networks(CONFIGS[2], "RESNET.TRANS_FUNC", kind, "RESNET.ZERO_INIT_FINAL_BN", "False")
    before = ours.eval()(clips)
    for network in (ours, watched):
        network.eval().s3.pathway0_res0.branch2.add_module("more", nn.SiLU())
    after = ours(clips)
    torch.testing.assert_close(after, watched(clips))
    assert (after - before).abs().max() > 1e-9


def test_a_branch_of_another_kind_is_called_as_a_whole(networks):
    class Shifted(BottleneckTransform):
        def forward(self, x):
            return 1 + super().forward(x)

    ours, watched, clips = networks(CONFIGS[0])
    for network in (ours, watched):
        network.s4.pathway0_res0.branch2.__class__ = Shifted
    torch.testing.assert_close(ours(clips), watched(clips))


@pytest.mark.parametrize("pairs", [[], SPLITS])
def test_norms_that_learn_without_gradients_see_clips_alone(networks, pairs):
    ours, watched, clips = networks(CONFIGS[1], *pairs)
    with torch.no_grad():
        torch.testing.assert_close(ours.train()(clips), watched.train()(clips), rtol=1e-10, atol=1e-12)
    for (name, mine), theirs in zip(ours.named_buffers(), watched.buffers(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12, msg=lambda text, n=name: f"{n}: {text}")
