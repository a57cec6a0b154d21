"""Items and batches check themselves, and a batch is made of what could be read."""

import pytest
import torch

from slowfast_atfr.datasets.items import Batch, Clip, Skip, Views, collate_clips


def clip(index, label=0):
    return Clip(torch.full((2, 4, 4, 3), index, dtype=torch.uint8), label, index)


def test_a_batch_leaves_out_what_could_not_be_read():
    skip = Skip(1, "a.mp4", "bad")
    batch = collate_clips([clip(5, 2), Clip(None, 0, 1, (skip,)), clip(6, 3)])
    assert batch.index.tolist() == [5, 6] and batch.labels.tolist() == [2, 3] and batch.view.tolist() == [0, 0]
    assert batch.frames[:, 0, 0, 0, 0].tolist() == [5, 6] and batch.skipped == (skip,)
    assert batch.frames.shape == (2, 2, 4, 4, 3) and len(batch) == 2


def test_a_batch_of_nothing():
    batch = collate_clips([Clip(None, 0, 1, (Skip(1, "a.mp4", "bad"),))])
    assert batch.frames is None and len(batch) == 0 and batch.labels.dtype == torch.int64 and len(batch.skipped) == 1


@pytest.mark.parametrize("frames", [torch.zeros(2, 4, 4, 3), torch.zeros(2, 3, 4, 4, dtype=torch.uint8)])
def test_frames_of_another_kind_are_refused(frames):
    with pytest.raises(ValueError, match="uint8 in"):
        Clip(frames, 0, 0)
    with pytest.raises(ValueError, match="uint8 in"):
        Views(frames[None], 0, 0)


def test_parts_of_different_lengths_are_refused():
    numbers = torch.zeros(2, dtype=torch.int64)
    with pytest.raises(ValueError, match="1, 2, 2, 2 clips"):
        Batch(torch.zeros(1, 2, 4, 4, 3, dtype=torch.uint8), numbers, numbers, numbers)


def test_pinning_reaches_every_tensor(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor + 1)  # pinning itself needs a GPU
    batch = collate_clips([clip(5, 2), Clip(None, 0, 1, (Skip(1, "a.mp4", "bad"),))])
    pinned = batch.pin_memory()
    for name in ("frames", "labels", "index", "view"):
        assert torch.equal(getattr(pinned, name), getattr(batch, name) + 1)
    assert pinned.skipped == batch.skipped


@pytest.mark.needs_cuda
def test_pinning_keeps_everything():
    batch = collate_clips([clip(5, 2), clip(6, 3)])
    pinned = batch.pin_memory()
    assert pinned.frames.is_pinned() and pinned.labels.is_pinned() and torch.equal(pinned.frames, batch.frames)
    assert collate_clips([Clip(None, 0, 1)]).pin_memory().frames is None
    assert Views(batch.frames, 0, 0).pin_memory().frames.is_pinned()
