"""SGS in networks that know nothing of it: clips come out as each would alone, and checkpoints still load."""

import copy
import functools
import pickle

import pytest
import torch
from torch import nn

from slowfast_atfr.config import ConfigError
from slowfast_atfr.packed import PackedClips, per_length, unpack
from slowfast_atfr.sgs import SGS, count_active, insert_sgs, record
from tests.foreign import CLASSES, NETWORKS, Swish, VideoResNet, conv, x3d
from tests.foreign_idioms import IDIOMS, SamePadding, SamePool

FRAMES = 12
NETWORKS = NETWORKS | IDIOMS


def make_clips(size=16):
    """Clip i holds still from frame 4 * i on, the last one never does."""
    clips = torch.randn(4, 3, FRAMES, size, size, dtype=torch.float64)
    for index, clip in enumerate(clips[:3]):
        clip[:, 4 * index :] = clip[:, 4 * index, None]
    return clips


def settle(model, clips):
    """Running statistics are those of these clips, as after some training; then embeddings are far apart."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm3d):
            module.momentum = 1.0
    with torch.no_grad():
        model.train()(clips)
    return model.eval()


def build(name, **options):
    make, after = NETWORKS[name]
    types = {"framewise": [Swish], "lengthwise": [SamePadding, SamePool]}
    return insert_sgs(make().double(), after, **types, **options), after


@pytest.mark.parametrize("name", NETWORKS)
def test_a_mixed_batch_equals_its_clips_one_by_one(name):
    model, after = build(name)
    clips = make_clips(size=32)
    settle(model, clips)
    with torch.no_grad(), count_active(model) as counter:
        together = model(clips)
        active = counter.read_and_reset()[f"{after}.sgs"]
        alone = torch.cat([model(clip[None]) for clip in clips])
    assert len(set(active)) > 1 and max(active) < FRAMES, "clips are shortened, to different numbers of frames"
    assert together.shape == (4, CLASSES) and (together[0] - together[3]).abs().max() > 1e-3
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_training_step_reaches_every_parameter(name):
    model, _ = build(name)
    loss = nn.functional.cross_entropy(model.train()(make_clips(size=32)), torch.arange(4))
    loss.backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all() and parameter.grad.any(), key


QUICK_IN_FLOAT16 = ("cbam",)
QUICK_IN_BFLOAT16 = sorted(NETWORKS)[::3]


def slow_but(quick, name, dtype):
    return pytest.param(name, dtype, marks=[] if name in quick else pytest.mark.slow)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        *[slow_but(QUICK_IN_BFLOAT16, name, torch.bfloat16) for name in NETWORKS],
        *[slow_but(QUICK_IN_FLOAT16, name, torch.float16) for name in NETWORKS],
    ],
)
def test_half_precision_throughout(name, dtype):
    model, _ = build(name)
    clips = make_clips(size=32)
    settle(model, clips)
    model, clips = model.to(dtype), clips.to(dtype)
    with torch.no_grad():
        together, alone = model(clips), torch.cat([model(clip[None]) for clip in clips])
    assert together.dtype == dtype
    torch.testing.assert_close(together, alone, rtol=0.05, atol=0.05)
    nn.functional.cross_entropy(model.train()(clips), torch.arange(4)).backward()
    assert all(parameter.grad.dtype == dtype for parameter in model.parameters())


@pytest.mark.parametrize("name", NETWORKS)
def test_keys_of_the_network_stay_and_its_checkpoint_loads(name):
    make, after = NETWORKS[name]
    base = make().double()
    model, _ = build(name)
    added = {key for key in model.state_dict() if key not in base.state_dict()}
    assert base.state_dict().keys() | added == model.state_dict().keys()
    assert added and all(key.startswith(f"{after}.sgs.embed.") for key in added)
    missing, unexpected = model.load_state_dict(base.state_dict(), strict=False)
    assert missing and set(missing) <= added and not unexpected


def test_a_framewise_function_has_its_gradient():
    """A network whose swish is a Function that bypasses the table, against the same one with torch's own."""
    hidden = insert_sgs(x3d(Swish).double(), "blocks.1", framewise=[Swish])
    seen = insert_sgs(x3d(nn.SiLU).double(), "blocks.1")
    seen.load_state_dict(hidden.state_dict())
    clips = make_clips(size=32)
    for model in (hidden, seen):
        nn.functional.cross_entropy(model(clips), torch.arange(4)).backward()
    for (key, got), expected in zip(hidden.named_parameters(), seen.parameters(), strict=True):
        torch.testing.assert_close(got.grad, expected.grad, msg=lambda text, key=key: f"{key}: {text}")


def test_pytorchvideo_s_swish_is_known(monkeypatch):
    monkeypatch.setattr(Swish, "__module__", "pytorchvideo.layers.swish")
    shared = Swish()
    model = nn.Sequential(conv(3, 4), shared, nn.Sequential(shared))
    insert_sgs(insert_sgs(model, "0"), "2", channels=4)  # the second time it is wrapped already
    assert isinstance(model(make_clips().float()), PackedClips)
    assert model[1] is model[2][0] and type(model[1].module) is Swish


def test_it_is_the_layer_after_that_module():
    clips, options = make_clips(), {"num_bins": 5, "kernel": "linear_mean", "block_size": 6}
    for target in (conv(3, 6), nn.Conv3d(3, 6, 3)):  # a Sequential runs it as its last, others by a hook
        plain = copy.deepcopy(target).double()
        model = insert_sgs(nn.ModuleDict({"stem": target}).double(), "stem", **options)
        sgs = SGS(6, **options).double()
        sgs.load_state_dict(model["stem"].sgs.state_dict())
        for got, expected in zip(unpack(model["stem"](clips)), unpack(sgs(plain(clips))), strict=True):
            torch.testing.assert_close(got, expected)


def test_the_layer_takes_device_type_and_mode_of_the_module():
    model = VideoResNet(conv).to(torch.bfloat16)
    model.layer1.eval()
    insert_sgs(model, "layer1")
    insert_sgs(model.to("meta"), "layer2")
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert not model.layer1.sgs.embed.bn.training and model.layer2.sgs.embed.bn.training
    assert model.layer2.sgs.embed.fc1.weight.is_meta


@pytest.mark.parametrize("name", ["r3d", "csn", "x3d"])
def test_copies_and_pickles_work_as_the_original(name):
    model, after = build(name)
    clips = make_clips(size=32)
    settle(model, clips)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        torch.testing.assert_close(other(clips), model(clips))
        with record(other) as log:
            other(clips)
        assert len(log[f"{after}.sgs"]) == 4, "the copy runs its own layer"


class SelfAttention(nn.Module):
    """Non-local attention over all positions of a clip, which needs its number of frames."""

    def forward(self, x):
        n, c, t, h, w = x.shape
        tokens = x.view(n, c, t * h * w)
        return x + (tokens @ torch.softmax(tokens.transpose(1, 2) @ tokens, 1)).view(n, c, t, h, w)


def test_what_needs_the_number_of_frames_is_refused_and_runs_once_per_length():
    model = nn.Sequential(conv(3, 4), SelfAttention(), nn.AdaptiveAvgPool3d(1)).double()
    clips = make_clips(size=4)
    insert_sgs(model, "0")
    with pytest.raises(TypeError, match="matmul has no rule for a view of packed clips.*per_length"):
        model(clips)
    block = model[1]
    block.forward = functools.partial(per_length, fn=block.forward)
    settle(model, clips)
    torch.testing.assert_close(model(clips), torch.cat([model(clip[None]) for clip in clips]))


def test_wrong_channels_are_reported_at_the_first_forward():
    for after in ("layer1", "layer1.0"):
        model = insert_sgs(VideoResNet(conv), after, channels=64)
        with pytest.raises(ValueError, match=rf"after '{after}' was built for 64 channels and gets 8: pass channels=8"):
            model(make_clips().float())


def test_an_output_that_is_no_clip_is_reported_at_the_first_forward():
    clips = make_clips().float()
    with pytest.raises(ValueError, match=r"after 'fc' takes \(N, C, T, H, W\), but gets \(4, 5\): name a module"):
        insert_sgs(VideoResNet(conv), "fc", channels=5)(clips)

    class Pathways(nn.Module):
        def __init__(self):
            super().__init__()
            self.stage = conv(3, 4)

        def forward(self, x):
            return [self.stage(x), x]

    model = insert_sgs(nn.Sequential(Pathways()), "0", channels=4)
    with pytest.raises(TypeError, match=r"after '0' takes .*, but its output is a list of 2: name a module within"):
        model(clips)


class Dense(nn.Sequential):
    def forward(self, x):
        return torch.cat([x, super().forward(x)], 1)


class WithParameter(nn.Module):
    def __init__(self):
        super().__init__()
        self.slope = nn.Parameter(torch.ones(()))


@pytest.mark.parametrize(
    "after, options, message",
    [
        ("layer", {}, r"VideoResNet has no submodule 'layer'; the nearest are .*layer1"),
        ("", {}, "no submodule ''"),
        (
            "parts.0",
            {},
            "channels of 'parts.0', a Identity, are not known, since the model does not run it: pass channels=",
        ),
        ("layer3", {}, "'layer3' has SGS already"),
        ("layer3.sgs", {}, "'layer3.sgs' has SGS already"),
        ("layer2", {}, "'layer2' already has a child 'sgs', a Identity"),
        ("parts", {}, "'parts' is a ModuleList, .*; name one of its entries, parts.0, parts.1, or"),
        ("dense", {}, "'dense' is a Dense, in which SGS would be one more entry; name one of its entries, dense.0, or"),
        (
            "layer1",
            {"framewise": [WithParameter]},
            "framewise 'parts.1', a .*WithParameter, has slope: wrapping it would",
        ),
        ("layer1", {"kernel": "cubic"}, "SGS.KERNEL is 'cubic'"),
    ],
)
def test_what_cannot_be_inserted_is_reported_and_changes_nothing(after, options, message):
    model = VideoResNet(conv)
    model.parts = nn.ModuleList([nn.Identity(), WithParameter()])
    model.dense = Dense(nn.Identity())
    model.layer2.add_module("sgs", nn.Identity())
    insert_sgs(model, "layer3")
    before = str(model)
    with pytest.raises(ConfigError, match=message):
        insert_sgs(model, after, **options)
    assert str(model) == before


def test_after_a_framewise_module_it_follows_its_wrapper():
    def make():
        parts = nn.Conv3d(3, 4, 1), Swish(), nn.Conv3d(4, 4, 1), Swish(), nn.AdaptiveAvgPool3d(1)
        return insert_sgs(insert_sgs(nn.Sequential(*parts), "0"), "1", framewise=[Swish], channels=4).eval()

    net, clips = make(), torch.randn(2, 3, 8, 5, 5)
    assert {key.partition(".embed")[0] for key in net.state_dict() if "embed" in key} == {"0.sgs", "1.sgs"}
    with torch.no_grad(), record(net) as log:
        together = net(clips)
        torch.testing.assert_close(together[1], net(clips[1:])[0])
    assert len(log["0.sgs"]) == len(log["1.sgs"]) == 3
    with pytest.raises(ConfigError, match="'1' has SGS already"):
        insert_sgs(net, "1", framewise=[Swish], channels=4)


@pytest.mark.parametrize("types", [nn.ReLU, [nn.ReLU()], [1]])
def test_framewise_takes_types_of_modules(types):
    net = nn.Sequential(nn.Conv3d(3, 4, 1), nn.ReLU())
    with pytest.raises(ConfigError, match="framewise is .*it takes types of modules"):
        insert_sgs(net, "0", framewise=types)
    assert not hasattr(net[0], "sgs")


class TwoPathways(nn.Module):
    """SlowFast: the fast pathway joins the slow one by a convolution that strides time."""

    def __init__(self):
        super().__init__()
        self.slow, self.fast = conv(3, 4), conv(3, 2)
        self.lateral, self.last = nn.Conv3d(2, 2, (5, 1, 1), (4, 1, 1), (2, 0, 0)), nn.Conv3d(6, 4, 1)

    def forward(self, x):
        x = torch.cat([self.slow(x[:, :, ::4]), self.lateral(self.fast(x))], 1)
        return self.last(x).mean((2, 3, 4))


@pytest.mark.parametrize(
    "after, message",
    [
        (["fast"], "cat got packed and dense clips together.*for a skip that begins before SGS, put SGS before it"),
        (
            ["slow", "fast"],
            "cat got clips of .* frames.*or from another pathway, put SGS before both or after their fus",
        ),
    ],
)
def test_two_pathways_before_their_fusion_are_an_error_with_its_remedy(after, message):
    model = TwoPathways().double()
    for name in after:
        insert_sgs(model, name)
    with pytest.raises(TypeError, match=message):
        model(make_clips(size=8))


def test_a_skip_around_sgs_is_an_error_with_its_remedy():
    class Skip(nn.Module):
        def __init__(self):
            super().__init__()
            self.stage = conv(3, 3)

        def forward(self, x):
            return x + self.stage(x)

    with pytest.raises(TypeError, match="for a skip that begins before SGS, put SGS before it branches off"):
        insert_sgs(nn.Sequential(Skip()), "0.stage")(make_clips(size=8).float())
