"""The counter of multiply-adds, clip by clip, that `count_macs` attaches to a network."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from slowfast_atfr.analysis.mac_rules import BY_DISPATCH, RULES
from slowfast_atfr.packed import PackedClips, per_length


class MacCounter(TorchFunctionMode):
    """Sums up the multiply-adds of a forward pass, clip by clip.

    They come from `add` and, while the mode is entered, from the torch functions that are called.
    """

    def __init__(self) -> None:
        super().__init__()
        self.paused, self._depth = False, 0
        self._begun, self._running = False, False
        self._num_clips = 0
        self._clips: tuple[int, ...] | None = None  # indices of the clips in dense tensors; None: all of the batch
        self._of_some: dict[tuple[int, ...] | None, float] = {}  # these clips -> their multiply-adds together
        self._of_lengths: dict[tuple[int, ...], float] = {}  # lengths of packed clips -> multiply-adds of one frame

    def listen(self) -> None:
        """Enter the mode, unless it is entered: a module may call itself."""
        self._depth += 1
        if self._depth == 1:
            self.__enter__()

    def stop(self) -> None:
        """Undo one `listen`; the last one leaves the mode."""
        if self._depth:
            self._depth -= 1
            if self._depth == 0:
                self.__exit__(None, None, None)

    def close(self) -> None:
        """Leave the mode if it is still entered: an interrupt skips the hooks of modules."""
        self._depth = min(self._depth, 1)
        self.stop()

    def begin(self, num_clips: int) -> None:
        """Start a new forward pass of that many clips from zero."""
        self._begun, self._running, self._num_clips = True, True, num_clips
        self._of_some, self._of_lengths = {}, {}

    def end(self) -> None:
        """End the forward pass: activation checkpointing, which runs it again, is not counted."""
        self._running = False

    def add(self, macs: float, lengths: tuple[int, ...] | None = None) -> None:
        """Add multiply-adds: of one frame, for packed clips of these lengths; of all clips together, for dense tensors.

        For costs that do not depend on frames, `macs` is 1 and `lengths` the cost of each clip.
        """
        if not self._running:
            return
        where, key = (self._of_some, self._clips) if lengths is None else (self._of_lengths, lengths)
        where[key] = where.get(key, 0.0) + macs

    def read_and_reset(self) -> np.ndarray:
        """Return (N,) multiply-adds of each clip in the last forward pass, once."""
        if not self._begun:
            raise RuntimeError("no forward has run since the last read_and_reset()")
        self._begun = False
        return self.so_far()

    def so_far(self) -> np.ndarray:
        """Return (N,) multiply-adds of each clip since `begin`."""
        total = np.zeros(self._num_clips)
        for clips, macs in self._of_some.items():
            indices = range(self._num_clips) if clips is None else clips
            total[list(indices)] += macs / len(indices)
        for lengths, macs in self._of_lengths.items():
            total += macs * np.asarray(lengths)
        return total

    def __torch_function__(
        self, func: Callable, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self.paused:
            return func(*args, **kwargs)
        if func is per_length:
            return self._per_length(*args, **kwargs)
        if func in BY_DISPATCH:
            with FlopCounterMode(display=False) as counter:
                out = func(*args, **kwargs)
            self.add(counter.get_total_flops() / 2)
            return out
        out = func(*args, **kwargs)
        if func in RULES:
            self.add(*RULES[func](out, *args, **kwargs))
        return out

    def _per_length(self, x: PackedClips, fn: Callable[..., Tensor], *others: PackedClips) -> Any:
        """Count what runs on the clips of one length for these clips only."""
        all_clips, lengths_of_clips = self._clips, list(zip(*(packed.lengths for packed in (x, *others)), strict=True))

        def counted(*dense: Tensor) -> Tensor:
            lengths = tuple(clips.shape[2] for clips in dense)
            self._clips = tuple(index for index, own in enumerate(lengths_of_clips) if own == lengths)
            try:
                with self:
                    return fn(*dense)
            finally:
                self._clips = all_clips

        return per_length(x, counted, *others)
