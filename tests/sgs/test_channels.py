"""The channels of the submodule before SGS, where the order of a module's layers would mislead."""

import pytest
import torch
from torch import nn

from slowfast_atfr.config import ConfigError
from slowfast_atfr.sgs import insert_sgs
from tests.foreign import VideoResNet, conv


class Gated(nn.Module):
    """Its last convolution and its last norm have other channels than its output."""

    def __init__(self):
        super().__init__()
        self.project, self.gate, self.bn = nn.Conv3d(8, 12, 1), nn.Conv3d(8, 1, 1), nn.BatchNorm3d(8)

    def forward(self, x):
        return self.project(self.bn(x)) * self.gate(x).sigmoid()


def make():
    return nn.Sequential(conv(3, 8, stride=2), Gated(), nn.ReLU(), nn.AdaptiveAvgPool3d(1))


@pytest.mark.parametrize("after", ["1", "2", "0.2"])
def test_a_forward_pass_on_nothing_tells(after):
    model = make().train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    insert_sgs(model, after)
    for key, value in before.items():
        assert torch.equal(model.state_dict()[key], value), "the pass computes nothing"
    assert model(torch.randn(2, 3, 8, 9, 9)).shape == (2, 12, 1, 1, 1)
    assert not model[1]._forward_hooks or after == "1"


def test_it_passes_other_sgs():
    model = insert_sgs(insert_sgs(make(), "0.2"), "1")
    assert model[1].sgs.channels == 12 and model(torch.randn(2, 3, 8, 9, 9)).shape == (2, 12, 1, 1, 1)


def test_a_network_s_head_need_not_fit_the_clips_that_are_tried():
    model = nn.Sequential(Gated(), nn.Flatten(), nn.Linear(7, 5))
    assert insert_sgs(model, "0")[0].sgs.channels == 12


def test_a_submodule_that_runs_alone_tells_where_the_network_takes_no_clips():
    class Pathways(nn.Module):
        def __init__(self):
            super().__init__()
            self.slow, self.fast = nn.Sequential(conv(3, 8), Gated()), conv(3, 4)

        def forward(self, pathways):
            return self.slow(pathways[0]), self.fast(pathways[1])

    assert insert_sgs(Pathways(), "slow.1").slow[1].sgs.channels == 12


@pytest.mark.parametrize(
    "model, after, message",
    [
        (nn.ModuleDict({"act": nn.ReLU()}), "act", r"'act', a ReLU, are not known, .* has no Conv3d: pass channels="),
        (nn.Sequential(conv(3, 4), nn.Flatten(2)), "1", r"gives \(2, 4, .*\) there, not \(N, C, T, H, W\): pass chan"),
        (VideoResNet(conv), "unused", "does not run it"),
        (
            nn.Sequential(nn.Conv3d(3, 4, 1), nn.LayerNorm(7)),
            "1",
            "fails on clips of .* with RuntimeError: .*clip=",
        ),
    ],
)
def test_what_no_pass_tells_is_an_error_with_its_remedy(model, after, message):
    model.unused = nn.ReLU()
    with pytest.raises(ConfigError, match=message):
        insert_sgs(model, after)
    insert_sgs(model, after, channels=4)


def test_the_size_of_a_clip_may_be_given():
    model = nn.Sequential(nn.Conv3d(3, 4, 1), nn.LayerNorm(7), nn.ReLU())
    assert insert_sgs(model, "1", clip=(3, 4, 5, 7))[1].sgs.channels == 4
