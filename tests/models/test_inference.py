"""Norms folded into convolutions: the same scores, bins and multiply-adds."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from slowfast_atfr.analysis import count_macs
from slowfast_atfr.models import build_model, fold_norms
from slowfast_atfr.sgs import insert_sgs, record

CONFIGS = [
    *("Kinetics/SLOWFAST_8x8_R50_ATFR.yaml", "Kinetics/X3D_S_ATFR.yaml", "Mini_Kinetics/3DRESNET18_ATFR.yaml"),
    *("Kinetics/I3D_NLN_8x8_R50_ATFR.yaml", "Kinetics/C2D_8x8_R50.yaml", "Mini_Kinetics/X3D_S_TEMPORAL_ATTENTION.yaml"),
]


@pytest.fixture
def make(thin_cfg, golden_fill, to_pathways, moving_clips):
    """A network whose norms do something, and clips."""

    def network(config, *changes):
        cfg = thin_cfg(config, *changes)
        torch.manual_seed(0)
        return golden_fill(build_model(cfg)).eval(), to_pathways(cfg, moving_clips(3, cfg.DATA.NUM_FRAMES))

    return network


@pytest.mark.parametrize("config", CONFIGS)
@torch.no_grad()
def test_scores_bins_and_macs_stay(make, config):
    plain, clips = make(config, "X3D.BN_LIN5", "True")
    folded = fold_norms(copy.deepcopy(plain))
    results = []
    for model in (plain, folded):
        with count_macs(model) as counter, record(model) as log:
            results.append(
                (model(clips), counter.read_and_reset(), {name: [c.bin for c in log[name]] for name in log.layers})
            )
    (scores, macs, bins), (folded_scores, folded_macs, folded_bins) = results
    torch.testing.assert_close(folded_scores, scores, rtol=1e-4, atol=1e-6)
    assert macs.tolist() == folded_macs.tolist()
    assert str(bins) == str(folded_bins)
    left = [name for name, layer in folded.named_modules() if isinstance(layer, _BatchNorm)]
    assert all("_sgs" in name or "attention" in name for name in left), left
    assert not any(parameter.requires_grad for parameter in folded.parameters())


def test_a_network_in_training_is_refused(make):
    model, _ = make(CONFIGS[0])
    with pytest.raises(ValueError, match=r"call \.eval\(\) first"):
        fold_norms(model.train())


def test_a_norm_in_training_is_refused_alone_too(make):
    model, _ = make(CONFIGS[0])
    model.s2.pathway0_res0.branch2.a_bn.train()
    with pytest.raises(ValueError, match=r"call \.eval\(\) first"):
        fold_norms(model)


@pytest.mark.parametrize("after", ["0", "1"])
@torch.no_grad()
def test_sampling_after_a_convolution_or_its_norm_stays(after):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv3d(3, 4, 1), nn.BatchNorm3d(4), nn.Conv3d(4, 4, 3, padding=1), nn.AdaptiveAvgPool3d(1))
    net(torch.randn(4, 3, 8, 6, 6) + 1)
    net = insert_sgs(net, after=after, channels=4).eval()
    x = torch.randn(2, 3, 8, 6, 6)
    expected = net(x)
    torch.testing.assert_close(fold_norms(net)(x), expected)


@torch.no_grad()
def test_hooks_shared_layers_and_parametrizations_stay():
    torch.manual_seed(0)
    conv, seen = nn.Conv3d(3, 3, 1), []
    shared = nn.Sequential(conv, nn.BatchNorm3d(3), conv, nn.BatchNorm3d(3))
    hooked = nn.Sequential(nn.Conv3d(3, 3, 1), nn.BatchNorm3d(3))
    hooked[1].register_forward_hook(lambda *_: seen.append(True))
    weighed = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv3d(3, 3, 1)), nn.BatchNorm3d(3))
    x = torch.randn(2, 3, 4, 5, 5)
    for net in (shared, hooked, weighed):
        net(x + 1)
        expected = net.eval()(x)
        seen.clear()
        torch.testing.assert_close(fold_norms(net)(x), expected)
        assert seen == [True] * (net is hooked)


@torch.no_grad()
def test_what_cannot_be_folded_stays():
    torch.manual_seed(0)
    own = nn.Sequential(
        nn.Conv3d(3, 4, 1, bias=True),
        nn.BatchNorm3d(4, affine=False),
        nn.ReLU(),
        nn.BatchNorm3d(4),
        nn.Conv3d(4, 4, 1),
        nn.BatchNorm3d(4, track_running_stats=False),
    )
    x = torch.randn(2, 3, 2, 4, 4)
    own(x)  # statistics that are not zero and one
    expected = own.eval()(x)
    folded = fold_norms(own)
    assert [type(layer).__name__ for layer in folded][1::2] == ["Identity", "BatchNorm3d", "BatchNorm3d"]
    torch.testing.assert_close(folded(x), expected)
