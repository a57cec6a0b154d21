"""Parsing of H.264 packets without decoding."""

import re
from collections.abc import Iterator

_SLICES = range(1, 6)  # nal_unit_type of slices
_AFTER_START_CODE = re.compile(rb"\x00\x00\x01(.)", re.DOTALL)


def is_disposable(packet: bytes, length_size: int) -> bool:
    """Return whether no other picture depends on that of a packet: it has slices, all with nal_ref_idc 0.

    Args:
        packet: NAL units, each after a start code or its length.
        length_size: bytes of the length, 0 for start codes; see `length_size_of`.
    Source: ITU-T H.264, 7.3.1 and 7.4.1.
    """
    heads = _heads_by_length(packet, length_size) if length_size else _AFTER_START_CODE.findall(packet)
    slices = [head[0] for head in heads if head[0] & 31 in _SLICES]
    return bool(slices) and not any(head >> 5 & 3 for head in slices)


def length_size_of(extradata: bytes | None) -> int:
    """Return the bytes of a NAL unit's length, from the extradata of a stream; 0 for start codes.

    Source: ISO 14496-15, 5.2.4.1, AVCDecoderConfigurationRecord, whose version is 1.
    """
    return (extradata[4] & 3) + 1 if extradata and len(extradata) > 4 and extradata[0] == 1 else 0


def _heads_by_length(packet: bytes, length_size: int) -> Iterator[bytes]:
    """Yield the first byte of every NAL unit."""
    at = 0
    while at + length_size < len(packet):
        start = at + length_size
        yield packet[start : start + 1]
        at = start + int.from_bytes(packet[at:start], "big")
