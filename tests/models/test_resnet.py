"""What is written over without gradients: nothing that anybody needs, and the results are the same."""

import pytest
import torch
from torch import nn

from slowfast_atfr.models.resnet import ResBlock
from slowfast_atfr.models.stages import BlockSpec
from slowfast_atfr.packed import PackedClips, pack

PROJECTED = {"dim_in": 4, "dim_out": 8, "stride": 2}


def make_block(trans_func, **changes):
    torch.manual_seed(0)
    sizes = {"dim_in": 8, "dim_inner": 8, "dim_out": 8, "stride": 1, "temporal_kernel": 3, "index": 0} | changes
    spec = BlockSpec(**sizes, dilation=1, num_groups=1, stride_1x1=False)
    return ResBlock(spec, trans_func=trans_func, norm=nn.BatchNorm3d, inplace_relu=True).eval()


def data_of(x):
    return x.joined if isinstance(x, PackedClips) else x


@pytest.mark.parametrize("changes", [{}, PROJECTED, {"index": 1}])
@pytest.mark.parametrize("trans_func", ["bottleneck_transform", "basic_transform", "x3d_transform"])
@pytest.mark.parametrize("lengths", [(4, 4), (3, 5)])
def test_without_gradients_a_block_gives_the_same_and_leaves_its_input(trans_func, changes, lengths):
    block = make_block(trans_func, **changes)
    clips = [torch.randn(changes.get("dim_in", 8), length, 6, 6) for length in lengths]
    x = torch.stack(clips) if len(set(lengths)) == 1 else pack(clips)
    before = data_of(x).clone()
    expected = data_of(block(x)).detach()
    assert torch.equal(data_of(x), before)
    with torch.no_grad():
        torch.testing.assert_close(data_of(block(x)), expected)  # other kernels run there
    assert torch.equal(data_of(x), before)


def test_gradients_take_what_they_need_from_untouched_tensors():
    block = make_block("x3d_transform").double().train()
    x = torch.randn(2, 8, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(block, x)
