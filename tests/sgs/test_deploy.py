"""What is done to networks before they serve: quantised, traced, compiled by torch.jit; and the layout of weights."""

import copy

import pytest
import torch
from torch import fx, nn
from torch.ao.quantization import quantize_dynamic

from slowfast_atfr.config import ConfigError
from slowfast_atfr.sgs import count_active, insert_sgs
from tests.foreign import VideoResNet, conv
from tests.sgs.test_insert import make_clips, settle


@pytest.fixture(params=["layer1", "layer1.0", "layer2.0"])  # run as the last of a Sequential, or by a hook
def model(request):
    model = insert_sgs(VideoResNet(conv), request.param)
    return settle(model, make_clips(32).float())


@torch.no_grad()
def test_dynamic_quantisation_leaves_bins_as_they_are(model):
    clips = make_clips(32).float()
    with count_active(model) as counter:
        expected, bins = model(clips), str(counter.read_and_reset())
    quantised = quantize_dynamic(model, {nn.Linear})
    assert type(quantised.fc) is not nn.Linear
    with count_active(quantised) as counter:
        torch.testing.assert_close(quantised(clips), expected, rtol=0.1, atol=0.1)
        assert str(counter.read_and_reset()) == bins


@torch.no_grad()
def test_torch_fx_takes_the_layer_as_one_call(model):
    clips, model = make_clips(32), model.double()
    traced = fx.symbolic_trace(model)
    torch.testing.assert_close(traced(clips), model(clips))
    torch.testing.assert_close(traced(clips), torch.cat([traced(clip[None]) for clip in clips]))
    assert sum(node.op == "call_module" and node.target.endswith(".sgs") for node in traced.graph.nodes) <= 1


def test_torch_jit_is_refused_by_name(model):
    with pytest.raises(NotImplementedError, match="torch.jit.trace and torch.jit.script take no network with SGS"):
        torch.jit.trace(model, make_clips(32).float())
    with pytest.raises(NotImplementedError, match="layer.*: torch.jit.trace and torch.jit.script take no network"):
        torch.jit.script(model)


def test_compiled_modules_are_refused_or_wrapped():
    def make():
        parts = conv(3, 4), torch.jit.script(nn.Hardswish()), nn.AdaptiveAvgPool3d(1)
        return nn.Sequential(*parts).double()

    with pytest.raises(ConfigError, match="'1' is compiled by torch.jit and takes no packed clips.*PYTORCH_JIT=0"):
        insert_sgs(make(), "0")
    model = insert_sgs(make(), "0", framewise=[torch.jit.ScriptModule])
    clips = make_clips()
    settle(model, clips)
    torch.testing.assert_close(model(clips), torch.cat([model(clip[None]) for clip in clips]))


def test_weights_of_convolutions_have_the_layout_of_packed_clips():
    model = VideoResNet(conv)
    model.frames = nn.Conv2d(3, 4, 3)  # is left alone
    base, optimizer = copy.deepcopy(model), torch.optim.SGD(model.parameters(), 0.1)
    insert_sgs(model, "layer1")
    weights = [module.weight for module in model.modules() if isinstance(module, nn.Conv3d)]
    assert all(weight.is_contiguous(memory_format=torch.channels_last_3d) for weight in weights)
    assert {id(p) for p in weights} <= {id(p) for p in optimizer.param_groups[0]["params"]}
    model.load_state_dict(base.state_dict(), strict=False)
    assert all(weight.is_contiguous(memory_format=torch.channels_last_3d) for weight in weights)
    for key, value in base.state_dict().items():
        assert torch.equal(model.state_dict()[key], value), key
