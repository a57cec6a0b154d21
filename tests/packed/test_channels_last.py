import operator

import pytest
import torch
from torch import nn

from slowfast_atfr.packed import pack
from slowfast_atfr.packed.views import View

LENGTHS = (2, 5, 1, 5)


class ConvNeXtBlock(nn.Module):
    """Norm and projections over channels, last in memory, between two permutes (Liu et al., CVPR 2022, in 3D)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(channels, channels, 3, padding=1, groups=channels)
        self.norm, self.act = nn.LayerNorm(channels), nn.GELU()
        self.up, self.down = nn.Linear(channels, 8), nn.Linear(8, channels)
        self.gamma = nn.Parameter(torch.randn(channels))

    def forward(self, x):
        y = self.conv(x).permute(0, 2, 3, 4, 1)
        y = self.down(self.act(self.up(self.norm(y))))
        return x + (self.gamma * y).permute(0, 4, 1, 2, 3)


def between(op):
    return lambda x: op(x.permute(0, 2, 3, 4, 1)).permute(0, 4, 1, 2, 3)


def test_a_block_between_two_permutes(check_alone):
    check_alone(ConvNeXtBlock(4).double(), LENGTHS, round_to=2)
    check_alone(ConvNeXtBlock(4).double(), (3, 3))


@pytest.mark.parametrize(
    "op",
    [
        nn.Linear(4, 3).double(),
        nn.LayerNorm(4).double(),
        nn.Softmax(dim=4),
        lambda x: x.log_softmax(-1),
        lambda x: x.contiguous().relu() + x * 2 - 1,
        lambda x: 1 - x / 3,
        lambda x: x * torch.arange(4.0, dtype=torch.float64) - x.mean((1, 2, 3), keepdim=True),
        lambda x: x - x.mean(-1, keepdim=True),
        lambda x: torch.nn.functional.dropout(-x, 0.5, training=False),
    ],
)
def test_what_may_stand_between_them(check_alone, op):
    check_alone(between(op), LENGTHS, round_to=2)
    check_alone(lambda x: torch.permute(op(torch.permute(x, (0, -3, -2, -1, 1))), [0, -1, 1, 2, 3]), LENGTHS)


@pytest.mark.parametrize("op", [torch.mean, torch.sum])
@pytest.mark.parametrize("dims", [[1, 2, 3], 1, (1, 4), (-4, -3, -2, -1)])
@pytest.mark.parametrize("keepdim", [True, False])
def test_reductions_over_time_are_per_clip_and_leave_channels_last(check_alone, op, dims, keepdim):
    check_alone(lambda x: op(x.permute(0, 2, 3, 4, 1) * 2, dims, keepdim), LENGTHS)
    check_alone(lambda x: getattr(x.permute(0, 2, 3, 4, 1), op.__name__)(dims, keepdim=keepdim), (3, 3))


def test_no_memory_moves(make_clips):
    x = pack(make_clips(LENGTHS))
    last = x.permute(0, 2, 3, 4, 1)
    assert last.permute(0, 4, 1, 2, 3).joined.data_ptr() == x.joined.data_ptr()
    assert (last.size(0), last.size(3), last.shape[4], last.dim(), last.dtype) == (4, 5, 4, 5, torch.float64)
    with pytest.raises(TypeError, match="T of packed clips is not one number"):
        int(last.size(1))


@pytest.mark.parametrize(
    "op, message",
    [
        (
            lambda x: nn.Linear(4, 4)(x.view(4, -1)),
            "linear over the last dim.* mixes frames.*time before",
        ),
        (lambda x: torch.matmul(x, x), "torch.matmul has no rule"),
        (lambda x: nn.Conv3d(5, 5, 1)(x), "conv3d has no rule for a view of packed clips"),
        (lambda x: nn.LayerNorm([2, 5, 5, 4]).double()(x), "over the last dimension of View.* mixes frames"),
        (lambda x: x.softmax(0), "softmax over dimension 0 of View.* mixes clips"),
        (lambda x: x.mean(0, keepdim=True), "mixes clips"),
        (lambda x: x + x.permute(0, 4, 1, 2, 3), "got packed clips together with View"),
        (lambda x: x * torch.ones(5, 1).double(), ""),
        (lambda x: x * torch.ones(5, 1, 1, 1).double(), "got a tensor of shape"),
    ],
)
def test_what_has_no_rule_is_refused(make_clips, op, message):
    last = pack(make_clips(LENGTHS)).permute(0, 2, 3, 4, 1)
    if not message:
        assert isinstance(op(last), View)  # a factor per column
        return
    with pytest.raises(TypeError, match=message):
        op(last)


def test_comparisons_are_elementwise_and_what_has_no_rule_is_refused():
    x = pack([torch.randn(4, t, 3, 3) for t in (2, 5)])
    last = x.permute(0, 2, 3, 4, 1)
    assert torch.equal((last == last).permute(0, 4, 1, 2, 3).joined, torch.ones_like(x.joined, dtype=torch.bool))
    assert torch.equal(torch.permute(x, dims=(0, 2, 3, 4, 1)).permute(0, 4, 1, 2, 3).joined, x.joined)
    assert torch.equal(operator.iadd(last, 1).permute(0, 4, 1, 2, 3).joined, x.joined)  # in place
    for call in (bool, lambda y: y[y], lambda y: y.permute(0, 7, 8, 9, 6)):
        with pytest.raises(TypeError):
            call(last)
