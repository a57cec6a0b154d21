"""Which frames a damaged one spoils, where frames are only known in the order of presentation."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class FrameKind:
    """What a decoder says of a frame. is_bidirectional: it may be built on frames that are shown after it."""

    is_key: bool
    is_bidirectional: bool
    is_corrupt: bool


def culprits(kinds: Iterable[FrameKind]) -> list[int | None]:
    """For each frame the damaged frame that it may be built on (itself, if it is one), None if it is sound.

    Damage lasts until the next sound key frame. It also reaches back over the bidirectional frames that are shown right
    before it: they are decoded after it.
    """
    kinds = list(kinds)
    found: list[int | None] = []
    for index, kind in enumerate(kinds):
        before = found[-1] if found and not kind.is_key else None
        found.append(index if kind.is_corrupt and before is None else before)
    for index in reversed(range(len(kinds) - 1)):
        if kinds[index].is_bidirectional and found[index] is None:
            found[index] = found[index + 1]
    return found
