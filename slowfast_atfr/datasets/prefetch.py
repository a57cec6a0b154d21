"""Batches on the device before they are needed: the copy of one runs beside the work on the one before it."""

from collections.abc import Iterable, Iterator

import torch

from slowfast_atfr.datasets.items import Batch


def prefetch(batches: Iterable[Batch], device: torch.device) -> Iterator[Batch]:
    """The same batches with frames and labels on the device.

    On a GPU each copy is queued on a stream of its own while the batch before it is worked on, and that batch is handed
    out only then: one more batch lies in the GPU's memory. Copies are asynchronous where batches are pinned
    (DATA_LOADER.PIN_MEMORY). On the CPU batches go through as they come.
    """
    return _beside(batches, device) if device.type == "cuda" else iter(batches)


def _beside(batches: Iterable[Batch], device: torch.device) -> Iterator[Batch]:
    stream = torch.cuda.Stream(device)
    ahead = None
    for batch in batches:
        coming = _copy(batch, device, stream)
        if ahead is not None:
            yield _hand_out(*ahead)
        ahead = coming
    if ahead is not None:
        yield _hand_out(*ahead)


def _copy(batch: Batch, device: torch.device, stream: torch.cuda.Stream) -> tuple[Batch, torch.cuda.Event]:
    with torch.cuda.stream(stream):
        return batch.to(device), stream.record_event()


def _hand_out(batch: Batch, copied: torch.cuda.Event) -> Batch:
    """The batch, safe to use on the current stream, whose work its memory now waits for before it is used again."""
    current = torch.cuda.current_stream(batch.labels.device)
    current.wait_event(copied)
    for tensor in (batch.frames, batch.labels):
        if tensor is not None:
            tensor.record_stream(current)
    return batch
