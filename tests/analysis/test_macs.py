"""Multiply-adds: per clip, by hand, and the same together as alone."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations
from torch.overrides import _get_current_function_mode_stack
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from slowfast_atfr.analysis import clip_macs, count_macs
from slowfast_atfr.config import load_cfg
from slowfast_atfr.models import build_model
from slowfast_atfr.models.attention import TemporalAttention
from slowfast_atfr.models.video_resnet import SlowFast
from slowfast_atfr.packed import pack, per_length
from slowfast_atfr.sgs import SGS, PathwaySGS, insert_sgs
from tests import foreign


class Calls(nn.Module):
    """A module that calls torch functions by itself, as other libraries' may."""

    def __init__(self, fn):
        super().__init__()
        self.fn = fn

    def forward(self, *args):
        return self.fn(*args)


def total_macs(model, *args):
    """Of all clips together, as torch counts what reaches its kernels."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.eval()(*args)
    return counter.get_total_flops() / 2


def test_by_hand():
    model = nn.Sequential(nn.Conv3d(3, 8, (1, 3, 3), padding=(0, 1, 1), groups=1), nn.Flatten(), nn.Linear(8 * 60, 5))
    assert clip_macs(model, torch.randn(2, 3, 3, 4, 5)).tolist() == [60 * 27 * 8 + 480 * 5] * 2


def test_each_packed_clip_pays_for_its_own_frames():
    conv = nn.Conv3d(4, 6, (3, 1, 1), stride=(2, 1, 1), padding=(1, 0, 0), groups=2)
    macs = clip_macs(conv, pack([torch.randn(4, frames, 2, 3) for frames in (5, 1, 8)]))
    assert macs.tolist() == [out * 6 * (6 * 2 * 3) for out in (3, 1, 4)]


def test_a_linear_between_permutes_pays_for_every_position_of_a_clip():
    class Projection(nn.Linear):
        def forward(self, x):
            return super().forward(x.permute(0, 2, 3, 4, 1))

    macs = clip_macs(Projection(4, 6), pack([torch.randn(4, frames, 2, 3) for frames in (5, 1)]))
    assert macs.tolist() == [frames * 6 * 4 * 6 for frames in (5, 1)]


def test_a_linear_of_tokens_pays_for_every_position_of_a_clip():
    class Projection(nn.Linear):
        def forward(self, x):
            return super().forward(x.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(x.size(0), 6, *x.shape[2:])

    macs = clip_macs(Projection(4, 6), pack([torch.randn(4, frames, 2, 3) for frames in (5, 1)]))
    assert macs.tolist() == [frames * 6 * 4 * 6 for frames in (5, 1)]


def test_sgs_pays_for_the_embedding_of_the_frames_that_come_in():
    sgs = SGS(8, embed_dim=3).eval()
    assert clip_macs(sgs, torch.randn(2, 8, 5, 4, 4)).tolist() == [5 * (8 * 4 + 4 * 3)] * 2


def test_a_network_pays_for_its_sgs_layers():
    layer = PathwaySGS({0: SGS(8), 1: SGS(4)}, label="s2_sgs").eval()
    slow, fast = torch.randn(2, 8, 2, 4, 4), torch.randn(2, 4, 8, 4, 4)
    assert clip_macs(layer, [slow, fast]).tolist() == [2 * (8 * 4 + 4 * 8) + 8 * (4 * 2 + 2 * 8)] * 2


def test_counting_starts_afresh_after_a_reading_and_ends_with_the_context():
    conv = nn.Conv3d(1, 1, 1)
    with count_macs(conv) as counter:
        conv(torch.randn(2, 1, 1, 1, 1))
        assert counter.read_and_reset().tolist() == [1, 1]
        conv(torch.randn(3, 1, 1, 1, 1))  # one that nobody asks about
        conv(torch.randn(1, 1, 2, 1, 1))
        assert counter.read_and_reset().tolist() == [2]
        conv(pack([torch.randn(1, 3, 1, 1)]))
        conv(pack([torch.randn(1, 4, 1, 1), torch.randn(1, 5, 1, 1)]))
        assert counter.read_and_reset().tolist() == [4, 5]
        with pytest.raises(RuntimeError, match="no forward"):
            counter.read_and_reset()
    assert not conv._forward_hooks and not conv._forward_pre_hooks


def test_a_forward_that_fails_leaves_no_counter_behind():
    conv = nn.Conv3d(1, 1, 1)
    with count_macs(conv) as counter:
        with pytest.raises(RuntimeError, match="size"):
            conv(torch.randn(2, 3, 1, 1, 1))
        torch.ones(2, 2) @ torch.ones(2, 2)
        assert counter.read_and_reset().tolist() == [0, 0]
    model = Calls(lambda x: x @ torch.ones(7, 7))
    with count_macs(model) as counter:
        with pytest.raises(RuntimeError, match="shapes"):
            model(torch.randn(2, 3))
        torch.ones(2, 2) @ torch.ones(2, 2)
        assert counter.read_and_reset().tolist() == [0, 0] and not _get_current_function_mode_stack()


def test_an_interrupt_leaves_no_counter_behind():
    def interrupted(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        clip_macs(nn.Sequential(Calls(interrupted)), torch.randn(2, 3))
    assert not _get_current_function_mode_stack()


def test_the_mode_is_left_as_it_was():
    model = nn.Conv3d(1, 1, 1).train()
    clip_macs(model, torch.randn(1, 1, 1, 1, 1))
    assert model.training


def test_frozen_modules_stay_frozen():
    model = nn.Sequential(nn.Conv3d(1, 1, 1), nn.BatchNorm3d(1)).train()
    model[1].eval()
    clip_macs(model, torch.randn(1, 1, 1, 1, 1))
    assert model.training and model[0].training and not model[1].training


@pytest.mark.parametrize("reentrant", [True, False])
def test_what_runs_again_for_the_backward_is_not_counted(reentrant):
    inner = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU())
    inner.forward = partial(checkpoint, inner.forward, use_reentrant=reentrant)
    model, x = nn.Sequential(inner, nn.Linear(4, 2)), torch.randn(2, 3, requires_grad=True)
    with count_macs(model) as counter:
        model(x).sum().backward()
        assert counter.read_and_reset().tolist() == [3 * 4 + 4 * 4 + 4 * 2] * 2


# what other libraries call


@pytest.mark.parametrize(
    "name",
    ["matmul", "operator", "method", "mm", "bmm", "mv", "einsum", "baddbmm", "addmm", "linear", "conv2d"]
    + ["linalg", "addmm_", "baddbmm_", "addmm by name", "baddbmm by name", "inner", "multi_dot"],
)
def test_functions_count_as_torch_counts_what_reaches_its_kernels(name):
    a, b, m, v = torch.randn(2, 3, 4), torch.randn(2, 4, 5), torch.randn(4, 6), torch.randn(4)
    functions = {
        "matmul": lambda a: torch.matmul(a, m),
        "operator": lambda a: a @ b,
        "method": lambda a: a.matmul(b),
        "mm": lambda a: a.flatten(0, 1).mm(m),
        "bmm": lambda a: torch.bmm(a, b),
        "mv": lambda a: a.flatten(0, 1).mv(v),
        "einsum": lambda a: torch.einsum("nct,nts,nsu->ncu", a, b, b.mT),
        "baddbmm": lambda a: torch.baddbmm(a.new_zeros(1), a, b),
        "addmm": lambda a: torch.addmm(a.new_zeros(6), a.flatten(0, 1), m),
        "linear": lambda a: F.linear(a, m.T),
        "linalg": lambda a: torch.linalg.matmul(a, b),
        "addmm_": lambda a: a.new_zeros(6, 6).addmm_(a.flatten(0, 1), m),
        "baddbmm_": lambda a: a.new_zeros(2, 3, 5).baddbmm_(a, b),
        "addmm by name": lambda a: torch.addmm(input=a.new_zeros(6), mat1=a.flatten(0, 1), mat2=m),
        "baddbmm by name": lambda a: torch.baddbmm(input=a.new_zeros(1), batch1=a, batch2=b),
        "inner": lambda a: torch.inner(a, m.T),
        "multi_dot": lambda a: torch.linalg.multi_dot([a.flatten(0, 1), m, m.T]),
        "conv2d": lambda a: F.conv2d(a[:, :1, None], torch.ones(7, 1, 1, 3)),
    }
    model = Calls(functions[name])
    by_hand = {"mv": 6 * 4, "addmm_": 6 * 4 * 6, "baddbmm_": 2 * 3 * 4 * 5}  # torch does not count these
    expected = by_hand.get(name) or total_macs(model, a)
    assert expected > 0 and clip_macs(model, a).tolist() == [expected / 2] * 2


def test_attention_by_hand():
    query, key, value = torch.randn(2, 3, 5, 4), torch.randn(2, 3, 7, 4), torch.randn(2, 3, 7, 6)
    attend = Calls(lambda query: F.scaled_dot_product_attention(query, key, value))
    assert clip_macs(attend, query).tolist() == [3 * 5 * 7 * (4 + 6)] * 2
    heads = nn.MultiheadAttention(8, 2, batch_first=True, kdim=4, vdim=6)
    model = Calls(lambda query: heads(query, key[:, 0], value[:, 0])[0])
    model.heads = heads
    expected = 5 * 8 * 8 + 7 * 4 * 8 + 7 * 6 * 8 + 5 * 7 * 8 * 2 + 5 * 8 * 8
    assert clip_macs(model, torch.randn(2, 5, 8)).tolist() == [expected] * 2
    by_name = {"embed_dim_to_check": 8, "num_heads": 2, "in_proj_weight": torch.ones(24, 8), "bias_k": None}
    by_name |= {"in_proj_bias": None, "bias_v": None, "add_zero_attn": False, "dropout_p": 0.0}
    by_name |= {"out_proj_weight": torch.ones(8, 8), "out_proj_bias": None}
    attend = Calls(lambda x: F.multi_head_attention_forward(x, x, x, **by_name)[0])
    assert clip_macs(attend, torch.randn(5, 1, 8)).sum() == 4 * 5 * 8 * 8 + 2 * 5 * 5 * 8


@pytest.mark.parametrize("nonlinearity", ["lstm", "gru", "tanh", "relu"])
def test_recurrent_layers_by_hand(nonlinearity):
    gates = {"lstm": 4, "gru": 3}.get(nonlinearity, 1)
    kind = {"lstm": (nn.LSTM, nn.LSTMCell), "gru": (nn.GRU, nn.GRUCell)}.get(nonlinearity, (nn.RNN, nn.RNNCell))
    options = {"nonlinearity": nonlinearity} if gates == 1 else {}
    layer = kind[0](8, 4, num_layers=2, bidirectional=True, batch_first=True, **options)
    steps = gates * 2 * ((8 * 4 + 4 * 4) + (2 * 4 * 4 + 4 * 4))  # both directions, both layers
    assert clip_macs(layer, torch.randn(2, 5, 8)).tolist() == [5 * steps] * 2
    ragged = Calls(lambda x: layer(nn.utils.rnn.pack_sequence([x[0], x[1, :2]])))
    assert clip_macs(ragged, torch.randn(2, 5, 8)).sum() == (5 + 2) * steps
    assert clip_macs(kind[1](8, 4, **options), torch.randn(2, 8)).tolist() == [gates * (8 * 4 + 4 * 4)] * 2


def test_bilinear_by_hand():
    layer = nn.Bilinear(3, 4, 5)
    assert clip_macs(Calls(lambda x: layer(x, torch.ones(2, 4))), torch.randn(2, 3)).tolist() == [3 * 4 * 5] * 2


@pytest.mark.parametrize("name", foreign.NETWORKS)
def test_networks_of_others_count_as_torch_counts_what_reaches_its_kernels(name):
    model, clips = foreign.NETWORKS[name][0](), torch.randn(2, 3, 12, 32, 32)
    assert clip_macs(model, clips).tolist() == [total_macs(model, clips) / 2] * 2


@pytest.mark.parametrize("name", foreign.NETWORKS)
def test_networks_of_others_with_sgs_pay_together_what_each_clip_pays_alone(name):
    make, after = foreign.NETWORKS[name][:2]
    clips = torch.randn(3, 3, 12, 32, 32)
    clips[1] = clips[1, :, :1]  # one of them stands still
    model = insert_sgs(make(), after, framewise=[foreign.Swish]).train()
    for norm in (module for module in model.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm3d)):
        norm.momentum = 1.0  # running statistics of these clips keep embeddings apart
    model(clips)
    together = clip_macs(model, clips)
    assert together.tolist() == [clip_macs(model, clip[None]).item() for clip in clips]
    assert len(set(together.tolist())) > 1  # clips that cost the same would show nothing


def test_what_runs_once_per_length_is_counted_for_the_clips_of_that_length():
    def attend(x):
        flat = x.flatten(2)
        return (x + (flat @ flat.mT @ flat).view_as(x)).mean((2, 3, 4))

    clips = [torch.randn(3, frames, 2, 2) for frames in (2, 5, 2)]
    macs = clip_macs(Calls(lambda x: per_length(x, attend)), pack(clips))
    assert macs.tolist() == [2 * 3 * 3 * 4 * frames for frames in (2, 5, 2)]
    macs = clip_macs(Calls(lambda x: per_length(x, attend) @ torch.ones(3, 7)), pack(clips))
    assert macs.tolist() == [2 * 3 * 3 * 4 * frames + 3 * 7 for frames in (2, 5, 2)]  # dense again: all share


def test_temporal_attention_pays_for_what_it_gathers_and_distributes():
    layer, positions = TemporalAttention(6, 3, norm=nn.BatchNorm3d), 4 * 5
    per_map = 2 * 6 * 3 + 2 * 3 * 6 * positions  # two times scores of a map, two times its share of the sums
    expected = [frames * per_map + 3 * 6 * 6 * positions for frames in (5, 2)]
    together = clip_macs(layer, pack([torch.randn(6, frames, 4, 5) for frames in (5, 2)]))
    assert together.tolist() == expected
    assert clip_macs(layer, torch.randn(3, 6, 5, 4, 5)).tolist() == [expected[0]] * 3


def test_a_transposed_convolution_pays_for_its_input():
    conv, lengths = nn.ConvTranspose3d(4, 6, (2, 1, 1), stride=(2, 1, 1), groups=2), (3, 1)
    macs = clip_macs(conv, pack([torch.randn(4, frames, 2, 3) for frames in lengths]))
    assert macs.tolist() == [frames * 6 * (4 * 3 * 2) for frames in lengths]
    dense = torch.randn(2, 4, 3, 2, 3)
    assert clip_macs(conv, dense).tolist() == [total_macs(conv, dense) / 2] * 2


def test_a_layer_whose_weight_is_computed_is_counted():
    conv = parametrizations.weight_norm(nn.Conv3d(2, 3, 1))
    assert clip_macs(nn.Sequential(conv), torch.randn(2, 2, 4, 1, 1)).tolist() == [4 * 6] * 2


def test_a_layer_that_stands_in_two_places_is_counted_once_a_call():
    layer = nn.Linear(4, 4)
    model = nn.Sequential(nn.Sequential(layer), nn.Sequential(layer))
    assert clip_macs(model, torch.randn(2, 4)).tolist() == [2 * 4 * 4] * 2


def test_arguments_may_be_named():
    class Named(nn.Sequential):
        def forward(self, *, clips):
            return self[0](input=clips)

    Named.__module__ = nn.Sequential.__module__  # so that the layer is heard, not the functions that it calls
    model = Named(nn.Linear(4, 5))
    with count_macs(model) as counter:
        model(clips=torch.randn(2, 4))
        assert counter.read_and_reset().tolist() == [4 * 5] * 2


def test_a_module_that_calls_itself_is_counted_once_a_call():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, x, again=True):
            x = self.linear(x)
            return self(x, again=False) if again else x

    assert clip_macs(nn.Sequential(Twice()), torch.randn(2, 4)).tolist() == [2 * 4 * 4] * 2


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_torchscript_is_refused_where_it_would_count_as_nothing():
    network = nn.Sequential(nn.ReLU(), nn.Linear(4, 4))
    x = torch.randn(2, 4)
    for model in (torch.jit.trace(network, x), nn.Sequential(torch.jit.script(network))):
        with pytest.raises(TypeError, match="is TorchScript"):
            clip_macs(model, x)
    with_script = nn.Sequential(torch.jit.trace(nn.ReLU(), x), network)
    assert clip_macs(with_script, x).tolist() == [4 * 4] * 2


def test_a_network_that_gets_no_clips_is_reported():
    with pytest.raises(TypeError, match="called with no tensor"):
        clip_macs(Calls(lambda n: n), 3)


def test_a_network_derived_from_ours_counts_as_ours(repo):
    class Derived(SlowFast):
        """Of this file, so that the counter listens to all of it."""

    cfg = load_cfg(str(repo / "configs/Demo/SLOWFAST_R18_ATFR.yaml"))
    clips = torch.randn(2, 3, cfg.DATA.NUM_FRAMES, 32, 32)
    inputs = [clips[:, :, :: cfg.SLOWFAST.ALPHA], clips]
    weights = build_model(cfg).state_dict()
    counted = []
    for kind in (SlowFast, Derived):
        model = kind(cfg)
        model.load_state_dict(weights)
        counted.append(clip_macs(model, inputs).tolist())
    assert counted[0] == counted[1]
