import pytest
import torch
import torch.nn.functional as F
from torch import nn

from slowfast_atfr.packed import PackedClips, pack, pack_dense, to_frames, unpack

LENGTHS = (2, 5, 1, 5)


@pytest.fixture
def x(make_clips):
    return pack(make_clips(LENGTHS))


def batch_norms(training):
    norm = nn.BatchNorm3d(4).double().train(training)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    norm.running_mean.uniform_()
    norm.running_var.uniform_(0.5, 1.5)
    return norm


def test_batch_norm_in_eval(check_alone):
    check_alone(batch_norms(training=False), LENGTHS, round_to=2)


def test_batch_norm_in_training_is_that_of_all_real_frames(make_clips):
    clips = make_clips(LENGTHS)
    norms = [batch_norms(training=True)]
    norms.append(nn.BatchNorm2d(4).double())
    norms[1].load_state_dict(norms[0].state_dict())
    packed = pack(clips).joined.requires_grad_()
    frames = torch.cat([clip.transpose(0, 1) for clip in clips]).requires_grad_()  # (S, C, H, W)
    results = [norms[0](PackedClips(packed, LENGTHS)).joined[0].transpose(0, 1), norms[1](frames)]
    torch.testing.assert_close(*results)

    weight = torch.randn_like(results[0])
    for result in results:
        (result * weight).sum().backward()
    torch.testing.assert_close(packed.grad[0].transpose(0, 1), frames.grad)
    for together, expected in zip(norms[0].parameters(), norms[1].parameters(), strict=True):
        torch.testing.assert_close(together.grad, expected.grad)
    for name, buffer in norms[0].named_buffers():
        torch.testing.assert_close(buffer, norms[1].get_buffer(name))


@pytest.mark.parametrize(
    "module",
    [
        nn.GroupNorm(2, 4),
        nn.InstanceNorm3d(4, affine=True),
        nn.InstanceNorm3d(4, track_running_stats=True).eval(),
        nn.Softmax(dim=1),
        nn.LogSoftmax(dim=-4),
        nn.ZeroPad3d((1, 0, 2, 1, 0, 0)),
        nn.ZeroPad3d((1, 0, 2, 1, 2, 1)),
        nn.ConstantPad3d((1, 1, 0, 0, 1, 0), 3.0),
        nn.ReplicationPad3d((1, 1, 1, 1, 0, 0)),
        nn.ReplicationPad3d((1, 1, 1, 1, 2, 3)),
        nn.Upsample(scale_factor=(1, 2, 2)),
        nn.Upsample(scale_factor=2, mode="trilinear"),
        nn.Upsample(size=(3, 4, 4)),
    ],
    ids=repr,
)
def test_modules_that_treat_clips_alone(check_alone, module):
    check_alone(module.double(), LENGTHS, round_to=2)
    check_alone(module.double(), (3, 3))


@pytest.mark.parametrize(
    "op",
    [
        lambda x: torch.batch_norm(x, None, None, *torch.ones(2, 4, dtype=x.dtype), False, 0.1, 1e-5, False),
        lambda x: torch.group_norm(x, 2),
        lambda x: torch.max_pool3d(x, (1, 2, 2)),
        lambda x: x.softmax(1) + torch.log_softmax(x, 1) + x.log_softmax(dim=1) + torch.softmax(x, dim=-4),
        lambda x: F.interpolate(input=x, scale_factor=(2, 1, 1)),
        lambda x: torch.conv_transpose3d(x, torch.ones(4, 2, 1, 1, 1, dtype=torch.float64)),
    ],
)
def test_other_names_of_the_same_functions(check_alone, op):
    check_alone(lambda x: op(x * 1), LENGTHS)


@pytest.mark.parametrize(
    "op",
    [
        lambda x: torch.cat([x, x.relu()], 1),
        lambda x: torch.cat((x, x * 2), dim=-1),
        lambda x: torch.concat([x[..., :2, :], x[..., 2:, :]], 3),
        lambda x: F.pad(x, (0, 0, 0, 0, 0, 0, 0, 3)),  # channels, as a parameter-free shortcut does
        lambda x: F.pad(x, (0, 0, 0, 0, 2, -1)),
        lambda x: x[:, 1:3],
        lambda x: x[:, ::2, :, 1:, :-1],
        lambda x: x[..., 2:, 1:4],
        lambda x: x[:, :, :],
        lambda x: x.chunk(2, 1)[0] * torch.chunk(x, 2, dim=1)[1],
        lambda x: x.split(3, 1)[0] + torch.split(x, [3, 1], 1)[1],
        lambda x: x.split(2, -1)[1],
        nn.ChannelShuffle(2),
    ],
)
def test_channels_and_crops(check_alone, op):
    check_alone(op, LENGTHS, round_to=2)


def test_new_tensors_are_ordinary_ones_of_the_same_type(x):
    """As timm's drop path: a mask with one entry per clip."""
    shape = (x.shape[0],) + (1,) * (x.ndim - 1)
    for new in (x.new_zeros(shape), x.new_ones(*shape), x.new_full(shape, 2.0), x.new_empty(shape), x.new_tensor([1])):
        assert isinstance(new, torch.Tensor) and new.dtype == x.dtype
    mask = x.new_empty(shape).bernoulli_(0.5)
    for clip, kept, keep in zip(unpack(x), unpack(x * mask), mask.flatten(), strict=True):
        assert torch.equal(kept, clip * keep)


def test_a_padded_clip_too_short_for_its_mode_is_named(x):
    with pytest.raises(RuntimeError, match=r"functional.pad on clips \[2\], of 1 frames: .*adding size"):
        F.pad(x, (0, 0, 0, 0, 1, 1), mode="reflect")


def test_dropout3d_has_one_mask_per_clip():
    x = pack([torch.ones(64, length, 2, 2) for length in LENGTHS])
    for dropped in (nn.Dropout3d(0.25)(x), nn.Dropout3d(0.25, inplace=True)(x.clone())):
        masks = []
        for clip in unpack(dropped):
            assert (clip == clip[:, :1, :1, :1]).all(), "a channel is dropped as a whole, in all frames of the clip"
            masks.append(clip[:, 0, 0, 0])
            torch.testing.assert_close(masks[-1].unique(), torch.tensor([0, 1 / 0.75]))
        assert len({tuple(mask.tolist()) for mask in masks}) == len(LENGTHS)
    assert torch.equal(nn.Dropout3d(0.25).eval()(x).joined, x.joined)


def test_dropout3d_in_place_changes_the_clips(x):
    assert nn.Dropout3d(0.9, inplace=True)(x) is x
    assert (x.joined == 0).any()


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda x: nn.Linear(5, 5)(x.view(4, 4, -1)), "linear over the last dim.*Reduce over time before"),
        (lambda x: nn.Linear(5, 5)(nn.Flatten()(x)), "linear over the last dim.*Reduce over time before"),
        (lambda x: x.view(-1, 100), "view of .* would mix frames.*Reduce over time before.*per_length"),
        (lambda x: x.view(4, 4, 1, -1, 5, 2), "view of .* for every clip"),
        (lambda x: x.view(4, 2, x.size(2), 2, 5, 5), "view of .* would mix frames"),
        (lambda x: x.squeeze(2), r"squeeze of dimension 2 would drop it for some clips only"),
        (lambda x: x.softmax(0), "softmax over dimension 0 of View.* mixes clips"),
        (lambda x: x.transpose(0, 1).mean(1), r"mean over dimensions 1 of View.* mixes clips"),
        (lambda x: x.transpose(1, 2) + x, "got packed clips together with View"),
        (lambda x: x.transpose(1, 2).flatten(1) + x.flatten(1), "of views View.* and View.* has no rule"),
        (lambda x: x.transpose(1, 2) + torch.ones(5, 4, 1, 1), "got a tensor of shape .* together with View"),
        (lambda x: x.flatten(2).transpose(1, 2) @ x.flatten(2), "matmul has no rule for a view of packed clips"),
        (lambda x: torch.cat([torch.ones(4, 1, 4), x.flatten(2).mT], 1), r"of a tensor of shape \(4, 1, 4\) and View"),
        (lambda x: nn.Conv2d(4, 4, 1)(x.transpose(1, 2)), "conv2d has no rule for a view of packed clips"),
        (lambda x: x @ x, "torch.Tensor.matmul.*per_length"),
        (lambda x: torch.einsum("ncthw,nc->nthw", x, torch.ones(4, 4)), "einsum.*per_length"),
        (lambda x: F.scaled_dot_product_attention(x, x, x), "scaled_dot_product_attention.*per_length"),
        (lambda x: nn.LayerNorm((4, 2, 5, 5))(x), "layer_norm.*mixes frames.*per_length"),
        (lambda x: torch.stack([x, x]), "torch.stack.*per_length"),
        (lambda x: F.log_softmax(x), "softmax over dimension None"),
        (lambda x: torch.cat([x, x]), "cat along dimension 0"),
        (lambda x: torch.cat([x, x], 5), "cat along dimension 5"),
        (lambda x: torch.cat([x, x.joined], 1), "cat got packed and dense clips together.*pack_dense"),
        (lambda x: torch.cat([x.joined, x], 1), "cat got packed and dense clips together"),
        (lambda x: torch.cat([x, pack(unpack(x)[::-1])], 1), r"\(2, 5, 1, 5\) and \(5, 1, 5, 2\).*pad_lengths"),
        (lambda x: x.chunk(2), "chunk along dimension 0"),
        (lambda x: torch.split(x, 1, 2), "split along dimension 2"),
        (lambda x: x[0], "takes parts of channels, frames and space only"),
        (lambda x: x[:2], "takes parts of channels"),
        (lambda x: x[x > 0], "takes parts of channels"),
        (lambda x: x[:, :, :, :, :, :], "takes parts of channels"),
        (lambda x: x[:, [0, 1], :, [0, 1]], "takes parts of channels"),
        (lambda x: list(x), "takes parts of channels"),
        (lambda x: x.__setitem__(slice(1), 0), "takes parts of channels"),
        (lambda x: x.__setitem__((slice(None), 0), torch.ones(13, 5, 5)), r"got a tensor of shape \(1, 13, 5, 5\)"),
        (lambda x: x.__setitem__((slice(None), 0), x), "got View"),
        (lambda x: x.repeat(2, 1, 1, 1, 1), r"repeat \(2, 1, 1, 1, 1\) is not defined"),
        (lambda x: x.expand(4, 4, 7, 5, 5), "expand of clips"),
        (lambda x: torch.zeros(4, x.size(2)), "torch.zeros of .* A size of packed clips is"),
        (lambda x: torch.zeros(2, 4, x.size(2), 1, 1), "torch.zeros of .* A size of packed clips is"),
        (lambda x: x.new_zeros(4, 4, x.size(2) - 1, 1, 1), r"new_zeros got \(1, 4, 0, 4\) frames"),
        (lambda x: F.avg_pool3d(x, (x.size(2) + 1, 1, 1)), r"a pool over \(3, 6, 2, 6\) frames is not defined"),
        (lambda x: torch.ones(2).view(1, x.size(2)), "view of .* has no rule"),
        (lambda x: torch.ones(2, 1, 1, 1, 1).expand(2, 4, x.size(2), 1, 1), "expand to 2 clips is not defined for 4"),
        (lambda x: torch.ones(4)[x], "__getitem__ takes packed clips as its first argument only"),
        (lambda x: F.pad(x, (0,) * 9 + (1,)), "would add clips"),
        (lambda x: nn.InstanceNorm3d(4, track_running_stats=True).double()(x), "track_running_stats=False"),
        (lambda x: F.conv3d(torch.ones(1, 4, 3, 3, 3), x), "conv3d takes packed clips as its first argument only"),
        (lambda x: F.batch_norm(torch.ones(1, 4, 3, 3, 3), x, x), "batch_norm takes packed clips as its first"),
        (lambda x: x.numpy(), "torch.Tensor.numpy.*per_length"),
        (lambda x: torch.fft.fft(x), "fft.*per_length"),
    ],
)  # fmt: skip
def test_what_has_no_rule_is_a_type_error_with_its_remedy(x, call, message):
    with pytest.raises(TypeError, match=message):
        call(x)


def test_dense_tensors_never_enter(monkeypatch):
    def fail(*_, **__):
        raise AssertionError("a dense tensor came to a handler")

    monkeypatch.setattr("slowfast_atfr.packed.clips.call", fail)
    net = nn.Sequential(
        nn.Conv3d(2, 4, 3, padding=1), nn.BatchNorm3d(4), nn.ReLU(), nn.MaxPool3d(2), nn.AdaptiveAvgPool3d(1)
    )
    assert net(torch.randn(2, 2, 4, 6, 6)).shape == (2, 4, 1, 1, 1)


def test_pack_dense_and_an_op_touch_no_memory(make_clips):
    dense = torch.stack(make_clips((3, 3))).contiguous(memory_format=torch.channels_last_3d)
    x = pack_dense(dense).relu_()
    assert (dense >= 0).all() and to_frames(x)[0].data_ptr() == dense.data_ptr()
