"""Multiply-adds of torch's functions, from the shapes of their arguments and results."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slowfast_atfr.models.convolution import FramesConv3d, TemporalConv3d
from slowfast_atfr.models.stem import StemConv3d
from slowfast_atfr.packed.cpu_quirks import conv3d_in_pairs
from slowfast_atfr.packed.views import View

Counted = tuple[float] | tuple[float, tuple[int, ...]]  # arguments of MacCounter.add


def _per_position(x: Any, channels: int, macs: int) -> Counted:
    """A layer that costs the same at every position of x in time and space."""
    if isinstance(x, Tensor):
        return (x.numel() / channels * macs,)
    if isinstance(x, View):
        return x.frames[0].numel() / channels * macs, x.layout.lengths
    return x.shape[3] * x.shape[4] * macs, x.lengths


def _linear(out: Any, input: Any, weight: Tensor, *_: Any, **__: Any) -> Counted:
    return _per_position(out, weight.shape[0], weight.numel())


def _transposed(out: Any, input: Any, weight: Tensor, *_: Any, **__: Any) -> Counted:
    return _per_position(input, weight.shape[0], weight.numel())


def _product(out: Tensor, input: Tensor, *_: Any, **__: Any) -> Counted:
    return (out.numel() * input.shape[-1],)


def _added_product(out: Tensor, input: Tensor, *factors: Tensor, **named: Any) -> Counted:
    left = factors[0] if factors else named["mat1" if "mat1" in named else "batch1"]
    return (out.numel() * left.shape[-1],)


def _attention(out: Tensor, query: Tensor, key: Tensor, *_: Any, **__: Any) -> Counted:
    """Queries times keys, and weights times values."""
    return ((query.numel() + out.numel()) * key.shape[-2],)


def _multi_head(
    out: tuple, query: Tensor, key: Tensor, value: Tensor, embed_dim_to_check: int, *_: Any, **__: Any
) -> Counted:
    """Four projections and the attention; (L, N, width) queries, or (L, width)."""
    width = embed_dim_to_check
    queries, keys = query.numel() // width, key.numel() // key.shape[-1]
    projections = width * (2 * queries * width + keys * (key.shape[-1] + value.shape[-1]))
    return (projections + 2 * queries * width * key.shape[0],)


def _recurrent(out: tuple, input: Tensor, *given: Any, **_: Any) -> Counted:
    """Every step multiplies with every matrix; `given` has them in a list."""
    (matrices,) = ([weight for weight in arg if weight.ndim > 1] for arg in given if isinstance(arg, list))
    return (input.numel() / input.shape[-1] * sum(matrix.numel() for matrix in matrices),)


def _cell(out: Any, input: Tensor, state: Any, of_input: Tensor, of_state: Tensor, *_: Any, **__: Any) -> Counted:
    return (input.numel() / input.shape[-1] * (of_input.numel() + of_state.numel()),)


def _bilinear(out: Tensor, input1: Tensor, input2: Tensor, weight: Tensor, *_: Any, **__: Any) -> Counted:
    return _per_position(out, weight.shape[0], weight.numel())


RULES: dict[Callable, Callable] = {
    **dict.fromkeys((F.linear, torch.conv1d, torch.conv2d, torch.conv3d, conv3d_in_pairs), _linear),
    **dict.fromkeys((torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d), _transposed),
    **dict.fromkeys((torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.mm, Tensor.mm), _product),
    **dict.fromkeys((torch.bmm, Tensor.bmm, torch.mv, Tensor.mv, torch.linalg.matmul), _product),
    **dict.fromkeys((torch.addmm, Tensor.addmm, Tensor.addmm_), _added_product),
    **dict.fromkeys((torch.baddbmm, Tensor.baddbmm, Tensor.baddbmm_), _added_product),
    F.scaled_dot_product_attention: _attention,
    F.multi_head_attention_forward: _multi_head,
    **dict.fromkeys((torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu), _recurrent),
    **dict.fromkeys((torch.lstm_cell, torch.gru_cell, torch.rnn_tanh_cell, torch.rnn_relu_cell), _cell),
    **dict.fromkeys((F.bilinear, torch.bilinear), _bilinear),
}
LAYERS = {  # whose functions are known
    **dict.fromkeys((nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d), _linear),
    **dict.fromkeys((FramesConv3d, TemporalConv3d, StemConv3d), _linear),
    **dict.fromkeys((nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d), _transposed),
}
# Functions of several products in an order that torch chooses, or that move axes.
BY_DISPATCH = (torch.einsum, torch.tensordot, torch.inner, Tensor.inner, torch.linalg.multi_dot, torch.chain_matmul)
