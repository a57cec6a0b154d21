"""Prefetching changes where batches are, not what they are."""

import pytest
import torch

from slowfast_atfr.datasets.items import Batch
from slowfast_atfr.datasets.prefetch import prefetch


def batch(number, clips=3):
    labels = torch.full((clips,), number)
    frames = torch.full((clips, 2, 8, 8, 3), number, dtype=torch.uint8) if clips else None
    return Batch(frames, labels, labels.clone(), torch.zeros(clips, dtype=torch.int64))


def test_on_the_cpu_batches_go_through_as_they_come():
    taken = []

    def source():
        for number in range(3):
            taken.append(number)
            yield batch(number)

    for number, seen in enumerate(prefetch(source(), torch.device("cpu"))):
        assert taken == list(range(number + 1)) and seen.labels[0] == number


@pytest.mark.needs_cuda
def test_on_a_gpu_the_next_batch_is_copied_while_one_is_worked_on():
    device, taken = torch.device("cuda", 0), []

    def source():
        for number, clips in enumerate((3, 3, 0, 3)):
            taken.append(number)
            yield batch(number, clips).pin_memory()

    busy = torch.randn(2000, 2000, device=device)
    sums = []
    for number, seen in enumerate(prefetch(source(), device)):
        assert taken == list(range(min(number + 2, 4)))
        assert seen.labels.device == device and seen.index.device.type == "cpu"
        if seen.frames is not None:
            assert seen.frames.device == device
            for _ in range(20):
                busy = busy @ busy / 2000  # the copy must not overtake work on memory that is used again
            sums.append(seen.frames.long().sum())
    assert len(taken) == 4 and [int(each) for each in sums] == [n * 3 * 2 * 8 * 8 * 3 for n in (0, 1, 3)]
