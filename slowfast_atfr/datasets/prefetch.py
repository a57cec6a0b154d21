"""Copy each batch to the device while the previous one is in use."""

from collections.abc import Iterable, Iterator

import torch

from slowfast_atfr.datasets.items import Batch


def prefetch(batches: Iterable[Batch], device: torch.device) -> Iterator[Batch]:
    """Yield the batches with frames and labels on the device.

    On a GPU the next copy is queued on a separate stream before a batch is yielded, so one more batch is in GPU memory.
    Copies are asynchronous if batches are pinned (DATA_LOADER.PIN_MEMORY). On the CPU batches do not change.
    """
    return _copy_ahead(batches, device) if device.type == "cuda" else iter(batches)


def _copy_ahead(batches: Iterable[Batch], device: torch.device) -> Iterator[Batch]:
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
    """Make the current stream wait for the copy, and the allocator for the current stream; return the batch."""
    current = torch.cuda.current_stream(batch.labels.device)
    current.wait_event(copied)
    for tensor in (batch.frames, batch.labels):
        if tensor is not None:
            tensor.record_stream(current)
    return batch
