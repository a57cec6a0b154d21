"""Parts of clips along channels and space, read and written, and sizes that have the T of clips."""

import pytest
import torch
import torch.nn.functional as F

from slowfast_atfr.packed import PackedClips, pack, unpack
from tests.packed.sweep import outcome, run

LENGTHS = (2, 5, 1, 5)


def movinet_pool(x):
    """As the pretrained MoViNet pools like TensorFlow."""
    x = F.avg_pool3d(F.pad(x, (0, 1, 0, 1)), (1, 3, 3), stride=(1, 2, 2))
    x[..., -1] = x[..., -1] * 9 / 6
    x[..., -1, :] = x[..., -1, :] * 9 / 6
    return x


def written(x):
    y = x * 1
    y[:, 0] = 2
    y[:, 1:3] = x[:, :2].tanh()
    y[:, :, :, 0, 1:3] = torch.arange(4.0, dtype=x.dtype).view(1, 4, 1, 1)
    y[:, [3]] *= x.mean((1, 2, 3, 4), keepdim=True)
    y[:, 3, :, 0, 0] += x[:, 3, :, 0, 0]
    y[..., 4] = x.mean((2, 3))[:, :, None, :1]
    y[y > 1.5] = 0.5
    return y


OPS = {
    "movinet's pool": movinet_pool,
    "written": written,
    "list of channels": lambda x: x[:, [0, 2]] * x[:, torch.tensor([True, False, False, True])],
    "tensor of channels": lambda x: x[:, torch.tensor([3, 3, 1])],
    "narrow": lambda x: x.narrow(1, 1, 2) + torch.index_select(x, 1, torch.tensor([3, 0])),
    "unbind": lambda x: torch.cat([part.unsqueeze(1) for part in reversed(x.unbind(1))], 1),
    "select": lambda x: x.select(1, 2).unsqueeze(1) * x.select(-1, 0).unsqueeze(-1),
    "tensor_split": lambda x: torch.cat(x.tensor_split(3, dim=1)[::-1], 1),
    "repeat": lambda x: x.repeat(1, 2, 1, 1, 3) + torch.tile(x, (1, 2, 1, 1, 3)),
    "repeat_interleave": lambda x: x.repeat_interleave(2, dim=1) - torch.repeat_interleave(x, 2, 1).flip(1),
    "flip and roll": lambda x: x.flip(1, 4) + torch.flip(x, [3]) + torch.roll(x, 1, 1) + x.roll((1, 2), (3, 4)),
    "expand": lambda x: x[:, :1].expand(-1, 4, -1, -1, -1) * x.mean(1, True).expand(x.size()),
    "expand by sizes": lambda x: x.mean((3, 4), True).expand(x.size(0), 4, x.size(2), 5, 5) + x,
    "a gate's expand": lambda x: x * x.mean((2, 3, 4), True).expand(x.shape) + x.amax((2, 3, 4), True).expand_as(x),
    "a gate's repeat": lambda x: x.mean((2, 3, 4), True).repeat(1, 1, x.size(2), 5, 5) * x,
    "shortcut A": lambda x: torch.cat([x, torch.zeros(x.size(0), 2, x.size(2), 5, 5, dtype=x.dtype)], 1),
    "new_zeros": lambda x: torch.cat([x, x.new_zeros(x.size(0), 2, x.size(2), x.size(3), 5), x.new_ones(x.shape)], 1),
    "full": lambda x: torch.full(x.shape, 2.0, dtype=x.dtype) * x + x.new_full(x.size(), 3),
    "zeros of half the frames": lambda x: x.sum() * 0
    + torch.ones((x.size(0), 1, -(-x.size(2) // 2), 2, 2), dtype=x.dtype)
    + F.max_pool3d(F.pad(x, (0, 0, 0, 0, 0, 1)), (2, 4, 4)).mean(1, True)[..., :1, :1],
    "glu": lambda x: F.glu(x, 1) + F.glu(x, dim=-4),
    "normalize": lambda x: F.normalize(x) + F.normalize(x, p=1, dim=4) + F.normalize(x, dim=2),
    "upsampled to a skip": lambda x: F.interpolate(F.max_pool3d(x, 2, 2, ceil_mode=True), size=x.shape[2:]) + x,
    "upsampled by a factor": lambda x: F.interpolate(x, size=(x.size(2) * 2, 7, 7), mode="trilinear"),
    "pool of whole clips": lambda x: F.max_pool3d(x, (x.size(2), 2, 2)) * F.avg_pool3d(x, (x.size(2), 2, 2)),
    "min and max": lambda x: x.min(1, keepdim=True)[0] + torch.max(x, dim=1, keepdim=True).values + torch.max(x, -x),
    "over time": lambda x: x.max(2)[0] * torch.min(x, 2, keepdim=True)[0].squeeze(2) + x.amin((2,)),
    "places": lambda x: x.amin((3, 4), True) * (torch.max(x, 1, keepdim=True)[1] + 1),
    "places in time": lambda x: x.mean(2) * x.max(2)[1],
    "var over space": lambda x: x.var((3, 4), keepdim=True) + torch.std(x, (3, 4), keepdim=True, unbiased=False),
    "var over clips": lambda x: torch.var(x, (2, 3, 4)) + x.std([2, 3, 4]) + x.var((2, 3, 4), keepdim=True).flatten(1),
    "var of channels": lambda x: x.var(1, unbiased=False, keepdim=True) + x.std(1, True, True),
    "norm": lambda x: x.norm(dim=1, keepdim=True) + torch.norm(x, 1, dim=(3, 4), keepdim=True),
    "norm of clips": lambda x: torch.linalg.vector_norm(x, dim=(2, 3, 4)) + x.norm(2, (2, 3, 4)),
}  # fmt: skip


@pytest.mark.parametrize("name", OPS)
def test_each_clip_as_alone(check_alone, name):
    for lengths in (LENGTHS, (3,), (4, 4), (1, 1)):
        check_alone(lambda x: OPS[name](x * 1), lengths)


def test_a_write_is_to_the_clips_themselves():
    clips = [torch.randn(4, length, 5, 5) for length in (3, 7, 2)]
    with torch.no_grad():
        x = pack(clips)
        x[:, :2, :, 1:] = x[:, 2:, :, 1:]
        x[:, 0, :, 0, 0] = 7
    for clip, got in zip(clips, unpack(x), strict=True):
        assert (got[0, :, 0, 0] == 7).all() and torch.equal(got[1, :, 1:], clip[3, :, 1:])


def test_tensors_of_t_are_where_the_clips_are():
    x = pack([torch.randn(4, length, 5, 5) for length in LENGTHS]).to("meta")
    zeros = torch.zeros(4, 2, x.size(2), 5, 5)
    assert isinstance(zeros, PackedClips) and zeros.device == x.device and zeros.lengths == LENGTHS


ALONE = """
    x[:, :, t // 2]
    x[:, :, t - 1]
    x[:, :, t - 1:]
    x[:, :, :t]
    x[:, 1:3, :t, 0]
    x[:, :, [0, -1]]
    torch.cat([x[:, :, :1], x], 2)
    x.narrow(1, -2, 2)
    x.narrow(1, torch.tensor(1), 2)
    x.narrow(-1, -6, 6)
    x.narrow(2, 0, t)
    x.narrow(2, -1, 1)
    x.narrow(2, t - 1, 1)
    x.select(-4, -1)
    x.index_select(1, torch.tensor(2))
    x.index_select(2, torch.tensor(0))
    x.index_select(-1, torch.tensor([5, 0], dtype=torch.int32))
    x.roll(t // 2, 2)
    x.roll(shifts=t // 2, dims=-3)
    x.roll((t // 2, -1, 1), (2, 1, 2))
    x.roll(-1, 2)
    x.roll(7, 2)
"""


@pytest.mark.parametrize("lengths", [(1,), (1, 1), (1, 3), (3, 6)])
@pytest.mark.parametrize("line", [line.strip() for line in ALONE.strip().splitlines()])
def test_parts_of_clips_of_one_frame_as_of_longer_ones(line, lengths):
    assert outcome(line, lengths) == "equal"


REFUSED_BY_TORCH = """
    x.narrow(1, 2, 5)
    x.narrow(1, -5, 1)
    x.narrow(2, 0, 4)
    x.narrow(2, t, 1)
    x.narrow(7, 0, 1)
    x.select(7, 0)
    x.select(-6, 0)
    x.select(2, 6)
    x.index_select(7, torch.tensor([0]))
    x.index_select(1, torch.tensor([-1]))
    x.index_select(2, torch.tensor([-1]))
    x.index_select(1, torch.tensor([[0]]))
    x.flip(7)
    x.flip(2, 2)
    x.roll(1, 7)
    x.roll((1, 2), 1)
    x.movedim(7, 1)
    x.unsqueeze(9)
    torch.stack([x, x], 9)
    x[:, :, ::-1]
    x[:, :, [True, False, True, True]]
    x[:, :, 6]
    x.narrow(2, 0, -1)
    x.narrow(2, -7, 1)
"""


@pytest.mark.parametrize("lengths", [(1,), (1, 1), (1, 3), (3, 6)])
@pytest.mark.parametrize("line", [line.strip() for line in REFUSED_BY_TORCH.strip().splitlines()])
def test_what_torch_refuses_of_a_clip_is_refused_of_all(line, lengths):
    """By an error of torch's own kind."""
    clips = [torch.randn(4, length, 6, 6) for length in lengths]
    with pytest.raises((IndexError, RuntimeError, ValueError)):
        run(line, clips[0][None], clips[0][None], None)
    with pytest.raises((IndexError, RuntimeError, ValueError)):
        run(line, pack(clips), pack(clips), None)


@pytest.mark.parametrize("lengths", [(1,), (1, 1), (1, 3)])
def test_a_clip_of_which_no_frame_is_left(lengths):
    with pytest.raises(ValueError, match="no frame of clip 0"):
        pack([torch.randn(4, length, 6, 6) for length in lengths])[:, :, 1:]


@pytest.mark.parametrize(
    "line",
    [
        "x.permute(0, 1, 3, 4, 2).flatten(2) * torch.ones(n, 4, 1)",
        "x.permute(2, 1, 0, 3, 4).flatten(1, 2) * torch.ones(1, 4, 1, 1)",
        "x.roll(t // 2, 1)",
        "x.narrow(1, 0, t)",
    ],
)
def test_refused_by_name(line):
    x = pack([torch.randn(4, length, 6, 6) for length in (2, 3)])
    with pytest.raises(TypeError, match=r"\. [A-Z]"):
        run(line, x, x, None)


MESSAGES = {
    "x.unbind(0)": "unbind along dimension 0 is not defined for these clips, only along 1, 3 and 4. ",
    "torch.unbind(x, 2)": "unbind along dimension 2 is not defined for these clips, only along 1, 3 and 4. ",
    "x.unbind(-3)": "unbind along dimension -3 is not defined for these clips, only along 1, 3 and 4. ",
    "x.flatten(3).unbind(3)": "unbind along dimension 3 is not defined for these clips, only along 1. ",
    "x.flatten(3).unbind()": "unbind along dimension 0 is not defined for these clips, only along 1. ",
    "x.flatten(1).unbind(1)": "unbind along dimension 1 is not defined for these clips. ",
    "x.transpose(1, 2).flatten(2).unbind(2)": "unbind along dimension 2 is not defined for these clips. ",
    "x.transpose(1, 2).unbind(1)": "unbind along dimension 1 is not defined for these clips, only along 2, 3 and 4. ",
    "x.unbind(7)": "dimension 7 of 5",
    "x.repeat_interleave(-1, 2)": "repeat_interleave: repeats cannot be negative, got -1",
    "x.repeat_interleave(-1, dim=1)": "repeat_interleave: repeats cannot be negative, got -1",
}


@pytest.mark.parametrize("line", MESSAGES)
def test_errors_name_the_operation_and_what_works(line):
    x = pack([torch.randn(4, length, 6, 6) for length in (2, 3)])
    with pytest.raises((TypeError, IndexError, RuntimeError)) as error:
        run(line, x, x, None)
    assert str(error.value).startswith(MESSAGES[line])


def test_clips_of_one_frame_can_be_taken_apart():
    x = pack([torch.randn(4, 1, 6, 6) for _ in range(3)])
    assert [part.shape for part in x.unbind()] == [(4, 1, 6, 6)] * 3
