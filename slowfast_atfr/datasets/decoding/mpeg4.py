"""Parsing of MPEG-4 part 2 packets (XviD, DivX) without decoding.

Source: ISO/IEC 14496-2, 6.2.3 (VideoObjectLayer) and 6.2.5 (VideoObjectPlane).
"""

import re

_LAYER = re.compile(rb"\x00\x00\x01[\x20-\x2f](.{1,40})", re.DOTALL)
_PLANE = re.compile(rb"\x00\x00\x01\xb6(.{1,16})", re.DOTALL)
_KINDS = "IPBS"


def time_bits_of(*headers: bytes | None) -> int | None:
    """Return the number of bits of a picture's time, from the first layer header found."""
    for header in headers:
        found = _LAYER.search(header or b"")
        if found:
            return _time_bits(_Bits(found[1]))
    return None


def picture_kinds(packet: bytes, time_bits: int) -> str:
    """Return the kinds of the pictures that a packet shows: "", "I", "P", "PB", ...; S depends on others as P.

    Pictures that are not coded are left out: they repeat one of another packet.
    """
    planes = (_Bits(found[1]) for found in _PLANE.finditer(packet))
    return "".join(kind for kind, is_coded in (_kind(plane, time_bits) for plane in planes) if is_coded)


def _time_bits(bits: "_Bits") -> int:
    bits.read(1 + 8)  # random access, type
    version = 1
    if bits.read(1):
        version = bits.read(4)
        bits.read(3)  # priority
    if bits.read(4) == 15:  # aspect ratio
        bits.read(16)
    if bits.read(1):  # control parameters
        bits.read(2 + 1)
        if bits.read(1):
            bits.read(79)
    if bits.read(2) == 3 and version != 1:  # shape
        bits.read(4)
    bits.read(1)
    return max(1, (bits.read(16) - 1).bit_length())


def _kind(bits: "_Bits", time_bits: int) -> tuple[str, bool]:
    kind = _KINDS[bits.read(2)]
    while bits.read(1):  # seconds
        pass
    bits.read(1 + time_bits + 1)
    return kind, bool(bits.read(1))


class _Bits:
    """Bits from the left; zeros after the end."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def read(self, count: int) -> int:
        self._left -= count
        return (self._value >> self._left if self._left >= 0 else 0) & ((1 << count) - 1)
