"""What becomes of each idiom, of packed clips against each clip alone, in float64: `python -m tests.packed.sweep`."""

import math
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import slowfast_atfr.packed
from slowfast_atfr.packed import PackedClips, pack, unpack
from slowfast_atfr.packed.ragged import RaggedLength
from slowfast_atfr.packed.views import CLIPS, FRAMES, View
from tests.packed.idioms import LAYERS
from tests.packed.idioms_of_shape import SHAPES

IDIOMS = LAYERS | SHAPES
LENGTHS = (3, 2, 4, 3)
CHANNELS, SIZE = 4, 6


def lines(kind: str) -> list[str]:
    return [line.strip() for line in IDIOMS[kind].strip().splitlines()]


def run(line: str, x: Any, y: Any, gate: Tensor) -> Any:
    """What a line makes of a feature map; `x += y` is what x is then."""
    n, c, t, h, w = x.size()
    vector = torch.linspace(0.5, 2, CHANNELS, dtype=torch.float64)
    names = {"x": x * 1, "y": y, "g": gate, "v": vector, "n": n, "c": c, "t": t, "h": h, "w": w}
    names |= {"torch": torch, "F": F, "nn": nn, "math": math, "np": np}
    torch.manual_seed(0)
    if line.startswith(("x +=", "x *=")):
        exec(line, names)
        return names["x"]
    return eval(line, names)


def outcome(line: str, lengths: Sequence[int] = LENGTHS) -> str:
    """ "equal" to each clip alone, "refused" by our error, or what is wrong or unclear."""
    generator = torch.Generator().manual_seed(1)
    clips, others = (
        [torch.randn(CHANNELS, length, SIZE, SIZE, dtype=torch.float64, generator=generator) for length in lengths]
        for _ in range(2)
    )
    gate = torch.rand(len(lengths), CHANNELS, 1, 1, 1, dtype=torch.float64, generator=generator)
    leaves = [clip.requires_grad_() for clip in clips]
    alone = []
    try:
        for index, (clip, other) in enumerate(zip(clips, others, strict=True)):
            alone.append(run(line, clip[None], other[None], gate[index : index + 1]))
    except Exception as error:
        return f"no idiom: {type(error).__name__}: {error}"
    try:
        together = run(line, pack(leaves), pack(others), gate)
    except Exception as error:
        return f"{'refused' if _is_clear(error) else 'unclear'}: {type(error).__name__}: {error}"
    try:
        compare(together, alone, lengths)
        _compare_gradients(together, alone, leaves, lengths)
    except AssertionError as error:
        return f"wrong: {error}"
    return "equal"


def _is_clear(error: Exception) -> bool:
    """Whether an error is one of ours: it says why, and then what to do."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = frames[-1].filename.startswith(str(Path(slowfast_atfr.packed.__file__).parent))
    return ours and ". " in str(error)


def compare(together: Any, alone: list[Any], lengths: Sequence[int]) -> None:
    """Assert that what came of packed clips is what came of each."""
    if isinstance(together, tuple | list):
        if len(together) == len(lengths) and any(len(together) != len(one) for one in alone):
            raise AssertionError("a sequence with an entry for each clip")
        assert {len(together)} == set(map(len, alone)), f"{len(together)} entries, not {[len(one) for one in alone]}"
        for index, part in enumerate(together):
            compare(part, [one[index] for one in alone], lengths)
        return
    if isinstance(together, RaggedLength):
        assert together.lengths == tuple(alone), f"{together}, not {alone}"
        return
    if not isinstance(together, Tensor | PackedClips | View):
        assert all(together == one for one in alone) or together == len(lengths), f"{together}, not {alone}"
        return
    for part, one in zip(parts(together, alone, lengths), alone, strict=True):
        assert part.dtype == one.dtype, f"{part.dtype}, not {one.dtype}"
        assert part.shape == one.shape, f"shape {tuple(part.shape)}, not {tuple(one.shape)}"
        torch.testing.assert_close(part, one, rtol=1e-9, atol=1e-9, equal_nan=True)


def parts(together: Any, alone: list[Tensor], lengths: Sequence[int]) -> list[Tensor]:
    """What of a result is each clip's, as it comes from the clip alone."""
    if isinstance(together, PackedClips):
        return [clip[None] for clip in unpack(together)]
    if isinstance(together, View):
        own = together.layout.lengths
        return [_of_view(together, frames) for frames in together.frames.split(own)]
    if together.ndim == 0:
        return [together] * len(alone)
    entries = [len(one) if one.ndim else 1 for one in alone]
    if together.ndim == alone[0].ndim + 1:  # squeezed alone, a batch of one
        assert len(together) == len(alone), f"shape {tuple(together.shape)}"
        return list(together)
    if sum(entries) != len(together) and len(set(map(len, alone))) == 1 and together.shape == alone[0].shape:
        return [together] * len(alone)  # says nothing of clips
    assert sum(entries) == len(together), f"shape {tuple(together.shape)}, not {[tuple(one.shape) for one in alone]}"
    return list(together.split(entries))


def _of_view(view: View, frames: Tensor) -> Tensor:
    order = [axis for dim in view.dims for axis in dim if axis != CLIPS]
    order += [axis for axis in range(frames.ndim) if axis not in order]
    sizes = [math.prod(frames.shape[axis] for axis in dim if axis != CLIPS) for dim in view.dims]
    assert FRAMES in order
    return frames.permute(order).reshape(sizes)


def _compare_gradients(together: Any, alone: list[Any], leaves: list[Tensor], lengths: Sequence[int]) -> None:
    if not isinstance(together, Tensor | PackedClips | View) or not alone[0].requires_grad:
        return
    results = parts(together, alone, lengths)
    weights = [torch.rand(one.shape, dtype=one.dtype) for one in alone]
    try:
        grads_alone = _gradients(alone, weights, leaves)
    except RuntimeError:  # torch has none
        return
    for got, expected in zip(_gradients(results, weights, leaves), grads_alone, strict=True):
        assert (got is None) == (expected is None), "a gradient is lost"
        if got is not None:
            torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9, equal_nan=True)


def _gradients(results: list[Tensor], weights: list[Tensor], leaves: list[Tensor]) -> tuple:
    loss = sum((weight * result).sum() for weight, result in zip(weights, results, strict=True))
    return torch.autograd.grad(loss, leaves, allow_unused=True, retain_graph=True)


def outcomes() -> Iterator[tuple[str, str, str]]:
    """(kind, line, outcome)"""
    for kind in IDIOMS:
        for line in lines(kind):
            yield kind, line, outcome(line)


if __name__ == "__main__":
    found = list(outcomes())
    for kind, line, end in found:
        if end != "equal":
            print(f"{kind}: {line}\n    {end[:300]}")
    for kind in (*IDIOMS, None):
        ends = [end.partition(":")[0] for at, _, end in found if kind in (None, at)]
        print(kind or "all", {end: ends.count(end) for end in sorted(set(ends))})
