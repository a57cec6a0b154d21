"""Run modules that need the number of frames as an int, such as TensorFlow's "same" padding, once per length."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from slowfast_atfr.packed.clips import PackedClips, from_frames, to_frames
from slowfast_atfr.packed.convert import per_length
from slowfast_atfr.packed.dispatch import refusal


class _Pause(BaseException):
    """Stops a forward pass at a batch norm until those of the other lengths have reached it."""


def run_lengthwise(module: nn.Module, forward: Callable[..., Any], x: Any, *args: Any, **kwargs: Any) -> Any:
    """Run a module once per distinct length of packed clips; its batch norms in training see all clips at once.

    In training the module runs once more for each of its batch norms, up to that norm. So it should be small, such as a
    convolution with its padding and norm, and have no dropout before its last norm.

    Args:
        forward: of the module; takes a dense (n, C, L, H, W) and returns one tensor with an entry per clip.
        x: packed clips; anything else is passed to forward.
    """
    if not isinstance(x, PackedClips):
        return forward(x, *args, **kwargs)
    norms = [norm for norm in module.modules() if isinstance(norm, _BatchNorm) and norm.training]
    known: list[list[Tensor]] = []  # the results of each call of a norm, for every length
    while True:
        paused: list[tuple[nn.Module, Tensor]] = []
        ended: list[Tensor] = []

        def of_one_length(dense: Tensor, paused: list = paused, ended: list = ended) -> Tensor:
            mine = iter([results[len(paused) + len(ended)] for results in known])
            with _norms_that(norms, partial(_result, mine, paused)):
                try:
                    ended.append(forward(dense, *args, **kwargs))
                except _Pause:
                    return dense
            return ended[-1]

        output = per_length(x, of_one_length)
        if not paused:
            return output
        called = {id(norm) for norm, _ in paused}
        if ended or len(called) > 1:
            remedy = "Name a module with at most one batch norm, such as a convolution with its padding and norm"
            raise refusal(type(module).__name__, "calls its batch norms differently for other lengths", remedy)
        known.append(_together(paused[0][0], [value for _, value in paused]))


def _result(known: Iterator[Tensor], paused: list, norm: nn.Module, value: Tensor) -> Tensor:
    """The result of a norm for this length; raises _Pause if it is not known yet."""
    for result in known:
        return result
    paused.append((norm, value))
    raise _Pause


@contextmanager
def _norms_that(norms: Sequence[nn.Module], forward: Callable) -> Iterator[None]:
    """Replace the forward of norms."""
    try:
        for norm in norms:
            norm.forward = partial(forward, norm)
        yield
    finally:
        for norm in norms:
            norm.__dict__.pop("forward", None)


def _together(norm: nn.Module, values: list[Tensor]) -> list[Tensor]:
    """Normalise all clips at once: (n, C, L, H, W) for each length -> the same."""
    if any(value.ndim != 5 for value in values):
        raise refusal(type(norm).__name__, f"got {tuple(values[0].shape)} where clips are (N, C, T, H, W)")
    parts = [to_frames(value) for value in values]
    lengths = [length for _, own in parts for length in own]
    frames, _ = to_frames(norm(from_frames(torch.cat([part for part, _ in parts]), lengths)))
    pieces = frames.split([len(part) for part, _ in parts])
    return [
        piece.unflatten(0, (len(value), -1)).permute(0, 4, 1, 2, 3) for piece, value in zip(pieces, values, strict=True)
    ]
