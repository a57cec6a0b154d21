"""Padded mode is the authors' released sampler: outputs, masks and gradients of all its cases, within 1e-6.

In float64, as the figures were made; ours in float32 differs from them by up to 5e-6 in outputs of size 4, 1.3e-5 in
gradients of size 45, both rounding.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from slowfast_atfr.packed import unpack
from slowfast_atfr.sgs import SGS, record

CASES = json.loads((Path(__file__).parent / "golden" / "authors_release.json").read_text())["cases"]


def wave(shape: tuple[int, ...], a: float, b: float) -> Tensor:
    """f of the golden file: sin(i a + b) + 0.3 cos(0.37 i), row-major."""
    index = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
    return (torch.sin(index * a + b) + 0.3 * torch.cos(index * 0.37)).reshape(shape)


class Given(nn.Module):
    """In the place of the embedding network: embeddings (N, L, T) that are there already."""

    def __init__(self, embeddings: Tensor) -> None:
        super().__init__()
        self.embeddings = embeddings

    def forward(self, means: Tensor, lengths: Sequence[int] = ()) -> Tensor:
        return self.embeddings.transpose(1, 2).flatten(0, 1)


def run(case: dict) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """-> output, mask of its active bins, input and embeddings, both with gradients."""
    x = wave((2, 3, 8, 2, 2), 0.11, 0.2).requires_grad_()
    embeddings = wave((2, 5, 8), 0.9, 0.5).requires_grad_()
    batching = "padded" if case["drop_empty"] else "packed"
    sgs = SGS(3, case["num_bins"], 0, "mean_cosine", case["kernel"], embed_dim=5, batching=batching).double().eval()
    sgs.embed = Given(embeddings)
    with record(sgs) as log:
        out = sgs(x)
    if case["drop_empty"]:
        mask = torch.tensor([[index < clip.num_active for index in range(out.shape[2])] for clip in log[""]])
    else:  # the release keeps empty bins here: ours go to the places of their indices
        mask = torch.zeros(2, case["out_shape"][2], dtype=torch.bool)
        clips = []
        for n, (clip, seen) in enumerate(zip(unpack(out), log[""], strict=True)):
            active = torch.from_numpy(seen.bin).unique()
            mask[n, active] = True
            clips.append(clip.new_zeros(3, mask.shape[1], 2, 2).index_copy(1, active.long(), clip))
        out = torch.stack(clips)
    out.backward(wave(out.shape, 0.05, 1.0))
    return out, mask, x, embeddings


def expect(found: Tensor, figures: list[float]) -> None:
    """Within 1e-6; figures above 10 have 8 digits, so there it is 1e-7 of the figure."""
    torch.testing.assert_close(found.flatten(), torch.tensor(figures, dtype=torch.float64), rtol=1e-7, atol=1e-6)


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c['kernel']}-{c['num_bins']}-drop={c['drop_empty']}")
def test_the_authors_release(case):
    out, mask, x, embeddings = run(case)
    assert list(out.shape) == case["out_shape"] and mask.int().tolist() == case["mask"]
    expect(out, case["out"])
    expect(x.grad.flatten()[:8], case["grad_input_first"])
    assert x.grad.sum().item() == pytest.approx(case["grad_input_sum"], abs=3e-6)  # of 192 terms
    if case["kernel"] != "linear_normalized":  # there the release leaves 1/n out; see the next test
        expect(embeddings.grad, case["grad_embedding"])


@pytest.mark.parametrize("drop_empty", [False, True])
@pytest.mark.parametrize("num_bins", [-1, 4])
def test_the_gradient_of_linear_normalized_deviates_on_purpose(num_bins, drop_empty):
    """The release gives linear_normalized the gradient of linear; ours is that of the function that it computes."""
    linear, normalized = (
        next(
            case
            for case in CASES
            if (case["kernel"], case["num_bins"], case["drop_empty"]) == (kernel, num_bins, drop_empty)
        )
        for kernel in ("linear", "linear_normalized")
    )
    assert linear["grad_embedding"] == normalized["grad_embedding"]
    *_, embeddings = run(normalized)
    assert (embeddings.grad.flatten() - torch.tensor(normalized["grad_embedding"], dtype=torch.float64)).abs().max() > 1
